"""Correlation: what goes together in a model's mistakes, and whom it tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.marks.test_boundary import INPUTS, NULLS, TARGET, TASK, asked, learnt, linear

from counterclone.answers import top_labels
from counterclone.errors import ConfigError
from counterclone.marks._probes import Probes
from counterclone.marks.correlation import Correlation, Together
from counterclone.randomness import generator

TRUTHS = top_labels(linear(TASK)(INPUTS))


def made(folder: Path) -> Correlation:
    Correlation(probes=str(folder / "probes.npz")).prepare(linear(TARGET), NULLS, INPUTS, TRUTHS)
    return Correlation(probes="probes.npz")


def test_the_probes_are_the_targets_mistakes(tmp_path: Path) -> None:
    made(tmp_path)
    probes = Probes.read(tmp_path / "probes.npz")
    known = {row.tobytes(): truth for row, truth in zip(INPUTS, TRUTHS, strict=True)}
    truths = np.array([known[row.tobytes()] for row in probes.inputs])
    assert len(truths) >= 20
    assert (top_labels(probes.target) != truths).all()


def test_a_copy_ranks_first_whatever_its_classes_are_called(tmp_path: Path) -> None:
    mark = made(tmp_path)
    copy = linear(learnt(generator(0, "copy"), TARGET, 0.05))
    rank = asked(mark.compare(tmp_path), copy)
    assert (rank.kind, rank.p_value) == ("correlation", 1 / 25)
    renamed = asked(mark.compare(tmp_path), lambda inputs: copy(inputs)[:, ::-1])
    assert renamed.likeness == pytest.approx(rank.likeness)


def test_others_dont() -> None:
    wrong = np.flatnonzero(top_labels(linear(TARGET)(INPUTS)) != TRUTHS)
    found = Probes.of(INPUTS[wrong], linear(TARGET), NULLS[:20])
    others = [linear(learnt(generator(1, "other", number))) for number in range(20)]
    p_values = [asked(found.compare("correlation", Together()), other).p_value for other in others]
    assert np.mean(p_values) > 0.25


def test_answers_without_ups_and_downs_go_with_nothing() -> None:
    portrait = Together().portrait(np.array([[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.1, 0.3, 0.3, 0.3]]))
    assert portrait == pytest.approx(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]))


def test_a_target_without_mistakes_gives_no_probes(tmp_path: Path) -> None:
    labels = top_labels(linear(TARGET)(INPUTS))
    with pytest.raises(ConfigError, match="gets 0 of 300 inputs wrong"):
        Correlation(probes=str(tmp_path / "probes.npz")).prepare(linear(TARGET), NULLS, INPUTS, labels)
