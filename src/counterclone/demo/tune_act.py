"""Act `tune`: settings of the digits model on the measured frontier, the chosen one, and a report on it."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from counterclone import config, report
from counterclone.audit import Deployment
from counterclone.budgets import Price
from counterclone.compose.posture import posture
from counterclone.compose.tune import edited
from counterclone.demo import digits
from counterclone.demo.audit_act import PRICE_USD_PER_1000_QUERIES
from counterclone.demo.guard_act import SETTINGS
from counterclone.tune import Point, Setting, Subject, tune
from counterclone.tune.settings import Table, name_of

TRIED: tuple[tuple[Table, ...], ...] = (
    (), ({"kind": "labels"},), ({"kind": "rounding", "decimals": 2},), ({"kind": "rounding", "decimals": 1},),
    ({"kind": "deception"},))
ATTACKS = ("cell_difference", "hard_label", "knockoff")
BUDGETS = (50, 100)
N_SEEDS = 2


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        points: the settings that were tried against all the attacks.
        chosen: the name of the one that was chosen, None where none was.
        reason: why.
        standings: how many controls of the posture report are in place, partly there and missing.
    """

    points: tuple[Point, ...]
    chosen: str | None
    reason: str
    standings: dict[str, int]


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Sweep a few settings, put the chosen one into a file, and report on that."""
    data = digits.load(seed)
    model = digits.train(data.training, seed)
    tuned = tune(
        Subject(predict=model.predict_proba, pool=tuple(data.pool), evaluate=tuple(data.honest),
                deployment=Deployment(price=Price(PRICE_USD_PER_1000_QUERIES / 1e3))),
        tried=[Setting(name_of(policies), policies) for policies in TRIED], budgets=BUDGETS, attacks=ATTACKS,
        seeds=N_SEEDS, seed=seed, say=lambda text: say(f"tune: {text}"))
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(edited(SETTINGS, tuned.chosen or ()), encoding="utf-8")
        found = posture(path, time.time())
    return Findings(
        points=tuple(tuned.frontier), chosen=None if tuned.chosen is None else name_of(tuned.chosen),
        reason=tuned.reason, standings=Counter(control.standing for control in found.controls))


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    rows = [(f"{point.name} (chosen)" if point.name == findings.chosen else point.name,
             f"{0.0 - point.accuracy_loss:+.1%}", f"{point.calibration_error_increase:+.3f}",
             f"{point.utility.l1:.3f}",
             f"{point.fidelity:.1%} ({point.fidelity_low:.1%}-{point.fidelity_high:.1%})", point.attack)
            for point in sorted(findings.points, key=lambda point: -point.fidelity)]
    told = ", ".join(f"{number} {standing}" for standing, number in sorted(findings.standings.items()))
    n_controls = sum(findings.standings.values())
    return report.Table(
        caption=f"Tune: settings of the digits model against {len(ATTACKS)} attacks with {BUDGETS[-1]} queries",
        heads=("", "accuracy", "calibration error", "change of a row", "nearest copy", "by"), rows=tuple(rows),
        notes=(f"{findings.reason[0].upper()}{findings.reason[1:]}.",
               "Labels alone are the floor: who drops the probabilities learns that much through any setting.",
               f"`counterclone report` on a guard with it: of {n_controls} controls {told}."))
