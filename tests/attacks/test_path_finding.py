from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from counterclone import plugins
from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._tree import Tree
from counterclone.attacks.path_finding import PathFinding
from counterclone.audit.surfaces import SCORES, Surface, surface
from counterclone.errors import ConfigError
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES, N_CLASSES = 12, 3
LOWER, UPPER = np.linspace(-50.0, 10.0, N_FEATURES), np.linspace(-49.0, 400.0, N_FEATURES)
"""Features of different ranges."""
FULL, ROWS, LABELS = surface("full"), Surface(name="rows", shows=SCORES), surface("labels")
PLENTY = 4000


def inputs(name: str, n: int) -> Features:
    return generator(0, name).uniform(LOWER, UPPER, (n, N_FEATURES))


POOL, UNSEEN = inputs("pool", 300), inputs("unseen", 4000)


def grown(min_samples_leaf: int = 1) -> DecisionTreeClassifier:
    """A tree that uses several features, some more than once."""
    training = inputs("training", 200)
    shares = (training - LOWER) / (UPPER - LOWER)
    is_large = (shares[:, 1] * shares[:, 2] > 0.3) & (shares[:, 3] + shares[:, 0] > 0.9)
    tree = DecisionTreeClassifier(min_samples_leaf=min_samples_leaf, random_state=0)
    return tree.fit(training, np.where(is_large, 2, shares[:, 0] > 0.5))


@dataclass(frozen=True)
class Model:
    """A tree as a target."""

    tree: DecisionTreeClassifier

    def __call__(self, asked: Inputs) -> Reply:
        return Reply(self.tree.predict_proba(asked), None, self.tree.apply(asked))

    def labels(self, asked: Features) -> NDArray[np.intp]:
        return top_labels(self(asked).rows)


MODEL = Model(grown())
SPREAD = Model(grown(min_samples_leaf=4))
"""Its leaves aren't pure, so that most of their rows differ."""


def find(attacked: Attacked, budget: int = PLENTY, shown: Surface = FULL, *, target: Any = MODEL,
         pool: Features = POOL, attack: PathFinding = PathFinding(), lower: Features = LOWER,  # noqa: B008
         upper: Features = UPPER) -> tuple[Tree, Asked]:
    asked = attacked(attack, target, budget, pool=pool, lower=lower, upper=upper, classes=N_CLASSES, surface=shown)
    assert isinstance(asked.surrogate, Tree)
    return asked.surrogate, asked


def agreement(tree: Tree, model: Model = MODEL, asked: Features = UNSEEN) -> float:
    return float((top_labels(tree.answer(asked)) == model.labels(asked)).mean())


def test_laws() -> None:
    check_attack(PathFinding())


# Ids

def test_ids_give_the_tree(attacked: Attacked) -> None:
    tree, asked = find(attacked)
    assert tree.is_verified
    assert MODEL.tree.get_n_leaves() >= 15
    assert asked.queries <= 40 * MODEL.tree.get_n_leaves()
    np.testing.assert_array_equal(tree.answer(UNSEEN), MODEL(UNSEEN).rows)
    np.testing.assert_array_equal(tree.answer(POOL), MODEL(POOL).rows)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_thresholds_are_as_exact_as_was_asked(attacked: Attacked, tolerance: float) -> None:
    found = find(attacked, attack=PathFinding(tolerance=tolerance))[0].splits()
    own = MODEL.tree.tree_
    for feature, low in found:
        thresholds = own.threshold[own.feature == feature]
        error = np.abs(thresholds - low).min()
        assert error <= tolerance * (UPPER - LOWER)[feature] + np.spacing(np.float32(np.abs(thresholds).max()))
    assert {feature for feature, _ in found} == set(own.feature[own.feature >= 0].tolist())


def test_thresholds_at_values_of_the_pool_take_fewer_queries(attacked: Attacked) -> None:
    """Learners put thresholds midway between values, and few values make few places."""
    grid = np.round(4.0 * (POOL - LOWER) / (UPPER - LOWER)) / 4.0
    model = Model(DecisionTreeClassifier(random_state=0).fit(grid, MODEL.labels(POOL)))
    ends = np.zeros(N_FEATURES), np.ones(N_FEATURES)
    tree, few = find(attacked, target=model, pool=grid, lower=ends[0], upper=ends[1])
    assert tree.is_verified
    _, many = find(attacked, target=model, pool=inputs("others", 300) / 1000.0, lower=ends[0], upper=ends[1])
    assert few.queries < many.queries
    np.testing.assert_array_equal(tree.answer(grid), model(grid).rows)


