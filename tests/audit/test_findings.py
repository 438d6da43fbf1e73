from __future__ import annotations

from typing import Any

import msgspec
import pytest

from counterclone.audit.control import Control
from counterclone.audit.curve import Reach, points
from counterclone.audit.findings import (
    REFERENCES,
    SEVERITIES,
    Evidence,
    Finding,
    Shown,
    cost,
    dollars,
    duration,
    findings,
)
from counterclone.audit.trial import Trial
from counterclone.audit.utility import Utility

TRIAL = Trial(
    attack="knockoff", surface="full", queries=1000, queries_sent=1000, calls=1, repeats=0, seed=0, fidelity=0.97,
    fidelity_low=0.95, fidelity_high=0.99, fidelity_balanced=0.9, fidelity_uniform=None, accuracy=None, kl=0.1,
    worst_gap=0.5, coverage=0.1, parameters=None, pool="own", usd=1.5, seconds=1.0)
COPY = Reach(fidelity=0.9, surface="full", attack="knockoff", queries=300, usd=0.45)
UTILITY = Utility(label_changed=0.0, label_changed_high=0.004, accuracy_loss=0.0, calibration_error_increase=0.01,
                  brier_increase=0.002, l1=0.05, inputs=1000)
SHOWN = Shown(name="full", shows=("labels", "scores"), decimals=2, label_unchanged=1.0, accuracy=0.9,
              utility=UTILITY)
MAJORITY = Control(student="majority", rows=0, fidelity=0.2, accuracy=None)


def found(**changes: Any) -> dict[str, Finding]:
    trials = changes.pop("trials", [TRIAL])
    evidence = Evidence(**{
        "surfaces": [SHOWN], "trials": trials, "points": points(trials), "reaches": [COPY], "control": MAJORITY,
        "majority": 0.2, "classes": 10, "pool": "own", "training_cost_usd": 0.0, "has_limits": None, **changes})
    told = findings(evidence)
    assert [SEVERITIES.index(each.severity) for each in told] == sorted(
        SEVERITIES.index(each.severity) for each in told)
    for each in told:
        assert each.text.endswith(".")
        assert each.remedy.endswith(".")
        assert each.references == REFERENCES
    return {each.id: each for each in told}


