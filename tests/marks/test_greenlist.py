"""Green lists: the laws of the draw, and what the tests say of texts by copies and by models that are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

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
from counterclone.marks._green import Green, packed, quantised, unpacked
from counterclone.marks._pairs import Pairs, counted, scored, surplus
from counterclone.marks._scores import Scoring
from counterclone.marks._tokens import Words, tokenizer
from counterclone.marks.greenlist import Greenlist
from counterclone.protocols import Case
from counterclone.queries import Inputs
from counterclone.randomness import Prf, generator
from counterclone.testing.marks import MarkBed, Suspect, check_mark, examined

N_WORDS, LENGTH = 80, 50
WORDS = [f"w{number}" for number in range(N_WORDS)]
IDS = np.concatenate(Words().encode(WORDS))
KEY = Prf.from_secret("key")
UNIQUE = Greenlist(test="unique")
OWN_KEYS = Greenlist(test="unique", keys="account")

Table = NDArray[np.float64]


# A language of eighty words, and models that write it

@cache
def language(seed: int = 0) -> Table:
    """Logits of each word after each: (words, words)."""
    rng = generator(seed, "language")
    return rng.standard_normal((N_WORDS, N_WORDS)) + rng.standard_normal(N_WORDS)


def bias(mark: Greenlist, key: Prf, account: str = "") -> Table:
    """What the mark adds, as a table."""
    green = mark.green(key, account)
    return mark.delta * np.stack([green.after([int(word)], 2**16)[IDS] for word in IDS]).astype(np.float64)


def write(logits: Table, n: int, seed: int, length: int = LENGTH) -> list[str]:
    """Texts of a model."""
    rng = generator(seed, "write")
    columns = [rng.integers(N_WORDS, size=n)]
    for _ in range(length - 1):
        noise = rng.gumbel(size=(n, N_WORDS))
        columns.append((logits[columns[-1]] + noise).argmax(axis=1))
    return [" ".join(WORDS[word] for word in text) for text in np.stack(columns, axis=1)]


def case_of(key: Prf, n: int, accounts: Sequence[str] = ("a0", "a1")) -> Case:
    prompts = [f"say {number}" for number in range(n)]
    served = Served.of_texts(prompts, [accounts[i % len(accounts)] for i in range(n)])
    return Case(served=served, key=key, order=Prf.from_secret("order"), budget=n, decoys=0)


def writer(logits: Sequence[Table], seed: int = 0) -> Suspect:
    """A suspect whose texts are by each of some models in turn; the same questions, the same texts."""
    def answer(asked: Inputs) -> Reply:
        by_model = [write(each, len(asked), seed + int(str(asked[0]).split()[1])) for each in logits]
        return Reply(np.zeros((len(asked), 0)), texts=[by_model[i % len(logits)][i] for i in range(len(asked))])

    return answer


def bed(mark: Greenlist) -> MarkBed:
    def copy(case: Case, accounts: Sequence[str]) -> Suspect:
        if mark.keys == "epoch":
            return writer([language() + bias(mark, case.key)] if accounts else [language()])
        return writer([language() + bias(mark, case.key, name) for name in accounts] or [language()])

    return MarkBed(case=case_of, copy=copy,
                   independent=lambda case, number: writer([language(number % 3)], number))


def saved(path: Path, texts: Sequence[str]) -> str:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, texts)))
    return str(path)


def with_files(folder: Path, n: int = 2_000, **options: object) -> Greenlist:
    """A mark whose owner's model is the language, and whose public one is another."""
    files = {"reference": saved(folder / "own.jsonl", write(language(), n, 77)),
             "base": saved(folder / "base.jsonl", write(language(9), n, 78))}
    draft = msgspec.convert(files | options, Greenlist)
    return msgspec.structs.replace(draft, digest=draft.measured())


def evidence_of(mark: Greenlist, case: Case, suspect: Suspect) -> Evidence:
    return examined(mark, case, suspect)[0]


# The laws

@pytest.mark.parametrize("mark", [UNIQUE, OWN_KEYS], ids=["one key", "a key an account"])
def test_the_test_by_distinct_pairs_keeps_the_laws(mark: Greenlist) -> None:
    check_mark(mark, bed=bed(mark))


def test_all_tests_together_keep_the_laws(tmp_path: Path) -> None:
    mark = with_files(tmp_path, 50, test="both")
    check_mark(mark, bed=bed(mark))


# The draw

@given(st.integers(1, 255), st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**20 - 1))
def test_a_larger_vocabulary_starts_with_a_smaller_ones_bits(share: int, n: int, more: int, token: int) -> None:
    green = Green(KEY, share / 256)
    assert (green.after([token], n + more)[:n] == green.after([token], n)).all()


