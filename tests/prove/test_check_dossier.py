"""The script's mathematics is ours, though it shares no line with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from counterclone import statistics
from counterclone.marks._green import Green, packed, quantised
from counterclone.marks._pairs import counted, scored, surplus
from counterclone.prove import check_dossier
from counterclone.randomness import Prf, generator

KEY = b"k" * 32
TOKENS = st.lists(st.integers(0, 30), max_size=40)


@given(trials=st.integers(0, 400), share=st.floats(0.0, 1.0), part=st.integers(1, 255))
def test_an_exact_tail_is_ours(trials: int, share: float, part: int) -> None:
    hits = round(share * trials)
    ours = statistics.binomial_tail(hits, trials, part / 256)
    assert math.isclose(check_dossier.tail(hits, trials, part, 256), ours, rel_tol=1e-9, abs_tol=1e-200)


def test_an_exact_tail_reaches_as_far_as_floats_do() -> None:
    assert check_dossier.tail(50_000, 50_000, 1, 2) == 0.0
    assert check_dossier.tail(0, 50_000, 1, 2) == 1.0
    assert check_dossier.tail(1_000, 1_000, 1, 2) == pytest.approx(2.0**-1000)
    ours = statistics.binomial_tail(26_000, 50_000, 0.5)
    assert check_dossier.tail(26_000, 50_000, 128, 256) == pytest.approx(ours, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.floats(0.1, 8.0), part=st.integers(32, 224))
def test_a_bound_is_ours(seed: int, size: float, part: int) -> None:
    weights = generator(seed, "bound").standard_normal(300).round(1)
    rate = part / 256
    total = size * math.sqrt(rate * (1 - rate) * float(weights @ weights))
    ours = statistics.weighted_tail(total, weights, rate)
    assert math.isclose(check_dossier.bound(total, weights, rate), ours, rel_tol=1e-4, abs_tol=1e-200)
    assert check_dossier.bound(-total, weights, rate) == 1.0


@given(answer=TOKENS, prompt=TOKENS, context=st.integers(1, 2))
def test_pairs_are_ours(answer: list[int], prompt: list[int], context: int) -> None:
    ours = scored(np.array(answer, dtype=np.int64), np.array(prompt, dtype=np.int64), context)
    assert check_dossier.scored(answer, prompt, context).tolist() == ours.tolist()


@given(suspect=TOKENS, own=TOKENS, base=st.none() | TOKENS)
def test_weights_are_ours(suspect: list[int], own: list[int], base: list[int] | None) -> None:
    ours = [counted([scored(np.array(tokens, dtype=np.int64), np.empty(0, dtype=np.int64), 1)])
            for tokens in (suspect, own, base) if tokens is not None]
    theirs = [check_dossier.counted([check_dossier.scored(tokens, [], 1)])
              for tokens in (suspect, own, base) if tokens is not None]
    codes, weights = surplus(*ours)
    assert codes.tolist() == sorted(set().union(*theirs))
    np.testing.assert_allclose(check_dossier.weights_of(codes.tolist(), *theirs), weights, atol=1e-12)


@given(gamma=st.floats(1 / 256, 255 / 256), n=st.integers(1, 200), context=st.lists(
    st.integers(0, 2**20 - 1), min_size=1, max_size=2))
def test_a_keys_bits_are_ours(gamma: float, n: int, context: list[int]) -> None:
    test = green_list(gamma, len(context), [])
    assert test.bits(KEY, context, n).tolist() == Green(Prf(KEY), gamma).after(context, n).tolist()


@settings(deadline=None)
@given(answer=TOKENS, gamma=st.sampled_from([0.5, 0.25, 0.3]), context=st.integers(1, 2))
def test_the_green_pairs_of_a_text_are_ours(answer: list[int], gamma: float, context: int) -> None:
    assume(len(answer) > context)
    test = green_list(gamma, context, answer)
    codes = np.array(test.codes, dtype=np.int64)
    assert test.green(KEY).tolist() == Green(Prf(KEY), gamma).of(codes, context).tolist()
    assert test.rate == quantised(gamma)
    windows = np.array([answer[i:i + context + 1] for i in range(len(answer) - context)], dtype=np.int64)
    assert set(test.codes) == set(packed(windows).tolist())


def green_list(gamma: float, context: int, answer: list[int]) -> check_dossier.Greenlist:
    options = {"test": "unique", "context": context, "gamma": gamma, "tokens": 1000}
    tokens = {"answers": [answer], "prompts": [[]], "references": []}
    return check_dossier.Greenlist(options, tokens, stops_early=False)
