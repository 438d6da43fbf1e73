from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone import attacks, plugins
from counterclone.answers import Reply, Rows
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator, generator
from counterclone.targets.local import softmax

WEIGHTS = np.array([[3.0, 0.0], [-2.0, 2.0], [0.0, -3.0]])


def predict(inputs: Any) -> Rows:
    """A linear model of three classes."""
    return softmax(np.asarray(inputs) @ WEIGHTS.T)


class Nearest:
    """A copy that answers as the nearest input that was asked."""

    def __init__(self, asked: Features, rows: Rows) -> None:
        self._asked = asked
        self._rows = rows

    def answer(self, inputs: Inputs) -> Rows:
        distances = ((np.asarray(inputs)[:, None, :] - self._asked[None]) ** 2).sum(axis=2)
        nearest: Rows = self._rows[distances.argmin(axis=1)]
        return nearest


class Toy(Spec, frozen=True):
    """Asks pool inputs one batch after the other; learns by heart."""

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = False
    at_once: int = 10

    def run(self, prior: Prior, rng: Generator) -> Asking:
        order = rng.permutation(len(prior.pool))
        asked: list[NDArray[np.float64]] = []
        replies: list[Reply] = []
        try:
            for start in range(0, prior.budget, self.at_once):
                batch = np.asarray(prior.pool)[order[start:start + self.at_once]]
                if not len(batch):
                    break
                replies.append((yield batch))
                asked.append(batch)
        except BudgetExhausted:
            pass
        if not asked:
            return None
        return Nearest(np.concatenate(asked), np.concatenate([reply.rows for reply in replies]))


class Exact(Toy, frozen=True):
    """Needs scores, and knows the model."""

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True


class Texts(Toy, frozen=True):
    """Asks with texts."""

    needs: ClassVar[frozenset[str]] = frozenset({"text"})


class Failing(Toy, frozen=True):
    """Doesn't get far."""

    def run(self, prior: Prior, rng: Generator) -> Asking:
        yield np.asarray(prior.pool)[:1]
        raise ZeroDivisionError("by hand")


for toy in (Toy, Exact, Texts, Failing):
    toy.__module__ = f"toys.{toy.__name__.lower()}"


class Toys(NamedTuple):
    """Attacks that are no plug-ins: their kinds are toy, exact, texts and failing."""

    toy: Toy = Toy()
    exact: Exact = Exact()
    texts: Texts = Texts()
    failing: Failing = Failing()


class World(NamedTuple):
    """Inputs of a linear model, (n, 2), and their labels."""

    pool: Features
    evaluate: Features

    @staticmethod
    def labels(inputs: Features) -> NDArray[np.intp]:
        found: NDArray[np.intp] = predict(inputs).argmax(axis=1)
        return found


@pytest.fixture(scope="session")
def toys() -> Toys:
    return Toys()


@pytest.fixture(scope="session")
def world() -> World:
    rng = generator(0, "world")
    return World(rng.uniform(-1.0, 1.0, (200, 2)), rng.uniform(-1.0, 1.0, (150, 2)))


PLUGIN = '''
import numpy as np

from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec


class Copy:
    def __init__(self, asked, rows):
        self.asked, self.rows = asked, rows

    def answer(self, inputs):
        distances = ((np.asarray(inputs)[:, None, :] - self.asked[None]) ** 2).sum(axis=2)
        return self.rows[distances.argmin(axis=1)]


class Heart(Spec, frozen=True):
    """Learns by heart."""

    needs = frozenset({"numbers"})
    is_exact = False

    def run(self, prior, rng):
        asked = prior.pool[rng.permutation(len(prior.pool))[:prior.budget]]
        try:
            reply = yield asked
        except BudgetExhausted:
            return None
        return Copy(asked, reply.rows)
'''


@pytest.fixture
def by_heart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed attack, by its kind."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "by_heart.py").write_text(PLUGIN)
    monkeypatch.setattr(attacks, "__path__", [*attacks.__path__, str(folder)])
    plugins._own_modules.cache_clear()
    yield "by_heart"
    plugins._own_modules.cache_clear()
    plugins.load.cache_clear()
    sys.modules.pop("counterclone.attacks.by_heart", None)