def test_an_id_that_two_leaves_share_is_found_out(attacked: Attacked) -> None:
    def shared(asked: Inputs) -> Reply:
        reply = MODEL(asked)
        assert reply.ids is not None
        return Reply(reply.rows, None, top_labels(reply.rows).astype(np.int64))

    tree, asked = find(attacked, target=shared)
    assert agreement(tree) >= 0.99
    assert asked.queries > find(attacked)[1].queries


def test_splits_beyond_the_pools_range_are_found_where_it_is_answered(attacked: Attacked) -> None:
    middle = (LOWER + UPPER) / 2.0
    near = (middle + LOWER) / 2.0, (middle + UPPER) / 2.0
    pool = np.clip(POOL, *near)
    whole, beyond = find(attacked, pool=pool, lower=near[0], upper=near[1])
    assert agreement(whole) == 1.0
    assert (beyond.inputs < near[0]).any()
    inner, inside = find(attacked, pool=pool, shown=surface("clipped"), lower=near[0], upper=near[1])
    assert (inside.inputs >= near[0]).all()
    assert (inside.inputs <= near[1]).all()
    assert agreement(inner, asked=np.clip(UNSEEN, *near)) == 1.0
    assert agreement(inner) < 1.0


# Without ids

def test_rows_stand_for_leaves(attacked: Attacked) -> None:
    tree, asked = find(attacked, PLENTY, ROWS, target=SPREAD)
    assert not tree.is_verified  # two leaves may answer alike
    assert asked.queries <= PLENTY
    np.testing.assert_array_equal(tree.answer(UNSEEN), SPREAD(UNSEEN).rows)


def test_pure_leaves_have_equal_rows_and_are_copied_all_the_same(attacked: Attacked) -> None:
    assert agreement(find(attacked, PLENTY, ROWS)[0]) >= 0.99


def test_labels_are_enough_for_many_queries(attacked: Attacked) -> None:
    tree, _ = find(attacked, PLENTY, LABELS, target=SPREAD)
    assert agreement(tree, SPREAD) >= 0.99
    assert set(np.unique(tree.answer(UNSEEN))) == {0.0, 1.0}


def test_noisy_rows_are_taken_for_their_labels(attacked: Attacked) -> None:
    tree, asked = find(attacked, PLENTY, surface("noise"), target=SPREAD)
    assert agreement(tree, SPREAD) >= 0.98
    np.testing.assert_array_equal(asked.inputs, find(attacked, PLENTY, LABELS, target=SPREAD)[1].inputs)


def test_it_goes_on_until_nothing_surprises_it(attacked: Attacked) -> None:
    _, asked = find(attacked, 100_000, ROWS, target=SPREAD)
    assert asked.queries < 10_000


# Whatever else it meets

@pytest.mark.parametrize("budget", [1, 2, 5, 30, 100, 300])
@pytest.mark.parametrize("shown", [FULL, ROWS, LABELS], ids=lambda shown: shown.name)
def test_a_tree_that_isnt_finished_is_no_more_than_that(attacked: Attacked, budget: int, shown: Surface) -> None:
    tree, asked = find(attacked, budget, shown)
    assert asked.queries == budget
    assert not tree.is_verified
    assert set(map(bytes, tree.answer(UNSEEN))) <= set(map(bytes, asked.rows))


@pytest.mark.parametrize("seed", range(3))
def test_the_first_queries_are_of_the_pool_and_the_copy_is_their_majority(attacked: Attacked, seed: int) -> None:
    asked = attacked(PathFinding(), MODEL, 11, pool=POOL[11 * seed:], lower=LOWER, upper=UPPER, classes=N_CLASSES,
                     surface=ROWS, seed=seed)
    assert isinstance(asked.surrogate, Tree)
    np.testing.assert_array_equal(asked.inputs, POOL[11 * seed:][:11])
    rows, counts = np.unique(asked.rows, axis=0, return_counts=True)
    np.testing.assert_array_equal(np.unique(asked.surrogate.answer(UNSEEN), axis=0), rows[[counts.argmax()]])


