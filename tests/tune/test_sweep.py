"""A whole sweep on a model that is quick to copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from counterclone.audit import Deployment
from counterclone.budgets import DAY, Limit, Price
from counterclone.errors import ConfigError
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.tune import Limits, Setting, Subject, Tuned, tune
from counterclone.tune.sweep import ADAPTIVE

FEATURES, CLASSES = 4, 3
WEIGHTS = generator(0, "tune").normal(size=(FEATURES, CLASSES))
TRIED = [Setting("as it is", ()), Setting("labels", ({"kind": "labels"},)),
         Setting("rounding 1", ({"kind": "rounding", "decimals": 1},)),
         Setting("temperature 20", ({"kind": "temperature", "temperature": 20},))]


def predict(inputs: Features) -> Features:
    logits = 3 * inputs @ WEIGHTS
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Features = odds / odds.sum(axis=1, keepdims=True)
    return rows


class Asked:
    """Counts the rows that a model is asked."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def __call__(self, inputs: Features) -> Features:
        self.rows += [row.tobytes() for row in inputs]
        return predict(inputs)


def subject(model: Asked, n: int = 300, *, with_truth: bool = True) -> Subject:
    pool, told = (generator(seed, "tune").normal(size=(size, FEATURES)) for seed, size in ((1, 200), (2, n)))
    rows = predict(told)
    truth = (rows.cumsum(axis=1) > generator(3, "truth").random((n, 1))).argmax(axis=1)
    return Subject(predict=model, pool=pool, evaluate=(told, truth) if with_truth else told)


def test_a_sweep_asks_each_query_once_and_chooses_within_the_limits() -> None:
    model = Asked()
    found = tune(subject(model), tried=TRIED, attacks=["equation_solving", "hard_label"], budgets=(40,), seeds=1)
    repeated = len(model.rows) - len(set(model.rows))
    assert repeated <= 2 * (300 + 1000)  # what fidelity is told by is asked in both runs
    by_name = {point.name: point for point in found.points}
    assert [*by_name] == [setting.name for setting in TRIED]
    assert by_name["as it is"].fidelity > by_name["labels"].fidelity
    assert by_name["temperature 20"].calibration_error_increase is not None
    assert by_name["temperature 20"].calibration_error_increase > 0.1
    assert found.chosen in [({"kind": "labels"},), ({"kind": "rounding", "decimals": 1},)]
    assert {point.attack for point in found.frontier} <= {"equation_solving", "hard_label"}


def test_limits_that_nothing_satisfies_choose_nothing() -> None:
    found = tune(subject(Asked()), tried=TRIED[3:], attacks=["hard_label"], budgets=(40,), seeds=1,
                 limits=Limits(0.0, 0.02))
    assert found.chosen is None
    assert "calibration_error_increase_max binds" in found.reason


def test_without_true_labels_it_says_so(tmp_path: Path) -> None:
    found = tune(subject(Asked(), with_truth=False), tried=TRIED[:2], attacks=["hard_label"], budgets=(40,),
                 seeds=1, resume=tmp_path)
    assert any("without true labels" in warning for warning in found.warnings)
    assert all(point.calibration_error_increase is None for point in found.points)
    assert list(tmp_path.iterdir())


def test_an_unknown_policy_is_told() -> None:
    with pytest.raises(ConfigError, match="shuffle"):
        tune(subject(Asked()), tried=[Setting("odd", ({"kind": "shuffle"},))], budgets=(40,))


def test_every_point_on_the_frontier_is_rated_by_attacks_that_know_the_defence() -> None:
    found = tune(subject(Asked()), tried=TRIED[:3], budgets=(20,), seeds=1)
    tried = {point.name: set(point.attacks) for point in found.frontier}
    assert all(ADAPTIVE & attacks for attacks in tried.values())
    assert "hard_label" in tried["labels"]
    for name in ("as it is", "rounding 1"):
        assert {"hard_label", "averaging", "denoising", "cell_difference"} <= tried[name], name
    assert not any("knows the defence" in warning for warning in found.warnings)


def test_a_naive_attacker_alone_is_warned_of() -> None:
    found = tune(subject(Asked()), tried=TRIED[:2], attacks=["knockoff"], budgets=(30,), seeds=1)
    assert any("no attack that knows the defence was tried on as it is, labels" in each for each in found.warnings)


def test_a_sweep_that_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    said: list[str] = []

    def interrupt(text: str) -> None:
        said.append(text)
        if "on the frontier" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(subject(Asked()), tried=TRIED[:2], attacks=["hard_label"], budgets=(40,), seeds=1, resume=tmp_path,
             say=interrupt)
    assert any(text.startswith("settings: ") for text in said)
    said.clear()
    again = tune(subject(Asked()), tried=TRIED[:2], attacks=["hard_label"], budgets=(40,), seeds=1,
                 resume=tmp_path, say=said.append)
    assert not any(text.startswith("settings: ") for text in said)
    anew = tune(subject(Asked()), tried=TRIED[:2], attacks=["hard_label"], budgets=(40,), seeds=1)
    assert [point.fidelity for point in again.points] == [point.fidelity for point in anew.points]


def test_what_a_copy_takes_is_told_at_the_limits() -> None:
    limited = Deployment(price=Price(usd_per_query=0.01), training_cost_usd=100.0,
                         limits=[Limit("limit_queries_per_day", "queries", 10.0, DAY)])
    found = tune(replace(subject(Asked()), deployment=limited, copy_share=0.05), tried=TRIED[:1],
                 attacks=["equation_solving", "hard_label"], budgets=(20, 40), seeds=1)
    point, = found.points
    assert point.queries_to_90 is not None
    share = max(0.05 * point.queries_to_90, 1.0)
    assert found.limits == {"limit_queries_per_day": 10.0, "limit_copy_share_per_day": pytest.approx(share)}
    assert point.days_to_90 == pytest.approx((point.queries_to_90 - share) / share)
    assert point.usd_to_90 == pytest.approx(0.01 * point.queries_to_90)
    assert {effort.usd for effort in found.efforts} == {0.1, 1.0}
    assert max(effort.fidelity for effort in found.efforts) == point.fidelity
    assert found.chosen_limit is None
    assert "no honest traffic is known" in found.limit_reason


def test_a_result_survives_its_json() -> None:
    found = tune(subject(Asked()), tried=TRIED[:2], attacks=["hard_label"], budgets=(40,), seeds=1)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Tuned) == found
