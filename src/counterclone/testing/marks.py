"""The laws of marks, tried on invented queries, copies and models that are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import BudgetExhausted
from counterclone.evidence import Evidence, Role, Served
from counterclone.plugins import Spec
from counterclone.protocols import Case, Embedded, Mark, Watermark
from counterclone.queries import Inputs
from counterclone.randomness import Prf, generator
from counterclone.testing.laws import check_spec, demand
from counterclone.testing.policies import example_rows

N_CLASSES = (2, 3, 10, 214)
LABELS = (2, 10)
"""That a mark may choose from in the example beds: two are tested otherwise than several."""
N_DRAWN = 40
"""Marked rows that laws are tried on, and that a copy knows."""
N_DRAWN_NULL = 16
N_KEYS = 200
N_KEYS_STOPPING = 60
LEVEL = 1e-6
"""A law that holds is called broken so seldom, at the most; and a copy's p-value is this at the most."""
SUM_ERROR = 1e-9
ACCOUNTS = ("a0", "a1")
NEEDS = frozenset({"label", "scores", "text", "logprobs", "vector", "sampling"})
CAPPED = 10.0
"""E-values are averaged up to here: one endless one tells nothing of the mean."""

Suspect = Callable[[Inputs], Reply]


@dataclass(frozen=True, kw_only=True)
class MarkBed:
    """What a mark is tried on.

    Attributes:
        case: what was served under a key, and how many queries with a mark there are at the least.
        independent: a suspect that knows nothing of any key; different numbers, different ones.
        copy: a suspect that learnt everything that some accounts were served, and of the rest the truth.
    """

    case: Callable[[Prf, int], Case]
    independent: Callable[[Case, int], Suspect]
    copy: Callable[[Case, Sequence[str]], Suspect]


def check_watermark(watermark: Watermark, *, seed: int = 0) -> None:
    """Try every law of a mark that is put into rows.

    Args:
        watermark: the spec, with the options to try; `rate` is the share of rows that it may mark, and
            `exclude_classes`, where it has that, the classes that it leaves alone.
        seed: draws rows, queries and keys.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("marks", watermark)
    demand(isinstance(getattr(watermark, "may_flip", None), bool), watermark, "a watermark says what it does",
           f"`may_flip` is {getattr(watermark, 'may_flip', None)!r}")
    key = _key(seed, "watermark")
    cells = _with_marks(watermark, key)
    for n_classes in N_CLASSES:
        rows = example_rows(len(cells), n_classes, seed=seed)
        embedded = _embedded(watermark, key, cells, rows)
        _check_rows(watermark, rows, embedded)
        _check_excluded(watermark, rows, embedded)
        _check_repeats(watermark, key, cells, rows, embedded)
        _check_alone(watermark, key, cells, rows, embedded)
    _check_other_key(watermark, key, cells, seed)


def check_mark(mark: Mark, *, bed: MarkBed | None = None, level: float = LEVEL, seed: int = 0) -> None:
    """Try every law of a mark's test.

    Args:
        mark: the spec, with the options to try.
        bed: what it is tried on; without it `example_bed`, which watermarks on rows fit.
        level: the p-value that a true copy reaches.
        seed: draws keys and suspects.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("marks", mark)
    law = "a mark says what it needs of a suspect"
    demand(bool(mark.needs) and mark.needs <= NEEDS, mark, law, f"`needs` is {mark.needs!r}")
    beds = [bed] if bed is not None else [example_bed(cast(Watermark, mark), n) for n in LABELS]
    for each in beds:
        case = each.case(_key(seed, "case"), N_DRAWN)
        _check_asking(mark, each, case)
        _check_end(mark, each, case)
        _check_copy(mark, each, case, level)
        _check_silence(mark, each, seed)
        _check_null(mark, each, seed)


