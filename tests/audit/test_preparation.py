from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.audit.introspection import Model
from counterclone.audit.preparation import Brought, bring, prepare, shows_scores
from counterclone.errors import ConfigError
from counterclone.queries import Inputs
from counterclone.targets.counted import Counted

if TYPE_CHECKING:
    from tests.audit.conftest import World


def brought(pool: Any, evaluate: Any, *, kind: Any = "own", seed: int = 0) -> tuple[Brought, list[str]]:
    told: list[str] = []
    return bring(pool, evaluate, kind=kind, seed=seed, n_uniform=77, warn=told.append), told


# Pool and evaluation inputs

def test_a_pool_is_shuffled_and_its_range_is_known(world: World) -> None:
    labels = np.arange(200)
    found, told = brought((world.pool, labels), world.evaluate, kind="out-of-domain")
    assert told == []
    assert found.kind == "out-of-domain"
    assert found.pool.labels is not None
    order = found.pool.labels.tolist()
    assert order != labels.tolist()
    assert sorted(order) == labels.tolist()
    assert np.array_equal(np.asarray(found.pool.inputs), world.pool[order])
    assert found.lower.tolist() == world.pool.min(axis=0).tolist()
    assert found.upper.tolist() == world.pool.max(axis=0).tolist()
    same, _ = brought((world.pool, labels), world.evaluate)
    other, _ = brought((world.pool, labels), world.evaluate, seed=1)
    assert same.pool.labels is not None
    assert other.pool.labels is not None
    assert same.pool.labels.tolist() == order != other.pool.labels.tolist()


def test_a_feature_that_does_not_vary_has_the_range_of_the_others() -> None:
    rng = np.random.default_rng(0)  # noqa: TID251
    pool = np.column_stack([np.zeros(50), rng.uniform(0, 1, 50), rng.uniform(0, 2, 50), np.full(50, 9.0)])
    found, _ = brought(pool, pool + 0.5)
    assert found.lower[0] == pytest.approx(0.0)
    assert 0.9 < found.upper[0] <= 2.0
    assert (found.lower < found.upper).all()
    assert found.upper[3] == 9.0


def test_without_evaluation_inputs_a_third_of_the_pool_is_held_out(world: World) -> None:
    found, told = brought((world.pool, np.arange(200)), None)
    assert len(found.evaluate.inputs) == 66
    assert told[0] == "evaluate: none was given, so 66 inputs of the pool were held out to tell fidelity by"
    assert found.evaluate.labels is not None
    assert found.pool.labels is not None
    assert sorted([*found.evaluate.labels, *found.pool.labels]) == list(range(200))


def test_without_a_pool_inputs_are_drawn_evenly(world: World) -> None:
    found, told = brought(None, world.evaluate)
    assert found.kind == "uniform"
    assert found.pool.labels is None
    drawn = np.asarray(found.pool.inputs)
    assert drawn.shape == (77, 2)
    assert (drawn >= world.evaluate.min(axis=0)).all()
    assert (drawn <= world.evaluate.max(axis=0)).all()
    text, = told
    assert text.startswith("pool: none was given")
    assert "under-reports" in text


