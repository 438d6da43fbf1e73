from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from counterclone.answers import Answer, Context, Output, PerRow, Rows, full_bits
from counterclone.budgets import DAY, MINUTE, Limit
from counterclone.errors import AnswerError
from counterclone.guard.release import MODELS_KEPT, UNGUARDED, Terms
from counterclone.policies.labels import Labels
from counterclone.policies.noise import Noise
from counterclone.policies.rounding import Rounding
from counterclone.policies.temperature import Temperature
from counterclone.policies.truncation import Truncation
from counterclone.protocols import Policy, Release
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.testing import example_rows

NOISE = Prf.from_secret("epoch")
ROWS = example_rows(6, 5)
QUERY = Query([[float(i), 2.0] for i in range(6)])


class Mapped:
    """A policy that applies a function, whatever comes of it."""

    may_flip: ClassVar[bool] = True
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = False

    def __init__(self, apply: Callable[[Rows], Any], held: Any = None) -> None:
        self._apply = apply
        self._held = held

    def start(self, context: Context) -> Release:
        return Feeding(self._apply, self._held)

    def bits(self, n_classes: int) -> float:
        return math.inf


class Feeding:
    def __init__(self, apply: Callable[[Rows], Any], held: Any) -> None:
        self._apply = apply
        self._held = held

    def feed(self, rows: Rows) -> Any:
        return self._apply(rows)

    def finish(self) -> Any:
        return self._held


def answer(**outputs: Rows) -> Answer:
    return Answer({name: Output(rows, rows, 6, is_binary=False) for name, rows in outputs.items()}, None)


def released(policies: Sequence[Policy], rows: Rows = ROWS) -> Rows:
    return Terms(policies, ()).release(answer(scores=rows), QUERY, NOISE)["scores"]


# Policies

def test_no_policies_release_the_rows_as_they_are() -> None:
    assert released([]) is ROWS


def test_policies_apply_in_order() -> None:
    flat, short = Temperature(temperature=3.0), Rounding(decimals=1)
    first = short.round(flat.temper(ROWS))
    assert not np.array_equal(first, flat.temper(short.round(ROWS)))
    np.testing.assert_array_equal(released([flat, short]), first)
    np.testing.assert_array_equal(released([short, flat]), flat.temper(short.round(ROWS)))


def test_every_output_is_released() -> None:
    rows = {"scores": ROWS, "others": ROWS[::-1].copy()}
    found = Terms([Labels()], ()).release(answer(**rows), QUERY, NOISE)
    assert set(found) == {"scores", "others"}
    for name, before in rows.items():
        np.testing.assert_array_equal(found[name].argmax(axis=1), before.argmax(axis=1))
        assert set(found[name].ravel().tolist()) == {0.0, 1.0}


def test_noise_is_that_of_the_query() -> None:
    policies = [Noise(scale=2.0)]
    again = Terms(policies, ()).release(answer(scores=ROWS), Query(list(QUERY.values)), NOISE)["scores"]
    np.testing.assert_array_equal(released(policies), again)
    other = Terms(policies, ()).release(answer(scores=ROWS), Query([[9.0, i] for i in range(6)]), NOISE)["scores"]
    assert not np.array_equal(again, other)


def test_rows_that_were_held_back_come_last() -> None:
    class Late:
        may_flip: ClassVar[bool] = False
        adds_noise: ClassVar[bool] = False
        quantises: ClassVar[bool] = False

        def start(self, context: Context) -> Release:
            return Feeding(lambda rows: rows[:4], ROWS[4:])

        def bits(self, n_classes: int) -> float:
            return full_bits(n_classes)

    np.testing.assert_array_equal(released([Late()]), ROWS)


# What a policy may do wrong

def raises(rows: Rows) -> Rows:
    raise ZeroDivisionError("division by zero")


def with_value(value: float) -> Callable[[Rows], Rows]:
    def apply(rows: Rows) -> Rows:
        changed = rows.copy()
        changed[2, 1] = value
        return changed

    return apply


@pytest.mark.parametrize("apply", [
    with_value(math.nan), with_value(math.inf), with_value(-math.inf), with_value(2.0),
    lambda rows: np.tile([1.1, -0.1, 0.0, 0.0, 0.0], (6, 1)), np.zeros_like, lambda rows: rows * 2.0,
    lambda rows: rows[:5], lambda rows: rows[:, :3], lambda rows: rows[0], lambda rows: rows.reshape(1, 6, 5),
    lambda rows: rows[:0],
], ids=["nan", "inf", "-inf", "above one", "negative", "zeros", "sum 2", "too few rows", "too few classes",
        "one axis", "three axes", "no rows"])
def test_rows_that_are_no_probabilities_are_not_served(apply: Callable[[Rows], Any]) -> None:
    with pytest.raises(AnswerError) as caught:
        released([Mapped(apply)])
    assert str(caught.value) == ("output 'scores': the policies made rows that aren't probabilities; report it "
                                 "to the policy's author")


