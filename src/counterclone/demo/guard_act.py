"""Act `guard`: one model bare and guarded in process; what honest users and a naive copier get from each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import numpy as np

from counterclone import config, report
from counterclone.answers import Rows, top_labels
from counterclone.demo import asking, copier, digits, serving, surface
from counterclone.demo.copier import Task
from counterclone.demo.surface import Journal, Leak, Surface
from counterclone.fidelity import Labels, agreement, calibration_error

SERVER = "counterclone.demo.digits_server"
BUDGETS = (50, 100)
SETTINGS = """\
[[guard.policy]]
kind = "noise"
scale = 1.0

[[guard.policy]]
kind = "rounding"
decimals = 1
"""


class Honest(msgspec.Struct, frozen=True):
    """What a server's honest users got.

    Attributes:
        label_unchanged: the share of answers that serve the bare model's label.
        accuracy: of the answers.
        calibration_error: expected.
        latency_ms: the median answer's time at one client.
    """

    label_unchanged: float
    accuracy: float
    calibration_error: float
    latency_ms: float


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        config_digest: of the guard's settings.
        honest_queries: rows that the honest clients asked each server.
        bare: the model as it is.
        guarded: behind the guard.
        journal: the guard's.
    """

    config_digest: str
    honest_queries: int
    bare: Surface[Honest]
    guarded: Surface[Honest]
    journal: Journal


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Serve the model twice, ask both, copy both."""
    data = digits.load(seed)
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        settings = config.load(path, {})
        say("guard: training a model of handwritten digits and serving it bare and guarded")
        with (serving.serving(SERVER, str(seed), seed=seed) as bare,
              serving.serving(SERVER, str(seed), str(path), seed=seed) as guarded):
            say(f"guard: {asking.N_CLIENTS} honest clients and a copier ask both servers")
            served = asking.ask((bare, guarded), _predict, data.honest.pixels, data.pool.pixels)
        journal = Journal.of(path.parent / settings.journal.path)
    say(f"guard: the copier trains its students on {' and '.join(map(str, BUDGETS))} answers")
    labels = top_labels(served[0].honest)
    bare_surface, guarded_surface = (
        Surface(_honest(answers, labels, data.honest.digits), Leak.of(bits, answers.repeats),
                copier.copies(copier.networks, Task(data.pool.pixels, answers.pool, data.honest.pixels, labels),
                              BUDGETS))
        for answers, bits in zip(served, surface.bits(settings, digits.N_CLASSES), strict=True))
    return Findings(config_digest=settings.digest(), honest_queries=len(labels), bare=bare_surface,
                    guarded=guarded_surface, journal=journal)


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    bare, guarded = findings.bare.honest, findings.guarded.honest
    return surface.table(
        "Guard: a digits model behind FastAPI, bare and guarded",
        [("label unchanged", f"{bare.label_unchanged:.1%}", f"{guarded.label_unchanged:.1%}"),
         ("accuracy", f"{bare.accuracy:.1%}", f"{guarded.accuracy:.1%}"),
         ("calibration error", f"{bare.calibration_error:.3f}", f"{guarded.calibration_error:.3f}"),
         ("median latency, ms", f"{bare.latency_ms:.2f}", f"{guarded.latency_ms:.2f}")],
        findings.bare, findings.guarded,
        [f"{asking.N_CLIENTS} honest clients asked {findings.honest_queries} queries of each server; the guard "
         "adds noise to the log-odds and rounds to one decimal.",
         str(findings.journal),
         f"Copier: the better of two naive students, {surface.HOW_COPIES_ARE_TOLD}. Labels alone still teach a "
         "copier: a guard on probabilities takes away what they add, and no more."])


def _honest(answers: asking.Served, labels: Labels, truth: Labels) -> Honest:
    own = top_labels(answers.honest)
    return Honest(label_unchanged=agreement(own, labels).value, accuracy=agreement(own, truth).value,
                  calibration_error=calibration_error(answers.honest, truth), latency_ms=answers.latency_ms)


def _predict(client: httpx.Client, address: str, headers: dict[str, str], pixels: asking.Inputs) -> Rows:
    answer = client.post(address + digits.ROUTE, json={"instances": pixels.tolist()}, headers=headers)
    answer.raise_for_status()
    return np.array(answer.json()["predictions"])
