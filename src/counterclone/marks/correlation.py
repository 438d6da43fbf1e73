"""A fingerprint, no mark: what the target gets wrong, a copy gets wrong in the same way."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import ConfigError
from counterclone.evidence import Rank
from counterclone.marks._probes import Model, Portrait, Probes
from counterclone.plugins import Spec
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator

LEAST = 20


class Correlation(Spec, frozen=True):
    """How the suspect's answers to the target's mistakes go together, ranked among independent models.

    `prepare` keeps inputs that the target labels wrongly. Which of them a model answers alike, and how alike, is a
    table of correlations between its answers, whatever they are called; a copy's table is nearer to the target's
    than those of independent models. `counterclone prove` reports the rank of the suspect among them; it is never
    below 1/(models + 1) and never decides a verdict.

    The rank is worth as much as the independent models are like the suspect in kind, size and data. A model that
    was trained on the target's own training data ranks like a copy. Who shows labels only tells less.

    Attributes:
        probes: the file that `prepare` made, from the configuration's folder.

    Source: Guan, Liang and He, SAC (NeurIPS 2022); the surplus over independent models is ours.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"scores"})

    probes: str

    def prepare(self, target: Model, nulls: Sequence[Model], inputs: Features, labels: NDArray[np.intp], *,
                n: int = 200, seed: int = 0) -> None:
        """Make the file of probes.

        Args:
            target: the owner's model, (n, features) to (n, classes).
            nulls: models that are known as independent, at least 20.
            inputs: of which the target gets at least 20 wrong.
            labels: what they truly are, (inputs,).
            n: how many probes at the most.
            seed: draws them.

        Raises:
            ConfigError: too few models or mistakes, or answers that don't fit each other.
        """
        wrong = np.flatnonzero(top_labels(np.asarray(target(inputs), dtype=np.float64)) != labels)
        if len(wrong) < LEAST:
            raise ConfigError(f"the target gets {len(wrong)} of {len(inputs)} inputs wrong; expected {LEAST} at "
                              "least; bring more inputs that it wasn't trained on")
        chosen = generator(seed, "correlation").permutation(wrong)[:n]
        Probes.of(inputs[chosen], target, nulls).write(Path(self.probes))

    def compare(self, folder: Path) -> Generator[Inputs, Reply, Rank]:
        """Ask a suspect the probes."""
        return Probes.read(folder / self.probes).compare("correlation", Together())


class Together:
    """Models are as alike as the correlations between their answers."""

    def portrait(self, rows: Rows) -> Portrait:
        """The correlation of each answer with each, 0 for one without ups and downs: (n, n)."""
        centred = rows - rows.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0.0)
        found: Portrait = unit @ unit.T
        return found

    def likeness(self, one: Portrait, other: Portrait) -> float:
        """1 less the mean difference."""
        return 1.0 - float(np.abs(one - other).mean())