def example_bed(watermark: Watermark, n_labels: int) -> MarkBed:
    """Numbered queries in turn of two accounts, and suspects that answer with rows of probabilities.

    Args:
        watermark: marks them.
        n_labels: how many labels there are, those that it leaves alone not counted.
    """
    excluded, n_classes = _excluded(watermark), n_labels
    while n_classes - len(excluded & set(range(n_classes))) < n_labels:
        n_classes += 1

    def case(key: Prf, n_marked: int) -> Case:
        n = round(n_marked / _rate(watermark) * n_classes / n_labels) + n_marked
        cells = [b"%d" % number for number in range(n)]
        truths = generator(0, "truths").integers(n_classes, size=n)
        embedded = watermark.embed(key, cells, _rows(truths, n_classes))
        kept = np.flatnonzero(embedded.roles)
        served = Served(
            inputs=kept[:, None].astype(np.float64), cells=[cells[i] for i in kept], roles=embedded.roles[kept],
            truths=truths[kept], labels=top_labels(embedded.rows[kept]).astype(np.int64),
            accounts=[(ACCOUNTS[i % len(ACCOUNTS)],) for i in kept], classes=n_classes)
        return Case(served=served, key=key, order=Prf.from_secret("order"), budget=n, decoys=0)

    def independent(case: Case, number: int) -> Suspect:
        rng = generator(number, "suspect")
        truths = _by_query(case, case.served.truths)
        if number % 3 == 0:
            return lambda asked: Reply(example_rows(len(asked), n_classes, seed=int(rng.integers(2**31))))
        wrong = (0.25, 0.5, 0.75, 1.0)[number % 4]  # by a step of its own, which might be the mark's rule

        def answer(asked: Inputs) -> Reply:
            off = np.where(rng.random(len(asked)) < wrong, 1 + number % (n_classes - 1), 0)
            return Reply(_rows((truths(asked) + off) % n_classes, n_classes))

        return answer

    def copy(case: Case, accounts: Sequence[str]) -> Suspect:
        served = case.served
        is_known = np.array([bool(set(accounts) & set(names)) for names in served.accounts])
        labels = _by_query(case, np.where(is_known, served.labels, served.truths))
        return lambda asked: Reply(_rows(labels(asked), n_classes))

    return MarkBed(case=case, independent=independent, copy=copy)


def examined(mark: Mark, case: Case, suspect: Suspect, limit: int | None = None) -> tuple[Evidence, list[bytes]]:
    """What a suspect's answers tell.

    Args:
        mark: asks.
        case: what is tested.
        suspect: answers.
        limit: queries after which the asking is told that the budget is exhausted.

    Returns:
        The evidence, and what was asked, a batch an item.
    """
    examination = mark.verify(case)
    batches: list[bytes] = []
    n_asked = 0
    try:
        inputs = next(examination)
        while True:
            if limit is not None and n_asked + len(inputs) > limit:
                inputs = examination.throw(BudgetExhausted("the budget is spent"))
                demand(False, mark, "thrown BudgetExhausted, it returns what it has",
                       f"it asked {len(inputs)} more")
            n_asked += len(inputs)
            batches.append(inputs.tobytes() if isinstance(inputs, np.ndarray) else "\0".join(inputs).encode())
            inputs = examination.send(suspect(inputs))
    except StopIteration as stop:
        evidence = stop.value
    except BudgetExhausted:
        evidence = None
    demand(isinstance(evidence, Evidence), mark, "thrown BudgetExhausted, it returns what it has"
           if limit is not None else "an examination ends with evidence", f"it returned {evidence!r}")
    demand(evidence.queries == n_asked <= case.budget, mark, "no query is asked beyond the budget, or not counted",
           f"{n_asked} were asked, {evidence.queries} counted, {case.budget} allowed")
    return evidence, batches


# Watermarks