@pytest.mark.parametrize("apply", [
    raises, lambda rows: None, lambda rows: "rows", lambda rows: [[1.0], [1.0, 2.0]], lambda rows: {"a": 1},
], ids=["raises", "None", "text", "ragged", "a dict"])
def test_a_policy_that_fails_is_named(apply: Callable[[Rows], Any]) -> None:
    with pytest.raises(AnswerError, match=r"^output 'scores': (policy Mapped failed \(\w+: .*\); report it to "
                                          r"its author|the policies made rows that aren't .*)$"):
        released([Labels(), Mapped(apply)])


def test_the_cause_of_a_failure_is_kept() -> None:
    with pytest.raises(AnswerError, match=r"policy Mapped failed \(ZeroDivisionError: .*\)") as caught:
        released([Mapped(raises)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("held", [ROWS[:1], ROWS[:, :2], "rows"], ids=["too many", "other classes", "text"])
def test_what_is_held_back_must_fit(held: Any) -> None:
    with pytest.raises(AnswerError):
        released([Mapped(lambda rows: rows, held)])


def test_a_policy_that_cannot_start_is_named() -> None:
    class Broken(Mapped):
        def start(self, context: Context) -> Release:
            raise RuntimeError("no")

    with pytest.raises(AnswerError, match=r"policy Broken failed \(RuntimeError: no\)"):
        released([Broken(np.copy)])


def test_lists_are_taken_for_rows() -> None:
    np.testing.assert_array_equal(released([Mapped(lambda rows: rows.tolist())]), ROWS)


def test_no_rows_are_released_as_no_rows() -> None:
    empty = Answer({"scores": Output(np.empty((0, 3)), np.empty((0, 3)), 1, is_binary=False)}, None)
    found = Terms([Labels(), Rounding(decimals=2)], ()).release(empty, Query([[1.0]]), NOISE)
    assert found["scores"].shape == (0, 3)


# Bits

@pytest.mark.parametrize(("policies", "expected"), [
    ([], full_bits(10)), ([Labels()], math.log2(10)), ([Temperature(temperature=2.0)], full_bits(10)),
    ([Rounding(decimals=2), Labels()], math.log2(10)), ([Labels(), Rounding(decimals=2)], math.log2(10)),
    ([Truncation(top_k=3), Rounding(decimals=1)],
     min(Truncation(top_k=3).bits(10), Rounding(decimals=1).bits(10))),
], ids=["none", "labels", "one to one", "labels last", "labels first", "the least"])
def test_the_bound_is_the_least_of_the_chain(policies: Sequence[Policy], expected: float) -> None:
    assert Terms(policies, ()).row_bits(10) == pytest.approx(expected)


def test_bits_of_an_answer_are_those_of_its_outputs() -> None:
    pairs = Output(np.tile(ROWS, (2, 1)), np.tile(ROWS, (2, 1)), 6, is_binary=False)
    both = Answer({"scores": Output(ROWS, ROWS, 6, is_binary=False), "pairs": pairs}, None)
    assert Terms([Labels()], ()).answer_bits(both) == pytest.approx(3 * math.log2(5))
    assert UNGUARDED.answer_bits(both) == 3 * full_bits(5)
    assert UNGUARDED.answer_bits(Answer({}, None)) == 0.0


def test_the_next_answer_is_expected_to_be_like_the_last() -> None:
    terms = Terms([Labels()], ())
    assert terms.expected_bits("digits") == 0.0
    terms.expect("digits", 3.0)
    terms.expect("faces", 9.0)
    terms.expect("digits", 4.0)
    assert (terms.expected_bits("digits"), terms.expected_bits("faces")) == (4.0, 9.0)


def test_made_up_models_take_no_more_room() -> None:
    terms = Terms([Labels()], ())
    for number in range(3 * MODELS_KEPT):
        terms.expect(f"model {number}", 1.0)
        terms.expect(f"model {number}", 2.0)
    assert len(terms._expected) == MODELS_KEPT
    assert terms.expected_bits(f"model {3 * MODELS_KEPT - 1}") == 2.0


# Limits

QUERIES = Limit("limit_queries_per_minute", "queries", 10.0, MINUTE)
BITS = Limit("limit_leaked_bits_per_day", "bits", 100.0, DAY)


@pytest.mark.parametrize(("limits", "costs", "meters_bits"), [
    ([], [], False), ([QUERIES], [3], False), ([BITS], [7.5], True), ([QUERIES, BITS, QUERIES], [3, 7.5, 3], True),
], ids=["none", "queries", "bits", "both"])
def test_a_request_costs_each_limit_its_own_unit(limits: list[Limit], costs: list[float],
                                                 meters_bits: bool) -> None:
    terms = Terms([], limits)
    assert terms.costs(3, 7.5) == costs
    assert terms.meters_bits == meters_bits


def test_per_row_is_a_release() -> None:
    release = PerRow(np.copy)
    np.testing.assert_array_equal(release.feed(ROWS), ROWS)
    assert release.finish() is None
