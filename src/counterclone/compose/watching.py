"""What a running guard knows of its accounts: who may be copying, who spends much, what their owner decided."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from prometheus_client import CollectorRegistry

from counterclone.budgets import DAY
from counterclone.compose.secrets import root_key
from counterclone.compose.watch import notifier
from counterclone.config import Config, Tier
from counterclone.errors import ConfigError, CountercloneError, SourceError, WatchError
from counterclone.guard.metrics import Metrics, metrics_of
from counterclone.guard.tiers import Step
from counterclone.watch import honest, sources
from counterclone.watch.bills import Bills
from counterclone.watch.cases import CASES_FILE, CaseFile, Decision, Evidence
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.notices import Notifier
from counterclone.watch.sources import Traffic, traffic_of

STATE_FILE = "counterclone.watch-{worker}.npz"
STEPS_KEPT = 1000
BATCHES_KEPT = 1000
"""That wait while campaigns are looked for, of a thousand rows at most."""
SEARCH_SECONDS_MAX = 60.0
"""How long an end waits for a search."""

logger = logging.getLogger(__name__)


class Monitors(Protocol):
    """What tells risks: `watch.monitor.Monitor`."""

    def risk(self, account: str) -> float:
        """The risk that an account copies the model, from memory."""
        ...

    def save(self, path: Path) -> None:
        """Write down what it counted."""
        ...

    def load(self, path: Path) -> None:
        """Go on from what was written down.

        Raises:
            WatchError: it was counted with another reference, or can't be read.
        """
        ...


class Watches(Protocol):
    """What watches: `watch.engine.Engine`."""

    @property
    def monitor(self) -> Monitors:
        """What tells risks."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What keeps it from working as it should, in words."""
        ...

    def take(self, traffic: Traffic) -> None:
        """Learn more traffic, and tell the alarms that it raises."""
        ...

    def search(self) -> object:
        """Look for campaigns, and tell them."""
        ...


