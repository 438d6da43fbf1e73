"""Traffic in, alarms out: accounts as they come, campaigns when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.detectors._sample import kept
from counterclone.detectors.repetition import digests
from counterclone.protocols import Detector, States
from counterclone.randomness import Prf
from counterclone.watch.calibration import FEWEST_ACCOUNTS
from counterclone.watch.cases import Evidence, Tie
from counterclone.watch.cohort import Cohort, Young
from counterclone.watch.honest import Honest
from counterclone.watch.levels import SECONDS_PER_DAY, accounts_needed
from counterclone.watch.monitor import AccountStanding, Monitor, Snapshot
from counterclone.watch.reference import CALIBRATION_SHARE, Reference
from counterclone.watch.result import Account, Campaign, Watched
from counterclone.watch.sources import Traffic, known_links
from counterclone.watch.spending import Purse

if TYPE_CHECKING:
    from counterclone.watch import campaigns
    from counterclone.watch.links import Links

DEFAULT_DETECTORS = ("residual", "typicality", "energy", "margin", "repetition", "tempo")
"""What accounts are compared by where nobody says."""
_FEWEST_QUERIES = 5
_MOST_TIES = 100
"""Of a campaign, that its case keeps."""
_MOST_NEEDED = 1_000_000
"""More honest accounts aren't asked for: as time goes on, fewer will do."""

Tell = Callable[[Sequence[str], Evidence, str], None]
"""Takes the accounts and the evidence of an alarm, and a campaign's id or ""; it may not wait."""


def detectors(tables: Sequence[dict[str, Any]] = ()) -> list[Detector]:
    """The detectors of a list of tables, the default ones where there are none.

    Raises:
        ConfigError: a wrong table.
    """
    tables = tables or [{"kind": kind} for kind in DEFAULT_DETECTORS]
    return [cast(Detector, plugins.build("detectors", table, "[[watch.detector]]")) for table in tables]


def reference_of(honest: Honest | None, specs: Sequence[Detector], key: Prf, *, trim: float = 0.0) -> Reference:
    """What honest accounts look like; of none, a reference that sets no detector.

    Args:
        honest: the accounts.
        specs: what they are compared by.
        key: nobody without it knows which of them do what.
        trim: the share of them that may be copiers'.
    """
    if honest is None:
        return Reference(gauges=(), counts=np.empty(0, dtype=np.int64), labels=np.empty(0, dtype=np.int32),
                         kinds=(), n_fit=0, name="", digest="", problems=())
    return Reference.fit(honest.exchanges, specs, key, names=honest.names, kinds=honest.kinds, trim=trim)


