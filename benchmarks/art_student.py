"""ART's student, run by `audit_against_art` with the Python of ART's own environment: `art_student.py FILE.npz`.

The file has the victim's weights and the very rows that our student was given;
the agreement goes to standard output.
It imports nothing of ours, since ART needs other versions than we do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = {100: 3000, 300: 1000}
"""The best of 300, 1,000 and 3,000 for ART; it trains for a fixed number of epochs, 10 unless told."""


def victim(weights: list[NDArray[Any]], biases: list[NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A ReLU network's probabilities from its weights."""

    def predict(rows: NDArray[Any]) -> NDArray[Any]:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            rows = np.maximum(rows @ weight + bias, 0.0)
        logits = rows @ weights[-1] + biases[-1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    return predict


def main(path: str) -> None:
    """Steal with KnockoffNets from exactly these rows, and print the agreement on the evaluation inputs."""
    import torch
    from art.attacks.extraction import KnockoffNets
    from art.estimators.classification import PyTorchClassifier
    from art.estimators.classification.blackbox import BlackBoxClassifierNeuralNetwork

    data = np.load(path)
    n_layers = sum(name.startswith("weight") for name in data.files)
    predict = victim([data[f"weight{i}"] for i in range(n_layers)], [data[f"bias{i}"] for i in range(n_layers)])
    rows, evaluate, seed = data["rows"], data["evaluate"], int(data["seed"])
    n_classes = data["bias" + str(n_layers - 1)].shape[0]
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: TID251 (ART draws from the global state)
    torch.set_num_threads(1)
    shape = (rows.shape[1],)
    network = torch.nn.Sequential(torch.nn.Linear(shape[0], 64), torch.nn.ReLU(), torch.nn.Linear(64, 64),
                                  torch.nn.ReLU(), torch.nn.Linear(64, n_classes))
    thief = PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), shape, n_classes,
                              optimizer=torch.optim.Adam(network.parameters(), lr=1e-3), clip_values=(0.0, 1.0))
    target = BlackBoxClassifierNeuralNetwork(predict, shape, n_classes, clip_values=(0.0, 1.0))
    attack = KnockoffNets(target, batch_size_fit=64, batch_size_query=len(rows), nb_epochs=EPOCHS[len(rows)],
                          nb_stolen=len(rows), sampling_strategy="random", use_probability=True, verbose=False)
    stolen = attack.extract(rows.astype(np.float32), thieved_classifier=thief)
    labels = stolen.predict(evaluate.astype(np.float32)).argmax(axis=1)
    print(json.dumps({"fidelity": float((labels == predict(evaluate).argmax(axis=1)).mean())}))


if __name__ == "__main__":
    main(sys.argv[1])
