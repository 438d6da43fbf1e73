"""Boosted trees that tell the traffic's accounts from honest ones: what a cloud can't follow, they may."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from counterclone.watch._space import Points

_TREES = 60
_LEAVES = 8
_RATE = 0.1
_ACCOUNTS_A_LEAF = 10
_FEATURES_AT_ONCE = 0.3
_SEED = 0


def learn(points: Points, honest: Points) -> Callable[[Points], Points]:
    """How much sooner an account is of `points`, (n, dimensions), than of `honest`, (m, dimensions)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=_RATE, min_samples_leaf=_ACCOUNTS_A_LEAF,
        l2_regularization=1.0, max_features=_FEATURES_AT_ONCE, early_stopping=False, random_state=_SEED)
    model.fit(np.concatenate([points, honest]), np.repeat([1, 0], [len(points), len(honest)]))

    def score(others: Points) -> Points:
        scores: Points = model.decision_function(others)
        return scores

    return score
