"""What copiers ask: pools of inputs, one function an attack.

    noise       evenly drawn numbers
    natural     inputs of another world: patches of photographs; pen strokes read as letters' measurements; English
    near        inputs of a neighbouring one: digits that others wrote and scanned; features drawn one by one;
                other European languages
    strongaug   own inputs, turned, scaled and moved by much; of tables as `mixup`
    mixup       weighted means of two own inputs
    jacobian    steps along the sign of a student's gradient, from few own inputs
    active      own inputs, and mixtures, that the model is least sure of
    random      own inputs, as they come
    audit/KIND  what the audit's attack of this kind asks, for example audit/knockoff
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from counterclone.errors import ConfigError
from counterclone.plugins import did_you_mean
from counterclone.populations.asking import top_margins
from counterclone.populations.beds import Bed
from counterclone.populations.replays import replay
from counterclone.queries import Features
from counterclone.randomness import Generator, generator

MOST = 20_000
"""Inputs in a pool; who asks more asks copies, moved a little."""


def pool(bed: Bed, attack: str, n: int, seed: int = 0) -> Features:
    """Up to `n` inputs that an attack asks, in the order of asking: (m, features).

    Args:
        bed: the model that is copied.
        attack: one of `POOLS`, or `audit/` and the kind of an attack.
        n: how many; 20,000 at most, and no more than there are where they are finite.
        seed: of everything drawn.

    Raises:
        ConfigError: there is no such attack.
    """
    family, _, kind = attack.rpartition("/")
    if family == "audit":
        return replay(bed, kind, min(n, MOST), seed)
    if attack not in POOLS:
        raise ConfigError(f"there is no attack '{attack}'{did_you_mean(attack, list(POOLS))}; expected one of "
                          f"{', '.join(POOLS)}, audit/KIND")
    drawn = POOLS[attack](bed, min(n, MOST), generator(seed, "pool", bed.name, attack))
    if bed.step:
        drawn = np.rint(drawn / bed.step) * bed.step
    inside: Features = drawn.clip(bed.lower, bed.upper)
    return inside


def noise(bed: Bed, n: int, rng: Generator) -> Features:
    """Each feature evenly within its range."""
    drawn: Features = rng.uniform(bed.lower, bed.upper, (n, len(bed.lower)))
    return drawn


def natural(bed: Bed, n: int, rng: Generator) -> Features:
    """Inputs of another world, which the bed knows."""
    return bed.natural(n, rng)


def near(bed: Bed, n: int, rng: Generator) -> Features:
    """Inputs of a neighbouring world, which the bed knows."""
    return bed.near(n, rng)


def strongaug(bed: Bed, n: int, rng: Generator) -> Features:
    """Images turned by up to 30 degrees, scaled by up to a quarter and moved by up to 15 %; tables mixed."""
    if not bed.side:
        return mixup(bed, n, rng)
    own = bed.parts["attack"].inputs
    chosen = own[_places(len(own), n, rng)].reshape(-1, bed.side, bed.side)
    middle = (bed.side - 1) / 2.0
    turned = np.empty_like(chosen)
    for place, image in enumerate(chosen):
        angle, scale = np.deg2rad(rng.uniform(-30.0, 30.0)), rng.uniform(0.75, 1.25)
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        matrix = np.array([[cosine, -sine], [sine, cosine]])
        moved = middle + rng.uniform(-0.15, 0.15, 2) * bed.side
        ndimage.affine_transform(image, matrix, middle - matrix @ moved, output=turned[place], order=1)
    return turned.reshape(n, -1)


def mixup(bed: Bed, n: int, rng: Generator) -> Features:
    """Weighted means of two own inputs."""
    own = bed.parts["attack"].inputs
    one, other = own[_places(len(own), n, rng)], own[rng.integers(0, len(own), n)]
    weights = rng.beta(0.8, 0.8, (n, 1))
    mixed: Features = weights * one + (1.0 - weights) * other
    return mixed


def random(bed: Bed, n: int, rng: Generator) -> Features:
    """Own inputs."""
    own = bed.parts["attack"].inputs
    chosen: Features = own[rng.permutation(len(own))[:n]]
    return chosen


def active(bed: Bed, n: int, rng: Generator) -> Features:
    """The fifth of own inputs that the model is least sure of; of mixtures with others once own ones run out."""
    own = bed.parts["attack"].inputs
    candidates = own[rng.permutation(len(own))]
    if 5 * n > len(own):
        candidates = np.concatenate([candidates, mixup(bed, 5 * n - len(own), rng)])
    margins = top_margins(bed.answer(candidates))
    return candidates[np.argsort(margins, kind="stable")[:n]][rng.permutation(n)]


def jacobian(bed: Bed, n: int, rng: Generator) -> Features:
    """Fifty own inputs (130 where there are more than ten classes), then steps from all before, twice as many each
    round (Juuti et al. 2019, section 3.2: the label to step to is drawn).
    """
    own = bed.parts["attack"].inputs
    asked = own[rng.permutation(len(own))[:min(n, 50 if bed.n_classes <= 10 else 5 * bed.n_classes)]]
    step = np.maximum(0.1 * (bed.upper - bed.lower), bed.step)
    while len(asked) < n:
        student = _Student(asked, bed.answer(asked), rng)
        targets = rng.integers(0, bed.n_classes, len(asked))
        moved = (asked + step * np.sign(student.gradient(asked, targets))).clip(bed.lower, bed.upper)
        asked = np.concatenate([asked, moved[rng.permutation(len(moved))]])
    return asked[:n]


class _Student:
    """A softmax regression on random features of the answers: enough of a model to have a gradient."""

    def __init__(self, inputs: Features, rows: NDArray[np.float64], rng: Generator) -> None:
        self._centre, self._scale = inputs.mean(axis=0), inputs.std(axis=0) + 0.05 * inputs.std()
        self._weights = rng.standard_normal((inputs.shape[1], 256)) / np.sqrt(inputs.shape[1])
        self._offsets = rng.uniform(0.0, 2.0 * np.pi, 256)
        features = np.cos(self._phases(inputs))
        logs = np.log(rows + 1e-3)
        logs -= logs.mean(axis=1, keepdims=True)
        gram = features.T @ features + 0.1 * len(inputs) / 50.0 * np.eye(256)
        self._heads = np.linalg.solve(gram, features.T @ logs)

    def _phases(self, inputs: Features) -> NDArray[np.float64]:
        phases: NDArray[np.float64] = (inputs - self._centre) / self._scale @ self._weights + self._offsets
        return phases

    def gradient(self, inputs: Features, labels: NDArray[np.intp]) -> Features:
        """Of each input's score for a label, in the input: (n, features)."""
        slopes = -np.sin(self._phases(inputs)) * self._heads[:, labels].T
        gradient: Features = slopes @ self._weights.T / self._scale
        return gradient


def _places(n: int, count: int, rng: Generator) -> NDArray[np.intp]:
    """`count` places, each of `n` once before any twice."""
    return np.concatenate([rng.permutation(n) for _ in range(-(-count // n))])[:count]


POOLS: Mapping[str, Callable[[Bed, int, Generator], Features]] = {
    "noise": noise, "natural": natural, "near": near, "strongaug": strongaug, "mixup": mixup,
    "jacobian": jacobian, "active": active, "random": random}
