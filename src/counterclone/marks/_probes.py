"""What the owner's model and models known as independent answer to the same inputs, and a suspect's rank in it.

A suspect isn't ranked by its likeness to the target alone: a good model is like every other one, and a forest like
forests. It is ranked, too, by how much more it is like the target than like the half of the models that are most
like the target. Each of the independent models is treated as the suspect is, the suspect being one of the others
then, so the rank of one more independent model is uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone import statistics
from counterclone.answers import NAMED_TOLERANCE, Reply, Rows, sum_error, top_labels
from counterclone.errors import BudgetExhausted, ConfigError, TargetError
from counterclone.evidence import Rank
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator

LEAST_NULLS = 20
AT_ONCE = 256
HALVINGS = 30
DIMENSIONS = {"inputs": 2, "target": 2, "nulls": 3}

Model = Callable[[Features], Rows]
Portrait = NDArray[Any]


class Likeness(Protocol):
    """How alike two models are, by their answers to the same inputs."""

    def portrait(self, rows: Rows) -> Portrait:
        """What of a model's answers, (n, classes), is compared."""
        ...

    def likeness(self, one: Portrait, other: Portrait) -> float:
        """1 for the same."""
        ...


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Inputs that models answer differently, and how they answer them.

    Attributes:
        inputs: (n, features).
        target: the rows of the owner's model, (n, classes).
        nulls: those of independent models, (nulls, n, classes).
    """

    inputs: Features
    target: Rows
    nulls: NDArray[np.float64]

    @classmethod
    def of(cls, inputs: Features, target: Model, nulls: Sequence[Model]) -> Probes:
        """Ask the models.

        Raises:
            ConfigError: there are too few independent models, or their answers don't fit the target's.
        """
        if len(nulls) < LEAST_NULLS:
            raise ConfigError(f"a fingerprint needs {LEAST_NULLS} independent models, got {len(nulls)}; among "
                              "fewer no rank is below 5 %")
        inputs = np.asarray(inputs, dtype=np.float64)
        rows = np.asarray(target(inputs), dtype=np.float64)
        others = [np.asarray(null(inputs), dtype=np.float64) for null in nulls]
        for number, each in enumerate(others):
            if each.shape != rows.shape:
                raise ConfigError(f"independent model {number} answers with shape {each.shape}, the target with "
                                  f"{rows.shape}; expected the same classes in the same order")
        return cls(inputs=inputs, target=rows, nulls=np.stack(others))

    @classmethod
    def read(cls, path: Path) -> Probes:
        """Those of a file.

        Raises:
            ConfigError: it isn't there, or isn't one that `write` made.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = cls(**{name: file[name] for name in DIMENSIONS})
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}; the mark's `prepare` makes it") from None
        except Exception as error:  # whatever reading a broken archive raises
            raise ConfigError(f"{path}: isn't a file of probes ({type(error).__name__}: {error}); make it by the "
                              "mark's `prepare`") from None
        if problem := found._problem():
            raise ConfigError(f"{path}: {problem}; make it again by the mark's `prepare`")
        return found

    def write(self, path: Path) -> None:
        """Write them to a file."""
        with path.open("wb") as opened:
            np.savez_compressed(opened, inputs=self.inputs, target=self.target, nulls=self.nulls)

    def compare(self, kind: str, by: Likeness) -> Generator[Inputs, Reply, Rank]:
        """Ask a suspect, and rank it."""
        n_classes = self.target.shape[1]
        rows = np.empty((0, n_classes))
        try:
            while len(rows) < len(self.inputs):
                reply = yield self.inputs[len(rows):len(rows) + AT_ONCE]
                if reply.rows.shape[1] != n_classes:
                    raise TargetError(f"the suspect has {reply.rows.shape[1]} classes, the target {n_classes}; "
                                      "expected the same classes in the same order; wrap the suspect in a "
                                      "function that maps them")
                rows = np.concatenate([rows, reply.rows])
        except BudgetExhausted:
            pass
        return self._rank(kind, by, rows)

    def _rank(self, kind: str, by: Likeness, rows: Rows) -> Rank:
        n = len(rows)
        if n < 2:
            return Rank(kind=kind, likeness=0.0, likest=0.0, surplus=0.0, p_value=1.0, p_likeness=1.0,
                        nulls=len(self.nulls), queries=n)
        target = by.portrait(self.target[:n])
        models = [*(by.portrait(null[:n]) for null in self.nulls), by.portrait(rows)]
        to_target = np.array([by.likeness(model, target) for model in models])
        to_others = np.array([[by.likeness(one, other) for other in models] for one in models])
        surplus = _surplus(to_target, to_others)
        return Rank(kind=kind, likeness=float(to_target[-1]), likest=float(to_target[:-1].max()),
                    surplus=float(surplus[-1]), nulls=len(self.nulls), queries=n,
                    p_value=_rank(surplus), p_likeness=_rank(to_target))

    def _problem(self) -> str:
        """What is wrong with them, in words; "" for nothing."""
        for name, dimensions in DIMENSIONS.items():
            array = getattr(self, name)
            if array.dtype != np.float64 or array.ndim != dimensions or not np.isfinite(array).all():
                return f"`{name}` isn't {dimensions} dimensions of finite 64-bit numbers"
        shape = self.target.shape
        if self.nulls.shape[1:] != shape or len(self.inputs) != shape[0] or not self.target.size:
            return "`inputs`, `target` and `nulls` don't fit each other"
        if len(self.nulls) < LEAST_NULLS:
            return f"it holds {len(self.nulls)} independent models; {LEAST_NULLS} are the least"
        if max(sum_error(self.target), sum_error(self.nulls.reshape(-1, self.nulls.shape[2]))) > NAMED_TOLERANCE:
            return "`target` or `nulls` aren't rows of probabilities"
        return ""