@pytest.mark.parametrize(("pool", "evaluate", "message"), [
    (None, None, "pool and evaluate are both missing"),
    (None, ["one"] * 200, "texts can't be drawn evenly"),
    (np.zeros((9, 2)), np.zeros((9, 3)), "pool has 2 features and evaluate 3 features; expected the same"),
    (np.zeros((9, 2)), ["one", "two"], "pool has 2 features and evaluate texts"),
    (np.zeros((9, 2)), np.zeros((1, 2)), "evaluate: 1 inputs can't tell fidelity"),
    (np.full((9, 2), np.nan), np.zeros((9, 2)), "pool: every row has a missing"),
], ids=["nothing", "texts", "features", "kinds", "one", "missing"])
def test_what_cannot_be_audited_is_told(pool: Any, evaluate: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        brought(pool, evaluate)


def test_few_evaluation_inputs_are_told(world: World) -> None:
    _, told = brought(world.pool, world.evaluate[:99])
    assert told == ["evaluate: 99 inputs tell fidelity roughly only; see the intervals"]


# The subject

class Target:
    """The rows that it is told, by the first feature, over and over."""

    def __init__(self, rows: Any = ((0.25, 0.75), (0.5, 0.5)), *, logits: bool = False, ids: bool = False) -> None:
        self._rows = np.array(rows)
        self._logits = logits
        self._ids = ids

    async def query(self, inputs: Inputs) -> Reply:
        rows = self._rows[np.arange(len(inputs)) % len(self._rows)]
        return Reply(rows, rows if self._logits else None, np.arange(len(inputs)) if self._ids else None)


def prepared(found: Brought, target: Any, model: Model = Model(), *, is_paid: bool = False) -> Any:  # noqa: B008
    told: list[str] = []
    subject, shows, own = asyncio.run(prepare(
        target, found, name="a model", model=model, seed=0, is_paid=is_paid, warn=told.append))
    return subject, shows, own, told


def test_a_subject_is_what_the_target_answers(world: World) -> None:
    found, _ = brought((world.pool, np.arange(200) % 2), (world.evaluate, np.arange(150) % 2))
    subject, shows, own, told = prepared(found, Target())
    assert (subject.name, subject.classes, subject.pool_kind) == ("a model", 2, "own")
    assert subject.truth.tolist() == [i % 2 for i in range(150)]
    assert found.pool.labels is not None
    assert own.tolist() == found.pool.labels.tolist()
    assert subject.answers.shape == (150, 2)
    assert subject.uniform.shape == (1000, 2)
    assert subject.uniform_answers.shape == (1000, 2)
    assert (subject.uniform >= subject.lower).all()
    assert (subject.uniform <= subject.upper).all()
    assert shows == {"labels", "scores"}
    assert told == []


def test_what_is_paid_for_is_asked_sparingly(world: World) -> None:
    counted = Counted(Target())
    subject, *_ = prepared(brought(world.pool, world.evaluate)[0], counted, is_paid=True)
    assert counted.queries == 300
    assert len(subject.uniform) == 150


def test_texts_have_no_range() -> None:
    found, _ = brought([f"pool {i}" for i in range(50)], [f"text {i}" for i in range(150)])
    subject, *_ = prepared(found, Target())
    assert (subject.lower.size, subject.uniform.size, subject.uniform_answers.size) == (0, 0, 0)
    assert isinstance(subject.pool, list)


@pytest.mark.parametrize(("target", "expected"), [
    (Target(), {"labels", "scores"}), (Target([[1.0, 0.0], [0.0, 1.0]]), {"labels"}),
    (Target(logits=True), {"labels", "scores", "logits"}),
    (Target([[1.0, 0.0], [0.0, 1.0]], ids=True), {"labels", "ids"}),
], ids=["scores", "one-hot", "logits", "ids"])
def test_what_answers_have_is_seen(world: World, target: Target, expected: set[str]) -> None:
    _, shows, *_ = prepared(brought(world.pool, world.evaluate)[0], target)
    assert shows == expected


def test_one_class_is_told(world: World) -> None:
    *_, told = prepared(brought(world.pool, world.evaluate)[0], Target([[0.1, 0.9]]))
    assert told == ["evaluate: the target serves one class for all inputs, so that every copy agrees; give inputs "
                    "of several classes"]


def test_true_labels_may_be_the_models_names(world: World) -> None:
    names = np.array(["cat", "dog"])
    found, _ = brought((world.pool, names[np.arange(200) % 2]), (world.evaluate, names[np.arange(150) % 2]))
    subject, *_ = prepared(found, Target(), Model(class_names=names))
    assert subject.truth.tolist() == [i % 2 for i in range(150)]
    with pytest.raises(ConfigError, match=r"evaluate: label .*'cat'.* of row 0 is no class"):
        prepared(found, Target())


def test_saturated_rows_are_labels() -> None:
    assert shows_scores(np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert not shows_scores(np.array([[0.0, 1.0], [1.0, 0.0]]))
