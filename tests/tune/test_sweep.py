"""A whole sweep on a model that is quick to copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterclone.errors import ConfigError
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.tune import Limits, Setting, Subject, tune

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
