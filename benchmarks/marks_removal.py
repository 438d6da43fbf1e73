"""Copies of a marked classifier, honest and less so, and what the test says of each: every row, failures included.

An account asks a model behind `triggers`, and its owner trains a student in one of the ways below. "From labels"
is the test on the suspect's answers; "from scores" is the same test on its favourite among the labels but the true
one, where it shows probabilities.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import marks_beds, results
from benchmarks.marks_beds import Labels, Part, one_hot
from benchmarks.marks_network import Network
from benchmarks.marks_served import Asked, Marking, Predict, labels_only, served
from counterclone.answers import Rows, top_labels
from counterclone.evidence import Evidence, Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.policies.labels import Labels as LabelsOnly
from counterclone.policies.noise import Noise
from counterclone.policies.rounding import Rounding
from counterclone.protocols import Policy
from counterclone.queries import Features
from counterclone.randomness import Prf, generator

SEEDS = (0, 1, 2)
QUERIES = {0.002: 18_000, 0.005: 12_000}
"""By rate: 36 and 60 triggers are expected."""
WIDTH, EPOCHS = (256, 256), 60
N_OWN = 3_000
NEIGHBOURS = 10
SURE = 0.9
JITTER = 0.03
"""Of a feature, in the whole data's deviations or of an image's white: far beyond a cell, little to a model."""


class Student(NamedTuple):
    """A suspect, and what the account had to ask for it.

    Attributes:
        answer: the suspect.
        asked: what was served, by account.
    """

    answer: Predict
    asked: tuple[Asked, ...]


class Theft:
    """One account that copies, with what it has of its own."""

    def __init__(self, bed_name: str, rate: float, seed: int) -> None:
        self.bed = marks_beds.load(bed_name, seed)
        self.seed, self.rate = seed, rate
        epoch = Prf.from_secret(f"benchmark {bed_name} {rate} {seed}")
        self.marking = Marking(self.bed, Triggers(rate=rate), epoch)
        self.inputs = self.bed.draw("thief", QUERIES[rate]).inputs
        self.asked = self.marking.ask("thief", self.inputs)

    @cached_property
    def own(self) -> Part:
        """Inputs with true labels that the copier has."""
        return self.bed.draw("own", N_OWN)

    @cached_property
    def network(self) -> Network:
        """The plain student: a network of 256-256 units that learns what was served by heart."""
        return self.taught(self.inputs, self.asked.labels)

    def taught(self, inputs: Features, labels: Labels, *, epochs: int = EPOCHS) -> Network:
        """A network, from labels (n,)."""
        return self.trained(inputs, one_hot(labels, self.bed.classes), epochs=epochs)

    def trained(self, inputs: Features, rows: Rows, *, epochs: int = EPOCHS) -> Network:
        """A network, from probabilities (n, classes)."""
        return self.untrained(WIDTH).learn(inputs, rows, epochs)

    def untrained(self, hidden: tuple[int, ...]) -> Network:
        sizes = (self.inputs.shape[1], *hidden, self.bed.classes)
        return Network.drawn(sizes, generator(self.seed, "student"))


Train = Callable[[Theft], Student]


def plain(theft: Theft) -> Student:
    return Student(theft.network.answer, (theft.asked,))


def of_scikit(make: Callable[[], object], theft: Theft) -> Student:
    """An estimator, on labels."""
    model = make()
    model.fit(theft.inputs, theft.asked.labels)  # type: ignore[attr-defined]
    return Student(model.predict_proba, (theft.asked,))  # type: ignore[attr-defined]


def forest() -> object:
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(50, random_state=0)


def boosting() -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier
    return HistGradientBoostingClassifier(max_iter=6, learning_rate=1.0, max_leaf_nodes=None, min_samples_leaf=1,
                                          max_bins=16, early_stopping=False, random_state=0)


def neighbours(n: int) -> object:
    from sklearn.neighbors import KNeighborsClassifier
    return KNeighborsClassifier(n)


def logistic() -> object:
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression(max_iter=200)


def fine_tuned(epochs: int, theft: Theft) -> Student:
    rows = one_hot(theft.own.labels, theft.bed.classes)
    return Student(theft.network.copied().learn(theft.own.inputs, rows, epochs).answer, (theft.asked,))


def pruned(share: float, theft: Theft) -> Student:
    return Student(theft.network.copied().prune(share).answer, (theft.asked,))


def early(theft: Theft) -> Student:
    rows = one_hot(theft.asked.labels, theft.bed.classes)
    return Student(theft.untrained((64,)).learn(theft.inputs, rows, 15).answer, (theft.asked,))


def diluted(n_asked: int, n_own: int, epochs: int, theft: Theft) -> Student:
    """Some of the account's queries among data of the copier's own."""
    asked = theft.marking.ask("thief", theft.inputs[:n_asked])
    own = theft.bed.draw(f"more/{n_own}", n_own)
    inputs, labels = np.concatenate([asked.inputs, own.inputs]), np.concatenate([asked.labels, own.labels])
    return Student(theft.taught(inputs, labels, epochs=epochs).answer, (asked,))


def distilled(shown: str, theft: Theft) -> Student:
    """A second student, of the first one's answers to other inputs."""
    fresh = theft.bed.draw("fresh", len(theft.inputs)).inputs
    rows = theft.network.answer(fresh)
    shown_rows = rows if shown == "scores" else one_hot(top_labels(rows), theft.bed.classes)
    return Student(theft.trained(fresh, shown_rows).answer, (theft.asked,))