class Engine:
    """Watches traffic against a reference.

    Args:
        reference: honest accounts.
        honest: what it was made from.
        key: splits accounts where campaigns are looked for.
        false_alarms_per_year: of the whole fleet.
        max_accounts: that are remembered.
        tell: takes alarms.
    """

    def __init__(self, reference: Reference, honest: Honest | None, key: Prf, *, false_alarms_per_year: float,
                 max_accounts: int, tell: Tell) -> None:
        self.monitor = Monitor(reference, false_alarms_per_year=false_alarms_per_year, max_accounts=max_accounts)
        self.campaigns: list[Campaign] = []
        self._n_honest = len(honest or ())
        self._honest_meta = {} if honest is None else honest.meta
        self._cohort = _cohort(honest, reference, key)
        self._meta: dict[str, dict[str, str]] = {}
        self._purse = Purse(false_alarms_per_year)
        self._key = key
        self._rate = false_alarms_per_year
        self._tell = tell
        self._problems: list[str] = []

    def take(self, traffic: Traffic) -> None:
        """Learn more traffic, and tell the alarms that it raises."""
        self.monitor.feed(traffic.names, traffic.exchanges, traffic.kinds)
        for name, meta in zip(traffic.names, traffic.meta, strict=True):
            if meta and (known := known_links(meta)):
                self._meta[name] = known
        for alarm in self.monitor.take_alarms():
            self._tell([alarm.account], self.evidence(alarm.account, alarm.standing), "")

    def evidence(self, account: str, standing: AccountStanding) -> Evidence:
        """An account's standing with its figures: how much, and how far out by each detector."""
        days = max((standing.last_time - standing.first_time) / SECONDS_PER_DAY, 1.0)
        figures = {"leaked_bits": standing.leaked_bits, "first_time": standing.first_time,
                   "last_time": standing.last_time, "queries_per_day": standing.queries / days}
        return Evidence(kind="alarm", reasons=standing.reasons, queries=standing.queries, risk=standing.risk,
                        p_value=standing.p_value, figures={**figures, **self.p_values(account)})

    def p_values(self, account: str) -> dict[str, float]:
        """How often honest accounts go as far as this one, by detector; empty for one that isn't remembered."""
        row, table, reference = self.monitor.table.row(account), self.monitor.table, self.monitor.reference
        if row is None:
            return {}
        kind = table.kinds[int(table.columns.kinds[row])]
        p_values = reference.p_values(table.columns.maxima[[row]], kind)[0].tolist()
        return {gauge.kind: p_value for gauge, p_value in zip(reference.gauges, p_values, strict=True)}

    def result(self, n_skipped: int, problems: Sequence[str]) -> Watched:
        """What was found so far.

        Args:
            n_skipped: bad lines of the source.
            problems: of reading it.
        """
        is_judged = bool(self.monitor.reference.gauges)
        risks: dict[str, float] = {}
        for campaign in self.campaigns:
            risks.update((name, max(campaign.risk, risks.get(name, 0.0))) for name in campaign.accounts)
        accounts = {name: _account(standing, is_judged, risks.get(name, 0.0))
                    for name, standing in self.monitor.accounts.items()}
        return Watched(false_alarms_per_year=self._rate, lines_skipped=n_skipped, accounts=accounts,
                       campaigns=self.campaigns, problems=[*problems, *self.problems])

    def account(self, name: str) -> Account | None:
        """What was found of one account, None for one that isn't remembered."""
        standing = self.monitor.standing(name)
        if standing is None:
            return None
        risk = max((each.risk for each in self.campaigns if name in each.accounts), default=0.0)
        return _account(standing, bool(self.monitor.reference.gauges), risk)

    def search(self) -> list[Campaign]:
        """Look for campaigns among all accounts that have enough queries, and tell those that are new."""
        reference, snapshot = self.monitor.reference, self.monitor.snapshot(_FEWEST_QUERIES)
        if self._cohort is None or not reference.gauges or not snapshot.names:
            return self.campaigns
        self._forget()
        try:
            found = self._found(self._cohort, snapshot)
        except ModuleNotFoundError as error:
            self._problems = [f"campaigns aren't looked for: {error.name} isn't installed; "
                              "`pip install 'counterclone[watch]'`"]
            return self.campaigns
        known = {campaign.id for campaign in self.campaigns}
        self.campaigns = [_campaign(each, self.campaigns) for each in found]
        for each, campaign in zip(found, self.campaigns, strict=True):
            if campaign.id not in known:
                self._tell(campaign.accounts, Evidence(
                    kind="campaign", reasons=tuple(campaign.reasons), queries=campaign.queries, risk=campaign.risk,
                    p_value=campaign.p_value, ties=_ties(each, snapshot)), campaign.id)
        return self.campaigns

    @property
    def problems(self) -> list[str]:
        """What keeps alarms from being raised, in words."""
        reference = self.monitor.reference
        if reference.gauges:
            return [*self.monitor.problems, *self._problems]
        reasons = reference.problems if self._n_honest >= FEWEST_ACCOUNTS else ()
        return [*reasons, self._needed(), *self.monitor.table.problems, *self._problems]

    def _needed(self) -> str:
        needed = accounts_needed(self.monitor.level)
        more = (f"{round(needed / CALIBRATION_SHARE):,} would do" if needed and needed <= _MOST_NEEDED
                else "the traffic spans so short a time that nobody can say how many would do")
        return (f"alarms at {self._rate:g} false ones a year need honest accounts to compare with, and there are "
                f"{self._n_honest:,}; {more}: name some with --benign or [watch] benign")

    def _found(self, cohort: Cohort, snapshot: Snapshot) -> list[campaigns.Campaign]:
        from counterclone.watch import campaigns

        reference, table = self.monitor.reference, self.monitor.table
        rows = np.array([table.row(name) for name in snapshot.names], dtype=np.intp)
        births = table.columns.first_times[rows]
        first, last = self._times()
        young = cohort.young(reference.trackers, last - births)
        words = [gauge.words for gauge in reference.gauges
                 for _ in range(gauge.tracker.profile(gauge.tracker.empty(1)).shape[1])]
        return campaigns.find(
            reference.profile(snapshot.states, len(rows)), snapshot.counts, snapshot.names,
            reference.profile(young.states, len(cohort)), young.counts, key=self._key,
            level=self._purse.spend(last, first), links=self._links(snapshot, births, cohort, young),
            union=self.monitor.p_value_of_union, words=words)

    def _times(self) -> tuple[float, float]:
        """The first and the last time of what is remembered."""
        columns, rows = self.monitor.table.columns, self.monitor.table.rows
        return float(columns.first_times[rows].min()), float(columns.last_times[rows].max())

    def _forget(self) -> None:
        """What else was known of accounts that the monitor has forgotten."""
        self._meta = {name: meta for name, meta in self._meta.items() if name in self.monitor.table}

    def _links(self, snapshot: Snapshot, births: NDArray[np.float64], cohort: Cohort, young: Young) -> Links:
        """What accounts share beside what they ask."""
        from counterclone.watch import links

        reference = self.monitor.reference
        traits = links.meta_traits([self._meta.get(name, {}) for name in snapshot.names],
                                   [self._honest_meta.get(name, {}) for name in reference.names])
        traits.append(links.births(births, cohort.births))
        asked: States | None = None
        honest_asked: States | None = None
        for gauge, states, honest_states in zip(reference.gauges, snapshot.states, young.states, strict=True):
            if gauge.kind == "repetition":
                asked, honest_asked = kept(digests(states)), kept(digests(honest_states))
        return links.Links(traits, len(snapshot.names), len(cohort), asked, honest_asked)