@pytest.mark.parametrize("gamma", [0.5, 0.25, 0.3, 1 / 256, 255 / 256])
def test_as_many_are_green_as_stated(gamma: float) -> None:
    green = Green(KEY, gamma)
    n_green = sum(int(green.after([token], 50_000).sum()) for token in range(4))
    assert stats.binomtest(n_green, 200_000, quantised(gamma)).pvalue > 1e-4


def test_bits_of_contexts_accounts_and_keys_are_independent() -> None:
    n = 20_000
    draws = np.stack([
        UNIQUE.green(KEY).after([1], n), UNIQUE.green(KEY).after([2], n), UNIQUE.green(KEY).after([1, 2], n),
        UNIQUE.green(Prf.from_secret("another")).after([1], n), OWN_KEYS.green(KEY, "a").after([1], n),
        OWN_KEYS.green(KEY, "b").after([1], n)])
    apart = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(apart).max() < 5 / np.sqrt(n)
    assert (UNIQUE.green(KEY, "a").after([1], n) == draws[0]).all()  # one key for all


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2**20 - 1), st.integers(0, 300)), min_size=1),
       st.integers(1, 2))
def test_bits_of_pairs_are_those_after_their_contexts(windows: list[tuple[int, int, int]], context: int) -> None:
    codes = np.unique(packed(np.array(windows, dtype=np.int64)[:, 2 - context:]))
    green = Green(KEY, 0.5)
    found = green.of(codes, context)
    for code, bit in zip(codes.tolist(), found.tolist(), strict=True):
        *before, token = unpacked(code, context + 1)
        assert green.after(before, token + 1)[token] == bit


def test_words_have_the_same_numbers_for_ever() -> None:
    assert [ids.tolist() for ids in Words().encode(["to be  to", ""])] == [[30669, 36089, 30669], []]


# What is scored

def test_pairs_whose_context_the_prompt_has_arent_scored() -> None:
    answer, prompt = np.array([1, 2, 3, 2, 4, 5]), np.array([9, 3, 4])
    assert [unpacked(code, 2) for code in scored(answer, prompt, 1).tolist()] == [(1, 2), (2, 3), (2, 4)]
    assert [unpacked(code, 3) for code in scored(answer, np.array([2, 3]), 2).tolist()] == [
        (1, 2, 3), (3, 2, 4), (2, 4, 5)]
    assert len(scored(answer[:2], prompt, 2)) == len(scored(answer[:0], prompt, 1)) == 0


def test_a_repeated_pair_counts_once_for_distinct_pairs() -> None:
    codes = scored(np.array([1, 2] * 40), np.array([7]), 1)
    pairs = counted([codes, codes], 100)
    assert pairs.counts.tolist() == [50, 50] or pairs.counts.sum() == 100
    assert Scoring("unique", 0.5, pairs).trials == 2


@given(st.floats(0.0, 1.0), st.integers(0, 99))
def test_the_mixture_that_is_nearest_is_found(weight: float, seed: int) -> None:
    rng = generator(seed, "mixture")
    own, others = (np.unique(rng.integers(400, size=200)) for _ in range(2))
    ours, public = (Pairs(each, rng.integers(1, 50, size=len(each))) for each in (own, others))
    codes = np.union1d(ours.codes, public.codes)
    shares = weight * ours.shares(codes) + (1.0 - weight) * public.shares(codes)
    suspect = Pairs(codes, np.rint(shares * 10**9).astype(np.int64))
    assert np.abs(surplus(suspect, ours, public)[1]).max() < 1e-6
    assert surplus(suspect, ours)[1].sum() == pytest.approx(0.0, abs=1e-9)


def test_only_the_tokens_of_the_budget_are_scored_and_no_more_is_asked() -> None:
    case = case_of(KEY, 400)
    mark = Greenlist(test="unique", tokens=1_000)
    evidence = evidence_of(mark, case, writer([language()]))
    assert evidence.queries == 64
    assert evidence.trials <= 1_000
    assert evidence_of(UNIQUE, case, writer([language()])).queries == 400


# What is found

def test_wrong_keys_see_nothing_and_the_decoys_are_like_them() -> None:
    pairs = counted(scored(text, np.array([0]), 1) for text in Words().encode(write(language(), 100, 5)))
    scoring = Scoring("unique", 0.5, pairs)
    z = [scoring.z(scoring.score(UNIQUE.green(Prf.from_secret(f"wrong {number}")).of(pairs.codes, 1)))
         for number in range(300)]
    assert 0.85 < float(np.std(z)) < 1.15
    ranks = [evidence_of(UNIQUE, replace(case_of(Prf.from_secret(f"k{number}"), 20), decoys=99),
                         writer([language()], 3)).p_decoy for number in range(30)]
    assert stats.kstest([rank for rank in ranks if rank is not None], "uniform").pvalue > 1e-4


