from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad

from counterclone import plugins
from counterclone.answers import Rows
from counterclone.attacks._linear import log_rows, with_ones
from counterclone.attacks._regression import Evidence, by_labels, by_log_ratios, shown
from counterclone.randomness import generator
from counterclone.testing import example_rows, release

RNG = generator(0, "regression")
PARAMETERS = RNG.normal(size=(5, 4))
DESIGN = with_ones(RNG.uniform(-1.0, 1.0, (60, 3)))
ROWS = np.exp(log_rows(DESIGN @ PARAMETERS.T))


def cut(rows: Rows, **options: Any) -> Rows:
    policy: Any = plugins.build("policies", {"kind": "truncation", **options}, "here")
    return release(policy, rows)


@pytest.mark.parametrize("rows", [ROWS, cut(ROWS, top_k=2), cut(ROWS, top_k=2, rest="drop"), cut(ROWS, top_k=1)],
                         ids=["whole", "uniform rest", "dropped rest", "one"])
def test_the_loss_is_least_at_the_model_that_answered(rows: Rows) -> None:
    evidence = Evidence(rows)
    logits = np.log(ROWS)

    def loss(flat: Rows) -> float:
        return evidence.loss(flat.reshape(rows.shape))[0]

    def slope(flat: Rows) -> Rows:
        return evidence.loss(flat.reshape(rows.shape))[1].ravel()

    np.testing.assert_allclose(slope(logits.ravel()), 0.0, atol=1e-12)
    elsewhere = (logits + 0.3 * RNG.normal(size=logits.shape)).ravel()
    assert check_grad(loss, slope, elsewhere) < 1e-6
    assert loss(elsewhere) > loss(logits.ravel())


def test_what_was_cut_is_told_from_what_is_whole() -> None:
    kept, is_dropped = shown(cut(ROWS, top_k=2))
    assert (kept.sum(axis=1) == 2).all()
    assert not is_dropped
    kept, is_dropped = shown(cut(ROWS, top_k=3, rest="drop"))
    assert (kept.sum(axis=1) == 3).all()
    assert is_dropped
    wholes: list[Rows] = [ROWS, np.eye(5), example_rows(60, 5), np.rint(10.0 * ROWS) / 10.0]
    assert all(shown(whole)[0].all() for whole in wholes)


def test_log_ratios_are_solved_though_some_are_lost() -> None:
    rows = ROWS.copy()
    rows[::7, 1] = 0.0
    found = by_log_ratios(DESIGN, rows)
    np.testing.assert_allclose(found - found[0], PARAMETERS - PARAMETERS[0], atol=1e-10)


def test_labels_are_fitted_whatever_the_rows_say() -> None:
    found = by_labels(DESIGN, ROWS)
    np.testing.assert_array_equal(found, by_labels(DESIGN, np.eye(5)[ROWS.argmax(axis=1)]))
    assert ((DESIGN @ found.T).argmax(axis=1) == ROWS.argmax(axis=1)).mean() > 0.95
