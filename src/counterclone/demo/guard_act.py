"""Act `guard`: one model bare and guarded; what honest users and a naive copier get from each."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import numpy as np

from counterclone import compose, config, report
from counterclone.answers import Rows, full_bits, top_labels
from counterclone.demo import copier, digits, serving
from counterclone.fidelity import Labels, agreement, calibration_error
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.watch import totals

N_CLIENTS = 20
N_SEEDS = 3
BUDGETS = (50, 100)
REPEATS = 20
SETTINGS = """\
[[guard.policy]]
kind = "noise"
scale = 1.0

[[guard.policy]]
kind = "rounding"
decimals = 1
"""


class Copy(msgspec.Struct, frozen=True):
    """A copier's best student at one budget.

    Attributes:
        queries: rows asked.
        fidelity: agreement with the model on unseen inputs, the mean over the copier's seeds.
        fidelity_low: the least of the seeds.
        fidelity_high: the largest.
    """

    queries: int
    fidelity: float
    fidelity_low: float
    fidelity_high: float


class Surface(msgspec.Struct, frozen=True):
    """What one server gave away, and what its honest users got.

    Attributes:
        label_unchanged: the share of honest answers that serve the bare model's label.
        accuracy: of honest answers.
        calibration_error: expected, of honest answers.
        bits_per_answer: upper bound on the bits released.
        distinct_repeats: answers that repeating one query gave.
        latency_ms: the median answer's time at one client.
        copies: the copier's at each budget.
    """

    label_unchanged: float
    accuracy: float
    calibration_error: float
    bits_per_answer: float
    distinct_repeats: int
    latency_ms: float
    copies: tuple[Copy, ...]


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        config_digest: of the guard's settings.
        honest_queries: rows that the honest clients asked each server.
        bare: the model as it is.
        guarded: behind the guard.
        journal_queries: rows in the guard's journal, all accounts.
        journal_accounts: accounts in it.
        heaviest_account_queries: rows of the account with most.
    """

    config_digest: str
    honest_queries: int
    bare: Surface
    guarded: Surface
    journal_queries: int
    journal_accounts: int
    heaviest_account_queries: int


