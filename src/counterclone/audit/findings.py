"""What an owner should know and do, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from counterclone.audit.control import Control
from counterclone.audit.curve import Point, Reach
from counterclone.audit.trial import Trial
from counterclone.audit.utility import Utility

Severity = Literal["critical", "high", "medium", "low", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "info")
REFERENCES = ("OWASP AISVS C11.5", "MITRE ATLAS AML.T0024.002", "NIST AI 100-2, model extraction")

COPY = 0.9
EXACT_ERROR = 1e-3
NEARLY_ALL = 0.99
ONE_CLASS = 0.8
FLIPS = 0.005
NEAR_CONTROL = 0.02
LABELS_FACTOR = 3.0
PRECISE_DECIMALS = 3
FEW_QUERIES, MANY_QUERIES = 1_000, 10_000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know.

    Attributes:
        id: its stable name.
        severity: critical, high, medium, low or info.
        text: what was found.
        remedy: what to do.
        references: where frameworks have it.
    """

    id: str
    severity: Severity
    text: str
    remedy: str
    references: tuple[str, ...] = REFERENCES


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One surface as honest users get it.

    Attributes:
        name: of the surface.
        shows: what an answer has, sorted.
        decimals: of its probabilities; None where there are more than six, or only labels.
        label_unchanged: the share of the deployment's inputs whose label it keeps.
        accuracy: of its labels, None where nobody knows the true ones.
        utility: what honest users lose.
        bits: an upper bound on those of an answer, 0 where nobody says.
    """

    name: str
    shows: tuple[str, ...]
    decimals: int | None
    label_unchanged: float
    accuracy: float | None
    utility: Utility
    bits: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured.

    Attributes:
        surfaces: the one that callers see first.
        trials: all of them.
        points: their means.
        reaches: the cheapest ways to each level.
        control: what a copier has without answers.
        majority: the share of the target's most frequent label.
        classes: how many there are.
        pool: what the attacker's inputs were.
        training_cost_usd: what the model cost, 0 where nobody says.
        has_limits: whether an account has any limit; None where nobody says.
    """

    surfaces: Sequence[Shown]
    trials: Sequence[Trial]
    points: Sequence[Point]
    reaches: Sequence[Reach]
    control: Control
    majority: float
    classes: int
    pool: str
    training_cost_usd: float
    has_limits: bool | None

    @property
    def shown(self) -> Shown:
        """What callers see."""
        return self.surfaces[0]

    @property
    def best(self) -> Point | None:
        """The nearest copy of what callers see."""
        own = [point for point in self.points if point.surface == self.shown.name]
        return max(own, key=lambda point: point.fidelity, default=None)

    def copy(self, surface: str) -> Reach | None:
        """The cheapest 90 % copy through a surface."""
        return next((reach for reach in self.reaches if (reach.surface, reach.fidelity) == (surface, COPY)), None)