def test_several_boxes_are_asked_about_in_one_batch(attacked: Attacked) -> None:
    batches = []

    def counted(asked: Inputs) -> Reply:
        batches.append(len(asked))
        return MODEL(asked)

    find(attacked, target=counted)
    assert len(batches) < 0.5 * sum(batches)


def test_no_query_is_asked_twice(attacked: Attacked) -> None:
    for shown in (FULL, ROWS, LABELS):
        asked = find(attacked, shown=shown)[1]
        assert len(np.unique(asked.inputs, axis=0)) == asked.queries


def test_without_a_pool_it_asks_evenly(attacked: Attacked) -> None:
    nothing = np.empty((0, N_FEATURES))
    tree, _ = find(attacked, pool=nothing)
    assert tree.is_verified
    assert agreement(tree) == 1.0
    assert agreement(find(attacked, PLENTY, LABELS, target=SPREAD, pool=nothing)[0], SPREAD) >= 0.9


def test_a_target_with_one_answer_is_one_leaf(attacked: Attacked) -> None:
    def constant(asked: Inputs) -> Reply:
        return Reply(np.tile([0.2, 0.5, 0.3], (len(asked), 1)), None, np.zeros(len(asked), dtype=np.int64))

    tree, asked = find(attacked, target=constant)
    assert asked.queries < 150
    assert tree.is_verified
    np.testing.assert_array_equal(tree.answer(UNSEEN), np.tile([0.2, 0.5, 0.3], (len(UNSEEN), 1)))
    assert find(attacked, 100_000, LABELS, target=constant)[1].queries < 10_000


def test_features_without_a_range_in_a_closed_domain_are_left_alone(attacked: Attacked) -> None:
    lower, upper = LOWER.copy(), UPPER.copy()
    lower[0] = upper[0] = LOWER[0] + 0.3
    pool = np.clip(POOL, lower, upper)
    tree, _ = find(attacked, pool=pool, shown=surface("clipped"), lower=lower, upper=upper)
    assert tree.is_verified
    assert agreement(tree, asked=np.clip(UNSEEN, lower, upper)) == 1.0
    point, asked = find(attacked, pool=pool[:1], shown=surface("clipped"), lower=pool[0], upper=pool[0])
    assert asked.queries == 1
    np.testing.assert_array_equal(point.answer(pool[:1]), MODEL(pool[:1]).rows)


def test_what_is_no_tree_takes_the_budget_and_is_never_called_exact(attacked: Attacked) -> None:
    def smooth(asked: Inputs) -> Reply:
        powers = np.exp(3.0 * ((np.asarray(asked) - LOWER) / (UPPER - LOWER))[:, :N_CLASSES])
        return Reply(powers / powers.sum(axis=1, keepdims=True))

    tree, asked = find(attacked, 600, ROWS, target=smooth)
    assert asked.queries == 600
    assert not tree.is_verified
    own: Rows = smooth(UNSEEN).rows
    assert (top_labels(tree.answer(UNSEEN)) == top_labels(own)).mean() > 0.5


def test_a_target_that_answers_otherwise_each_time_is_survived(attacked: Attacked) -> None:
    rng = generator(0, "fickle")

    def fickle(asked: Inputs) -> Reply:
        rows = np.eye(N_CLASSES)[rng.integers(0, N_CLASSES, len(asked))]
        return Reply(rows, None, rng.integers(0, 1000, len(asked)))

    tree, asked = find(attacked, 700, target=fickle)
    assert asked.queries == 700
    assert not tree.is_verified


@pytest.mark.parametrize("tolerance", [0.0, 0.2, float("nan")])
def test_options_have_bounds(tolerance: float) -> None:
    with pytest.raises(ConfigError, match="tolerance"):
        plugins.build("attacks", {"kind": "path_finding", "tolerance": tolerance}, "here")
    assert msgspec.convert({"tolerance": 1e-3}, PathFinding) == PathFinding(tolerance=1e-3)
