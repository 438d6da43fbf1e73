"""Make the weights of the rule `elicitation`: `python -m benchmarks.elicitation_training` writes them again.

Requests are written from `elicitations.py`; honest ones from those of `look_alikes.py` around packaged texts.
Runs of words that an honest text would be flagged for are added to what is learned from, twice. The middle and
the slope of the score come from honest requests that weren't learned from: at 0.5 one in 67 is flagged, at 0.9
one in 5,000.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from benchmarks.corpora import articles
from benchmarks.elicitations import ATTACKS, Family, write
from benchmarks.look_alikes import HONEST
from benchmarks.prompts import mails, questions
from counterclone import rules
from counterclone.randomness import Generator, generator
from counterclone.rules._phrases import PLACES_BITS, Model, Places, places

PER_FAMILY = 400
"""Requests that are learned of a family."""
FLAGGED, REFUSED = 0.015, 0.0002
"""Of honest requests, at a score of 0.5 and of 0.9."""
WRAPPING = 1500
"""Characters before and after a request at most."""
ROUNDS = 2
RUN = 32
"""Words of an honest text that are learned from at first."""
STRENGTH = 0.3
"""The inverse of the regularisation."""
LONGEST_TEXT = 4000


class Texts(NamedTuple):
    """Packaged texts: e-mails and articles, and what one may ask about."""

    texts: Sequence[str]
    topics: Sequence[str]
    questions: Sequence[str]

    def part(self, start: float, end: float) -> Texts:
        """Those between two shares of all."""
        return Texts(*(each[int(start * len(each)):int(end * len(each))] for each in self))


def packaged() -> Texts:
    """All of them, shuffled once and for all.

    Raises:
        SystemExit: a package isn't there.
    """
    found = [*articles("foldoc"), *articles("jargon"), *(body for _, body in mails())]
    texts = sorted({text for each in found if len(text := " ".join(each[:LONGEST_TEXT].split())) > 40})
    topics = sorted({topic for each in articles("foldoc") if 3 <= len(topic := each.split(" <")[0]) <= 40})
    return Texts(*(_shuffled(each) for each in (texts, topics, sorted({text for _, text in questions()}))))


def _shuffled(texts: Sequence[str]) -> list[str]:
    return [texts[i] for i in generator(0, "elicitation", "texts").permutation(len(texts)).tolist()]


class Writer:
    """Writes requests around packaged texts, drawing both.

    Args:
        texts: what they are about.
        rng: everything random comes from it.
    """

    def __init__(self, texts: Texts, rng: Generator) -> None:
        self._texts, self._rng = texts, rng

    def _drawn(self, texts: Sequence[str]) -> Callable[[], str]:
        return lambda: texts[int(self._rng.integers(len(texts)))]

    def written(self, family: Family, n: int) -> list[str]:
        """Requests of a family."""
        return [self._one(family[int(i)]) for i in self._rng.integers(len(family), size=n)]

    def plain(self) -> list[str]:
        """Each text and each topic once, in a plain request."""
        wanted = [*((text, (*HONEST["texts"], HONEST["text given"][1])) for text in self._texts.texts),
                  *((topic, HONEST["plain questions"]) for topic in self._texts.topics)]
        asked = [write(fitting[int(self._rng.integers(len(fitting)))], self._rng, partial(str, text),
                       partial(str, text)) for text, fitting in wanted]
        return [*asked, *self._texts.questions]

    def wrapped(self, family: Family, n: int) -> list[str]:
        """Requests of a family between honest texts, of up to 1,500 characters each."""
        return [" ".join((self._some(), request, self._some())) for request in self.written(family, n)]

    def _one(self, grammar: str) -> str:
        return write(grammar, self._rng, self._drawn(self._texts.texts), self._drawn(self._texts.topics))

    def _some(self) -> str:
        return self._drawn(self._texts.texts)()[:int(self._rng.integers(WRAPPING))]


def trained(attacks: Mapping[str, Family], honest: Mapping[str, Family], texts: Texts, seed: int) -> Model:
    """A model of some families.

    Args:
        attacks: what it is to tell.
        honest: what looks like it.
        texts: what requests are about; a quarter sets the scale of scores alone.
        seed: of everything random.
    """
    rng = generator(seed, "elicitation")
    learned, scale = Writer(texts.part(0.0, 0.75), rng), Writer(texts.part(0.75, 1.0), rng)
    sought = [request for family in attacks.values() for request in learned.written(family, PER_FAMILY)]
    hard = [request for family in honest.values() for request in learned.written(family, PER_FAMILY)]
    ordinary = [places(request) for request in (*hard, *learned.plain())]
    positives, negatives = [places(request) for request in sought], [_some_run(each, rng) for each in ordinary]
    model = _fitted(positives, negatives)
    for _ in range(ROUNDS):
        negatives += [model.heaviest(each) for each in ordinary if model.weigh(each) > model.middle]
        model = _fitted(positives, negatives)
    others = (request for family in honest.values() for request in scale.written(family, PER_FAMILY // 4))
    return _scaled(model, np.array([model.weigh(places(request)) for request in (*scale.plain(), *others)]))


def _some_run(found: Places, rng: Generator) -> Places:
    start = int(rng.integers(max(len(found) - RUN, 0) + 1))
    return found[start:start + RUN]


def _fitted(positives: Sequence[Places], negatives: Sequence[Places]) -> Model:
    """Weights in 8 bits; the middle is where both are as likely."""
    each = [found.ravel() for found in (*positives, *negatives)]
    columns = np.concatenate(each)
    ends = np.cumsum([0, *map(len, each)])
    matrix = csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(each), 1 << PLACES_BITS))
    labels = np.arange(len(each)) < len(positives)
    fit = LogisticRegression(C=STRENGTH, solver="liblinear", class_weight="balanced", max_iter=200, tol=1e-3,
                             random_state=0).fit(matrix, labels)
    unit = np.abs(fit.coef_).max() / 127
    weights: NDArray[np.int8] = np.rint(fit.coef_[0] / unit).astype(np.int8)
    return Model(weights, float(-fit.intercept_[0] / unit), float(unit))


def _scaled(model: Model, honest: NDArray[np.float64]) -> Model:
    """The same with scores of 0.5 and 0.9 where as many honest requests are as they are to be."""
    flagged, refused = np.quantile(honest, (1 - FLAGGED, 1 - REFUSED))
    return model._replace(middle=float(flagged), slope=float(np.log(9) / max(refused - flagged, 1.0)))


if __name__ == "__main__":
    trained(ATTACKS, HONEST, packaged(), 0).save(Path(rules.__path__[0]) / "elicitation.npz")
