"""The model that is audited, and the inputs that it is judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows
from counterclone.fidelity import Labels
from counterclone.protocols import Target
from counterclone.queries import Features, Inputs


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A target with what its owner knows.

    Attributes:
        target: the model itself.
        name: what reports call it.
        pool: inputs that an attacker may have, without answers: (n, features), or texts.
        pool_kind: `own` (from the deployment's distribution), `out-of-domain` or `uniform`.
        evaluate: inputs of the deployment that no attack sees: (m, features), or texts.
        truth: their true labels, (m,), None where nobody knows.
        answers: the target's own on `evaluate`, (m, classes).
        lower: the least sensible value of each feature, (features,); empty for texts.
        upper: the largest.
        uniform: inputs drawn evenly between them, (u, features); empty for texts.
        uniform_answers: the target's own on them, (u, classes).
        parameters: of a linear target, weights and a last column of intercepts, (classes, features + 1).
        n_parameters: of the target, None where nobody knows.
    """

    target: Target
    name: str
    pool: Inputs
    pool_kind: str
    evaluate: Inputs
    truth: Labels | None
    answers: Rows
    lower: Features
    upper: Features
    uniform: Features
    uniform_answers: Rows
    parameters: NDArray[np.float64] | None = None
    n_parameters: int | None = None

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.answers.shape[1])
