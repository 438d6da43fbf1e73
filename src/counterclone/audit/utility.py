"""What honest users lose by what is shown."""

from __future__ import annotations

import msgspec
import numpy as np

from counterclone import statistics
from counterclone.answers import Rows, top_labels
from counterclone.fidelity import Labels, calibration_error, ranking_area, top_accuracy

TOP = 3


class Utility(msgspec.Struct, frozen=True, kw_only=True):
    """A surface's cost to honest users, on inputs such as they send.

    Attributes:
        label_changed: the share of answers with another label than the model's.
        label_changed_high: the upper end of its 95 % interval.
        accuracy_loss: of the top label; without true labels the share that changed.
        calibration_error_increase: None without true labels.
        brier_increase: of the whole row, likewise.
        top_3_loss: of the share of inputs whose true label is among the three likeliest, likewise; None of up to
            three classes, too.
        area_loss: of the mean area under the classes' ROC curves, likewise.
        l1: the mean distance of a row from the model's own.
        inputs: how many tell this.
    """

    label_changed: float
    label_changed_high: float
    accuracy_loss: float
    calibration_error_increase: float | None
    brier_increase: float | None
    l1: float
    inputs: int
    top_3_loss: float | None = None
    area_loss: float | None = None


def utility(rows: Rows, served: Rows, truth: Labels | None) -> Utility:
    """What is lost.

    Args:
        rows: the model's own answers, (n, classes).
        served: what callers get, likewise.
        truth: true labels, (n,), None where nobody knows them.
    """
    before, after = top_labels(rows), top_labels(served)
    changed = statistics.proportion(int((before != after).sum()), len(rows))
    loss, calibration, brier, top_3, area = changed.value, None, None, None, None
    if truth is not None:
        loss = float((before == truth).mean() - (after == truth).mean())
        calibration = calibration_error(served, truth) - calibration_error(rows, truth)
        brier = _brier(served, truth) - _brier(rows, truth)
        area = ranking_area(rows, truth) - ranking_area(served, truth)
        if rows.shape[1] > TOP:
            top_3 = top_accuracy(rows, truth, TOP) - top_accuracy(served, truth, TOP)
    return Utility(
        label_changed=changed.value, label_changed_high=changed.high, accuracy_loss=loss,
        calibration_error_increase=calibration, brier_increase=brier,
        l1=float(np.abs(served - rows).sum(axis=1).mean()), inputs=len(rows),
        top_3_loss=top_3, area_loss=area)


def _brier(rows: Rows, truth: Labels) -> float:
    """The mean squared distance of a row from the true label's (Brier 1950)."""
    return float(((rows - np.eye(rows.shape[1])[truth])**2).sum(axis=1).mean())
