from __future__ import annotations

import gc
import re
import sys
import threading
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from counterclone.guard.metrics import NOTES_KEPT, OVERHEAD_BUCKETS, Histogram, Metrics, metrics_of


@dataclass(eq=False)
class Journal:
    dropped: int = 0
    flushed: int = 0


def served(metrics: Metrics, *, decision: str = "served", status: int = 200, queries: int = 2, bits: float = 10.0,
           overhead_seconds: float = 3e-5, upstream_seconds: float | None = 0.01) -> None:
    metrics.note(("oip", decision, status, queries, bits, overhead_seconds, upstream_seconds))


def samples(metrics: Metrics) -> dict[str, float]:
    """What Prometheus would read, by name and labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    return {sample.name + str(dict(sorted(sample.labels.items())) or ""): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}  # type: ignore[no-untyped-call]


NAMES = {"counterclone_requests_total", "counterclone_queries_total", "counterclone_leaked_bits_total",
         "counterclone_inflight_requests", "counterclone_overhead_seconds_bucket",
         "counterclone_overhead_seconds_count", "counterclone_overhead_seconds_sum",
         "counterclone_upstream_seconds_bucket", "counterclone_upstream_seconds_count",
         "counterclone_upstream_seconds_sum", "counterclone_events_flushed_total",
         "counterclone_events_dropped_total", "counterclone_notices_sent_total", "counterclone_notices_lost_total",
         "counterclone_marked_rows_total"}


def test_names_follow_the_conventions() -> None:
    metrics = Metrics()
    served(metrics)
    assert {re.sub(r"\{.*", "", name) for name in samples(metrics)} == NAMES


def test_requests_are_counted_by_decision() -> None:
    metrics = Metrics()
    for decision, status in [("served", 200), ("served", 201), ("limited", 429), ("failed", 502)]:
        served(metrics, decision=decision, status=status)
    found = {name: value for name, value in samples(metrics).items() if "requests_total" in name}
    assert found == {
        "counterclone_requests_total{'decision': 'served', 'dialect': 'oip', 'status_class': '2xx'}": 2.0,
        "counterclone_requests_total{'decision': 'limited', 'dialect': 'oip', 'status_class': '4xx'}": 1.0,
        "counterclone_requests_total{'decision': 'failed', 'dialect': 'oip', 'status_class': '5xx'}": 1.0}


def test_rows_and_bits_are_summed() -> None:
    metrics = Metrics()
    served(metrics, queries=3, bits=1.5)
    served(metrics, queries=4, bits=2.0)
    metrics.note_bits(100.0)
    found = samples(metrics)
    assert found["counterclone_queries_total"] == 7
    assert found["counterclone_leaked_bits_total"] == 103.5


def test_requests_under_way_are_shown_as_they_are() -> None:
    metrics = Metrics()
    metrics.in_flight = 3
    assert samples(metrics)["counterclone_inflight_requests"] == 3


def test_a_request_without_an_answer_has_no_upstream_time() -> None:
    metrics = Metrics()
    served(metrics, upstream_seconds=None)
    found = samples(metrics)
    assert found["counterclone_upstream_seconds_count"] == 0
    assert found["counterclone_overhead_seconds_count"] == 1


def test_a_scrape_counts_nothing_twice() -> None:
    metrics = Metrics()
    served(metrics)
    assert samples(metrics) == samples(metrics)


@pytest.mark.parametrize("n_requests", [NOTES_KEPT - 1, NOTES_KEPT, 3 * NOTES_KEPT + 5])
def test_notes_are_bounded_and_none_is_lost(n_requests: int) -> None:
    metrics = Metrics()
    for _ in range(n_requests):
        served(metrics, queries=1)
        assert len(metrics._notes) < NOTES_KEPT
    assert samples(metrics)["counterclone_queries_total"] == n_requests


def test_scrapes_in_another_thread_lose_nothing() -> None:
    metrics = Metrics()
    is_done = threading.Event()
    failures: list[Exception] = []

    def scrape() -> None:
        while not is_done.is_set():
            try:
                list(metrics.collect())
            except RuntimeError as error:
                failures.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # as often as it can be
    try:
        for thread in threads:
            thread.start()
        for number in range(20_000):
            served(metrics, queries=1, decision=f"decision {number}")
        is_done.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    found = samples(metrics)
    n_requests = sum(value for name, value in found.items() if "requests_total" in name)
    assert n_requests == found["counterclone_queries_total"] == 20_000
    assert found["counterclone_overhead_seconds_count"] == 20_000


# Histograms

@pytest.mark.parametrize(("seconds", "expected"), [(0.0, [1, 1, 1]), (0.1, [1, 1, 1]), (0.11, [0, 1, 1]),
                                                   (1.0, [0, 1, 1]), (9.0, [0, 0, 1])],
                         ids=["zero", "at a bound", "above it", "at the last", "beyond"])
def test_a_histogram_is_cumulative(seconds: float, expected: list[int]) -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe([seconds])
    counts = [sample.value for sample in histogram.family("x", "X.").samples if sample.name == "x_bucket"]
    assert counts == expected


def test_a_histogram_sums_seconds() -> None:
    histogram = Histogram(OVERHEAD_BUCKETS)
    for seconds in (0.25, 0.5, 2.0):
        histogram.observe([seconds])
    found = {sample.name: sample.value for sample in histogram.family("x", "X.").samples}
    assert (found["x_sum"], found["x_count"]) == (2.75, 3)


# Journals

def test_journals_are_summed_and_not_kept_alive() -> None:
    metrics = Metrics()
    one, other = Journal(dropped=1, flushed=10), Journal(dropped=2, flushed=20)
    metrics.journals |= {one, other}
    found = samples(metrics)
    assert found["counterclone_events_flushed_total"] == 30
    assert found["counterclone_events_dropped_total"] == 3
    del other
    gc.collect()
    assert samples(metrics)["counterclone_events_flushed_total"] == 10


# One for a registry

def test_guards_of_one_registry_count_together() -> None:
    registry = CollectorRegistry()
    assert metrics_of(registry) is metrics_of(registry)
    assert metrics_of(registry) is not metrics_of(CollectorRegistry())
    served(metrics_of(registry), queries=5)
    assert registry.get_sample_value("counterclone_queries_total") == 5


def test_notices_are_summed() -> None:
    class Notifier:
        sent, failed, dropped = 5, 2, 1

    metrics, notifier = Metrics(), Notifier()
    metrics.notifiers.add(notifier)
    found = samples(metrics)
    assert (found["counterclone_notices_sent_total"], found["counterclone_notices_lost_total"]) == (5, 3)


# For people

def test_the_totals_are_those_of_prometheus() -> None:
    metrics = Metrics()
    for decision, status in [("served", 200), ("served", 200), ("limited", 429)]:
        served(metrics, decision=decision, status=status)
    metrics.note_alarm("campaign")
    totals = metrics.totals()
    assert (totals.decisions, totals.queries, totals.leaked_bits) == ({"served": 2, "limited": 1}, 6, 30.0)
    assert (totals.alarms, totals.marked, totals.unmarked) == ({"campaign": 1}, 0, 0)
    assert (totals.overhead_seconds, totals.overhead_seconds_most) == (5e-5, 5e-5)


def test_half_of_the_requests_may_be_fast_and_one_of_a_hundred_slow() -> None:
    histogram = Histogram(OVERHEAD_BUCKETS)
    assert histogram.quantile(0.5) is None
    histogram.observe([3e-5] * 98 + [3e-3] * 2)
    assert [histogram.quantile(share) for share in (0.5, 0.98, 0.99)] == [5e-5, 5e-5, 5e-3]
    histogram.observe([9.0] * 900)
    assert histogram.quantile(0.5) is None
