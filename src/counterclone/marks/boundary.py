"""A fingerprint, no mark: a copy says the same close to the borders between the target's classes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterclone.answers import Reply, Rows, top_labels
from counterclone.evidence import Rank
from counterclone.marks._probes import Model, Portrait, Probes, between
from counterclone.plugins import Spec
from counterclone.queries import Features, Inputs

DISTANCE = 0.05


class Boundary(Spec, frozen=True):
    """The suspect's labels close to the target's borders, ranked among independent models; for theft before marks.

    `prepare` goes from inputs of one class to inputs of another, finds by bisection where the target's label
    changes, and keeps an input shortly before and one shortly behind. There, models that learnt the same task say
    different things, and a copy says more often what the target says. `counterclone prove` reports the rank of
    the suspect among the independent models; it is never below 1/(models + 1) and never decides a verdict.

    The rank is worth as much as the independent models are like the suspect in kind, size and data. A model that
    was trained on the target's own training data ranks like a copy.

    Attributes:
        probes: the file that `prepare` made, from the configuration's folder.

    Source: Cao, Jia and Gong, IPGuard (AsiaCCS 2021); the surplus over independent models is ours.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"label"})

    probes: str

    def prepare(self, target: Model, nulls: Sequence[Model], inputs: Features, *, n: int = 1000,
                seed: int = 0) -> None:
        """Make the file of probes.

        Args:
            target: the owner's model, (n, features) to (n, classes).
            nulls: models that are known as independent, at least 20.
            inputs: what the target is asked in earnest, of several classes.
            n: how many probes.
            seed: draws them.

        Raises:
            ConfigError: too few models, or answers that don't fit each other.
        """
        Probes.of(between(target, inputs, n, seed, DISTANCE), target, nulls).write(Path(self.probes))

    def compare(self, folder: Path) -> Generator[Inputs, Reply, Rank]:
        """Ask a suspect the probes."""
        return Probes.read(folder / self.probes).compare("boundary", Matching())


class Matching:
    """Models are as alike as they give the same labels."""

    def portrait(self, rows: Rows) -> Portrait:
        """The labels: (n,)."""
        return top_labels(rows)

    def likeness(self, one: Portrait, other: Portrait) -> float:
        """The share of equal ones."""
        return float(np.mean(one == other))