def smoothed(share: float, theft: Theft) -> Student:
    """Label smoothing."""
    rows = one_hot(theft.asked.labels, theft.bed.classes) * (1.0 - share) + share / theft.bed.classes
    return Student(theft.trained(theft.inputs, rows).answer, (theft.asked,))


def kept(keep: Callable[[Theft], NDArray[np.bool_]], theft: Theft) -> Student:
    """A network of the answers that a filter believes."""
    rows = keep(theft)
    return Student(theft.taught(theft.inputs[rows], theft.asked.labels[rows]).answer, (theft.asked,))


def like_neighbours(theft: Theft) -> NDArray[np.bool_]:
    """Answers that most of the ten nearest queries' agree with."""
    from sklearn.neighbors import NearestNeighbors

    labels = theft.asked.labels
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(theft.inputs).kneighbors(theft.inputs)[1][:, 1:]
    votes = np.stack([(labels[nearest] == each).sum(axis=1) for each in range(theft.bed.classes)], axis=1)
    kept_rows: NDArray[np.bool_] = top_labels(votes.astype(np.float64)) == labels
    return kept_rows


def confident(theft: Theft) -> NDArray[np.bool_]:
    """Answers that confident learning (Northcutt et al. 2021) keeps, by a forest's votes out of its bags."""
    from sklearn.ensemble import RandomForestClassifier

    labels = theft.asked.labels
    votes = RandomForestClassifier(50, oob_score=True, random_state=0).fit(theft.inputs, labels)
    rows = votes.oob_decision_function_
    thresholds = np.array([rows[labels == each, each].mean() for each in range(theft.bed.classes)])
    sure = np.where(rows >= thresholds, rows, -1.0)
    kept_rows: NDArray[np.bool_] = (sure.max(axis=1) < 0.0) | (sure.argmax(axis=1) == labels)
    return kept_rows


def like_public(theft: Theft) -> NDArray[np.bool_]:
    """Answers that an honest public model doesn't contradict with confidence."""
    public = theft.bed.draw("public", marks_beds.N_PUBLIC)
    rows = theft.taught(public.inputs, public.labels).answer(theft.inputs)
    kept_rows: NDArray[np.bool_] = (top_labels(rows) == theft.asked.labels) | (rows.max(axis=1) < SURE)
    return kept_rows


def pooled(theft: Theft) -> Student:
    """Two accounts, half of the queries each."""
    half = len(theft.inputs) // 2
    both = (theft.marking.ask("first", theft.inputs[:half]), theft.marking.ask("second", theft.inputs[half:]))
    return Student(theft.network.answer, both)


def compared(theft: Theft) -> Student:
    """Two accounts ask the same; where the answers differ, the query is left out."""
    second = theft.marking.ask("second", theft.inputs)
    same = (theft.asked.rows == second.rows).all(axis=1)
    if not same.all():
        return Student(theft.taught(theft.inputs[same], theft.asked.labels[same]).answer, (theft.asked, second))
    return Student(theft.network.answer, (theft.asked, second))


