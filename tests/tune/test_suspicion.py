"""When a copier stands out, and what it has by then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.audit import Surface
from counterclone.audit.curve import Point
from counterclone.audit.trial import Plan
from counterclone.encoders import encode_features
from counterclone.exchanges import Exchanges
from counterclone.plugins import build
from counterclone.queries import Features, canonical_features
from counterclone.randomness import Prf, generator
from counterclone.tune import Crowd
from counterclone.tune.crowd import RISKS
from counterclone.tune.suspicion import Suspicion
from counterclone.watch.engine import detectors
from counterclone.watch.honest import Honest

N, EACH, BUDGET = 400, 30, 60
KEY = Prf.from_secret("suspicion")


def inputs(n: int, seed: int, shift: float = 0.0) -> Features:
    return generator(seed, "inputs").normal(size=(n, 5)) + shift


def rows(asked: Features) -> Features:
    odds = np.exp(asked[:, :3])
    found: Features = odds / odds.sum(axis=1, keepdims=True)
    return found


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    asked = inputs(N * EACH, 1)
    accounts = np.tile(np.arange(N), EACH)
    times = 1.764e9 + np.sort(generator(2, "times").uniform(0, 30 * 86_400, N * EACH))
    gaps = np.full(N * EACH, np.nan, np.float32)
    gaps[N:] = times[N:] - times[:-N]
    exchanges = Exchanges(
        accounts=accounts, times=times, vectors=encode_features(asked),
        labels=rows(asked).argmax(axis=1).astype(np.int32), margins=np.full(N * EACH, 0.5, np.float32),
        digests=KEY.numbers(canonical_features(asked)), gaps=gaps, bits=np.ones(N * EACH, np.float32))
    return Crowd(honest=Honest([str(n) for n in range(N)], [""] * N, exchanges, {}), false_alarms_per_year=60.0,
                 detectors=detectors([{"kind": "energy"}, {"kind": "typicality"}]), key=KEY)


def plan(attack: str, seed: int, budget: int = BUDGET) -> Plan:
    return Plan(attack=build("attacks", {"kind": attack}, "test"), surface=Surface(name="shown"),
                budget=budget, seed=seed)


def point(attack: str, queries: int, fidelity: float) -> Point:
    return Point(attack=attack, surface="shown", budget=queries, queries=queries, usd=0.0, fidelity=fidelity,
                 low=fidelity, high=fidelity, balanced=fidelity, n_seeds=1)


def watched(crowd: Crowd, asked: dict[str, Features]) -> Suspicion:
    suspicion = Suspicion(crowd, BUDGET, 0)
    for attack, own in asked.items():
        see = suspicion.of(plan(attack, 0))
        for start in range(0, BUDGET, 20):
            see(own[start:start + 20], Reply(rows(own[start:start + 20])))
    return suspicion


POINTS = [point("knockoff", 10, 0.5), point("knockoff", BUDGET, 0.8), point("jacobian", 10, 0.6),
          point("jacobian", BUDGET, 0.95)]


def test_who_asks_like_honest_accounts_gets_furthest(crowd: Crowd) -> None:
    suspicion = watched(crowd, {"knockoff": inputs(BUDGET, 3), "jacobian": inputs(BUDGET, 4, shift=4.0)})
    bars = suspicion.bars(POINTS)["shown"]
    assert [bar.risk for bar in bars] == list(RISKS)
    assert (bars[-1].attack, bars[-1].fidelity, bars[-1].queries) == ("knockoff", 0.8, None)


def test_who_asks_otherwise_has_less_at_the_alarm_than_in_the_end(crowd: Crowd) -> None:
    bar = watched(crowd, {"jacobian": inputs(BUDGET, 4, shift=4.0)}).bars(POINTS[2:])["shown"][-1]
    assert bar.queries is not None
    assert bar.queries <= 20
    assert bar.fidelity < 0.8


def test_a_lower_bar_is_reached_sooner_and_by_more_honest_accounts(crowd: Crowd) -> None:
    bars = watched(crowd, {"jacobian": inputs(BUDGET, 4, shift=1.0)}).bars(POINTS[2:])["shown"]
    queries = [bar.queries or BUDGET + 1 for bar in bars]
    assert queries == sorted(queries)
    shares = [bar.honest_share for bar in bars]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(60 / 2 / N)


def test_too_few_honest_accounts_for_the_rate_are_told(crowd: Crowd) -> None:
    assert Suspicion(crowd, BUDGET, 0).problems == []
    problem, = Suspicion(replace(crowd, false_alarms_per_year=1.0), BUDGET, 0).problems
    assert "1 false ones a year need 799 honest accounts" in problem


def test_smaller_budgets_and_other_traffic_arent_looked_at(crowd: Crowd) -> None:
    suspicion = Suspicion(crowd, BUDGET, 0)
    suspicion.of(plan("knockoff", 0, 10))(inputs(10, 5), Reply(rows(inputs(10, 5))))
    assert suspicion.bars(POINTS) == {}