class Watching:
    """Fed by the journal's thread, asked by requests; alarms become cases, and decisions tiers.

    Campaigns are looked for in a thread of their own, once for each day (UTC) that ended, since a search spends a
    day's share of the false alarms; the journal goes on meanwhile, and what it writes waits.

    Args:
        cases: where alarms go and decisions come from.
        metrics: counts them.
        notices: tells alarms to whoever must act.
        state: the file that keeps what was counted until the next start.

    Attributes:
        cases: as given.
        bills: what accounts spend.
        engine: what watches, None for nothing.
        state: as given.
    """

    def __init__(self, cases: CaseFile, metrics: Metrics, notices: Notifier, state: Path) -> None:
        self.cases = cases
        self.bills = Bills()
        self.engine: Watches | None = None
        self._own_risk: Callable[[str], float] = _no_risk  # a request's path has no time to look for it
        self._metrics = metrics
        self._notices = notices
        metrics.notifiers.add(notices)
        self.state = state
        self._steps: deque[tuple[Step, Tier | None]] = deque(maxlen=STEPS_KEPT)
        self._waiting: deque[pa.RecordBatch] = deque(maxlen=BATCHES_KEPT)
        self._campaigns: dict[str, float] = {}
        self._day = 0
        self._search: threading.Thread | None = None
        self._problem: str | None = None
        self._search_problem: str | None = None

    def resume(self, engine: Watches) -> None:
        """Begin to watch, from where the last guard ended: what was counted, and campaigns that became cases."""
        try:
            if self.state.exists():
                engine.monitor.load(self.state)
            for case in self.cases.all():
                risk = max((each.risk or 0.0 for each in case.evidence if each.kind == "campaign"), default=0.0)
                self._campaigns.update(dict.fromkeys(case.accounts, risk) if risk else {})
        except (WatchError, SourceError) as error:
            logger.warning("%s; the watch begins anew", error)
        self.engine = engine
        self._own_risk = engine.monitor.risk

    def take(self, batch: pa.RecordBatch) -> None:
        """Learn what was just journalled, and see to what follows from it."""
        for account, usd, queries in self.bills.add(batch):
            self.tell([account], Evidence(kind="spending", reasons=(f"it spent ${usd:,.2f} today",),
                                          queries=queries, figures={"usd": usd}))
        while self._steps:
            self._see_to(*self._steps.popleft())
        if self.engine is None:
            return
        self._waiting.append(batch)
        if self._search is None or not self._search.is_alive():
            self._feed(self.engine)

    def risk(self, account: str) -> float:
        """The risk of an account by itself, or as one of a campaign; 0 where nothing is watched."""
        own = self._own_risk(account)
        return max(own, self._campaigns.get(account, 0.0)) if self._campaigns else own

    @property
    def campaigns(self) -> dict[str, float]:
        """The risk of each account that is one of a campaign."""
        return dict(self._campaigns)

    def step(self, step: Step, tier: Tier | None) -> None:
        """Take that an account went into a tier, None for out of all; seen to with the next batch."""
        self._steps.append((step, tier))

    def tell(self, accounts: Sequence[str], evidence: Evidence, campaign: str = "") -> None:
        """Make a case of an alarm, and tell it; where the file of cases can't take it, the rest goes on."""
        self._metrics.note_alarm(evidence.kind)
        logger.warning("%s: %s: %s", evidence.kind, campaign or ", ".join(accounts), "; ".join(evidence.reasons))
        if campaign:
            self._campaigns.update(dict.fromkeys(accounts, evidence.risk or 0.0))
        try:
            case = self.cases.open(accounts, evidence)
        except SourceError as error:
            self._problem = f"cases: {error}"
        else:
            self._problem = None
            if case is None and evidence.kind != "spending":  # which is news each day
                return
        self._notices.tell(accounts, evidence, campaign)

    def troubles(self) -> list[str]:
        """What doesn't work just now, in words."""
        notices = self._notices.last_error
        found = [self._problem, self.cases.last_error, self._search_problem, notices and f"notices: {notices}"]
        return [*(text for text in found if text), *(self.engine.problems if self.engine is not None else ())]

    def close(self) -> None:
        """Tell what waits to be told, and write down what was counted."""
        if self._search is not None:
            self._search.join(SEARCH_SECONDS_MAX)
        if self.engine is not None:
            try:
                self.engine.monitor.save(self.state)
                self.state.chmod(0o600)
            except OSError as error:
                logger.warning("%s: %s; the watch begins anew at the next start", self.state, error.strerror)
        self._notices.close()

    def _feed(self, engine: Watches) -> None:
        """What waits, up to a day that ended, which is searched then."""
        while self._waiting:
            day = int(pc.max(self._waiting[0].column("time")).value // 1_000_000 // DAY)
            before, self._day = self._day, max(day, self._day)
            if before and day > before:
                self._search = threading.Thread(target=self._look, args=(engine,), name="campaigns", daemon=True)
                self._search.start()
                return
            engine.take(traffic_of(self._waiting.popleft()))

    def _look(self, engine: Watches) -> None:
        """Look for campaigns, then learn what came meanwhile."""
        try:
            engine.search()
            self._search_problem = None
            self._feed(engine)
        except Exception as error:  # whatever it is, the guard goes on
            self._search_problem = f"campaigns couldn't be looked for ({type(error).__name__}: {error})"
            logger.warning("%s", self._search_problem, exc_info=error)

    def _see_to(self, step: Step, tier: Tier | None) -> None:
        self._metrics.note_step(step.level)
        logger.info("account %s is in tier %d now, its risk is %.2f", step.account, step.level, step.risk)
        if tier is not None and tier.action == "review":
            self.tell([step.account], Evidence(
                kind="review", reasons=(f"its risk reached {tier.risk:g}",), risk=step.risk))


def _no_risk(account: str) -> float:
    return 0.0


def decided(watching: Watching, tiers: Sequence[Tier]) -> Callable[[str], int | None]:
    """The tier that an account's owner put it into, of tiers with the one of the blocked behind them.

    Where no tier has a lower limit, to throttle means nothing, and the risk decides.
    """
    throttled = next((number for number, tier in enumerate(tiers, start=1) if tier.action == "throttle"), None)
    levels: dict[Decision | None, int | None] = {
        None: None, "allow": 0, "review": 0, "throttle": throttled, "block": len(tiers) + 1}
    decision = watching.cases.decision
    return lambda account: levels[decision(account)]


def watching(config: Config, folder: Path, registry: CollectorRegistry, *, worker: int) -> Watching:
    """What a guard with this configuration knows of its accounts; it watches where honest traffic is named.

    Raises:
        ConfigError: the honest traffic can't be read, or a secret can't.
    """
    built = Watching(CaseFile(folder / CASES_FILE), metrics_of(registry), notifier(config.watch),
                     folder / STATE_FILE.format(worker=worker))
    if config.watch.benign and config.journal.path:
        try:
            engine = _engine(config, folder, built)
        except CountercloneError as error:
            raise ConfigError(f"[watch] benign: {error}") from None
        built.resume(engine)
    return built


def _engine(config: Config, folder: Path, built: Watching) -> Engine:
    watch, root = config.watch, root_key(config, folder)
    key = root.subkey("watch")
    source = sources.find(folder / watch.benign, root.subkey("digests"))
    found = honest.gather(source, key)
    for problem in source.problems:
        logger.warning("%s", problem)
    return Engine(reference_of(found, detectors(watch.detector), key), found, key,
                  false_alarms_per_year=watch.false_alarms_per_year, max_accounts=watch.max_accounts,
                  tell=built.tell)
