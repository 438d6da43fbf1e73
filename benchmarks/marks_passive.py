"""Passive fingerprints: whom they tell from independent models, and whom they don't.

Everybody has 4,000 inputs: 20 independent models that a suspect is ranked among, 20 more that stand for suspects
who copied nothing (half networks, half forests each), and the copier, who asks the target about them. "Same data"
are models that were trained on the target's own training data, honestly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import marks_beds, results
from benchmarks.marks_beds import N_OWNER, N_PUBLIC, Labels, one_hot
from benchmarks.marks_network import Network
from benchmarks.marks_served import Predict, labels_only
from counterclone.answers import Reply, Rows, top_labels
from counterclone.evidence import Rank
from counterclone.marks.boundary import Boundary
from counterclone.marks.correlation import Correlation
from counterclone.protocols import Fingerprint
from counterclone.queries import Features
from counterclone.randomness import generator

SEEDS = (3, 4, 5)
"""Distance and surplus were chosen on seeds 0 and 1."""
N, N_NULLS, N_OTHERS, N_SAME = 4_000, 20, 20, 5
TREES = 50
INDEPENDENT = "independent"


class World:
    """A target, its copies, and models that are none."""

    def __init__(self, bed_name: str, seed: int) -> None:
        self.bed, self.seed = marks_beds.load(bed_name, seed), seed
        self.asked = self.bed.draw("thief", N).inputs
        self.answers = self.bed.victim(self.asked)

    @cached_property
    def copy(self) -> Network:
        """The plain student, of labels."""
        return self.network("student", self.asked, self._labels())

    def copies(self) -> dict[str, Predict]:
        """Students of the target, by what was done."""
        half, own = N // 2, self.bed.draw("own", N)
        mixed = (np.concatenate([self.asked[:half], own.inputs[:half]]),
                 np.concatenate([top_labels(self.answers)[:half], own.labels[:half]]))
        return {
            "network, from labels": self.copy.answer,
            "network, from labels; shows labels only": labels_only(self.copy.answer),
            "network, from scores": self.network("scores", self.asked, self.answers).answer,
            "forest, from labels": self.forest(self.asked, top_labels(self.answers)),
            "fine-tuned 10 epochs on 4,000 true labels":
                self.copy.copied().learn(own.inputs, one_hot(own.labels, self.bed.classes), 10).answer,
            "50 % of weights pruned": self.copy.copied().prune(0.5).answer,
            "80 % of weights pruned": self.copy.copied().prune(0.8).answer,
            "half own data": self.network("half", mixed[0], one_hot(mixed[1], self.bed.classes)).answer,
        }

    def independent(self, whose: str, n: int) -> list[Predict]:
        """Models of others who have the same task, half networks, half forests."""
        found = []
        for number in range(n):
            part = self.bed.draw(f"{whose} {number}", N)
            rows = one_hot(part.labels, self.bed.classes)
            found.append(self.network(f"{whose} {number}", part.inputs, rows).answer if number % 2
                         else self.forest(part.inputs, part.labels))
        return found

    def same_data(self) -> list[Predict]:
        """Networks that others train on the target's own data."""
        part = self.bed.draw("owner", N_OWNER)
        rows = one_hot(part.labels, self.bed.classes)
        return [self.network(f"same {number}", part.inputs, rows).answer for number in range(N_SAME)]

    def network(self, whose: str, inputs: Features, rows: Rows) -> Network:
        sizes = (inputs.shape[1], *marks_beds.HIDDEN, self.bed.classes)
        return Network.drawn(sizes, generator(self.seed, whose)).learn(inputs, rows, marks_beds.EPOCHS)

    def forest(self, inputs: Features, labels: Labels) -> Predict:
        from sklearn.ensemble import RandomForestClassifier

        predict: Predict = RandomForestClassifier(TREES, random_state=self.seed).fit(inputs, labels).predict_proba
        return predict

    def fingerprints(self, folder: Path) -> dict[str, Fingerprint]:
        """Made from the target and twenty models."""
        nulls, public = self.independent("null", N_NULLS), self.bed.draw("public", N_PUBLIC)
        boundary, correlation = Boundary(probes=str(folder / "b")), Correlation(probes=str(folder / "c"))
        boundary.prepare(self.bed.victim, nulls, public.inputs, seed=self.seed)
        correlation.prepare(self.bed.victim, nulls, public.inputs, public.labels, seed=self.seed)
        return {"boundary": boundary, "correlation": correlation}

    def _labels(self) -> Rows:
        return one_hot(top_labels(self.answers), self.bed.classes)


Found = dict[str, list[Rank]]
"""The ranks of one seed's suspects, by what they are."""


def ranked(mark: Fingerprint, suspect: Predict) -> Rank:
    """Answer a fingerprint's probes to their end."""
    comparing = mark.compare(Path())
    try:
        inputs = next(comparing)
        while True:
            inputs = comparing.send(Reply(suspect(np.asarray(inputs))))
    except StopIteration as stop:
        rank: Rank = stop.value
        return rank


def seen(bed: str, seed: int) -> dict[str, Found]:
    """What each fingerprint says in one world."""
    world = World(bed, seed)
    suspects = {name: [copy] for name, copy in world.copies().items()}
    suspects |= {"same data": world.same_data(), INDEPENDENT: world.independent("other", N_OTHERS)}
    with TemporaryDirectory() as folder:
        return {kind: {name: [ranked(mark, each) for each in group] for name, group in suspects.items()}
                for kind, mark in world.fingerprints(Path(folder)).items()}


def auc(found: Sequence[Found], name: str, figure: Callable[[Rank], float]) -> list[float]:
    """Of each seed: the chance that a suspect's figure is above another independent model's."""
    areas = []
    for each in found:
        copies = np.array([figure(rank) for rank in each[name]])[:, None]
        others = np.array([figure(rank) for rank in each[INDEPENDENT]])
        areas.append(round(float(np.mean((copies > others) + 0.5 * (copies == others))), 3))
    return areas


def line(bed: str, kind: str, name: str, found: Sequence[Found]) -> dict[str, object]:
    ranks = [rank for each in found for rank in each[name]]
    areas = auc(found, name, lambda rank: rank.surplus)
    return {"bed": bed, "fingerprint": kind, "suspect": name, "auc": round(float(np.mean(areas)), 3),
            "auc_of_each_seed": areas,
            "auc_by_likeness_alone": round(float(np.mean(auc(found, name, lambda rank: rank.likeness))), 3),
            "first_of_21": round(float(np.mean([rank.p_value <= 1 / (N_NULLS + 1) for rank in ranks])), 3)}


def run() -> results.Result:
    rows = []
    for bed in marks_beds.NAMES:
        worlds = [seen(bed, seed) for seed in SEEDS]
        for kind in worlds[0]:
            found = [world[kind] for world in worlds]
            rows += [line(bed, kind, name, found) for name in found[0]]
    return results.Result("marks_passive", rows)


if __name__ == "__main__":
    started = time.process_time()
    results.show(run())
    print(f"{time.process_time() - started:.0f} s of CPU")
