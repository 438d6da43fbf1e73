"""Why an account is suspected, in words and figures."""

from __future__ import annotations

import msgspec
import numpy as np

from counterclone.errors import SourceError
from counterclone.exchanges import Exchanges, join
from counterclone.watch import figures
from counterclone.watch.calibration import CHECKPOINTS
from counterclone.watch.engine import Engine
from counterclone.watch.figures import Figure
from counterclone.watch.honest import Honest
from counterclone.watch.odometer import Reading
from counterclone.watch.result import Account, Campaign, Watched
from counterclone.watch.sources import Traffic

ROWS_MAX = 20_000
"""Exchanges of the account that figures are made of, its first ones."""
_HONEST_SHOWN = 200


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An account by one detector.

    Attributes:
        detector: its kind.
        words: what it says of the account's queries if the value is large.
        value: the largest of the account's life; 0 is the honest median, 1 about a normal deviation. None where it
            was never scored.
        p_value: how many honest accounts go as far in their lives.
        honest: the largest values of honest accounts' lives, evenly chosen from small to large, 200 at most.
        n_honest: how many there are.
    """

    detector: str
    words: str
    value: float | None
    p_value: float
    honest: list[float]
    n_honest: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it grew.

    Attributes:
        queries: how many it had sent.
        p_value: its p-value then.
    """

    queries: int
    p_value: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an account is suspected, or why not.

    Attributes:
        account: its name.
        standing: what the watch thinks of it.
        level: the p-value at which an account raises an alarm.
        false_alarms_per_year: the rate that alarms keep.
        campaigns: those that it is in.
        detectors: by what it is compared, the plainest first.
        course: its p-value as it grew.
        figures: how its inputs, answers and hours are spread.
        odometer: what it could have learnt by now; None where nobody asked.
        problems: what couldn't be read, and what keeps alarms from being raised.
    """

    account: str
    standing: Account
    level: float
    false_alarms_per_year: float
    campaigns: list[Campaign]
    detectors: list[Comparison]
    course: list[Step]
    figures: list[Figure]
    odometer: Reading | None
    problems: list[str]


class Keeper:
    """Keeps the first exchanges of one account as traffic passes.

    Args:
        account: its name.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._parts: list[Exchanges] = []
        self._n_rows = 0

    def take(self, traffic: Traffic) -> None:
        """Keep what is the account's."""
        if self._account in traffic.names and self._n_rows < ROWS_MAX:
            number = traffic.names.index(self._account)
            part = traffic.exchanges.of(np.array([number], dtype=np.intp))
            self._parts.append(part.select(slice(0, ROWS_MAX - self._n_rows)))
            self._n_rows += len(self._parts[-1])

    @property
    def exchanges(self) -> Exchanges | None:
        """What was kept, with gaps; None for nothing."""
        return _with_gaps(join(self._parts)) if self._n_rows else None


def explain(account: str, engine: Engine, watched: Watched, honest: Honest | None, own: Exchanges | None, *,
            odometer: Reading | None = None) -> Explanation:
    """Why an account is suspected.

    Args:
        account: its name.
        engine: what watched it.
        watched: what was found.
        honest: what it is compared with.
        own: its exchanges.
        odometer: what it could have learnt.

    Raises:
        SourceError: there is no such account.
    """
    standing = watched.accounts.get(account)
    if standing is None:
        raise SourceError(f"there is no account '{account}' among the {len(watched.accounts):,} of this source; "
                          "`counterclone watch` lists them")
    return Explanation(
        account=account, standing=standing, level=engine.monitor.level,
        false_alarms_per_year=watched.false_alarms_per_year,
        campaigns=[campaign for campaign in watched.campaigns if account in campaign.accounts],
        detectors=_comparisons(account, engine), course=_course(account, engine, standing.queries),
        figures=[] if own is None or honest is None else figures.compare(own, honest.exchanges),
        odometer=odometer, problems=watched.problems)


def _comparisons(account: str, engine: Engine) -> list[Comparison]:
    monitor = engine.monitor
    row, table, reference = monitor.table.row(account), monitor.table, monitor.reference
    assert row is not None
    maxima, kind = table.columns.maxima[row], table.kinds[int(table.columns.kinds[row])]
    p_values = reference.p_values(maxima[np.newaxis], kind)[0]
    found = []
    for gauge, value, p_value in zip(reference.gauges, maxima.tolist(), p_values.tolist(), strict=True):
        honest = gauge.ranks[reference.ranked_as(kind)].values
        places = np.linspace(0, len(honest) - 1, min(len(honest), _HONEST_SHOWN)).round().astype(np.intp)
        found.append(Comparison(
            detector=gauge.kind, words=gauge.words, value=value if np.isfinite(value) else None, p_value=p_value,
            honest=honest[places].tolist(), n_honest=len(honest)))
    return sorted(found, key=lambda each: each.p_value)


def _course(account: str, engine: Engine, queries: int) -> list[Step]:
    table = engine.monitor.table
    row = table.row(account)
    if row is None or not engine.monitor.reference.gauges:
        return []
    return [Step(queries=point, p_value=p_value) for point, p_value in zip(
        CHECKPOINTS.tolist(), table.columns.course[row].tolist(), strict=True) if point <= queries]


def _with_gaps(exchanges: Exchanges) -> Exchanges:
    gaps = np.full(len(exchanges), np.nan, dtype=np.float32)
    gaps[1:] = np.diff(exchanges.times)
    return Exchanges(**{**vars(exchanges), "gaps": gaps})
