"""A small convolutional network for images, with the extra `deep`: its only user of torch."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np

from counterclone.answers import Rows
from counterclone.attacks._copies import side
from counterclone.attacks._network import Aims
from counterclone.queries import Features
from counterclone.randomness import Generator

LEAST_SIDE = 12
"""Of an image; smaller ones are learnt as well without."""
BATCH, BATCH_ANSWERED = 64, 500
RATE, DECAY = 2e-3, 1e-3
SHIFT = 2
"""Pixels that an image is moved by in training, at most: its answer stays about the same."""


class Convolution:
    """Two layers of convolutions and one that is dense.

    Args:
        layers: torch's.
        length: the side of its images.
    """

    def __init__(self, layers: Any, length: int) -> None:
        self._layers = layers
        self._length = length

    def answer(self, inputs: Features) -> Rows:
        """Probabilities: (queries, classes)."""
        torch = _torch()
        parts = []
        with torch.no_grad():
            for start in range(0, len(inputs), BATCH_ANSWERED):
                logits = self._layers(_images(inputs[start:start + BATCH_ANSWERED], self._length))
                parts.append(torch.softmax(logits.double(), dim=1).numpy())
        rows: Rows = np.concatenate(parts)
        return rows


def fits(inputs: Features) -> bool:
    """Whether inputs are images that are large enough, and torch is there."""
    return find_spec("torch") is not None and side(inputs) >= LEAST_SIDE


def convolved(inputs: Features, aims: Aims, steps: int, rng: Generator) -> Convolution:
    """A network of images, trained by Adam on moved ones, at a rate that falls to zero along a cosine.

    Args:
        inputs: square images, (n, side * side), scaled to about unit variance.
        aims: what it is to answer.
        steps: of Adam, whatever n is.
        rng: draws its start, its batches and how images are moved.
    """
    torch = _torch()
    length = round(inputs.shape[1] ** 0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        layers = _layers(length, aims.rows.shape[1])
    images = torch.nn.functional.pad(_images(inputs, length), [SHIFT] * 4, mode="replicate")
    rows, logs = (torch.as_tensor(each, dtype=torch.float32) for each in (aims.rows, aims.logs))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = torch.as_tensor(rng.integers(0, len(inputs), min(BATCH, len(inputs))))
        down, right = rng.integers(0, 2 * SHIFT + 1, 2)
        logits = layers(images[batch][:, :, down:down + length, right:right + length])
        loss = torch.nn.functional.cross_entropy(logits, rows[batch])
        if aims.weight:
            centred = logits - logits.mean(dim=1, keepdim=True)
            loss = loss + 0.5 * aims.weight * ((centred - logs[batch])**2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Convolution(layers.eval(), length)


def _layers(length: int, n_classes: int) -> Any:
    nn = _torch().nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (length // 4)**2, 128), nn.ReLU(), nn.Linear(128, n_classes))


def _images(inputs: Features, length: int) -> Any:
    torch = _torch()
    return torch.as_tensor(inputs, dtype=torch.float32).reshape(-1, 1, length, length)


def _torch() -> Any:
    return importlib.import_module("torch")
