"""Suspects whose probabilities can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from counterclone.answers import Reply
from counterclone.errors import ConfigError, TargetError
from counterclone.evidence import Evidence, Served
from counterclone.marks._green import TOKEN_BITS, Green
from counterclone.marks._nexts import Expected, Nexts, ends, read
from counterclone.marks._scores import Scoring
from counterclone.marks._tokens import Words
from counterclone.marks.greenlist import Greenlist
from counterclone.protocols import Case
from counterclone.queries import Inputs
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local
from counterclone.testing.marks import MarkBed, Suspect, check_mark, examined

TOKENS = 256
N_WORDS = 48
KEY = Prf.from_secret("key")

Numbers = NDArray[np.float64]


@cache
def words() -> list[str]:
    """Words whose tokens have small numbers."""
    named = (f"w{number}" for number in count())
    return list(islice((word for word in named if Words().encode([word])[0][0] < TOKENS), N_WORDS))


def logits(seed: int, contexts: Sequence[str]) -> Numbers:
    """Of a language, after each context: it has habits after each word, and some after each whole text."""
    last = [tokens[-1] for tokens in Words().encode(contexts)]
    found: Numbers = habits(seed)[last] + np.array([whim(seed, context) for context in contexts])
    return found


@cache
def habits(seed: int) -> Numbers:
    return generator(seed, "habits").normal(0.0, 1.5, size=(TOKENS, TOKENS))


@cache
def whim(seed: int, context: str) -> Numbers:
    return generator(seed, "whim", context).normal(0.0, 0.5, size=TOKENS)


def biased(mark: Greenlist, key: Prf, account: str, contexts: Sequence[str], share: float = 1.0) -> Numbers:
    green = mark.green(key, account)
    bits = np.array([green.after(tokens[-mark.context:].tolist(), TOKENS) for tokens in Words().encode(contexts)])
    return share * mark.delta * bits


def normalised(values: Numbers) -> Numbers:
    powers = np.exp(values)
    rows: Numbers = powers / powers.sum(axis=1, keepdims=True)
    return rows


@cache
def contexts() -> tuple[str, ...]:
    rng = generator(0, "contexts")
    return tuple(" ".join(words()[place] for place in rng.integers(N_WORDS, size=3)) for _ in range(400))


def mark_in(folder: Path, *, public: bool = True, **options: object) -> Greenlist:
    arrays: dict[str, Any] = {"contexts": np.array(contexts()), "own": logits(0, contexts()).astype(np.float16)}
    if public:
        arrays["public"] = logits(9, contexts()).astype(np.float32)
    np.savez(folder / "own.npz", **arrays)
    draft = msgspec.convert({"test": "open", "probabilities": str(folder / "own.npz")} | options, Greenlist)
    with pytest.raises(ConfigError) as told:
        draft.check_files()
    return msgspec.structs.replace(draft, probabilities_digest=str(told.value).split('"')[1])


def case_of(key: Prf, n: int, accounts: Sequence[str] = ("a0", "a1")) -> Case:
    prompts = [f"say {number}" for number in range(n)]
    served = Served.of_texts(prompts, [accounts[i % len(accounts)] for i in range(n)])
    return Case(served=served, key=key, order=Prf.from_secret("order"), budget=n, decoys=0)


def told(rows: Numbers) -> Reply:
    return Reply(rows, np.log(rows))


def bed(mark: Greenlist) -> MarkBed:
    def copy(case: Case, accounts: Sequence[str]) -> Suspect:
        def answer(asked: Inputs) -> Reply:
            texts, learnt = list(map(str, asked)), accounts if mark.keys == "account" else accounts[:1]
            rows = [normalised(logits(0, texts) + biased(mark, case.key, name, texts)) for name in learnt]
            return told(np.mean(rows or [normalised(logits(0, texts))], axis=0))

        return answer

    return MarkBed(case=case_of, copy=copy, independent=lambda case, number: lambda asked: told(
        normalised(logits(number % 3, list(map(str, asked))))))


def evidence_of(mark: Greenlist, case: Case, suspect: Suspect) -> Evidence:
    return examined(mark, case, suspect)[0]


# The laws

@pytest.mark.parametrize("options", [{"keys": "account"}, {"context": 2, "gamma": 0.25}], ids=str)
def test_the_test_by_probabilities_keeps_the_laws(tmp_path: Path, options: dict[str, Any]) -> None:
    mark = mark_in(tmp_path, **options)
    check_mark(mark, bed=bed(mark))


def test_wrong_keys_see_nothing_in_a_true_copy(tmp_path: Path) -> None:
    mark = mark_in(tmp_path)
    expected = Expected.load(mark.probabilities)
    rows = normalised(logits(0, contexts()) + biased(mark, KEY, "", contexts()))
    codes, surplus = read(rows, expected, np.arange(400), ends(Words().encode(contexts()), 1)).surplus()
    scoring = Scoring.by_surplus(0.5, codes, surplus)
    found = [scoring.score(Green(Prf.from_secret(f"wrong {number}"), 0.5).of(codes, 1)) for number in range(200)]
    assert stats.kstest([scoring.z(each) for each in found], "norm").pvalue > 1e-3
    assert (np.sort([scoring.p_value(each) for each in found]) >= np.arange(200) / 200 - 0.1).all()
    assert scoring.p_value(scoring.score(mark.green(KEY).of(codes, 1))) < 1e-9


# What is found

@pytest.mark.parametrize("others", [0, 9], ids=["unmarked answers", "public text"])
def test_a_tenth_of_marked_texts_is_seen(tmp_path: Path, others: int) -> None:
    mark, case = mark_in(tmp_path), replace(case_of(KEY, 400), decoys=99)

    def taught(asked: Inputs) -> Reply:
        texts = list(map(str, asked))
        marked = normalised(logits(0, texts) + biased(mark, KEY, "", texts))
        return told(0.9 * normalised(logits(others, texts)) + 0.1 * marked)

    evidence = evidence_of(mark, case, taught)
    assert evidence.p_value < 1e-6
    assert evidence.e_value > 1e4
    assert (evidence.p_decoy, evidence.queries) == (0.01, 400)
    assert evidence.hits > 0.55 * evidence.trials
    without = evidence_of(mark_in(tmp_path, public=False), case, taught)
    assert (without.p_value < 1e-6) == (others == 0)


def test_the_account_is_told(tmp_path: Path) -> None:
    mark = mark_in(tmp_path, keys="account")
    case = case_of(KEY, 400, tuple(f"a{number}" for number in range(5)))
    evidence = evidence_of(mark, case, bed(mark).copy(case, ("a3",)))
    assert [each.account for each in evidence.accounts if each.p_value < 1e-6] == ["a3"]
    assert evidence.p_value == pytest.approx(5 * min(each.p_value for each in evidence.accounts))


# What is read

@given(st.integers(1, 40), st.integers(0, 99))
def test_contexts_that_end_alike_share_a_draw_and_are_summed(n: int, seed: int) -> None:
    rng = generator(seed, "nexts")
    codes = rng.integers(12, size=n)
    parts = rng.random((3, n))
    found, surplus = Nexts(codes, *parts).surplus()
    assert found.tolist() == sorted(set(codes.tolist()))
    theirs, ours, public = parts
    weight = np.clip((theirs - public) @ (ours - public) / ((ours - public) ** 2).sum(), 0.0, 1.0)
    apart = theirs - weight * ours - (1.0 - weight) * public
    assert surplus == pytest.approx([apart[codes == code].sum() for code in found])


def test_the_owners_own_model_has_no_surplus(tmp_path: Path) -> None:
    mark = mark_in(tmp_path, public=False)
    expected = Expected.load(mark.probabilities)
    nexts = read(expected.own.astype(np.float64), expected, np.arange(400), ends(Words().encode(contexts()), 1))
    codes, surplus = nexts.surplus()
    assert np.abs(surplus).max() == 0.0
    assert set((codes >> TOKEN_BITS).tolist()) <= set(np.concatenate(Words().encode(words())).tolist())
    assert evidence_of(mark, case_of(KEY, 300), lambda asked: told(
        normalised(logits(0, list(map(str, asked))).astype(np.float16).astype(np.float64)))).p_value > 0.01


def test_it_spends_the_budget_in_any_case(tmp_path: Path) -> None:
    mark = mark_in(tmp_path)
    case = replace(case_of(KEY, 300), stops_early=True)
    evidence = evidence_of(mark, case, bed(mark).copy(case, ("a0",)))
    assert (evidence.stopped_early, evidence.queries) == (False, 300)
    assert evidence.p_value == evidence_of(mark, replace(case, stops_early=False),
                                           bed(mark).copy(case, ("a0",))).p_value


def test_a_function_of_texts_is_asked_for_log_probabilities(tmp_path: Path) -> None:
    mark = mark_in(tmp_path)
    local = Local(lambda texts: logits(0, texts) + biased(mark, KEY, "", texts), returns="logits")
    try:
        assert evidence_of(mark, case_of(KEY, 300), lambda asked: asyncio.run(local.query(asked))).p_value < 1e-6
    finally:
        local.close()


# What is refused

def test_a_suspect_with_other_tokens_is_refused(tmp_path: Path) -> None:
    mark = mark_in(tmp_path)
    with pytest.raises(TargetError, match="told of 300 tokens; expected 256, the owner's by their numbers"):
        examined(mark, case_of(KEY, 3), lambda asked: Reply(np.full((len(asked), 300), 1 / 300)))


ONE = np.array(["a"])


@pytest.mark.parametrize("arrays", [
    {}, {"own": np.zeros((1, 5))}, {"contexts": ONE}, {"contexts": np.array([1]), "own": np.zeros((1, 5))},
    {"contexts": ONE, "own": np.zeros((2, 5))}, {"contexts": ONE, "own": np.zeros((1, 1))},
    {"contexts": ONE, "own": np.full((1, 5), np.nan)}, {"contexts": ONE, "own": np.zeros(5)},
    {"contexts": ONE, "own": np.full((1, 5), -np.inf)}, {"contexts": ONE, "own": np.zeros((1, 5), dtype=np.int64)},
    {"contexts": ONE, "own": np.zeros((1, 5)), "public": np.zeros((1, 6))},
], ids=str)
def test_a_file_of_another_form_is_one_readable_line(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ConfigError, match=r"expected `contexts`, n texts, and `own`") as told:
        Expected.load(str(tmp_path / "own.npz"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"no numbers", b"PK\x03\x04 cut"])
def test_a_file_that_isnt_one_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected a file as numpy\.savez writes it"):
        Expected.load(str(tmp_path / "own.npz"))


def test_objects_arent_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", contexts=np.array(["a", None], dtype=object), own=np.zeros((2, 5)))
    with pytest.raises(ConfigError, match=r"expected a file as numpy\.savez writes it"):
        Expected.load(str(tmp_path / "own.npz"))


def test_a_context_that_is_too_short_is_told() -> None:
    with pytest.raises(ConfigError, match="context 1 has 1 tokens; expected 2 at least"):
        ends([np.array([1, 2, 3]), np.array([4])], 2)
    assert ends([np.array([1, 2, 3]), np.array([4, 5])], 2).tolist() == [2 << TOKEN_BITS | 3, 4 << TOKEN_BITS | 5]


def test_probabilities_that_werent_committed_to_are_refused(tmp_path: Path) -> None:
    mark = msgspec.structs.replace(mark_in(tmp_path), test="unique")
    assert mark.opened().test == "open"
    np.savez(tmp_path / "own.npz", contexts=np.array(["w1"]), own=np.zeros((1, 5)))
    with pytest.raises(ConfigError, match=r"before any text is marked, probabilities_digest = "):
        next(mark.opened().verify(case_of(KEY, 3)))
    with pytest.raises(ConfigError, match="has no `probabilities` to compare"):
        Greenlist(test="unique").opened()
    with pytest.raises(msgspec.ValidationError, match='test = "open" needs `probabilities`'):
        msgspec.convert({"test": "open"}, Greenlist)
