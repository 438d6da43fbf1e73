"""Boundary: where the probes are, and whom the rank tells."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import BudgetExhausted, ConfigError, TargetError
from counterclone.evidence import Rank
from counterclone.marks._probes import Probes, between
from counterclone.marks.boundary import DISTANCE, Boundary, Matching
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator as RandomGenerator
from counterclone.randomness import generator

WIDTH, CLASSES = 6, 4
Model = Callable[[Features], Rows]


def linear(weights: NDArray[np.float64]) -> Model:
    def answer(inputs: Features) -> Rows:
        powers = np.exp(inputs @ weights)
        rows: Rows = powers / powers.sum(axis=1, keepdims=True)
        return rows
    return answer


TASK = generator(0, "task").standard_normal((WIDTH, CLASSES))


def learnt(rng: RandomGenerator, of: NDArray[np.float64] = TASK, by: float = 0.3) -> NDArray[np.float64]:
    """What somebody made of a task, or of another's model."""
    found: NDArray[np.float64] = of + by * rng.standard_normal((WIDTH, CLASSES))
    return found


TARGET = learnt(generator(0, "target"))
NULLS = [linear(learnt(generator(0, "null", number))) for number in range(24)]
INPUTS = generator(0, "inputs").standard_normal((300, WIDTH))


def asked(comparing: Generator[Inputs, Reply, Rank], suspect: Model, limit: int = 10**9) -> Rank:
    n_asked = 0
    try:
        inputs = next(comparing)
        while True:
            if n_asked + len(inputs) > limit:
                inputs = comparing.throw(BudgetExhausted("enough"))
            n_asked += len(inputs)
            inputs = comparing.send(Reply(suspect(np.asarray(inputs))))
    except StopIteration as stop:
        rank: Rank = stop.value
    assert rank.queries == n_asked
    return rank


def made(folder: Path, n: int = 600) -> Boundary:
    Boundary(probes=str(folder / "probes.npz")).prepare(linear(TARGET), NULLS, INPUTS, n=n)
    return Boundary(probes="probes.npz")


def test_probes_lie_on_both_sides_of_where_the_label_changes() -> None:
    target = linear(TARGET)
    probes = between(target, INPUTS, 400, 0, DISTANCE)
    assert probes.shape == (400, WIDTH)
    before, behind = top_labels(target(probes[:200])), top_labels(target(probes[200:]))
    assert (before != behind).mean() > 0.9  # all but those that meet a third class within the distance
    margins = np.sort(target(probes), axis=1)
    everyday = np.sort(target(INPUTS), axis=1)
    assert np.median(margins[:, -1] - margins[:, -2]) < 0.5 * np.median(everyday[:, -1] - everyday[:, -2])


def test_a_copy_ranks_first_and_no_lower_than_the_number_of_models_allows(tmp_path: Path) -> None:
    mark = made(tmp_path)
    rank = asked(mark.compare(tmp_path), linear(learnt(generator(0, "copy"), TARGET, 0.05)))
    assert (rank.kind, rank.nulls, rank.queries) == ("boundary", 24, 600)
    assert rank.p_value == 1 / 25
    assert rank.likeness > rank.likest
    assert rank.p_likeness == 1 / 25


def test_independent_models_rank_anywhere() -> None:
    """Whichever of many models is the suspect, all ranks are as likely: an exact test on exchangeable ones."""
    target = linear(TARGET)
    probes = between(target, INPUTS, 200, 0, DISTANCE)
    p_values = []
    for trial in range(60):
        nulls = [linear(learnt(generator(trial, "null", number))) for number in range(21)]
        found = Probes.of(probes, target, nulls[:20])
        p_values.append(asked(found.compare("boundary", Matching()), nulls[20]).p_value)
    assert 0.38 < np.mean(p_values) < 0.64
    assert sum(p <= 0.1 for p in p_values) <= 13


def test_it_ends_with_what_it_has(tmp_path: Path) -> None:
    mark = made(tmp_path)
    copy = linear(TARGET)
    assert asked(mark.compare(tmp_path), copy, 0).p_value == 1.0
    assert asked(mark.compare(tmp_path), copy, 300).p_value == 1 / 25


def test_a_suspect_of_other_classes_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="7 classes"):
        asked(made(tmp_path).compare(tmp_path), lambda inputs: np.full((len(inputs), 7), 1 / 7))


def test_models_that_dont_fit_are_refused() -> None:
    target = linear(TARGET)
    with pytest.raises(ConfigError, match="20 independent models, got 3"):
        Probes.of(INPUTS, target, NULLS[:3])
    with pytest.raises(ConfigError, match="independent model 20 answers"):
        Probes.of(INPUTS, target, [*NULLS[:20], lambda inputs: target(inputs)[:, :2]])
    with pytest.raises(ConfigError, match="one label"):
        between(lambda inputs: np.tile([0.9, 0.1], (len(inputs), 1)), INPUTS, 10, 0, DISTANCE)


SOUND = {"inputs": np.zeros((2, 3)), "target": np.full((2, 2), 0.5), "nulls": np.full((20, 2, 2), 0.5)}


@pytest.mark.parametrize(("arrays", "problem"), [
    ({"inputs": np.zeros((2, 3))}, "isn't a file of probes"),
    ({**SOUND, "nulls": np.full((20, 3, 2), 0.5)}, "don't fit"),
    ({**SOUND, "nulls": np.full((3, 2, 2), 0.5)}, "3 independent"),
    ({**SOUND, "target": np.full((2, 2), 0.9)}, "probabilities"),
    ({**SOUND, "inputs": np.zeros(3)}, "`inputs`"),
    ({**SOUND, "inputs": np.array(["a"], dtype=object)}, "isn't a file of probes"),
])
def test_files_that_dont_hold_together_are_refused(arrays: dict[str, NDArray[np.generic]], problem: str,
                                                   tmp_path: Path) -> None:
    np.savez(tmp_path / "probes.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=problem):
        Probes.read(tmp_path / "probes.npz")


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        next(Boundary(probes="probes.npz").compare(tmp_path))
    (tmp_path / "probes.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ConfigError, match="isn't a file of probes"):
        next(Boundary(probes="probes.npz").compare(tmp_path))
