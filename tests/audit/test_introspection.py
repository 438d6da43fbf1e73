from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from counterclone.audit.introspection import introspect
from counterclone.targets.local import softmax

INPUTS, LABELS = load_iris(return_X_y=True)


def test_a_linear_models_parameters_make_its_answers() -> None:
    model = LogisticRegression(max_iter=1000).fit(INPUTS, LABELS)
    found = introspect(model.predict_proba)
    assert found.parameters is not None
    assert found.parameters.shape == (3, 5)
    own = softmax(INPUTS @ found.parameters[:, :-1].T + found.parameters[:, -1])
    assert own == pytest.approx(model.predict_proba(INPUTS))
    assert found.n_parameters == 15
    assert found.class_names is not None
    assert found.class_names.tolist() == [0, 1, 2]


def test_a_binary_models_parameters_too() -> None:
    model = LogisticRegression(max_iter=1000).fit(INPUTS, np.where(LABELS == 1, "one", "rest"))
    found = introspect(model.predict_proba)
    assert found.parameters is not None
    assert found.parameters.shape == (2, 5)
    own = softmax(INPUTS @ found.parameters[:, :-1].T + found.parameters[:, -1])
    assert own == pytest.approx(model.predict_proba(INPUTS))
    assert found.n_parameters == 5
    assert found.class_names is not None
    assert found.class_names.tolist() == ["one", "rest"]


@pytest.mark.parametrize(("model", "n_parameters"), [
    (MLPClassifier((7,), max_iter=10, random_state=0), 4 * 7 + 7 + 7 * 3 + 3),
    (DecisionTreeClassifier(max_depth=1), 3),
    (RandomForestClassifier(4, max_depth=1, random_state=0), 12),
], ids=["network", "tree", "forest"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_other_models_tell_their_size(model: Any, n_parameters: int) -> None:
    found = introspect(model.fit(INPUTS, LABELS).predict_proba)
    assert found.n_parameters == n_parameters
    assert found.parameters is None


@pytest.mark.parametrize("predict", [lambda inputs: inputs, np.asarray, "text".upper],
                         ids=["lambda", "C", "method"])
def test_others_tell_nothing(predict: Any) -> None:
    assert introspect(predict) == (None, None, None)
