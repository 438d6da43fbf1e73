from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.watch.toys import Shift, counts_of, traffic

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges, join
from counterclone.randomness import Prf, generator
from counterclone.watch.calibration import CHECKPOINTS
from counterclone.watch.monitor import Monitor
from counterclone.watch.reference import Reference

KEY = Prf.from_secret("test")
DETECTORS = [Shift(), Shift(column=1)]
N_HONEST, N_COPIERS = 300, 6
COPIERS = [f"copier {i}" for i in range(N_COPIERS)]
NAMES = [*(f"honest {i}" for i in range(N_HONEST)), *COPIERS]
RATE = 0.01 * 2 * 365 / 30 * (N_HONEST + N_COPIERS)
"""At this rate the level is 0.01 for 306 accounts in 30 days."""


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = generator(0, "monitor", "reference")
    return Reference.fit(traffic(rng, counts_of(rng, 1200)), DETECTORS, KEY)


def mixed(seed: int = 1, n_honest: int = N_HONEST, n_copiers: int = N_COPIERS) -> Exchanges:
    rng = generator(seed, "monitor")
    honest = traffic(rng, counts_of(rng, n_honest))
    copiers = traffic(rng, np.full(n_copiers, 60), shift=3.0)
    return join([honest, copiers.numbered(copiers.accounts + n_honest)])


def fed(reference: Reference, exchanges: Exchanges, size: int = 1000, names: list[str] = NAMES,
        **options: float) -> Monitor:
    monitor = Monitor(reference, **{"false_alarms_per_year": RATE, **options})  # type: ignore[arg-type]
    for start in range(0, len(exchanges), size):
        monitor.feed(names, exchanges.select(slice(start, start + size)))
    return monitor