def _embedded(watermark: Watermark, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
    fed = rows.copy()
    embedded = watermark.embed(key, cells, fed)
    demand(fed.tobytes() == rows.tobytes(), watermark, "the rows that are fed aren't changed",
           f"they were written to, {rows.shape[1]} classes")
    return embedded


def _with_marks(watermark: Watermark, key: Prf) -> list[bytes]:
    """Queries of which many have a role, and some have none; and the law of the rate."""
    rate = _rate(watermark)
    n, n_classes = round(N_DRAWN / rate), max(_excluded(watermark), default=0) + 4
    cells = [b"%d" % number for number in range(n)]
    roles = watermark.embed(key, cells, _rows(np.full(n, n_classes - 1), n_classes)).roles
    law = "at most the stated rate is marked, and something is"
    n_marked = int((roles == Role.MARKED).sum())
    demand(float(stats.binom.sf(n_marked - 1, n, rate)) > LEVEL and n_marked > 0, watermark, law,
           f"{n_marked} of {n} rows at a rate of {rate}")
    drawn, others = np.flatnonzero(roles), np.flatnonzero(roles == Role.NONE)
    return [cells[i] for i in np.sort(np.concatenate([drawn[:4 * N_DRAWN], others[:N_DRAWN]]))]


def _check_rows(watermark: Watermark, rows: Rows, embedded: Embedded) -> None:
    n_classes = rows.shape[1]
    changed, roles = embedded
    law = "rows keep their shape, and each has a role"
    demand(changed.shape == rows.shape and changed.dtype == np.float64, watermark, law,
           f"{rows.shape} of float64 became {changed.shape} of {changed.dtype}")
    demand(roles.shape == rows.shape[:1] and bool(np.isin(roles, list(Role)).all()), watermark, law,
           f"roles of shape {roles.shape}, {np.unique(roles).tolist()}")
    law = "rows stay normalised"
    demand(bool(np.isfinite(changed).all() and (changed >= 0.0).all()), watermark, law,
           f"numbers that are negative or not finite, {n_classes} classes")
    error = float(np.abs(changed.sum(axis=1) - 1.0).max())
    demand(error <= SUM_ERROR, watermark, law, f"the sum is off by {error:.3g}, {n_classes} classes")
    is_marked = roles == Role.MARKED
    differs = (changed != rows).any(axis=1)
    demand(not (differs & ~is_marked).any(), watermark, "rows that aren't marked stay to the bit",
           f"{int((differs & ~is_marked).sum())} rows without a mark changed, {n_classes} classes")
    demand(not is_marked.any() or bool(differs.any()), watermark, "a mark changes something",
           f"none of {int(is_marked.sum())} marked rows differs, {n_classes} classes")
    flipped = top_labels(changed) != top_labels(rows)
    demand(watermark.may_flip or not flipped.any(), watermark, "the top label is kept unless `may_flip`",
           f"{int(flipped.sum())} labels changed, {n_classes} classes")


def _check_excluded(watermark: Watermark, rows: Rows, embedded: Embedded) -> None:
    excluded = _excluded(watermark)
    law = "of excluded classes none is marked, and none is served instead"
    has_role = embedded.roles != Role.NONE
    before = set(top_labels(rows)[has_role].tolist()) & excluded
    demand(not before, watermark, law, f"rows of classes {sorted(before)} have a role")
    is_marked = embedded.roles == Role.MARKED
    after = set(top_labels(embedded.rows)[is_marked].tolist()) & excluded
    demand(not after, watermark, law, f"classes {sorted(after)} are served by marks")


def _check_repeats(watermark: Watermark, key: Prf, cells: Sequence[bytes], rows: Rows, embedded: Embedded) -> None:
    again = _embedded(watermark, key, cells, rows)
    demand(_is_same(embedded, again), watermark, "the same key and query, the same mark",
           f"a second call marked otherwise, {rows.shape[1]} classes")


def _check_alone(watermark: Watermark, key: Prf, cells: Sequence[bytes], rows: Rows, embedded: Embedded) -> None:
    law = "a row's mark doesn't depend on the other rows"
    backwards = _embedded(watermark, key, cells[::-1], rows[::-1])
    demand(_is_same(embedded, Embedded(backwards.rows[::-1], backwards.roles[::-1])), watermark, law,
           f"the other way round it is another one, {rows.shape[1]} classes")
    for i in (int(each) for each in np.argsort(embedded.roles, kind="stable")[-8:]):
        alone = _embedded(watermark, key, cells[i:i + 1], rows[i:i + 1])
        demand(_is_same(alone, Embedded(embedded.rows[i:i + 1], embedded.roles[i:i + 1])), watermark, law,
               f"a row by itself is marked otherwise than in a batch, {rows.shape[1]} classes")


def _check_other_key(watermark: Watermark, key: Prf, cells: Sequence[bytes], seed: int) -> None:
    n_classes = max(_excluded(watermark), default=0) + 4
    rows = _rows(np.full(len(cells), n_classes - 1), n_classes)
    mine, other = (watermark.embed(each, cells, rows) for each in (key, _key(seed, "another")))
    demand(not _is_same(mine, other), watermark, "another key, another mark", "two keys marked the same")


def _is_same(one: Embedded, other: Embedded) -> bool:
    return one.rows.tobytes() == other.rows.tobytes() and one.roles.tobytes() == other.roles.tobytes()


# Tests of a suspect

def _check_asking(mark: Mark, bed: MarkBed, case: Case) -> None:
    law = "the same key asks the same queries in the same order"
    first, asked = examined(mark, case, bed.copy(case, ACCOUNTS))
    again, asked_again = examined(mark, case, bed.copy(case, ACCOUNTS))
    demand(asked == asked_again, mark, law, "a second examination asked otherwise")
    demand(first == again, mark, "the same answers, the same evidence", f"{first}, then {again}")
    for number in range(4):
        _, of_other = examined(mark, case, bed.independent(case, number))
        demand(asked == of_other, mark, "what is asked doesn't depend on the answers",
               "another suspect is asked otherwise")


def _check_end(mark: Mark, bed: MarkBed, case: Case) -> None:
    stopping = replace(case, stops_early=True)
    for limit in (0, 1, 5):
        evidence, _ = examined(mark, stopping, bed.independent(case, 2), limit)
        _check_numbers(mark, evidence)
        evidence, _ = examined(mark, replace(case, budget=limit), bed.copy(case, ACCOUNTS))
        _check_numbers(mark, evidence)


def _check_copy(mark: Mark, bed: MarkBed, case: Case, level: float) -> None:
    law = "a true copy is found"
    with_decoys = replace(case, decoys=99)
    evidence, _ = examined(mark, with_decoys, bed.copy(case, ACCOUNTS))
    _check_numbers(mark, evidence)
    demand(evidence.p_value <= level, mark, law, f"p = {evidence.p_value:.2g} with {evidence.hits} hits in "
           f"{evidence.trials} trials")
    demand(evidence.p_decoy is None or evidence.p_decoy <= 0.05, mark, law,
           f"its rank among decoys is {evidence.p_decoy}, which blocks the verdict")
    traced, _ = examined(mark, case, bed.copy(case, ACCOUNTS[:1]))
    for each in traced.accounts:
        demand(each.account == ACCOUNTS[0] or each.p_value > level, mark,
               "what one account was served never leads to another",
               f"{each.account} has p = {each.p_value:.2g}, and was served nothing that the copy knows")
    _check_secrecy(mark, case, evidence)


def _check_secrecy(mark: Mark, case: Case, evidence: Evidence) -> None:
    text = msgspec.json.encode(evidence).decode().lower()
    for key in (case.key, case.order):
        digest = key._key
        demand(digest.hex()[:16] not in text and str(int.from_bytes(digest)) not in text
               and repr(digest)[2:-1].lower() not in text, mark, "the key never appears", f"it is in {text}")


def _check_silence(mark: Mark, bed: MarkBed, seed: int) -> None:
    """Who says what the target would have said without a mark isn't accused."""
    case = bed.case(_key(seed, "silence"), N_DRAWN)
    evidence, _ = examined(mark, case, bed.copy(case, ()))
    _check_numbers(mark, evidence)
    demand(evidence.p_value > 0.01, mark, "who knows the truth and no mark isn't accused",
           f"p = {evidence.p_value:.2g} with {evidence.hits} hits in {evidence.trials} trials")


def _check_stopping(mark: Mark, bed: MarkBed, seed: int) -> list[Evidence]:
    """Evidence on independent suspects from a test that might stop early."""
    case = replace(bed.case(_key(seed, "case"), N_DRAWN), stops_early=True)
    found, _ = examined(mark, case, bed.copy(case, ACCOUNTS))
    nulls = [_of_independent(mark, bed, seed, number, stops_early=True) for number in range(N_KEYS_STOPPING)]
    law = "a test that might stop early has no p-value below 1/e"
    for each in (found, *nulls) if found.stopped_early else ():
        demand(each.p_value * each.e_value >= 1.0 - SUM_ERROR or each.p_value == 1.0, mark, law,
               f"p = {each.p_value:.2g}, e = {each.e_value:.2g}")
    return nulls


def _check_null(mark: Mark, bed: MarkBed, seed: int) -> None:
    whole = [_of_independent(mark, bed, seed, number, stops_early=False) for number in range(N_KEYS)]
    _check_calibrated(mark, whole)
    _check_calibrated(mark, _check_stopping(mark, bed, seed))


def _check_calibrated(mark: Mark, found: Sequence[Evidence]) -> None:
    p_values = np.array([each.p_value for each in found])
    distance = float(stats.kstest(p_values, "uniform", alternative="greater").statistic)
    at_most = math.sqrt(math.log(1.0 / LEVEL) / (2 * len(found)))  # Massart's constant
    demand(distance <= at_most, mark, "p-values of independent suspects are no smaller than uniform ones",
           f"of {len(found)}, a share of {distance:.2g} too many is below some level, {at_most:.2g} by chance")
    mean = float(np.minimum([each.e_value for each in found], CAPPED).mean())
    demand(mean <= largest_mean(len(found)), mark, "e-values of independent suspects have a mean of 1 at the most",
           f"{mean:.3g} of {len(found)}, {largest_mean(len(found)):.3g} by chance at the most")


def largest_mean(n: int) -> float:
    """What the mean of `n` numbers from 0 to `CAPPED`, of expectation 1, exceeds with a chance below `LEVEL`.

    Hoeffding (1963), theorem 1: its exponent is the divergence of the shares.
    """
    low, high, share = 1.0 / CAPPED, 1.0, 1.0 / CAPPED
    while high - low > 1e-9:
        middle = (low + high) / 2
        divergence = float(stats.entropy([middle, 1.0 - middle], [share, 1.0 - share]))
        low, high = (middle, high) if n * divergence < math.log(1.0 / LEVEL) else (low, middle)
    return CAPPED * high


def _of_independent(mark: Mark, bed: MarkBed, seed: int, number: int, *, stops_early: bool) -> Evidence:
    case = replace(bed.case(_key(seed, f"null {number}"), N_DRAWN_NULL), stops_early=stops_early)
    evidence, _ = examined(mark, case, bed.independent(case, number))
    _check_numbers(mark, evidence)
    return evidence


def _check_numbers(mark: Mark, evidence: Evidence) -> None:
    law = "evidence is of numbers that can be"
    demand(0.0 <= evidence.p_value <= 1.0 and 0.0 <= evidence.e_value < math.inf, mark, law, f"{evidence}")
    demand(0 <= evidence.hits <= evidence.trials and 0.0 <= evidence.power <= 1.0, mark, law, f"{evidence}")
    demand(evidence.p_decoy is None or 0.0 < evidence.p_decoy <= 1.0, mark, law, f"{evidence}")


def _key(seed: int, name: str) -> Prf:
    return Prf.from_secret(f"counterclone.testing/{seed}/{name}")


def _rate(watermark: Watermark) -> float:
    rate = getattr(watermark, "rate", None)
    if not isinstance(watermark, Spec) or not isinstance(rate, float):
        raise AssertionError(f"{watermark!r} breaks the law 'a watermark says what share it marks': `rate` is "
                             f"{rate!r}")
    return rate


def _excluded(watermark: Watermark) -> set[int]:
    return set(getattr(watermark, "exclude_classes", ()))


def _rows(labels: NDArray[np.int64], n_classes: int) -> Rows:
    rows = np.full((len(labels), n_classes), 0.1 / (n_classes - 1))
    rows[np.arange(len(labels)), labels] = 0.9
    return rows


def _by_query(case: Case, labels: NDArray[np.int64]) -> Callable[[Inputs], NDArray[np.int64]]:
    """Labels by the numbers that queries are."""
    known = dict(zip(np.asarray(case.served.inputs)[:, 0].tolist(), labels.tolist(), strict=True))
    return lambda asked: np.array([known[number] for number in np.asarray(asked)[:, 0].tolist()], dtype=np.int64)
