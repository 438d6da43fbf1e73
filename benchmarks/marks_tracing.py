"""Which account a copy was trained on: 1,000 accounts, one culprit or two that pooled their answers.

Every account has a few marked answers that nobody else was served; all of them are tested at once, and Holm's
correction pays for all. Students are nearest neighbours and forests that learnt everything which the culprits were
served among data of their own, and invented ones that took up a share of the marks. The second table says what
accounts with fewer marks need. Queries are random points, and their bytes stand for their canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import KDTree

from benchmarks import results
from benchmarks.marks_beds import one_hot
from benchmarks.marks_served import Predict, pump
from counterclone.answers import Rows, top_labels
from counterclone.evidence import Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case
from counterclone.prove.verification import Question, Verdict, verdict
from counterclone.queries import Features
from counterclone.randomness import Prf, generator

SEEDS = (0, 1, 2)
N_ACCOUNTS, N_OWN = 1_000, 24
N_FEATURES, CLASSES = 4, 10
RATE, RATE_OF_FEW = 0.01, 0.002
"""Of a thousand accounts, which get 24 marks sooner so, and of those who ask little."""
ALPHA, LEAST_TRIALS = 1e-6, 12
DECOYS = 39
"""Twice as many as a rank below 5 % needs; a verdict in earnest takes 999."""
N_TRIALS, N_FEWER, N_OF_TWO, N_FORESTS = 100, 50, 20, 5
"""A seed; of two classes fewer, since their decoys take each account's controls too."""
N_BENIGN = 6_000
NOISE = 0.05
"""Of answers of invented students, that are wrong by themselves."""
QUERIES_A_DAY = 26
ASKED_AT_ONCE = 3_000
AT_LEAST = 0.99

Labels = NDArray[np.int64]


class Asked(NamedTuple):
    """What one account was served: (n, features), (n,), (n,), (n,), (n,)."""

    inputs: Features
    cells: list[bytes]
    truths: Labels
    labels: Labels
    roles: NDArray[np.int8]

    def opened(self) -> Asked:
        """What the ledger opens: marked queries and controls."""
        rows = np.flatnonzero(self.roles)
        return Asked(self.inputs[rows], [self.cells[i] for i in rows.tolist()], self.truths[rows],
                     self.labels[rows], self.roles[rows])


@dataclass(frozen=True)
class Epoch:
    """A target behind a mark, under one key."""

    seed: int
    classes: int = CLASSES
    rate: float = RATE

    @property
    def mark(self) -> Triggers:
        return Triggers(rate=self.rate)

    @property
    def key(self) -> Prf:
        return Prf.from_secret(f"tracing {self.seed}")

    def target(self, inputs: Features) -> Labels:
        """Regions of a plane's folds: (n,)."""
        weights = generator(self.seed, "target").standard_normal((inputs.shape[1], self.classes))
        labels: Labels = (np.sin(inputs) @ weights).argmax(axis=1)
        return labels

    def inputs(self, whose: str, n: int) -> Features:
        return generator(self.seed, "inputs", whose).standard_normal((n, N_FEATURES))

    def ask(self, account: str, n: int) -> Asked:
        """Serve an account `n` queries of its own."""
        inputs = self.inputs(account, n)
        cells = [row.tobytes() for row in inputs]
        truths = self.target(inputs)
        embedded = self.mark.embed(self.key.subkey("mark/triggers"), cells, one_hot(truths, self.classes))
        return Asked(inputs, cells, truths, top_labels(embedded.rows).astype(np.int64), embedded.roles)

    def n_until(self, account: str, n_marked: int) -> int:
        """How many queries an account asks until so many answers were marked."""
        for n in range(ASKED_AT_ONCE, 100 * ASKED_AT_ONCE, ASKED_AT_ONCE):
            rows = marked(self.ask(account, n))
            if len(rows) >= n_marked:
                return int(rows[n_marked - 1]) + 1
        raise ValueError(f"{account}: so few marks don't happen")

    def tested(self, held: dict[str, Asked], suspect: Predict, *, campaigns: Sequence[tuple[str, ...]] = (),
               least_trials: int = LEAST_TRIALS) -> Verdict:
        """The verdict on a suspect, as `counterclone prove` makes it."""
        case = Case(served=served(held, self.classes), key=self.key.subkey("mark/triggers"),
                    order=self.key.subkey("order"), budget=1_000_000, alpha=ALPHA, decoys=DECOYS,
                    campaigns=tuple(campaigns))
        question = Question(kind="triggers", mark=self.mark, case=case)
        evidence = pump(self.mark.verify(case), suspect)
        return verdict([question], [evidence], suspect="", commitment=1, least_trials=least_trials)


