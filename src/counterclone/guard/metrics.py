"""Counts for Prometheus, kept as plain numbers and read when somebody scrapes."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

OVERHEAD_BUCKETS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0)
UPSTREAM_BUCKETS = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
NOTES_KEPT = 1024


class JournalCounts(Protocol):
    """What the metrics read of a journal."""

    dropped: int
    flushed: int


class NoticeCounts(Protocol):
    """What the metrics read of whoever tells alarms."""

    sent: int
    failed: int
    dropped: int


class MarkCounts(Protocol):
    """What the metrics read of whoever marks answers: rows by what became of their mark."""

    marked: int
    unwritten: int
    unmappable: int


class Histogram:
    """Counts by upper bound, in seconds."""

    __slots__ = ("_bounds", "_counts", "_place", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._place = partial(bisect_left, bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, durations: Sequence[float]) -> None:
        """Count some durations."""
        for place, count in Counter(map(self._place, durations)).items():
            self._counts[place] += count
        self._sum += sum(durations)

    def quantile(self, share: float) -> float | None:
        """A bound that such a share of the durations is under, None where there are none or it isn't bounded."""
        counts = list(self._counts)
        total = sum(counts)
        under = 0
        for bound, count in zip(self._bounds, counts, strict=False):
            under += count
            if total and under >= share * total:
                return bound
        return None

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """The counts as Prometheus wants them, cumulative."""
        total, buckets = 0, []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Totals(NamedTuple):
    """What became of the requests so far.

    Attributes:
        decisions: requests by what the guard decided.
        queries: rows that were admitted.
        leaked_bits: upper bound on the bits released.
        alarms: what became a case, by its kind.
        overhead_seconds: what half of the requests' own time in the guard is under; None where nobody knows.
        overhead_seconds_most: what all but one of a hundred are under, likewise.
        marked: rows that carry a mark.
        unmarked: rows that should, and don't.
    """

    decisions: dict[str, int]
    queries: int
    leaked_bits: float
    alarms: dict[str, int]
    overhead_seconds: float | None
    overhead_seconds_most: float | None
    marked: int
    unmarked: int


Note = tuple[str, str, int, int, float, float, float | None]
"""What the metrics keep of one request: the dialect that read it; what became of it; the HTTP status; rows that
were admitted; the bound on the bits released; seconds of the guard's own; seconds of the app's, or None."""


