"""ART's student of images, run by `audit_images` with the Python of ART's own environment.

It imports nothing of ours, since ART needs other versions than we do.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = (10, 30)
"""ART trains for a fixed number of them, 10 unless told; 30 are as many steps as our student has."""
SIDE = 28


def main(path: str) -> None:
    """Steal with KnockoffNets from the victim's answers to these images, and print the agreement."""
    import torch
    from art.attacks.extraction import KnockoffNets
    from art.estimators.classification import PyTorchClassifier
    from art.estimators.classification.blackbox import BlackBoxClassifierNeuralNetwork

    data = np.load(path)
    images, unseen = (data[name].reshape(-1, 1, SIDE, SIDE).astype(np.float32) for name in ("images", "unseen"))
    known = {image.tobytes(): answer for image, answer in zip(images, data["answers"], strict=True)}

    def predict(asked: NDArray[Any]) -> NDArray[Any]:
        return np.stack([known[image.tobytes()] for image in asked.astype(np.float32)])

    seed, n_classes = int(data["seed"]), data["answers"].shape[1]
    torch.set_num_threads(1)
    found = {}
    for epochs in EPOCHS:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: TID251 (ART draws from the global state)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Flatten(), torch.nn.Linear(32 * (SIDE // 4)**2, 128), torch.nn.ReLU(),
            torch.nn.Linear(128, n_classes))
        thief = PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), (1, SIDE, SIDE), n_classes,
                                  optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
                                  clip_values=(0.0, 1.0))
        target = BlackBoxClassifierNeuralNetwork(predict, (1, SIDE, SIDE), n_classes, clip_values=(0.0, 1.0))
        attack = KnockoffNets(target, batch_size_fit=64, batch_size_query=len(images), nb_epochs=epochs,
                              nb_stolen=len(images), sampling_strategy="random", use_probability=True,
                              verbose=False)
        stolen = attack.extract(images, thieved_classifier=thief)
        found[epochs] = float((stolen.predict(unseen).argmax(axis=1) == data["served"]).mean())
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