class _Served(NamedTuple):
    """What one server answered: rows to the honest clients and to the copier, repeats, and the median time."""

    honest: Rows
    pool: Rows
    repeats: Rows
    latency_ms: float


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Serve the model twice, ask both, copy both."""
    data = digits.load(seed)
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        settings = config.load(path, {})
        say("guard: training a model of handwritten digits and serving it bare and guarded")
        with serving.serving(seed) as bare, serving.serving(seed, path) as guarded:
            say(f"guard: {N_CLIENTS} honest clients and a copier ask both servers")
            served = _ask((bare, guarded), data)
        seen = totals.count(path.parent / settings.journal.path)
    say(f"guard: the copier trains its students on {' and '.join(map(str, BUDGETS))} answers")
    labels = top_labels(served[0].honest)
    bare_bits, guarded_bits = full_bits(digits.N_CLASSES), compose.terms(settings)[""].row_bits(digits.N_CLASSES)
    by_account = [account.queries for account in seen.accounts.values()]
    return Findings(
        config_digest=settings.digest(), honest_queries=len(labels),
        bare=_surface(served[0], data, labels, bare_bits),
        guarded=_surface(served[1], data, labels, guarded_bits),
        journal_queries=sum(by_account), journal_accounts=len(by_account),
        heaviest_account_queries=max(by_account))


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    bare, guarded = findings.bare, findings.guarded
    rows = [
        ("honest: label unchanged", f"{bare.label_unchanged:.1%}", f"{guarded.label_unchanged:.1%}"),
        ("honest: accuracy", f"{bare.accuracy:.1%}", f"{guarded.accuracy:.1%}"),
        ("honest: calibration error", f"{bare.calibration_error:.3f}", f"{guarded.calibration_error:.3f}"),
        ("honest: median latency, ms", f"{bare.latency_ms:.2f}", f"{guarded.latency_ms:.2f}"),
        ("leak: bits an answer, at most", f"{bare.bits_per_answer:.0f}", f"{guarded.bits_per_answer:.1f}"),
        (f"leak: answers to one query asked {REPEATS} times", str(bare.distinct_repeats),
         str(guarded.distinct_repeats)),
        *((f"copier: agreement after {one.queries} queries", _share(one), _share(other))
          for one, other in zip(bare.copies, guarded.copies, strict=True)),
    ]
    return report.Table(
        caption="Guard: a digits model behind FastAPI, bare and guarded",
        heads=("", "bare", "guarded"), rows=tuple(rows),
        notes=(
            f"{N_CLIENTS} honest clients asked {findings.honest_queries} queries of each server; the guard adds "
            "noise to the log-odds and rounds to one decimal.",
            f"The guard's journal knows {findings.journal_queries} queries of {findings.journal_accounts} "
            f"accounts; the copier's asked {findings.heaviest_account_queries} of them.",
            f"Copier: the better of two naive students, mean of {N_SEEDS} seeds (least-largest). Labels alone "
            "still teach a copier: a guard on probabilities takes away what they add, and no more.",
        ))


def _ask(addresses: Sequence[str], data: digits.Digits) -> list[_Served]:
    """Honest clients ask one image at a time, both servers in turn; the copier asks its whole pool."""
    honest: list[list[Rows]] = [[] for _ in addresses]
    times: list[list[float]] = [[] for _ in addresses]
    with httpx.Client(timeout=30.0) as client:
        for number, image in enumerate(data.honest.pixels):
            for answers, seconds, address in zip(honest, times, addresses, strict=True):
                started = time.perf_counter()
                answers.append(_answers(client, address, f"honest-{number % N_CLIENTS}", image[None]))
                seconds.append(time.perf_counter() - started)
        return [
            _Served(honest=np.concatenate(answers), pool=_answers(client, address, "copier", data.pool.pixels),
                    repeats=np.concatenate([_answers(client, address, "copier", data.pool.pixels[:1])
                                            for _ in range(REPEATS)]),
                    latency_ms=1000 * statistics.median(seconds))
            for answers, seconds, address in zip(honest, times, addresses, strict=True)]


def _answers(client: httpx.Client, address: str, key: str, pixels: Features) -> Rows:
    answer = client.post(address + serving.ROUTE, json={"instances": pixels.tolist()},
                         headers={"authorization": f"Bearer {key}"})
    answer.raise_for_status()
    return np.array(answer.json()["predictions"])


def _surface(served: _Served, data: digits.Digits, labels: Labels, bits: float) -> Surface:
    own = top_labels(served.honest)
    return Surface(
        label_unchanged=agreement(own, labels).value, accuracy=agreement(own, data.honest.digits).value,
        calibration_error=calibration_error(served.honest, data.honest.digits), bits_per_answer=bits,
        distinct_repeats=len(np.unique(served.repeats, axis=0)), latency_ms=served.latency_ms,
        copies=tuple(_copy(served.pool, data, labels, budget) for budget in BUDGETS))


def _copy(answers: Rows, data: digits.Digits, labels: Labels, budget: int) -> Copy:
    """The better student's fidelity at a budget, on the inputs of the honest clients."""
    by_student: list[list[float]] = [[], []]
    for seed in range(N_SEEDS):
        asked = generator(seed, "copier", budget).choice(len(answers), budget, replace=False)
        students = copier.copy(data.pool.pixels[asked], answers[asked], seed, data.honest.pixels)
        for fidelities, predicted in zip(by_student, students, strict=True):
            fidelities.append(agreement(predicted, labels).value)
    best = max(by_student, key=statistics.fmean)
    return Copy(budget, statistics.fmean(best), min(best), max(best))


def _share(copy: Copy) -> str:
    return f"{copy.fidelity:.1%} ({copy.fidelity_low:.1%}-{copy.fidelity_high:.1%})"
