"""How one sender's inputs differ from another's: the same scan, form or mail looks different from everybody.

A style is a row of numbers that belongs to a sender; wearing it changes all of a sender's inputs alike, and adds
to each a jitter of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.queries import Features
from counterclone.randomness import Generator

Styles = NDArray[np.float32]
"""One sender's style a row: (senders, numbers). The last is the size of the sender's jitter, 1 on average."""

_JITTER_SPREAD = 0.4


class Look(Protocol):
    """What styles there are for the inputs of a data set."""

    def draw(self, n: int, rng: Generator) -> Styles:
        """Styles of `n` senders."""
        ...

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """Inputs in the style of each, with jitter: (n, features) and (n, numbers) to (n, features)."""
        ...

    def shifted(self, styles: Styles, by: float) -> Styles:
        """Styles of senders whose scanners, forms or habits all changed alike, by so many of their deviations."""
        ...


@dataclass(frozen=True)
class ImageLook:
    """Square grey images: moved, thinner or thicker, paler or darker, on paper of their own.

    Attributes:
        side: in pixels.
        move: deviation of the move in pixels, at most 1 is worn.
        jitter: deviation of each pixel's noise.
    """

    side: int
    move: float = 0.3
    jitter: float = 0.03

    def draw(self, n: int, rng: Generator) -> Styles:
        """Moves to the right and down, blur, gain, offset, and eight waves of the paper."""
        scales = np.array([self.move, self.move, 0.06, 0.15, 0.02, *[0.025] * _N_WAVES])
        return _with_jitter(rng.standard_normal((n, len(scales))) * scales, rng)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The images, from 0 to 1."""
        images = inputs.reshape(-1, self.side, self.side).astype(np.float32)
        blur = np.clip(styles[:, 2], -0.1, 0.2)
        for axis in (2, 1):
            images = _moved(images, np.clip(styles[:, 2 - axis], -1.0, 1.0), blur, axis)
        worn = images.reshape(len(inputs), -1)
        worn *= np.exp(styles[:, 3, None])
        worn += styles[:, 4, None] + styles[:, 5:-1] @ _waves(self.side)
        if (size := self.jitter * styles[:, -1:]).any():
            worn += size * rng.standard_normal(worn.shape, dtype=np.float32)
        return worn.clip(0.0, 1.0).astype(np.float64)

    def shifted(self, styles: Styles, by: float) -> Styles:
        """Thicker, darker, moved, on darker paper."""
        step = np.array([self.move, self.move, 0.06, 0.15, 0.02, *[0.025] * _N_WAVES, 0.0], dtype=np.float32)
        return styles + np.float32(by) * step


_N_WAVES = 8


def _waves(side: int) -> NDArray[np.float32]:
    """The slowest cosines over a square but the constant one: (8, pixels)."""
    places = (np.arange(side) + 0.5) / side
    cosines = [np.cos(np.pi * k * places) for k in range(3)]
    return np.array([np.outer(cosines[i], cosines[j]).ravel() for i in range(3) for j in range(3) if i or j],
                    dtype=np.float32)


def _moved(images: NDArray[np.float32], by: NDArray[np.float32], blur: NDArray[np.float32],
           axis: int) -> NDArray[np.float32]:
    """Images moved by up to a pixel along an axis, and blurred along it."""
    before, after = np.zeros_like(images), np.zeros_like(images)
    if axis == 2:
        before[:, :, 1:], after[:, :, :-1] = images[:, :, :-1], images[:, :, 1:]
    else:
        before[:, 1:], after[:, :-1] = images[:, :-1], images[:, 1:]
    weights = (np.maximum(by, 0.0) + blur, 1.0 - np.abs(by) - 2.0 * blur, np.maximum(-by, 0.0) + blur)
    parts = zip(weights, (before, images, after), strict=True)
    moved: NDArray[np.float32] = sum(weight[:, None, None] * part for weight, part in parts)  # type: ignore[assignment]
    return moved


@dataclass(frozen=True)
class TableLook:
    """Rows of measurements: each sender's instruments read a little high or low.

    Attributes:
        lower: the least value of each feature, (features,).
        upper: the largest.
        spread: the deviation of each feature, (features,).
        step: values are whole multiples of it, 0 for any.
        style: deviation of a sender's readings, in deviations of the feature.
        jitter: deviation of a row's, likewise.
    """

    lower: Features
    upper: Features
    spread: Features
    step: float = 0.0
    style: float = 0.2
    jitter: float = 0.1

    def draw(self, n: int, rng: Generator) -> Styles:
        """How much too high each feature reads, in deviations."""
        return _with_jitter(self.style * rng.standard_normal((n, len(self.spread))), rng)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The rows, inside their range."""
        shift = styles[:, :-1] + self.jitter * styles[:, -1:] * rng.standard_normal(inputs.shape, np.float32)
        worn = inputs + shift * self.spread
        if self.step:
            worn = np.rint(worn / self.step) * self.step
        return np.clip(worn, self.lower, self.upper)

    def shifted(self, styles: Styles, by: float) -> Styles:
        """Every other feature reads higher, the rest lower."""
        step = np.where(np.arange(len(self.spread)) % 2, -self.style, self.style)
        return styles + np.float32(by) * np.append(step, 0.0).astype(np.float32)


@dataclass(frozen=True)
class ShareLook:
    """Rows of frequencies, most of them zero: each sender uses a word more or less often.

    Attributes:
        lower: the least value of each feature, (features,).
        upper: the largest.
        style: deviation of the logarithm, a sender's.
        jitter: a row's.
    """

    lower: Features
    upper: Features
    style: float = 0.3
    jitter: float = 0.15

    def draw(self, n: int, rng: Generator) -> Styles:
        """The logarithm of how often each feature occurs, against the others' senders."""
        return _with_jitter(self.style * rng.standard_normal((n, len(self.upper))), rng)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The rows; what is zero stays zero."""
        shift = styles[:, :-1] + self.jitter * styles[:, -1:] * rng.standard_normal(inputs.shape, np.float32)
        return np.clip(inputs * np.exp(shift), self.lower, self.upper)

    def shifted(self, styles: Styles, by: float) -> Styles:
        """Every other feature more often, the rest more rarely."""
        step = np.where(np.arange(len(self.upper)) % 2, -self.style, self.style)
        return styles + np.float32(by) * np.append(step, 0.0).astype(np.float32)


def _with_jitter(styles: NDArray[np.float64], rng: Generator) -> Styles:
    sizes = np.exp(_JITTER_SPREAD * rng.standard_normal((len(styles), 1)))
    return np.concatenate([styles, sizes], axis=1).astype(np.float32)