def test_copiers_raise_alarms_and_honest_accounts_as_often_as_asked(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    standings = monitor.accounts
    assert monitor.level == pytest.approx(0.01, rel=0.01)
    alarmed = {name for name, standing in standings.items() if standing.alarm_at_query is not None}
    assert set(COPIERS) <= alarmed
    assert len(alarmed) <= N_COPIERS + 10  # 3 expected
    copier = standings[COPIERS[0]]
    assert (copier.queries, copier.risk, copier.leaked_bits) == (60, 1.0, 60 * 3.25)
    assert copier.alarm_at_query is not None
    assert copier.alarm_at_query <= 20
    assert copier.p_value is not None
    assert copier.p_value <= monitor.level
    assert copier.reasons[0].startswith("its queries lie elsewhere (toys: ")
    assert 1.76e9 <= copier.first_time < copier.last_time
    assert {alarm.account for alarm in monitor.take_alarms()} >= set(COPIERS)
    assert monitor.take_alarms() == []
    assert monitor.problems == []


def test_the_busiest_come_first_and_quiet_ones_have_no_p_value(reference: Reference) -> None:
    standings = fed(reference, mixed()).accounts
    counts = [standing.queries for standing in standings.values()]
    assert counts == sorted(counts, reverse=True)
    for standing in standings.values():
        assert (standing.p_value is None) == (standing.queries < 5)
        assert standing.risk == (0.0 if standing.p_value is None else standing.risk)


@pytest.mark.parametrize("size", [1, 37, 3000])
def test_it_doesnt_matter_how_traffic_is_cut_into_batches(reference: Reference, size: int) -> None:
    exchanges, names = mixed(n_honest=30), [*NAMES[:30], *COPIERS]
    whole, cut = fed(reference, exchanges, 1000, names), fed(reference, exchanges, size, names)
    assert set(whole.accounts) == set(cut.accounts)
    for name, standing in whole.accounts.items():
        other = cut.accounts[name]
        assert (standing.queries, standing.p_value) == (other.queries, other.p_value)
        assert standing.alarm_at_query == other.alarm_at_query
        rows = whole.table.row(name), cut.table.row(name)
        np.testing.assert_array_equal(whole.table.states[0][rows[0]], cut.table.states[0][rows[1]])


def test_an_alarm_is_at_the_first_checkpoint_whose_p_value_passes(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    for name, standing in monitor.accounts.items():
        row = monitor.table.row(name)
        assert row is not None
        course = monitor.table.columns.course[row]
        assert (np.diff(course) <= 0.0).all()
        passed = CHECKPOINTS[course <= monitor.level]
        assert standing.alarm_at_query == (passed[0] if len(passed) else None)


def test_a_short_reference_shows_risk_and_raises_no_alarm() -> None:
    rng = generator(2, "short")
    reference = Reference.fit(traffic(rng, counts_of(rng, 150)), DETECTORS, KEY)
    monitor = fed(reference, mixed(), false_alarms_per_year=12.0)
    assert monitor.take_alarms() == []
    (problem,) = monitor.problems
    assert problem.startswith("alarms at 12 false ones a year need ")
    assert problem.endswith("scores are shown and no alarm is raised")
    assert 0.3 < monitor.risk(COPIERS[0]) < 1.0
    assert np.mean([standing.risk for standing in monitor.accounts.values()]) < 0.2


def test_without_a_detector_it_counts() -> None:
    exchanges = mixed()
    reference = Reference.fit(exchanges.select(slice(0, 10)), DETECTORS, KEY)
    monitor = fed(reference, exchanges)
    assert sum(standing.queries for standing in monitor.accounts.values()) == len(exchanges)
    assert {standing.risk for standing in monitor.accounts.values()} == {0.0}
    assert "no detector has a reference: accounts are counted and no alarm is raised" in monitor.problems


def test_traffic_of_one_moment_raises_no_alarm(reference: Reference) -> None:
    exchanges = mixed()
    monitor = fed(reference, replace(exchanges, times=np.full(len(exchanges), 1.76e9)))
    assert monitor.level == 0.0
    assert monitor.take_alarms() == []
    assert "spans no time" in monitor.problems[0]


def test_unknown_accounts_have_no_risk(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    assert monitor.risk("nobody") == 0.0
    assert monitor.standing("nobody") is None
    standing = monitor.standing(COPIERS[0])
    assert standing is not None
    assert monitor.risk(COPIERS[0]) == standing.risk == 1.0


def test_a_risk_is_told_in_two_microseconds(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(500):
            monitor.risk(COPIERS[0])
        times.append((time.perf_counter() - started) / 500)
    assert min(times) < 2e-6


def test_it_goes_on_where_it_was_saved(reference: Reference, tmp_path: Path) -> None:
    exchanges = mixed()
    half = len(exchanges) // 2
    whole, first = fed(reference, exchanges), fed(reference, exchanges.select(slice(0, half)))
    first.save(tmp_path / "watch.npz")
    later = Monitor(reference, false_alarms_per_year=RATE)
    later.load(tmp_path / "watch.npz")
    assert later.accounts == first.accounts
    later.feed(NAMES, exchanges.select(slice(half, None)))
    assert later.accounts == whole.accounts


def test_a_file_of_another_reference_or_none_at_all_is_refused(reference: Reference, tmp_path: Path) -> None:
    rng = generator(5, "other")
    other = Monitor(Reference.fit(traffic(rng, np.full(200, 10)), DETECTORS, KEY), false_alarms_per_year=RATE)
    other.save(tmp_path / "other.npz")
    monitor = Monitor(reference, false_alarms_per_year=RATE)
    with pytest.raises(WatchError, match="counted with another reference"):
        monitor.load(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:300])
    for name in ("cut.npz", "missing.npz"):
        with pytest.raises(WatchError, match="can't be read"):
            monitor.load(tmp_path / name)
    with pytest.raises(WatchError, match="can't be merged"):
        monitor.merge(other)


def test_two_shards_are_the_whole_to_the_bit(reference: Reference) -> None:
    exchanges = mixed()
    gaps = np.where(exchanges.ranks() > 0, np.float32(1.0), np.float32(np.nan))  # counted by the account's owner
    exchanges = replace(exchanges, gaps=gaps)
    is_first = generator(6, "shards").random(len(exchanges)) < 0.5
    whole = fed(reference, exchanges)
    one, other = (fed(reference, exchanges.select(np.flatnonzero(part))) for part in (is_first, ~is_first))
    one.merge(other)
    assert set(one.table.names) == set(whole.table.names)
    rows = [[monitor.table.admit([name])[0] for name in whole.table.names] for monitor in (one, whole)]
    for states, expected in zip(one.table.states, whole.table.states, strict=True):
        np.testing.assert_array_equal(states[rows[0]], expected[rows[1]])
    for column in ("counts", "bits", "first_times", "last_times"):
        np.testing.assert_array_equal(getattr(one.table.columns, column)[rows[0]],
                                      getattr(whole.table.columns, column)[rows[1]])
    assert one.table.n_seen == whole.table.n_seen
    assert one.level == whole.level
    assert all(one.risk(name) == 1.0 for name in COPIERS)


def test_shards_with_accounts_of_their_own_are_the_whole_altogether(reference: Reference) -> None:
    exchanges = mixed()
    is_even = exchanges.accounts % 2 == 0
    whole = fed(reference, exchanges)
    one, other = (fed(reference, exchanges.select(np.flatnonzero(part))) for part in (is_even, ~is_even))
    one.merge(other)
    assert one.accounts == whole.accounts


def test_memory_is_bounded_and_it_says_what_it_forgot(reference: Reference) -> None:
    monitor = fed(reference, mixed(), max_accounts=50)
    assert len(monitor.table) <= 50
    said = "accounts were forgotten, those that were quiet longest first: there is room for 50"
    assert any(said in problem for problem in monitor.problems)


def test_quiet_accounts_are_forgotten_after_their_time(reference: Reference) -> None:
    monitor = fed(reference, mixed(), ttl_days=5.0)
    assert monitor.table.n_expired > 0
    assert not any("forgotten" in problem for problem in monitor.problems)
    last = monitor.table.columns.last_times[monitor.table.rows]
    assert last.max() - last.min() < 6.5 * 86_400


def test_accounts_of_a_kind_are_compared_with_their_own() -> None:
    rng = generator(7, "kinds")
    ordinary, testers = traffic(rng, np.full(600, 20)), traffic(rng, np.full(600, 20), shift=3.0)
    kinds = [""] * 600 + ["testers"] * 600
    both = join([ordinary, testers.numbered(testers.accounts + 600)])
    reference = Reference.fit(both, DETECTORS, KEY, kinds=kinds)
    tester = traffic(rng, np.full(1, 20), shift=3.0)
    monitor = Monitor(reference, false_alarms_per_year=1e4)
    monitor.feed(["tester"], tester, ["testers"])
    monitor.feed(["copier"], tester)
    standing, copier = monitor.standing("tester"), monitor.standing("copier")
    assert standing is not None
    assert copier is not None
    assert standing.p_value is not None
    assert copier.p_value is not None
    assert copier.p_value < 0.01 < standing.p_value


def test_a_model_that_changes_for_everybody_alarms_on_few(reference: Reference) -> None:
    rng = generator(8, "drift")
    before = traffic(rng, np.full(300, 20))
    after = traffic(rng, np.full(600, 20), shift=3.0)
    monitor = Monitor(reference, false_alarms_per_year=RATE)
    monitor.feed([f"before {i}" for i in range(300)], before)
    assert not any("together" in problem for problem in monitor.problems)
    monitor.feed([f"after {i}" for i in range(600)], after)
    risks = [monitor.risk(f"after {i}") for i in range(600)]
    assert np.mean(np.array(risks) >= 1.0) < 0.4
    assert any("moved away from the reference together" in problem for problem in monitor.problems)


def test_a_campaign_in_a_larger_crowd_isnt_taken_for_a_change(reference: Reference) -> None:
    exchanges = mixed(n_honest=200, n_copiers=60)
    names = [f"honest {i}" for i in range(200)] + [f"copier {i}" for i in range(60)]
    monitor = fed(reference, exchanges, names=names, false_alarms_per_year=0.01 * 2 * 365 / 30 * 260)
    assert np.mean([monitor.risk(f"copier {i}") for i in range(60)]) > 0.95
    assert not any("together" in problem for problem in monitor.problems)


def test_labels_that_come_later_are_said(reference: Reference) -> None:
    rng = generator(9, "labels")
    monitor = Monitor(reference, false_alarms_per_year=RATE)
    monitor.feed([str(i) for i in range(20)], traffic(rng, np.full(20, 10), label=0))
    assert not any("labels" in problem for problem in monitor.problems)
    monitor.feed([str(i) for i in range(20)], traffic(rng, np.full(20, 10), label=5))
    assert any("% of the last answers have labels that" in problem for problem in monitor.problems)


def test_clocks_that_jump_back_are_counted(reference: Reference) -> None:
    exchanges = traffic(generator(10, "clock"), np.full(1, 6))
    times = exchanges.times.copy()
    times[3] = 0.0
    monitor = Monitor(reference, false_alarms_per_year=RATE)
    monitor.feed(["a"], replace(exchanges, times=times))
    assert any("1 exchanges are earlier" in problem for problem in monitor.problems)


def test_a_union_has_a_p_value(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    assert monitor.p_value_of_union(COPIERS) < 0.01
    assert monitor.p_value_of_union(["nobody"]) == 1.0
    honest = [name for name in monitor.table.names if name.startswith("honest")]
    assert monitor.p_value_of_union(honest) > 0.05


def test_a_snapshot_has_the_accounts_with_enough_queries(reference: Reference) -> None:
    monitor = fed(reference, mixed())
    snapshot = monitor.snapshot(min_queries=20)
    standings = monitor.accounts
    assert set(snapshot.names) == {name for name, standing in standings.items() if standing.queries >= 20}
    assert snapshot.counts.tolist() == [standings[name].queries for name in snapshot.names]
    assert [states[:, 0].tolist() for states in snapshot.states] == [snapshot.counts.tolist()] * 2
    assert reference.profile(snapshot.states, len(snapshot.names)).shape == (len(snapshot.names), 2)
