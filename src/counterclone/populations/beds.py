"""Beds: a data set in parts that share nothing, and a model that was trained on the first."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from counterclone.answers import Rows
from counterclone.errors import ConfigError
from counterclone.plugins import did_you_mean
from counterclone.populations import datasets, domains
from counterclone.populations.datasets import Dataset
from counterclone.populations.domains import Draw
from counterclone.populations.looks import ImageLook, Look, ShareLook, TableLook
from counterclone.queries import Features
from counterclone.randomness import generator

Part = Literal["training", "calibration", "tuning", "evaluation", "attack"]
SHARES: Mapping[Part, float] = {"training": 0.3, "calibration": 0.2, "tuning": 0.15, "evaluation": 0.2,
                                "attack": 0.15}
"""What the model learnt from; what honest accounts ask while detectors are calibrated, tuned and judged; what a
copier has."""
_SPLIT_SEED = 5
_HIDDEN = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Bed:
    """A model and who asks it.

    Attributes:
        name: of the data set.
        parts: the data, cut once and for all.
        answer: the model: (n, features) to probabilities, (n, classes).
        look: how senders differ.
        natural: draws inputs of another world.
        near: draws inputs of a neighbouring one.
        lower: the least value of each feature, (features,).
        upper: the largest.
        step: values are whole multiples of it, 0 for any.
        side: of its images in pixels, 0 where they are none.
        accuracy: of the model, on the parts that it didn't learn from.
    """

    name: str
    parts: Mapping[Part, Dataset]
    answer: Callable[[Features], Rows]
    look: Look
    natural: Draw
    near: Draw
    lower: Features
    upper: Features
    step: float
    side: int
    accuracy: float

    @property
    def n_classes(self) -> int:
        """Classes of an answer."""
        return int(self.parts["training"].labels.max()) + 1


def names() -> list[str]:
    """Every bed there is."""
    return sorted(_BEDS)


@functools.cache
def load(name: str, release: int = 0) -> Bed:
    """A bed; its model is fitted once in a process.

    Args:
        name: digits, mnist, letter, spambase or langid.
        release: another number is a model that was trained anew, on the same data, as its owner may release one.

    Raises:
        ConfigError: there is no such bed, or its data set isn't installed.
    """
    if name not in _BEDS:
        raise ConfigError(f"there is no bed '{name}'{did_you_mean(name, names())}; expected one of "
                          f"{', '.join(names())}")
    recipe = _BEDS[name]
    whole = recipe.data()
    parts = _cut(whole)
    lower, upper = whole.inputs.min(axis=0), whole.inputs.max(axis=0)
    if recipe.side:
        lower, upper = np.zeros_like(lower), np.ones_like(upper)
    facts = _Facts(parts, lower, upper)
    answer = _fitted(parts["training"], release, is_scaled=bool(recipe.side))
    rest = [part for purpose, part in parts.items() if purpose != "training"]
    right = np.concatenate([answer(part.inputs).argmax(axis=1) == part.labels for part in rest])
    return Bed(name=name, parts=parts, answer=answer, look=recipe.look(facts), natural=recipe.natural(facts),
               near=recipe.near(facts), lower=lower, upper=upper, step=recipe.step, side=recipe.side,
               accuracy=float(right.mean()))


@dataclass(frozen=True)
class _Recipe:
    """How a bed is made; `look`, `natural` and `near` are made of what is known by then."""

    data: Callable[[], Dataset]
    look: Callable[[_Facts], Look]
    natural: Callable[[_Facts], Draw]
    near: Callable[[_Facts], Draw]
    side: int = 0
    step: float = 0.0


class _Facts(NamedTuple):
    parts: Mapping[Part, Dataset]
    lower: Features
    upper: Features


_BEDS = {
    "digits": _Recipe(datasets.digits, lambda _: ImageLook(8), lambda _: domains.patches(8),
                      lambda _: domains.chosen(domains.smaller_digits), side=8),
    "mnist": _Recipe(datasets.mnist, lambda _: ImageLook(28, move=0.5), lambda _: domains.patches(28),
                     lambda _: domains.chosen(domains.larger_digits), side=28),
    "letter": _Recipe(
        lambda: datasets.keel("letter"),
        lambda facts: TableLook(facts.lower, facts.upper, facts.parts["training"].inputs.std(axis=0), step=1.0),
        lambda facts: domains.foreign("penbased", facts.lower, facts.upper),
        lambda facts: domains.marginals(facts.parts["attack"].inputs), step=1.0),
    "spambase": _Recipe(
        lambda: datasets.keel("spambase"), lambda facts: ShareLook(facts.lower, facts.upper),
        lambda facts: domains.foreign("optdigits", facts.lower, facts.upper),
        lambda facts: domains.marginals(facts.parts["attack"].inputs)),
    "langid": _Recipe(
        lambda: datasets.languages(datasets.LANGUAGES), lambda facts: ShareLook(facts.lower, facts.upper),
        lambda _: domains.chosen(datasets.english),
        lambda _: domains.chosen(lambda: datasets.languages(datasets.OTHER_LANGUAGES).inputs)),
}


def _cut(whole: Dataset) -> dict[Part, Dataset]:
    order = generator(_SPLIT_SEED, "parts").permutation(len(whole.labels))
    ends = np.rint(np.cumsum(list(SHARES.values()))[:-1] * len(order)).astype(np.intp)
    return {name: Dataset(whole.inputs[rows], whole.labels[rows])
            for name, rows in zip(SHARES, np.split(order, ends), strict=True)}


def _fitted(part: Dataset, release: int, *, is_scaled: bool) -> Callable[[Features], Rows]:
    """A network with one hidden layer, which its owner stops early."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((_HIDDEN,), alpha=1e-3, learning_rate_init=3e-3, max_iter=60, random_state=release)
    # a pixel that is nearly always white would be stretched beyond measure
    model: Any = network if is_scaled else make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(part.inputs, part.labels)
    answer: Callable[[Features], Rows] = model.predict_proba
    return answer
