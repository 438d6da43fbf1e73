"""What a running guard knows of its accounts: who may be copying, who spends much, what their owner decided."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from prometheus_client import CollectorRegistry

from counterclone.config import Config, Tier
from counterclone.errors import SourceError
from counterclone.exchanges import Exchanges
from counterclone.guard.metrics import Metrics, metrics_of
from counterclone.guard.tiers import Step
from counterclone.watch.bills import Bills
from counterclone.watch.cases import CASES_FILE, CaseFile, Decision, Evidence
from counterclone.watch.monitor import Alarm
from counterclone.watch.sources import traffic_of

STEPS_KEPT = 1000

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """What watches: `watch.monitor.Monitor`, or whatever else learns exchanges and tells risks."""

    def feed(self, names: Sequence[str], exchanges: Exchanges, kinds: Sequence[str] | None = None) -> None:
        """Learn more exchanges; names and kinds of accounts go by the numbers in them."""
        ...

    def risk(self, account: str) -> float:
        """The risk that an account copies the model, from memory."""
        ...

    def take_alarms(self) -> Sequence[Alarm]:
        """Alarms since the last call."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What keeps it from working as it should, in words."""
        ...


class Watching:
    """Fed by the journal's thread, asked by requests; alarms become cases, and decisions tiers.

    Args:
        cases: where alarms go and decisions come from.
        metrics: counts them.
        watcher: tells risks, None where nothing is watched.
        notify: takes the accounts and the evidence of each new case; it may not wait.

    Attributes:
        cases: as given.
        bills: what accounts spend.
        is_watching: whether anything tells risks.
    """

    def __init__(self, cases: CaseFile, metrics: Metrics, *, watcher: Watcher | None,
                 notify: Callable[[Sequence[str], Evidence], None] | None = None) -> None:
        self.cases = cases
        self.bills = Bills()
        self._metrics = metrics
        self._watcher = watcher
        self._notify = notify
        self._steps: deque[tuple[Step, Tier | None]] = deque(maxlen=STEPS_KEPT)
        self._problem: str | None = None
        self.is_watching = watcher is not None

    def take(self, batch: pa.RecordBatch) -> None:
        """Learn what was just journalled, and see to what follows from it."""
        for account, usd, queries in self.bills.add(batch):
            self._open([account], Evidence(kind="spending", reasons=(f"it spent ${usd:,.2f} today",),
                                           queries=queries, figures={"usd": usd}))
        while self._steps:
            self._see_to(*self._steps.popleft())
        if self._watcher is not None:
            traffic = traffic_of(batch)
            self._watcher.feed(traffic.names, traffic.exchanges, traffic.kinds)
            for alarm in self._watcher.take_alarms():
                standing = alarm.standing
                self._open([alarm.account], Evidence(
                    kind="alarm", reasons=tuple(standing.reasons), queries=standing.queries, risk=standing.risk,
                    p_value=standing.p_value, figures={"leaked_bits": standing.leaked_bits}))

    def risk(self, account: str) -> float:
        """The risk of an account, 0 where nothing is watched."""
        return 0.0 if self._watcher is None else self._watcher.risk(account)

    def step(self, step: Step, tier: Tier | None) -> None:
        """Take that an account went into a tier, None for out of all; seen to with the next batch."""
        self._steps.append((step, tier))

    def troubles(self) -> list[str]:
        """What doesn't work just now, in words."""
        found = [self._problem or "", self.cases.last_error or "",
                 *(self._watcher.problems if self._watcher is not None else ())]
        return [text for text in found if text]

    def _see_to(self, step: Step, tier: Tier | None) -> None:
        self._metrics.note_step(step.level)
        logger.info("account %s is in tier %d now, its risk is %.2f", step.account, step.level, step.risk)
        if tier is not None and tier.action == "review":
            self._open([step.account], Evidence(
                kind="review", reasons=(f"its risk reached {tier.risk:g}",), risk=step.risk))

    def _open(self, accounts: Sequence[str], evidence: Evidence) -> None:
        """Make a case of it; where the file of cases can't take it, log and metrics have it all the same."""
        self._metrics.note_alarm(evidence.kind)
        logger.warning("%s: %s: %s", evidence.kind, ", ".join(accounts), "; ".join(evidence.reasons))
        try:
            case = self.cases.open(accounts, evidence)
        except SourceError as error:
            self._problem = f"cases: {error}"
        else:
            self._problem = None
            if case is None and evidence.kind != "spending":  # which is news each day
                return
        if self._notify is not None:
            self._notify(accounts, evidence)


def decided(watching: Watching, tiers: Sequence[Tier]) -> Callable[[str], int | None]:
    """The tier that an account's owner put it into, of tiers with the one of the blocked behind them.

    Where no tier has a lower limit, to throttle means nothing, and the risk decides.
    """
    throttled = next((number for number, tier in enumerate(tiers, start=1) if tier.action == "throttle"), None)
    levels: dict[Decision | None, int | None] = {
        None: None, "allow": 0, "review": 0, "throttle": throttled, "block": len(tiers) + 1}
    decision = watching.cases.decision
    return lambda account: levels[decision(account)]


def watching(config: Config, folder: Path, registry: CollectorRegistry) -> Watching:
    """What a guard with this configuration knows of its accounts.

    Raises:
        ConfigError: the honest traffic can't be read, or a secret can't.
    """
    return Watching(CaseFile(folder / CASES_FILE), metrics_of(registry), watcher=None)
