"""Broken marks: each breaks one law, and is told it."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import msgspec
import numpy as np
import pytest

from counterclone.answers import Reply, Rows
from counterclone.errors import BudgetExhausted
from counterclone.evidence import Evidence, Role
from counterclone.marks.triggers import Triggers
from counterclone.plugins import Spec
from counterclone.protocols import Case, Embedded, Examination
from counterclone.queries import Inputs
from counterclone.randomness import Prf
from counterclone.testing import check_mark, check_watermark

RUNS = itertools.count()


class Marked(Spec, frozen=True):
    """Triggers with a fault to order."""

    fault: str = ""
    rate: float = 0.05
    exclude_classes: tuple[int, ...] = (1,)

    may_flip: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"label"})

    def inner(self) -> Triggers:
        rate = min(2.0 * self.rate, 0.05) if self.fault == "often" else self.rate
        return Triggers(rate=rate, exclude_classes=() if self.fault == "excluded" else self.exclude_classes)

    def embed(self, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
        fault = self.fault
        key = {"keyless": Prf(bytes(32)), "draws": key.subkey(str(next(RUNS))),
               "batch": key.subkey(str(len(cells)))}.get(fault, key)
        if fault == "order":
            cells = [cell + b"%d" % (i % 3) for i, cell in enumerate(cells)]
        changed, roles = self.inner().embed(key, cells, rows)
        changed = changed.copy()
        if fault == "in place":
            rows[:] = changed
        if fault == "never":
            return Embedded(rows, np.zeros_like(roles))
        if fault == "idle":
            return Embedded(rows, roles)
        if fault == "short":
            changed = changed.astype(np.float32)
        if fault == "roles":
            roles[roles == Role.NONE] = 7
        if fault == "sums":
            changed[roles == Role.MARKED] *= 1.1
        if fault == "negative":
            changed[:, 0] -= 1.0
            changed[:, 1] += 1.0
        if fault == "touches":
            changed[roles == Role.NONE] = changed[roles == Role.NONE, ::-1]
        return Embedded(changed, roles)

    def verify(self, case: Case) -> Examination:
        return tampered(self.fault, self.inner().verify(asked_of(self.fault, case)), case)


class Faithful(Marked, frozen=True):
    """One that says it keeps labels, and doesn't."""

    may_flip: ClassVar[bool] = False


class Vague(Marked, frozen=True):
    """One that doesn't say whether labels change."""

    may_flip: ClassVar[bool] = "perhaps"  # type: ignore[assignment]


class Greedy(Marked, frozen=True):
    """One that needs what nobody shows."""

    needs: ClassVar[frozenset[str]] = frozenset({"weights"})