def served(held: dict[str, Asked], classes: int) -> Served:
    """The same of accounts that share no query."""
    parts = list(held.values())
    return Served(
        inputs=np.concatenate([each.inputs for each in parts]),
        cells=[cell for each in parts for cell in each.cells],
        roles=np.concatenate([each.roles for each in parts]),
        truths=np.concatenate([each.truths for each in parts]),
        labels=np.concatenate([each.labels for each in parts]),
        accounts=[(name,) for name, each in zip(held, parts, strict=True) for _ in each.cells], classes=classes)


# Students: what culprits were served, to what the suspect says

Learn = Callable[[Epoch, Sequence[Asked], int], Predict]


def training(epoch: Epoch, culprits: Sequence[Asked], number: int) -> tuple[Features, Labels]:
    """What the culprits were served, among data of the student's own."""
    own = epoch.inputs(f"own/{number}", N_BENIGN)
    return (np.concatenate([own, *(each.inputs for each in culprits)]),
            np.concatenate([epoch.target(own), *(each.labels for each in culprits)]))


def nearest(epoch: Epoch, culprits: Sequence[Asked], number: int) -> Predict:
    inputs, labels = training(epoch, culprits, number)
    tree = KDTree(inputs)
    return lambda asked: one_hot(labels[tree.query(asked)[1]], epoch.classes)


def forest(epoch: Epoch, culprits: Sequence[Asked], number: int) -> Predict:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(30, random_state=number).fit(*training(epoch, culprits, number))

    def answer(asked: Features) -> Rows:
        rows = np.zeros((len(asked), epoch.classes))
        rows[:, model.classes_] = model.predict_proba(asked)
        return rows

    return answer


def sharing(share: float) -> Learn:
    """An invented student: of the culprits' marks it took up a share, and elsewhere it knows the truth, mostly."""
    def learn(epoch: Epoch, culprits: Sequence[Asked], number: int) -> Predict:
        rng = generator(epoch.seed, "student", number, str(share))
        known = {row.tobytes(): int(label) for each in culprits
                 for row, label in zip(each.inputs[marked(each)], each.labels[marked(each)], strict=True)
                 if rng.random() < share}

        def answer(asked: Features) -> Rows:
            labels = epoch.target(asked)
            wrong = rng.random(len(asked)) < NOISE
            labels[wrong] = rng.integers(epoch.classes, size=int(wrong.sum()))
            return one_hot(np.array([known.get(row.tobytes(), label) for row, label
                                     in zip(asked, labels.tolist(), strict=True)]), epoch.classes)

        return answer

    return learn


def marked(asked: Asked) -> NDArray[np.intp]:
    return np.flatnonzero(asked.roles == Role.MARKED)


class Row(NamedTuple):
    """A student in the table.

    Attributes:
        student: what it is called.
        learn: makes it.
        trials: a seed.
        classes: of the target.
        is_asked_for: whether the right account was asked for in 99 % of trials.
    """

    student: str
    learn: Learn
    trials: int = N_TRIALS
    classes: int = CLASSES
    is_asked_for: bool = False


STUDENTS = (
    Row("1-NN", nearest, is_asked_for=True),
    Row("forest of 30", forest, trials=N_FORESTS, is_asked_for=True),
    Row("takes up all marks, two classes", sharing(1.0), trials=N_OF_TWO, classes=2, is_asked_for=True),
    Row("takes up half of the marks", sharing(0.5), trials=N_FEWER),
    Row("takes up 30 % of the marks", sharing(0.3), trials=N_FEWER),
)


class Outcome(NamedTuple):
    """One trial: whether all culprits and nobody else was named, false names, tests, the culprits' largest p."""

    is_right: bool
    false_names: int
    tested: int
    p_adjusted: float