def test_a_tenth_of_marked_texts_is_seen_by_all_tests_but_that_of_distinct_pairs(tmp_path: Path) -> None:
    case = replace(case_of(KEY, 1_000), decoys=99)
    mark = with_files(tmp_path, test="mixture")
    taught = np.logaddexp(np.log(0.9) + _logs(language()), np.log(0.1) + _logs(language() + bias(mark, KEY)))
    found = {test: evidence_of(msgspec.structs.replace(mark, test=test), case, writer([taught]))
             for test in ("unique", "difference", "mixture", "both")}
    assert found["unique"].p_value > 1e-4
    for test in ("difference", "mixture", "both"):
        assert found[test].p_value < 1e-6
        assert found[test].e_value > 1e4
        assert found[test].p_decoy == 0.01


def test_a_suspect_with_another_base_needs_the_mixture(tmp_path: Path) -> None:
    """Most of its training data is public text; against the owner's model alone that is noise."""
    case = case_of(KEY, 1_000)
    mark = with_files(tmp_path, test="mixture")
    suspect = writer([language(9)] * 4 + [language() + bias(mark, KEY)])
    by_difference = evidence_of(msgspec.structs.replace(mark, test="difference"), case, suspect)
    assert evidence_of(mark, case, suspect).p_value < by_difference.p_value ** 1.5
    assert evidence_of(mark, case, suspect).p_value < 1e-6


def test_the_account_is_told_and_two_pooled_ones_too() -> None:
    names = tuple(f"a{number}" for number in range(6))
    case = replace(case_of(KEY, 150, names), campaigns=(("a1", "a4"),), decoys=99)
    evidence = evidence_of(OWN_KEYS, case, bed(OWN_KEYS).copy(case, ("a1", "a4")))
    p_values = {each.account: each.p_value for each in evidence.accounts}
    assert set(p_values) == {*names, "a1+a4"}
    assert {name for name, p in p_values.items() if p < 1e-6} == {"a1", "a4", "a1+a4"}
    assert p_values["a1+a4"] < min(p_values["a1"], p_values["a4"])
    assert evidence.p_value == pytest.approx(7 * p_values["a1+a4"])
    assert evidence.p_decoy == 0.01


def test_it_stops_as_soon_as_that_is_enough() -> None:
    case = replace(case_of(KEY, 500), stops_early=True)
    evidence = evidence_of(UNIQUE, case, bed(UNIQUE).copy(case, ("a0",)))
    assert evidence.stopped_early
    assert evidence.queries == 64
    assert evidence.p_value == 1.0 / evidence.e_value <= 1e-6


def test_two_tokens_of_context_are_scored_too() -> None:
    mark = Greenlist(test="unique", context=2)
    green = mark.green(KEY)
    rng = generator(0, "two")

    def text() -> str:
        words = [0, 1]
        for _ in range(80):
            logits = 2.0 * green.after(IDS[words[-2:]].tolist(), 2**16)[IDS]
            words.append(int((logits + rng.gumbel(size=N_WORDS)).argmax()))
        return " ".join(WORDS[word] for word in words)

    suspect: Callable[[Inputs], Reply] = lambda asked: Reply(  # noqa: E731
        np.zeros((len(asked), 0)), texts=[text() for _ in asked])
    assert evidence_of(mark, case_of(KEY, 20), suspect).p_value < 1e-6
    assert evidence_of(UNIQUE, case_of(KEY, 20), suspect).p_value > 1e-4


# What is refused

@pytest.mark.parametrize(("options", "message"), [
    ({}, "needs `reference`"), ({"reference": "x"}, "needs `base`"), ({"test": "both"}, "needs `reference`"),
    ({"test": "unique", "context": 3}, "context"), ({"test": "unique", "gamma": 1.0}, "gamma"),
])
def test_options_that_dont_go_together_are_one_readable_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(options, Greenlist)


def test_files_that_werent_committed_to_are_refused(tmp_path: Path) -> None:
    mark = with_files(tmp_path)
    (tmp_path / "own.jsonl").write_text('"another text"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="expected the files that were committed to"):
        next(mark.verify(case_of(KEY, 3)))
    (tmp_path / "own.jsonl").write_text("no JSON\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a JSON string a line"):
        next(msgspec.structs.replace(mark, digest=mark.measured()).verify(case_of(KEY, 3)))
    (tmp_path / "own.jsonl").unlink()
    with pytest.raises(ConfigError, match="No such file"):
        next(mark.verify(case_of(KEY, 3)))


def test_a_suspect_without_texts_is_refused() -> None:
    with pytest.raises(TargetError, match="answered without texts"):
        examined(UNIQUE, case_of(KEY, 3), lambda asked: Reply(np.full((len(asked), 2), 0.5)))


def test_a_tokenizer_that_isnt_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        tokenizer("/nowhere.json")


def _logs(logits: Table) -> Table:
    found: Table = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return found
