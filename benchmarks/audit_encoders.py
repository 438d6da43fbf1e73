"""Encoders copied from their vectors: a network's last hidden layer, on handwritten digits.

    python -m benchmarks.audit_encoders
"""

from __future__ import annotations

import time
import warnings
from typing import Any, Literal

import numpy as np

from benchmarks import results
from counterclone.attacks.encoder_stealing import EncoderStealing
from counterclone.audit import imitation
from counterclone.fidelity import overlaps, probe_accuracy
from counterclone.queries import Features
from counterclone.randomness import generator

N_TRAINED, N_POOL = 900, 450
BUDGETS = (50, 100, 300, 450, 1000)


def run() -> results.Result:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = generator(0, "digits").permutation(len(digits.data))
    pixels, labels = digits.data[order] / 16.0, digits.target[order]
    network = _network(pixels[:N_TRAINED], labels[:N_TRAINED])

    def encode(inputs: Features) -> Features:
        for weights, intercepts in zip(network.coefs_[:2], network.intercepts_[:2], strict=True):
            inputs = np.maximum(inputs @ weights + intercepts, 0.0)
        return inputs

    pool, unseen, truth = pixels[N_TRAINED:-N_POOL], pixels[-N_POOL:], labels[-N_POOL:]
    rows: list[dict[str, object]] = []
    students: tuple[Literal["regression", "contrastive"], ...] = ("regression", "contrastive")
    for student in students:
        started = time.process_time()
        found = imitation.run(encode, task="encoder", pool=pool, evaluate=(unseen, truth), budgets=BUDGETS,
                              attacks=[EncoderStealing(student=student)])
        seconds = (time.process_time() - started) / len(found.trials)
        for budget in BUDGETS:
            trials = [trial for trial in found.trials if trial.queries == budget]
            fidelities = [trial.fidelity for trial in trials]
            right = float(np.mean([trial.accuracy or 0.0 for trial in trials]))
            rows.append({"copy": student, "queries": budget, "overlap_at_10": round(float(np.mean(fidelities)), 3),
                         "least": round(min(fidelities), 3), "most": round(max(fidelities), 3),
                         "downstream_accuracy": round(right, 3), "cpu_seconds": round(seconds, 2)})
    blank = dict.fromkeys(rows[0], "")
    of_target = encode(unseen)
    rows.append(blank | {"copy": "the target itself", "overlap_at_10": 1.0,
                         "downstream_accuracy": round(probe_accuracy(of_target, truth), 3)})
    other = _network(pixels[N_TRAINED:-N_POOL], labels[N_TRAINED:-N_POOL], seed=1)
    independent = np.maximum(np.maximum(unseen @ other.coefs_[0] + other.intercepts_[0], 0.0) @ other.coefs_[1]
                             + other.intercepts_[1], 0.0)
    for name, vectors in (("control: the pixels", unseen), ("control: an independent network", independent)):
        rows.append(blank | {"copy": name, "overlap_at_10": round(float(overlaps(of_target, vectors).mean()), 3),
                             "downstream_accuracy": round(probe_accuracy(vectors, truth), 3)})
    return results.Result("audit_encoders", rows)


def _network(pixels: Features, labels: Any, seed: int = 0) -> Any:
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPClassifier((64, 32), max_iter=200, random_state=seed).fit(pixels, labels)


if __name__ == "__main__":
    results.show(run())
