"""Act `audit`: the published attacks on the digits model, bare and guarded, and what a copy of each costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from counterclone import audit, compose, config, report
from counterclone.audit.curve import LEVELS, Reach
from counterclone.audit.findings import dollars
from counterclone.budgets import Price
from counterclone.demo import digits
from counterclone.demo.guard_act import SETTINGS

PRICE_USD_PER_1000_QUERIES = 1.5
ATTACKS = ("averaging", "cell_difference", "equation_solving", "fallback", "hard_label", "knockoff")
BUDGETS = (20, 50, 100)
N_SEEDS = 2
BARE, GUARDED = "full", "guarded"


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        trials: how many.
        queries_sent: by all of them.
        control: the agreement of a student of the pool's true labels, without any answer.
        fidelity: the nearest copy's, by surface.
        accuracy: of the answers that users get, likewise.
        cheapest: the cheapest way to each level of agreement, by surface.
        findings: what the audit says of the guarded model and isn't for information only, the gravest first.
    """

    trials: int
    queries_sent: int
    control: float
    fidelity: dict[str, float]
    accuracy: dict[str, float | None]
    cheapest: tuple[Reach, ...]
    findings: tuple[str, ...]


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Audit the model of the act `guard` through its guard's policies, and compare with the bare model."""
    data = digits.load(seed)
    model = digits.train(data.training, seed)
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        settings = config.load(path, {})
    guarded = audit.Surface(name=GUARDED, policies=settings.guard.policy)
    found = audit.run(
        model.predict_proba, pool=tuple(data.pool), evaluate=tuple(data.honest), surfaces=[BARE], budgets=BUDGETS,
        attacks=ATTACKS, seeds=N_SEEDS, seed=seed, say=lambda text: say(f"audit: {text}"),
        deployment=audit.Deployment(
            surface=guarded, price=Price(PRICE_USD_PER_1000_QUERIES / 1e3),
            limits=compose.terms(settings)[""].limits, config_digest=settings.digest()))
    best: dict[str, float] = {}
    for point in found.points:
        best[point.surface] = max(point.fidelity, best.get(point.surface, 0.0))
    return Findings(
        trials=len(found.trials),
        queries_sent=sum(trial.queries_sent for trial in found.trials), control=found.control.fidelity,
        fidelity=best, accuracy={shown.name: shown.accuracy for shown in found.surfaces},
        cheapest=tuple(found.cheapest),
        findings=tuple(each.text for each in found.findings if each.severity != "info"))


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    def cell(surface: str, level: float) -> str:
        wanted = surface, level
        reach = next((each for each in findings.cheapest if (each.surface, each.fidelity) == wanted), None)
        if reach is None:
            return "not reached"
        return f"{'≤ ' if reach.is_bound else ''}{dollars(reach.usd)}, {reach.queries:,} queries ({reach.attack})"

    rows = [(f"copier: {level:.0%} agreement costs", cell(BARE, level), cell(GUARDED, level)) for level in LEVELS]
    rows.append(("copier: nearest copy", f"{findings.fidelity[BARE]:.1%}", f"{findings.fidelity[GUARDED]:.1%}"))
    return report.Table(
        caption="Audit: what a copy of the digits model costs", heads=("", "bare", "guarded"), rows=tuple(rows),
        notes=(f"{findings.trials} trials of {len(ATTACKS)} published attacks with up to {BUDGETS[-1]} "
               f"queries each, at ${PRICE_USD_PER_1000_QUERIES:.2f} a thousand; the cheapest is shown. ≤: the "
               "least budget got there.",
               f"Without a single answer, a student of the same inputs with true labels agrees on "
               f"{findings.control:.1%}.", *findings.findings))