def findings(evidence: Evidence) -> list[Finding]:
    """All that is found, the gravest first."""
    found = [finding for look in _LOOKS for finding in look(evidence)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _exact(evidence: Evidence) -> Iterator[Finding]:
    exact = [trial for trial in evidence.trials if trial.surface == evidence.shown.name
             and trial.fidelity >= NEARLY_ALL and (trial.is_verified or (
                 trial.parameter_error is not None and trial.parameter_error < EXACT_ERROR))]
    if not exact:
        return
    least = min(exact, key=lambda trial: trial.queries_sent)
    yield Finding(
        id="exact-copy", severity="critical",
        text=f"{cost(least.queries_sent, least.usd)} give an exact copy ({least.attack}): the answers of "
             f"'{evidence.shown.name}' hold the model's parameters.",
        remedy=_dearer(evidence) or "Show fewer digits ([[guard.policy]] kind = \"rounding\"), or labels alone; "
                                    "audit with --surface decimals-2 --surface labels to see what each costs.")


def _copy(evidence: Evidence) -> Iterator[Finding]:
    copy, best = evidence.copy(evidence.shown.name), evidence.best
    if copy is not None:
        less = "At most " if copy.is_bound else "About "
        yield Finding(
            id="cheap-copy", severity=_severity(copy, evidence.training_cost_usd),
            text=f"{less}{cost(copy.queries, copy.usd)} give a 90 % copy ({copy.attack})"
                 f"{_share(copy.usd, evidence.training_cost_usd)}.",
            remedy=_dearer(evidence) or "Show less: audit with --surface decimals-2 --surface labels to see what "
                                        "each costs a copier, and limit what an account may ask in a day.")
    elif best is not None:
        yield Finding(
            id="no-copy-yet", severity="info",
            text=f"No attack reached a 90 % copy; the nearest was {best.fidelity:.1%} with "
                 f"{best.queries:,.0f} queries ({best.attack}).",
            remedy="This shows what was tried and no more: a copier may have more queries, or other inputs. Audit "
                   "with larger --budgets.")


def _limits(evidence: Evidence) -> Iterator[Finding]:
    copy = evidence.copy(evidence.shown.name)
    if copy is None or evidence.has_limits is None:
        return
    remedy = ("Set [guard] limit_copy_share_per_day, for example 0.05: an account may then have a twentieth of "
              "these queries a day.")
    if not evidence.has_limits:
        yield Finding(id="no-limit", severity="high", remedy=remedy,
                      text=f"No limit keeps an account from asking the {copy.queries:,} queries of a 90 % copy at "
                           "once.")
    elif copy.days is not None and copy.days < 1.0:
        yield Finding(id="high-limit", severity="high", remedy=remedy,
                      text=f"At the configured limits one account gathers a 90 % copy {duration(copy.days)}.")


def _digits(evidence: Evidence) -> Iterator[Finding]:
    shown = evidence.shown
    if "scores" in shown.shows and (shown.decimals is None or shown.decimals > PRECISE_DECIMALS):
        digits = "all the digits it has" if shown.decimals is None else f"{shown.decimals} decimals"
        yield Finding(
            id="precise-scores", severity="medium", text=f"Probabilities are shown with {digits}.",
            remedy="Show as few as your users need: [[guard.policy]] kind = \"rounding\", decimals = 2. Rounding "
                   "makes equations dearer by a factor, not impossible.")
    for part, name in (("logits", "logits"), ("ids", "leaf or node ids")):
        if part in shown.shows:
            yield Finding(id=f"{part}-shown", severity="high", text=f"Answers show {name}, which tell how the "
                          "model computes.", remedy=f"Leave the {name} out of the answers.")


def _labels_suffice(evidence: Evidence) -> Iterator[Finding]:
    copy, by_labels = evidence.copy(evidence.shown.name), evidence.copy("labels")
    if not copy or not by_labels or evidence.shown.name == "labels":
        return
    if by_labels.queries <= LABELS_FACTOR * copy.queries:
        yield Finding(
            id="labels-suffice", severity="info",
            text=f"Labels alone give a 90 % copy with {by_labels.queries:,} queries, against {copy.queries:,} "
                 f"through '{evidence.shown.name}'.",
            remedy="No policy on probabilities makes this copy much dearer; limits and watching accounts do.")


def _flips(evidence: Evidence) -> Iterator[Finding]:
    changed = 1.0 - evidence.shown.label_unchanged
    if changed > FLIPS:
        yield Finding(
            id="labels-changed", severity="medium",
            text=f"'{evidence.shown.name}' changes the label of {changed:.1%} of inputs: honest users pay too.",
            remedy="Choose policies that keep the label.")


def _one_class(evidence: Evidence) -> Iterator[Finding]:
    if evidence.majority >= ONE_CLASS:
        yield Finding(
            id="one-class", severity="info",
            text=f"{evidence.majority:.0%} of the answers are one class, so a constant agrees as often.",
            remedy=f"Read fidelity_balanced, where a constant has {1 / evidence.classes:.0%}.")


def _control(evidence: Evidence) -> Iterator[Finding]:
    best, control = evidence.best, evidence.control
    if best is None or control.student == "majority":
        return
    gain = best.fidelity - control.fidelity
    added = f"add {100 * gain:.1f} points" if gain > 0.0 else "add nothing to that"
    yield Finding(
        id="control", severity="info",
        text=f"A student of {control.rows:,} inputs with true labels agrees with the model on "
             f"{control.fidelity:.1%} without one answer; {best.queries:,.0f} answers {added}.",
        remedy="What agrees without answers isn't theft: whoever has such data and labels needs no copy."
               if gain < NEAR_CONTROL else "The answers are worth that to whoever has inputs like the pool's.")


def _pool(evidence: Evidence) -> Iterator[Finding]:
    if evidence.pool == "uniform":
        yield Finding(
            id="no-pool", severity="info",
            text="Attacks that learn had inputs drawn evenly only, so their fidelity is under-reported.",
            remedy="Audit with --pool: inputs that a copier may get, such as public data of the same kind.")


_LOOKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _exact, _copy, _limits, _digits, _labels_suffice, _flips, _one_class, _control, _pool)


def _severity(copy: Reach, training_cost_usd: float) -> Severity:
    """By the share of the training cost, or by queries where nobody says what either costs."""
    if training_cost_usd and copy.usd:
        share = copy.usd / training_cost_usd
        return "critical" if share < 0.01 else "high" if share < 0.1 else "medium" if share < 1.0 else "low"
    return "high" if copy.queries < FEW_QUERIES else "medium" if copy.queries < MANY_QUERIES else "low"


def _dearer(evidence: Evidence) -> str:
    """What the other audited surfaces cost a copier, "" where there are none that cost more."""
    copy = evidence.copy(evidence.shown.name)
    if copy is None or len(evidence.surfaces) == 1:
        return ""
    said = []
    for surface in evidence.surfaces[1:]:
        other = evidence.copy(surface.name)
        if other is None:
            tried = max((point.queries for point in evidence.points if point.surface == surface.name), default=0.0)
            if tried > copy.queries:
                said.append(f"through '{surface.name}' {tried:,.0f} queries weren't enough")
        elif other.queries > copy.queries:
            times = other.queries / copy.queries
            said.append(f"'{surface.name}' costs the copier {times:,.1f} times as many queries")
    if not said:
        return ""
    text = "; ".join(said)
    return f"Show less, by a policy: {text}."


def _share(usd: float, training_cost_usd: float) -> str:
    if not usd or not training_cost_usd:
        return ""
    percent = 100 * usd / training_cost_usd
    part = f"{percent:.2g}" if percent >= 0.01 else "less than 0.01"
    return f", {part} % of what training the model cost"


def cost(queries: float, usd: float) -> str:
    """Queries, and dollars where they cost any."""
    return f"{queries:,.0f} queries{f', {dollars(usd)},' if usd else ''}"


def dollars(usd: float) -> str:
    """An amount to read: cents, or two digits where it is less."""
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0.0 else f"${usd:.2g}"


def duration(days: float) -> str:
    """How long something takes, to read."""
    for unit, size in (("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440)):
        if days >= size:
            return f"in {days / size:,.1f} {unit}"
    return f"in {days * 86_400:,.0f} seconds" if days > 0.0 else "at once"