def changed(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def test_a_copy_is_told_with_its_cost() -> None:
    told = found()
    assert list(told) == ["cheap-copy"]
    assert told["cheap-copy"].text == "About 300 queries, $0.45, give a 90 % copy (knockoff)."
    assert "--surface decimals-2 --surface labels" in told["cheap-copy"].remedy


@pytest.mark.parametrize(("queries", "usd", "training_cost", "severity", "said"), [
    (300, 0.0, 0.0, "high", "About 300 queries give a 90 % copy (knockoff)."),
    (3000, 0.0, 0.0, "medium", ""), (30_000, 0.0, 9.0, "low", ""),
    (300, 0.45, 100.0, "critical", "(knockoff), 0.45 % of what training the model cost."),
    (300, 0.45, 1e6, "critical", ", less than 0.01 % of what training the model cost."),
    (300, 5.0, 100.0, "high", ""), (300, 50.0, 100.0, "medium", ""), (300, 100.0, 100.0, "low", ""),
])
def test_a_copy_is_as_grave_as_it_is_cheap(queries: int, usd: float, training_cost: float, severity: str,
                                           said: str) -> None:
    told = found(reaches=[changed(COPY, queries=queries, usd=usd)], training_cost_usd=training_cost)["cheap-copy"]
    assert told.severity == severity
    assert told.text.endswith(said)


def test_a_bound_is_told_as_one() -> None:
    told = found(reaches=[changed(COPY, is_bound=True)])
    assert told["cheap-copy"].text.startswith("At most 300 queries")


@pytest.mark.parametrize(("exact", "is_told"), [
    ({"is_verified": True}, True), ({"is_verified": False}, False), ({"parameter_error": 1e-6}, True),
    ({"parameter_error": 0.1}, False), ({"is_verified": False, "parameter_error": 1e-6}, True),
    ({"surface": "decimals-6", "is_verified": True}, False), ({"fidelity": 0.9, "is_verified": True}, False),
], ids=str)
def test_an_exact_copy_is_critical(exact: Any, is_told: bool) -> None:
    solved = changed(TRIAL, **{"attack": "equation_solving", "fidelity": 1.0, **exact})
    told = found(trials=[TRIAL, changed(solved, queries_sent=65, usd=0.0975),
                         changed(solved, queries_sent=650, usd=0.975)])
    assert ("exact-copy" in told) == is_told
    if is_told:
        assert told["exact-copy"].severity == "critical"
        assert told["exact-copy"].text == (
            "65 queries, $0.098, give an exact copy (equation_solving): the answers of 'full' hold the model's "
            "parameters.")


def test_no_copy_is_no_safety() -> None:
    told = found(reaches=[], trials=[changed(TRIAL, fidelity=0.8)])
    assert list(told) == ["no-copy-yet"]
    assert told["no-copy-yet"].severity == "info"
    assert told["no-copy-yet"].text == (
        "No attack reached a 90 % copy; the nearest was 80.0% with 1,000 queries (knockoff).")
    assert found(reaches=[], trials=[]) == {}


def test_the_surfaces_that_cost_a_copier_more_are_the_remedy() -> None:
    others = [changed(SHOWN, name=name) for name in ("decimals-2", "labels", "top-1", "noise")]
    reaches = [COPY, changed(COPY, surface="decimals-2", queries=3000),
               changed(COPY, surface="top-1", queries=200)]
    trials = [TRIAL, changed(TRIAL, surface="labels", queries_sent=5000), changed(TRIAL, surface="noise",
                                                                                  queries_sent=200)]
    told = found(surfaces=[SHOWN, *others], reaches=reaches, trials=trials)
    assert told["cheap-copy"].remedy == (
        "Show less, by a policy: 'decimals-2' costs the copier 10.0 times as many queries; through 'labels' 5,000 "
        "queries weren't enough.")


@pytest.mark.parametrize(("has_limits", "days", "expected"), [
    (None, None, set()), (False, None, {"no-limit"}), (True, 0.002, {"high-limit"}), (True, 20.0, set())])
def test_limits_that_stop_nobody_are_told(has_limits: bool | None, days: float | None, expected: set[str]) -> None:
    told = found(has_limits=has_limits, reaches=[changed(COPY, days=days)])
    assert told.keys() - {"cheap-copy"} == expected
    for each in expected:
        assert "limit_copy_share_per_day" in told[each].remedy
    if days == 0.002:
        assert told["high-limit"].text.endswith("one account gathers a 90 % copy in 2.9 minutes.")


@pytest.mark.parametrize(("shows", "decimals", "expected"), [
    (("labels", "scores"), 3, set()), (("labels", "scores"), 4, {"precise-scores"}),
    (("labels", "scores"), None, {"precise-scores"}), (("labels",), None, set()),
    (("ids", "labels"), None, {"ids-shown"}), (("labels", "logits", "scores"), 2, {"logits-shown"}),
], ids=str)
def test_what_answers_show_too_much_of_is_told(shows: Any, decimals: int | None, expected: set[str]) -> None:
    told = found(surfaces=[changed(SHOWN, shows=shows, decimals=decimals)])
    assert told.keys() - {"cheap-copy"} == expected


@pytest.mark.parametrize(("queries", "is_told"), [(900, True), (901, False)])
def test_labels_that_suffice_are_told(queries: int, is_told: bool) -> None:
    labels = changed(SHOWN, name="labels", shows=("labels",), decimals=None)
    told = found(surfaces=[SHOWN, labels], reaches=[COPY, changed(COPY, surface="labels", queries=queries)])
    assert ("labels-suffice" in told) == is_told
    assert "labels-suffice" not in found(surfaces=[labels], reaches=[changed(COPY, surface="labels")])


def test_changed_labels_are_told() -> None:
    assert "labels-changed" not in found(surfaces=[changed(SHOWN, label_unchanged=0.996)])
    told = found(surfaces=[changed(SHOWN, label_unchanged=0.9)])["labels-changed"]
    assert told.text == "'full' changes the label of 10.0% of inputs: honest users pay too."


def test_one_class_is_told() -> None:
    assert "one-class" not in found(majority=0.79)
    told = found(majority=0.95, classes=2)["one-class"]
    assert told.text == "95% of the answers are one class, so a constant agrees as often."
    assert "a constant has 50%" in told.remedy


@pytest.mark.parametrize(("fidelity", "said"), [(0.96, "isn't theft"), (0.9, "worth that")])
def test_the_control_is_told(fidelity: float, said: str) -> None:
    control = Control(student="knockoff", rows=447, fidelity=fidelity, accuracy=0.9)
    told = found(control=control)["control"]
    assert told.text == (f"A student of 447 inputs with true labels agrees with the model on {fidelity:.1%} "
                         f"without one answer; 1,000 answers add {97 - 100 * fidelity:.1f} points.")
    assert said in told.remedy


def test_answers_that_add_nothing_are_told() -> None:
    control = Control(student="knockoff", rows=447, fidelity=0.98, accuracy=0.9)
    assert found(control=control)["control"].text.endswith("; 1,000 answers add nothing to that.")


def test_a_pool_of_nothing_is_told() -> None:
    assert "under-reported" in found(pool="uniform")["no-pool"].text
    assert "no-pool" not in found(pool="out-of-domain")


@pytest.mark.parametrize(("usd", "text"), [
    (0.0, "$0.00"), (0.0975, "$0.098"), (0.1, "$0.10"), (250_000, "$250,000.00"), (0.00012, "$0.00012")])
def test_dollars_are_read(usd: float, text: str) -> None:
    assert dollars(usd) == text


@pytest.mark.parametrize(("days", "text"), [
    (-1.0, "at once"), (0.0, "at once"), (30 / 86_400, "in 30 seconds"), (0.002, "in 2.9 minutes"),
    (0.5, "in 12.0 hours"), (19.0, "in 19.0 days"), (4000.0, "in 4,000.0 days")])
def test_times_are_read(days: float, text: str) -> None:
    assert duration(days) == text


def test_queries_are_told_with_their_dollars() -> None:
    assert cost(1234.6, 0.0) == "1,235 queries"
    assert cost(65, 0.2) == "65 queries, $0.20,"