class Unrated(Spec, frozen=True):
    """One that doesn't say how much it marks."""

    may_flip: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"label"})

    def embed(self, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
        return Triggers().embed(key, cells, rows)


def asked_of(fault: str, case: Case) -> Case:
    if fault == "reorders":
        return replace(case, order=case.order.subkey(str(next(RUNS))))
    if fault == "greedy":
        return replace(case, budget=10**6)
    return case


def tampered(fault: str, examination: Examination, case: Case) -> Examination:
    """The examination, with a fault in how it asks or in what it says."""
    if fault == "asks on":
        evidence = yield from asking_on(examination)
    elif fault == "adaptive":
        evidence = yield from adaptive(examination)
    elif fault == "crash":
        evidence = yield from crashing(examination)
    else:
        evidence = yield from examination
    return evidence if fault not in SAID else msgspec.structs.replace(evidence, **SAID[fault](evidence, case))


def asking_on(examination: Examination) -> Examination:
    try:
        inputs = next(examination)
        while True:
            try:
                reply = yield inputs
            except BudgetExhausted:
                reply = yield inputs
            inputs = examination.send(reply)
    except StopIteration as stop:
        return cast(Evidence, stop.value)


def adaptive(examination: Examination) -> Examination:
    """Who says the right thing first is asked the rest the other way round."""
    inputs = np.asarray(next(examination))
    try:
        reply = yield inputs[:1]
        turned = reply.rows[0].argmax() % 2
        rest = yield (inputs[1:][::-1] if turned else inputs[1:])
        rows = np.concatenate([reply.rows, rest.rows[::-1] if turned else rest.rows])
        examination.send(Reply(rows))
    except StopIteration as stop:
        return cast(Evidence, stop.value)
    raise AssertionError("a batch was expected to be all")


def crashing(examination: Examination) -> Generator[Inputs, Reply, Evidence]:
    inputs = next(examination)
    try:
        while True:
            inputs = examination.send((yield inputs))
    except StopIteration as stop:
        return cast(Evidence, stop.value)


def of_all(evidence: Evidence, case: Case) -> dict[str, Any]:
    return {"accounts": tuple(msgspec.structs.replace(each, p_value=evidence.p_value)
                              for each in evidence.accounts)}


def leaking(evidence: Evidence, case: Case) -> dict[str, Any]:
    return {"kind": "triggers " + case.key._key.hex()}


SAID: dict[str, Any] = {
    "blind": lambda evidence, case: {"p_value": 1.0},
    "accuses": lambda evidence, case: {"p_value": 1e-9},
    "sharpened": lambda evidence, case: {"p_value": evidence.p_value**8},
    "rich": lambda evidence, case: {"e_value": evidence.e_value + 4.0},
    "exact": lambda evidence, case: {"p_value": evidence.p_value / (2.0 if case.stops_early else 1.0)},
    "decoyed": lambda evidence, case: {"p_decoy": 0.5},
    "miscounts": lambda evidence, case: {"queries": evidence.queries + 1},
    "too many hits": lambda evidence, case: {"hits": evidence.trials + 1},
    "draws evidence": lambda evidence, case: {"power": 1.0 / (2 + next(RUNS))},
    "traces all": of_all,
    "leaks": leaking,
}


def test_good_marks_pass() -> None:
    check_watermark(Marked())
    check_mark(Marked())


@pytest.mark.parametrize(("fault", "law"), [
    ("often", "at most the stated rate is marked"),
    ("never", "at most the stated rate is marked, and something is"),
    ("in place", "the rows that are fed aren't changed"),
    ("short", "rows keep their shape, and each has a role"),
    ("roles", "rows keep their shape, and each has a role"),
    ("sums", "rows stay normalised"),
    ("negative", "rows stay normalised"),
    ("touches", "rows that aren't marked stay to the bit"),
    ("idle", "a mark changes something"),
    ("excluded", "of excluded classes none is marked, and none is served instead"),
    ("draws", "the same key and query, the same mark"),
    ("batch", "a row's mark doesn't depend on the other rows"),
    ("order", "a row's mark doesn't depend on the other rows"),
    ("keyless", "another key, another mark"),
])
def test_a_broken_watermark_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_watermark(Marked(fault=fault, rate=0.02))


def test_a_watermark_says_what_it_does() -> None:
    for watermark, law in ((Faithful(), "the top label is kept unless `may_flip`"),
                           (Vague(), "a watermark says what it does"),
                           (Unrated(), "a watermark says what share it marks")):
        with pytest.raises(AssertionError, match=law):
            check_watermark(watermark)


@pytest.mark.parametrize(("fault", "law"), [
    ("reorders", "the same key asks the same queries in the same order"),
    ("adaptive", "what is asked doesn't depend on the answers"),
    ("draws evidence", "the same answers, the same evidence"),
    ("greedy", "no query is asked beyond the budget, or not counted"),
    ("miscounts", "no query is asked beyond the budget, or not counted"),
    ("asks on", "thrown BudgetExhausted, it returns what it has"),
    ("crash", "thrown BudgetExhausted, it returns what it has"),
    ("too many hits", "evidence is of numbers that can be"),
    ("blind", "a true copy is found"),
    ("decoyed", "a true copy is found"),
    ("traces all", "what one account was served never leads to another"),
    ("leaks", "the key never appears"),
    ("accuses", "who knows the truth and no mark isn't accused"),
    ("sharpened", "p-values of independent suspects are no smaller than uniform ones"),
    ("rich", "e-values of independent suspects have a mean of 1 at the most"),
    ("exact", "a test that might stop early has no p-value below 1/e"),
])
def test_a_broken_test_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_mark(Marked(fault=fault))


def test_a_mark_says_what_it_needs() -> None:
    with pytest.raises(AssertionError, match="a mark says what it needs of a suspect"):
        check_mark(Greedy())
