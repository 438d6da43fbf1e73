"""Green pairs summed up: what a suspect's text says of one key, or of several together."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone import statistics
from counterclone.marks._green import Codes
from counterclone.marks._pairs import Numbers, Pairs, surplus

Test = Literal["unique", "difference", "mixture", "both", "open"]
OF_BOTH = 2
"""What the better of two tests is paid for with."""


class Score(NamedTuple):
    """What one key sees, or several together.

    Attributes:
        hits: distinct pairs of the suspect that are green.
        total: the weights of green pairs, less what is expected of them.
        n_keys: how many keys.
    """

    hits: int
    total: float
    n_keys: int = 1

    def plus(self, other: Score) -> Score:
        """Both together: the bits of different keys are independent."""
        return Score(self.hits + other.hits, self.total + other.total, self.n_keys + other.n_keys)


class Scoring:
    """The statistics of one suspect's pairs, fixed before any key is used.

    Args:
        test: which one decides.
        rate: the chance that a pair is green, if the suspect is independent of the key.
        pairs: the suspect's.
        references: the owner's model's, and a public one's, where the test needs them.

    Attributes:
        codes: every pair that counts, ascending, (n,).
        trials: the suspect's distinct pairs.
    """

    def __init__(self, test: Test, rate: float, pairs: Pairs, *references: Pairs) -> None:
        self._test, self._rate = test, rate
        self.codes, self._weights = pairs.codes, np.zeros(len(pairs.codes))
        if references:
            self.codes, self._weights = surplus(pairs, *references)
        self._is_written = np.isin(self.codes, pairs.codes, assume_unique=True)
        self.trials = len(pairs.codes)

    @classmethod
    def by_surplus(cls, rate: float, codes: Codes, surplus: Numbers) -> Scoring:
        """The statistic of a suspect that tells probabilities.

        Args:
            rate: the chance that a pair is green, if the suspect is independent of the key.
            codes: the pairs, ascending, (n,).
            surplus: how much likelier the suspect holds each than it would without marked texts; of those that it
                does hold likelier, green ones are hits.
        """
        is_likelier = surplus > 0.0
        scoring = cls("open", rate, Pairs(codes[is_likelier], np.ones_like(codes[is_likelier])))
        scoring.codes, scoring._weights, scoring._is_written = codes, surplus, is_likelier
        return scoring

    def score(self, bits: NDArray[np.bool_]) -> Score:
        """Of a key's bits, (n,)."""
        return Score(int(np.count_nonzero(bits & self._is_written)),
                     float(self._weights[bits].sum() - self._rate * self._weights.sum()))

    def p_value(self, score: Score) -> float:
        """Exact for hits, a bound for weights."""
        of_hits = statistics.binomial_tail(score.hits, score.n_keys * self.trials, self._rate)
        if self._test == "unique":
            return of_hits
        of_weights = statistics.weighted_tail(score.total, self._tiled(score), self._rate)
        return min(1.0, OF_BOTH * min(of_hits, of_weights)) if self._test == "both" else of_weights

    def e_value(self, score: Score) -> float:
        """The likelihood ratio of a student to an independent suspect."""
        of_hits = statistics.e_value(score.hits, score.n_keys * self.trials, self._rate)
        if self._test == "unique":
            return of_hits
        of_weights = statistics.weighted_e_value(score.total, self._tiled(score), self._rate)
        return (of_hits + of_weights) / OF_BOTH if self._test == "both" else of_weights

    def z(self, score: Score) -> float:
        """The deciding statistic in its standard deviations, the larger of two: for ranks."""
        spread = np.sqrt(score.n_keys * self._rate * (1.0 - self._rate))
        n_expected = score.n_keys * self.trials * self._rate
        of_hits = (score.hits - n_expected) / (spread * np.sqrt(max(self.trials, 1)))
        if self._test == "unique":
            return float(of_hits)
        of_weights = score.total / (spread * max(float(np.linalg.norm(self._weights)), 1e-300))
        return float(max(of_hits, of_weights) if self._test == "both" else of_weights)

    def _tiled(self, score: Score) -> Numbers:
        return np.tile(self._weights, score.n_keys)