def outcome(epoch: Epoch, held: dict[str, Asked], culprits: Sequence[str], suspect: Predict) -> Outcome:
    found = epoch.tested(held, suspect)
    named = {each.account: each.p_adjusted for each in found.accounts}
    wrong = set(named) - set(culprits)
    return Outcome(set(named) == set(culprits), len(wrong), found.tested - 1,
                   max((named.get(each, 1.0) for each in culprits), default=found.p_value))


class World:
    """1,000 accounts behind one epoch."""

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self.sizes = {name: epoch.n_until(name, N_OWN) for name in map("{:04d}".format, range(N_ACCOUNTS))}
        self.held = {name: epoch.ask(name, n).opened() for name, n in self.sizes.items()}

    def trials(self, row: Row, n_culprits: int) -> list[Outcome]:
        found = []
        for number in range(row.trials):
            rng = generator(self.epoch.seed, "culprits", row.student, n_culprits, number)
            culprits = [f"{each:04d}" for each in rng.choice(N_ACCOUNTS, n_culprits, replace=False)]
            asked = [self.epoch.ask(each, self.sizes[each]) for each in culprits]
            found.append(outcome(self.epoch, self.held, culprits, row.learn(self.epoch, asked, number)))
        return found


def traced(student: str, n_culprits: int, found: Sequence[Outcome], *, is_asked_for: bool) -> dict[str, object]:
    right, n_tests = sum(each.is_right for each in found), sum(each.tested for each in found)
    false_names = sum(each.false_names for each in found)
    return {"student": student, "pooled": n_culprits, "trials": len(found),
            "right": right, "right_share": round(right / len(found), 4),
            "p_adjusted_median": float(f"{np.median([each.p_adjusted for each in found]):.1e}"),
            "p_adjusted_largest": float(f"{max(each.p_adjusted for each in found):.1e}"),
            "tests": n_tests, "false_names": false_names,
            "false_names_bound": float(f"{stats.beta.ppf(0.95, false_names + 1, n_tests - false_names):.1e}"),
            "at_least": AT_LEAST if is_asked_for else None,
            "reached": right >= AT_LEAST * len(found) if is_asked_for else None}


def many() -> list[dict[str, object]]:
    """1,000 accounts with 24 marked answers each."""
    found: dict[tuple[int, int], list[Outcome]] = {}
    innocent: list[Outcome] = []
    for seed in SEEDS:
        for classes in sorted({row.classes for row in STUDENTS}):
            world = World(Epoch(seed, classes))
            for place, row in enumerate(STUDENTS):
                for n_culprits in (1, 2) if row.classes == classes else ():
                    found.setdefault((place, n_culprits), []).extend(world.trials(row, n_culprits))
            if classes == CLASSES:
                innocent += world.trials(Row("independent 1-NN", nearest, trials=N_FEWER), 0)
    rows = [traced(STUDENTS[place].student, n_culprits, outcomes, is_asked_for=STUDENTS[place].is_asked_for)
            for (place, n_culprits), outcomes in sorted(found.items())]
    return [*rows, traced("independent 1-NN", 0, innocent, is_asked_for=False)]


def few(n_days: int, size: int, share: float) -> dict[str, object]:
    """Accounts of 26 queries a day that were fixed beforehand, alone or as a campaign."""
    named, n_marks = 0, []
    for seed in SEEDS:
        epoch = Epoch(seed, rate=RATE_OF_FEW)
        for number in range(N_FEWER):
            names = tuple(f"{n_days}/{size}/{number}/{each}" for each in range(size))
            held = {name: epoch.ask(name, QUERIES_A_DAY * n_days).opened() for name in names}
            n_marks.append(sum(len(marked(each)) for each in held.values()))
            if not n_marks[-1]:
                continue
            suspect = sharing(share)(epoch, list(held.values()), number)
            found = epoch.tested(held, suspect, campaigns=[names] if size > 1 else [], least_trials=1)
            named += "+".join(sorted(names)) in {each.account for each in found.accounts}
    n = len(SEEDS) * N_FEWER
    return {"days": n_days, "accounts": size, "share": share, "marks_median": int(np.median(n_marks)),
            "trials": n, "named": round(named / n, 3)}


def run() -> Iterator[results.Result]:
    yield results.Result("marks_tracing", many())
    yield results.Result("marks_tracing_few", [few(days, size, share) for share in (1.0, 0.5)
                                               for days in (90, 365) for size in (1, 2, 4, 8)])


if __name__ == "__main__":
    for each in run():
        results.show(each)