def jittered(theft: Theft) -> Student:
    """Each query and four neighbours beyond its cell, five times as many queries, and a vote."""
    rng = generator(theft.seed, "jitter")
    shape = theft.inputs.shape
    asked = [theft.asked, *(theft.marking.ask("thief", theft.inputs + JITTER * rng.standard_normal(shape))
                            for _ in range(4))]
    votes = np.stack([sum((each.labels == label).astype(np.float64) for each in asked)
                      for label in range(theft.bed.classes)], axis=1)
    return Student(theft.taught(theft.inputs, top_labels(votes)).answer, tuple(asked))


def behind(policies: tuple[Policy, ...], shown: str, theft: Theft) -> Student:
    """A student of what policies release of marked rows."""
    marking = theft.marking
    asked = Marking(marking.bed, marking.mark, marking.epoch, policies).ask("thief", theft.inputs)
    if shown == "labels" and (asked.labels == theft.asked.labels).all():  # no policy changes a label
        return Student(theft.network.answer, (asked,))
    answers = asked.rows if shown == "scores" else one_hot(asked.labels, marking.bed.classes)
    return Student(theft.trained(theft.inputs, answers).answer, (asked,))


class Row(NamedTuple):
    """A student in the table.

    Attributes:
        student: what it is called.
        train: makes it.
        at_most: the p-value from labels that was asked for, None where none was.
    """

    student: str
    train: Train
    at_most: float | None = None


MEMORISING = 5e-20
OFTEN = (
    Row("network 256-256, unmodified", plain, MEMORISING),
    Row("forest", partial(of_scikit, forest), MEMORISING),
    Row("boosting", partial(of_scikit, boosting), MEMORISING),
    Row("1-NN", partial(of_scikit, partial(neighbours, 1)), MEMORISING),
    Row("fine-tuned 10 epochs on 3,000 true labels", partial(fine_tuned, 10), 1e-4),
    Row("fine-tuned 50 epochs on 3,000 true labels", partial(fine_tuned, 50)),
    Row("50 % of weights pruned", partial(pruned, 0.5), 1e-10),
    Row("80 % of weights pruned", partial(pruned, 0.8)),
    Row("5-NN", partial(of_scikit, partial(neighbours, 5))),
    Row("15-NN", partial(of_scikit, partial(neighbours, 15))),
    Row("network 64, stopped after 15 epochs", early),
    Row("logistic regression", partial(of_scikit, logistic)),
)
"""At both rates."""
ONCE = (
    Row("half own data: 6,000 asked of 12,000", partial(diluted, 6_000, 6_000, EPOCHS), 1e-10),
    Row("diluted to 50 %: 12,000 asked of 24,000", partial(diluted, 12_000, 12_000, EPOCHS)),
    Row("diluted to 10 %: 1,200 asked of 12,000", partial(diluted, 1_200, 10_800, EPOCHS)),
    Row("diluted to 5 %: 600 asked of 12,000", partial(diluted, 600, 11_400, EPOCHS)),
    Row("diluted to 10 %: 12,000 asked of 120,000, 10 epochs", partial(diluted, 12_000, 108_000, 10)),
    Row("distilled again on 12,000 fresh inputs, labels", partial(distilled, "labels")),
    Row("distilled again on 12,000 fresh inputs, scores", partial(distilled, "scores")),
    Row("label smoothing 0.1", partial(smoothed, 0.1)),
    Row("label smoothing 0.5", partial(smoothed, 0.5)),
    Row("filtered by 10 neighbours", partial(kept, like_neighbours)),
    Row("filtered by confident learning", partial(kept, confident)),
    Row("filtered by an honest public model", partial(kept, like_public)),
    Row("two accounts pooled", pooled),
    Row("two accounts compared", compared),
    Row("5 queries for one: a vote over neighbours", jittered),
    Row("student of scores", partial(behind, (), "scores")),
    Row("student of scores, two decimals", partial(behind, (Rounding(decimals=2),), "scores")),
    Row("student of scores, noise 0.5", partial(behind, (Noise(scale=0.5),), "scores")),
    Row("student of labels, policy labels", partial(behind, (LabelsOnly(),), "labels")),
)
"""At 0.5 %."""