class Metrics:
    """One process's counts; a Prometheus collector. No account, key or model is ever a label.

    Requests leave notes, which are counted by the thousand or when somebody scrapes.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.journals: weakref.WeakSet[JournalCounts] = weakref.WeakSet()
        self.notifiers: weakref.WeakSet[NoticeCounts] = weakref.WeakSet()
        self.marks: weakref.WeakSet[MarkCounts] = weakref.WeakSet()
        self._notes: list[Note] = []
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._queries = 0
        self._bits = 0.0
        self._alarms: Counter[str] = Counter()
        self._steps: Counter[int] = Counter()
        self._bits_read_later: deque[float] = deque()
        self._overhead = Histogram(OVERHEAD_BUCKETS)
        self._upstream = Histogram(UPSTREAM_BUCKETS)
        self._counting = threading.Lock()  # prometheus-client's own server scrapes in a thread

    def note(self, note: Note) -> None:
        """Keep what became of one request."""
        self._notes.append(note)
        if len(self._notes) >= NOTES_KEPT:
            self._count()

    def note_bits(self, bits: float) -> None:
        """Keep the bits of an answer that was read after it had left; called by the journal's thread."""
        self._bits_read_later.append(bits)

    def note_alarm(self, kind: str) -> None:
        """Count what somebody should look at: an account's or a campaign's alarm, a risk, what was spent."""
        self._alarms[kind] += 1

    def note_step(self, tier: int) -> None:
        """Count an account that went into a tier, 0 for none."""
        self._steps[tier] += 1

    def totals(self) -> Totals:
        """The counts for people, from any thread."""
        self._count()
        decisions: Counter[str] = Counter()
        for (_, decision, _), count in dict(self._requests).items():
            decisions[decision] += count
        marks = list(self.marks)
        return Totals(decisions=dict(decisions), queries=self._queries, leaked_bits=self._bits,
                      alarms=dict(self._alarms), overhead_seconds=self._overhead.quantile(0.5),
                      overhead_seconds_most=self._overhead.quantile(0.99),
                      marked=sum(each.marked for each in marks),
                      unmarked=sum(each.unwritten + each.unmappable for each in marks))

    def collect(self) -> Iterator[Metric]:
        """The metric families, for a registry."""
        self._count()
        requests = CounterMetricFamily("counterclone_requests", "Requests by the guard's decision.",
                                       labels=["dialect", "decision", "status_class"])
        for labels, count in dict(self._requests).items():  # requests go on meanwhile
            requests.add_metric(list(labels), count)
        yield requests
        yield CounterMetricFamily("counterclone_queries", "Rows in requests that were admitted.",
                                  value=self._queries)
        yield CounterMetricFamily("counterclone_leaked_bits", "Upper bound on the bits released.",
                                  value=self._bits)
        yield GaugeMetricFamily("counterclone_inflight_requests", "Requests under way.", value=self.in_flight)
        yield self._overhead.family("counterclone_overhead_seconds", "The guard's own time in a request.")
        yield self._upstream.family("counterclone_upstream_seconds", "The model server's time in a request.")
        alarms = CounterMetricFamily("counterclone_alarms", "What became a case, by its kind.", labels=["kind"])
        for kind, count in dict(self._alarms).items():
            alarms.add_metric([kind], count)
        yield alarms
        steps = CounterMetricFamily("counterclone_tier_steps", "Accounts that went into a tier, 0 for none.",
                                    labels=["tier"])
        for tier, count in dict(self._steps).items():
            steps.add_metric([str(tier)], count)
        yield steps
        journals = list(self.journals)
        yield CounterMetricFamily("counterclone_events_flushed", "Journal events on disk.",
                                  value=sum(journal.flushed for journal in journals))
        yield CounterMetricFamily("counterclone_events_dropped", "Journal events that were lost.",
                                  value=sum(journal.dropped for journal in journals))
        notifiers = list(self.notifiers)
        yield CounterMetricFamily("counterclone_notices_sent", "Alarms that a webhook or syslog took.",
                                  value=sum(notifier.sent for notifier in notifiers))
        yield CounterMetricFamily("counterclone_notices_lost",
                                  "Alarms that none took, or that had no room to wait.",
                                  value=sum(notifier.failed + notifier.dropped for notifier in notifiers))

        marks, rows = list(self.marks), CounterMetricFamily(
            "counterclone_marked_rows", "Rows by what became of their mark.", labels=["outcome"])
        for outcome in ("marked", "unwritten", "unmappable"):
            rows.add_metric([outcome], sum(getattr(counts, outcome) for counts in marks))
        yield rows

    def _count(self) -> None:
        with self._counting:
            notes, self._notes = self._notes, []
            while self._bits_read_later:
                self._bits += self._bits_read_later.popleft()
            if not notes:
                return
            dialects, decisions, statuses, queries, bits, overheads, upstreams = zip(*notes, strict=True)
            alike = Counter(zip(dialects, decisions, statuses, strict=True))
            for (dialect, decision, status), count in alike.items():
                self._requests[dialect, decision, f"{status // 100}xx"] += count
            self._queries += sum(queries)
            self._bits += sum(bits)
            self._overhead.observe(overheads)
            self._upstream.observe([seconds for seconds in upstreams if seconds is not None])


_by_registry: weakref.WeakKeyDictionary[CollectorRegistry, Metrics] = weakref.WeakKeyDictionary()


def metrics_of(registry: CollectorRegistry) -> Metrics:
    """The counts that a registry exports: guards of one process add to the same ones."""
    metrics = _by_registry.get(registry)
    if metrics is None:
        metrics = _by_registry[registry] = Metrics()
        registry.register(metrics)
    return metrics