def _rank(figures: NDArray[np.float64]) -> float:
    """The last one's, among the others."""
    return statistics.rank_p_value(float(figures[-1]), figures[:-1])


def _surplus(to_target: NDArray[np.float64], to_others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Likeness to the target beyond that to the half of the others that is most like it: (models,)."""
    n = len(to_target)
    found = np.empty(n)
    for model in range(n):
        others = np.delete(np.arange(n), model)
        nearest = others[np.argsort(-to_target[others], kind="stable")[:n // 2]]
        found[model] = to_target[model] - to_others[model, nearest].mean()
    return found


def between(target: Model, inputs: Features, n: int, seed: int, distance: float) -> Features:
    """Inputs on the way between two that the target tells apart, a bit before and behind where its label changes.

    Args:
        target: the owner's model.
        inputs: what it is asked in earnest, (inputs, features).
        n: how many.
        seed: draws them.
        distance: from where the label changes, as a share of the way.

    Raises:
        ConfigError: it gives all inputs one label.
    """
    labels = top_labels(np.asarray(target(inputs), dtype=np.float64))
    if len(np.unique(labels)) < 2:
        raise ConfigError(f"the target gives all {len(inputs)} inputs one label; expected inputs of several "
                          "classes")
    rng = generator(seed, "between")
    starts, ends = rng.integers(len(labels), size=(2, -(-n // 2)))
    while len(same := np.flatnonzero(labels[starts] == labels[ends])):
        ends[same] = rng.integers(len(labels), size=len(same))
    start, way = inputs[starts], inputs[ends] - inputs[starts]
    before, behind = np.zeros(len(starts)), np.ones(len(starts))
    for _ in range(HALVINGS):
        middle = (before + behind) / 2
        is_before = top_labels(np.asarray(target(start + middle[:, None] * way))) == labels[starts]
        before, behind = np.where(is_before, middle, before), np.where(is_before, behind, middle)
    places = np.concatenate([np.maximum(before - distance, 0.0), np.minimum(behind + distance, 1.0)])[:n]
    found: Features = np.tile(start, (2, 1))[:n] + places[:, None] * np.tile(way, (2, 1))[:n]
    return found


