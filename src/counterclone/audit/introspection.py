"""What a model object tells of itself, where the predict callable is its method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Model(NamedTuple):
    """What is known of a model.

    Attributes:
        parameters: of a linear classifier, weights and a last column of intercepts, (classes, features + 1).
        n_parameters: how many numbers it has learned; nodes for trees; None where nobody knows.
        class_names: in the order of an answer, (classes,).
    """

    parameters: NDArray[np.float64] | None = None
    n_parameters: int | None = None
    class_names: NDArray[Any] | None = None


def introspect(predict: Callable[..., Any]) -> Model:
    """What the object behind a bound method tells, in scikit-learn's names; nothing is read of others."""
    owner = getattr(predict, "__self__", None)
    names = getattr(owner, "classes_", None)
    is_plain = isinstance(names, np.ndarray) and names.ndim == 1
    return Model(_linear(owner), _size(owner), names if is_plain else None)


def _linear(owner: Any) -> NDArray[np.float64] | None:
    weights: Any = getattr(owner, "coef_", None)
    intercepts: Any = getattr(owner, "intercept_", None)
    if not isinstance(weights, np.ndarray) or weights.ndim != 2 or np.shape(intercepts) != (len(weights),):
        return None
    found = np.column_stack([weights, np.asarray(intercepts)]).astype(np.float64)
    return found if len(found) > 1 else np.concatenate([np.zeros_like(found), found])


def _size(owner: Any) -> int | None:
    if trees := getattr(owner, "estimators_", None):
        sizes = [_size(tree) for tree in np.ravel(np.asarray(trees, dtype=object))]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    if (tree := getattr(owner, "tree_", None)) is not None:
        return int(tree.node_count)
    if hasattr(owner, "coefs_"):  # one matrix and one vector a layer
        return sum(int(np.size(part)) for part in [*owner.coefs_, *owner.intercepts_])
    if hasattr(owner, "coef_"):
        return int(np.size(owner.coef_)) + int(np.size(owner.intercept_))
    return None