class Outcome(NamedTuple):
    """One seed's.

    Attributes:
        triggers: changed answers that were served for it.
        accuracy: of the student.
        from_labels: the evidence.
        from_scores: the evidence where it shows scores.
        worst_account: the largest p of the accounts that were asked with, None for one account.
        queries: asked until e >= 1e6, None for never.
        seconds: of CPU.
    """

    triggers: int
    accuracy: float
    from_labels: Evidence
    from_scores: Evidence
    worst_account: float | None
    queries: int | None
    seconds: float


def outcome(theft: Theft, train: Train) -> Outcome:
    started = time.process_time()
    student = train(theft)
    held: Served = served(student.asked)
    shown = labels_only(student.answer)
    evidence = theft.marking.examine(held, shown)
    early_evidence = theft.marking.examine(held, shown, stops_early=True, decoys=0)
    accounts = [each.p_value for each in evidence.accounts] if len(evidence.accounts) > 1 else []
    by_scores = theft.marking.examine(held, student.answer)
    return Outcome(int((held.roles == Role.MARKED).sum()),
                   theft.bed.accuracy(top_labels(student.answer(theft.bed.unseen.inputs))), evidence,
                   by_scores, max(accounts, default=None),
                   early_evidence.queries if early_evidence.stopped_early else None, time.process_time() - started)


def table(bed: str, rate: float, thefts: list[Theft], rows: tuple[Row, ...]) -> list[dict[str, object]]:
    return [line(bed, rate, row, [outcome(theft, row.train) for theft in thefts]) for row in rows]


def line(bed: str, rate: float, row: Row, found: list[Outcome]) -> dict[str, object]:
    by_labels = [each.from_labels.p_value for each in found]
    by_scores = [each.from_scores.p_value for each in found]
    stops = sorted(each.queries if each.queries is not None else 10**9 for each in found)
    median = stops[len(stops) // 2]
    worst = [each.worst_account for each in found if each.worst_account is not None]
    return {"bed": bed, "rate": rate, "student": row.student, "triggers": [each.triggers for each in found],
            "accuracy": round(statistics.fmean(each.accuracy for each in found), 3),
            "hits": " ".join(f"{each.from_labels.hits}/{each.from_labels.trials}" for each in found),
            "p_values": [shortened(p) for p in by_labels], "p_from_scores": [shortened(p) for p in by_scores],
            "p_accounts": shortened(max(worst)) if worst else None,
            "proven": sum(p <= 1e-6 for p in by_labels), "queries_to_e_1e6": median if median < 10**9 else None,
            "at_most": row.at_most, "reached": None if row.at_most is None else max(by_labels) <= row.at_most,
            "reached_from_scores": None if row.at_most is None else max(by_scores) <= row.at_most,
            "cpu_seconds": round(statistics.fmean(each.seconds for each in found), 1)}


def cost(bed: str, rate: float, thefts: list[Theft]) -> dict[str, object]:
    """What honest users pay: the copier's queries are those of an honest account here."""
    truths = [theft.bed.draw("thief", QUERIES[rate]).labels for theft in thefts]
    changed = [float(np.mean(theft.asked.labels != theft.asked.truths)) for theft in thefts]
    lost = [float(np.mean(theft.asked.truths == truth) - np.mean(theft.asked.labels == truth))
            for theft, truth in zip(thefts, truths, strict=True)]
    return {"bed": bed, "rate": rate, "changed": [round(each, 5) for each in changed],
            "accuracy_lost": [round(each, 5) for each in lost],
            "victim_accuracy": [round(float(np.mean(theft.asked.truths == truth)), 4)
                                for theft, truth in zip(thefts, truths, strict=True)],
            "reached": max(changed) <= 0.005 and max(lost) <= max(changed)}


def shortened(p_value: float) -> float:
    return float(f"{p_value:.1e}")


def run(beds: tuple[str, ...] = marks_beds.NAMES) -> tuple[results.Result, results.Result]:
    costs, rows = [], []
    for bed in beds:
        for rate in QUERIES:
            thefts = [Theft(bed, rate, seed) for seed in SEEDS]
            costs.append(cost(bed, rate, thefts))
            rows += table(bed, rate, thefts, OFTEN if rate == min(QUERIES) else OFTEN + ONCE)
    return results.Result("marks_cost", costs), results.Result("marks_removal", rows)


if __name__ == "__main__":
    for found in run():
        results.show(found)