def _account(standing: AccountStanding, is_judged: bool, campaigns_risk: float) -> Account:
    return Account(
        queries=standing.queries, risk=max(standing.risk, campaigns_risk) if is_judged else None,
        alarm_at_query=standing.alarm_at_query, p_value=standing.p_value, leaked_bits=standing.leaked_bits,
        reasons=list(standing.reasons), first_time=standing.first_time, last_time=standing.last_time)


def _ties(found: campaigns.Campaign, snapshot: Snapshot) -> tuple[Tie, ...]:
    return tuple(Tie(kind=tie.kind, accounts=tuple(snapshot.names[row] for row in tie.rows.tolist()),
                     weight=tie.weight) for tie in found.ties[:_MOST_TIES])


def _cohort(honest: Honest | None, reference: Reference, key: Prf) -> Cohort | None:
    """The accounts that calibrate."""
    if honest is None:
        return None
    numbers = {name: number for number, name in enumerate(honest.names)}
    calibrating = np.array([numbers[name] for name in reference.names], dtype=np.intp)
    return Cohort(honest.exchanges.of(calibrating), len(calibrating), key)


def _campaign(found: campaigns.Campaign, known: Sequence[Campaign]) -> Campaign:
    """A campaign as it is told; one that mostly has a known one's accounts is that one, grown or shrunk."""
    accounts = set(found.accounts)
    for old in known:
        if 2 * len(accounts.intersection(old.accounts)) >= min(len(accounts), len(old.accounts)):
            return Campaign(
                id=old.id, accounts=list(found.accounts), queries=found.queries, risk=max(found.risk, old.risk),
                alarm_at_query=old.alarm_at_query, p_value=min(found.p_value, old.p_value),
                reasons=list(found.reasons))
    return Campaign(id=found.id, accounts=list(found.accounts), queries=found.queries, risk=found.risk,
                    alarm_at_query=found.queries, p_value=found.p_value, reasons=list(found.reasons))
