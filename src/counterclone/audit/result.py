"""What an audit found; its fields are those of `counterclone audit --json`."""

from __future__ import annotations

import msgspec

from counterclone.audit.control import Control
from counterclone.audit.curve import Point, Reach, points
from counterclone.audit.findings import COPY, Finding, Shown, dollars
from counterclone.audit.plans import Skipped
from counterclone.audit.trial import Trial


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """One audit.

    Attributes:
        target: what was audited.
        config_digest: of the configuration, "" for none.
        seed: the first of the trials'.
        authorized_by: who allowed it, "" for nobody.
        trials: all of them.
        control: what a copier has without answers.
        cheapest: the cheapest way to each level through each surface, the one that callers see first.
        findings: the gravest first.
        majority: the share of the target's most frequent label, which a constant agrees on.
        surfaces: what was shown, the one that callers see first.
        skipped: attacks that weren't tried, or built nothing, and why.
        warnings: what makes figures less true.
        training_cost_usd: what the model cost, 0 where nobody says.
        queries_asked: rows that the target itself was asked, by all trials and to judge them.
        seconds: of the whole audit.
    """

    target: str
    config_digest: str
    seed: int
    authorized_by: str
    trials: list[Trial]
    control: Control
    cheapest: list[Reach]
    findings: list[Finding]
    majority: float
    surfaces: list[Shown]
    skipped: list[Skipped]
    warnings: list[str]
    training_cost_usd: float
    queries_asked: int
    seconds: float

    @property
    def points(self) -> list[Point]:
        """The curve: one point for each attack, surface and budget."""
        return points(self.trials)

    @property
    def fidelity(self) -> float:
        """Of the nearest copy through the surface that callers see, the mean of its seeds."""
        return self._best("fidelity")

    def _best(self, measure: str) -> float:
        shown = self.surfaces[0].name
        return max((getattr(point, measure) for point in self.points if point.surface == shown), default=0.0)

    def reach(self, fidelity: float, surface: str = "") -> Reach | None:
        """The cheapest way to a level, through what callers see where no surface is named; None where none is."""
        wanted = fidelity, surface or self.surfaces[0].name
        return next((reach for reach in self.cheapest if (reach.fidelity, reach.surface) == wanted), None)

    def failures(self, *, under_usd: float | None = None, over_fidelity: float | None = None) -> list[str]:
        """Where what callers see is over a stated limit, in words.

        Args:
            under_usd: the least that a 90 % copy may cost.
            over_fidelity: the most that a copy may agree on; balanced, where a constant agrees on as much.
        """
        found = []
        copy = self.reach(COPY)
        if under_usd is not None and copy is not None and copy.usd < under_usd:
            priced = "" if copy.usd else "; no price is set in [target]"
            found.append(f"a 90 % copy costs {dollars(copy.usd)}, less than {dollars(under_usd)} ({copy.attack}, "
                         f"{copy.queries:,} queries{priced})")
        if over_fidelity is not None:
            is_balanced = self.majority >= over_fidelity
            agreed = self._best("balanced" if is_balanced else "fidelity")
            if agreed > over_fidelity:
                measure = " by balanced agreement" if is_balanced else ""
                found.append(f"a copy agrees on {agreed:.1%}{measure}, more than {over_fidelity:.1%}")
        return found

    def to_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.encode(self)
