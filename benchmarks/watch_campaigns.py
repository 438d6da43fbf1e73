"""Campaigns among honest accounts: how often honest ones alone raise an alarm, and what is found of copiers.

Reference, traffic and copiers are other people with other seeds; detectors are fitted on accounts that nothing is
compared with. Honest accounts of the reference and of the traffic ask from one catalogue; the row of another
catalogue says what happens where they don't. `python -m benchmarks.watch_campaigns large` is a day of 100,000
accounts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import results
from counterclone.detectors._sample import kept
from counterclone.detectors.repetition import digests
from counterclone.populations import beds, campaigns, honest
from counterclone.populations.honest import Drift, Volume
from counterclone.populations.population import Meta, Population
from counterclone.protocols import States
from counterclone.randomness import Prf, generator
from counterclone.watch.campaigns import Campaign, find
from counterclone.watch.engine import detectors
from counterclone.watch.links import Links, births, meta_traits
from counterclone.watch.reference import Reference
from counterclone.watch.spending import LARGEST_LEVEL

BEDS, SEEDS = ("letter", "mnist"), (0, 1, 2)
N_REFERENCE, N_HONEST, N_TEAM = 32_000, 10_000, 400
AT_ONCE = 4_000
ATTACKS = ("noise", "natural", "near", "strongaug", "jacobian", "active")
N_POPULATIONS, N_SMALL, N_SMALL_REFERENCE = 34, 2_000, 5_000
LARGE_BED, N_LARGE, PER_DAY = "mnist", 100_000, 10.0
CONFIDENCE = 0.95
FOUND, FALSE, PRECISION = 0.95, 0.01, 0.95

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Crowd:
    """Accounts, with what is compared.

    Attributes:
        names: theirs.
        meta: what is known of each.
        is_copier: which are copiers', (accounts,).
        counts: of their queries, (accounts,).
        births: when each began, (accounts,).
        states: their summaries by tracker, (accounts, width) each.
    """

    names: list[str]
    meta: list[Meta]
    is_copier: NDArray[np.bool_]
    counts: NDArray[np.int64]
    births: NDArray[np.float64]
    states: list[States]

    def __add__(self, other: Crowd) -> Crowd:
        return Crowd(self.names + other.names, self.meta + other.meta,
                     np.concatenate([self.is_copier, other.is_copier]),
                     np.concatenate([self.counts, other.counts]),
                     np.concatenate([self.births, other.births]),
                     [np.concatenate(pair) for pair in zip(self.states, other.states, strict=True)])

    def of(self, rows: Rows) -> Crowd:
        return Crowd([self.names[i] for i in rows], [self.meta[i] for i in rows], self.is_copier[rows],
                     self.counts[rows], self.births[rows], [states[rows] for states in self.states])


class Seen(NamedTuple):
    """What one search found of one campaign.

    Attributes:
        is_found: whether an alarm names some of it.
        named: accounts named in all alarms.
        right: copiers among them.
        copiers: in all.
        p_value: the least.
    """

    is_found: bool
    named: int
    right: int
    copiers: int
    p_value: float


class World:
    """A bed with detectors that are set."""

    def __init__(self, name: str, seed: int) -> None:
        self.bed, self.seed = beds.load(name), seed
        self.key = Prf.from_secret(f"campaigns {seed}")
        self.at = honest.population(self.bed, 6_000, seed=seed, part="calibration")
        self.reference = Reference.fit(self.at.exchanges, detectors(), self.key, names=self.at.names)

    def crowd(self, population: Population) -> Crowd:
        states = []
        for tracker in self.reference.trackers:
            states.append(tracker.empty(len(population)))
            tracker.learn(states[-1], population.exchanges)
        births = np.full(len(population), np.inf)
        np.minimum.at(births, population.exchanges.accounts, population.exchanges.times)
        return Crowd(list(population.names), list(population.meta), population.is_campaign,
                     population.counts.astype(np.int64), births, states)

    def people(self, n: int, purpose: int, part: beds.Part = "evaluation", *, days: float = 30.0,
               drift: Drift | None = None, volume: Volume | None = None) -> Crowd:
        """Honest accounts, made in parts so that memory doesn't grow with their number."""
        crowd: Crowd | None = None
        for start in range(0, n, AT_ONCE):
            seed = 1_000_000 * (self.seed + 1) + 10_000 * purpose + start // AT_ONCE
            made = self.crowd(honest.population(self.bed, min(AT_ONCE, n - start), days, seed, part, drift=drift,
                                                volume=volume))
            crowd = made if crowd is None else crowd + made
        assert crowd is not None
        return crowd

    def search(self, traffic: Crowd, reference: Crowd) -> list[Campaign]:
        numbers = {name: row for row, name in enumerate(traffic.names)}

        def union(names: Sequence[str]) -> float:
            rows = np.array([numbers[name] for name in names])
            merged = []
            for tracker, states in zip(self.reference.trackers, traffic.states, strict=True):
                one = states[rows[:1]]
                for row in rows[1:]:
                    one = tracker.merge(one, states[[row]])
                merged.append(one)
            return self.reference.p_value_of_union(merged, int(traffic.counts[rows].sum()))

        return find(self.reference.profile(traffic.states, len(traffic.names)), traffic.counts, traffic.names,
                    self.reference.profile(reference.states, len(reference.names)), reference.counts,
                    key=self.key, level=LARGEST_LEVEL, links=self.links(traffic, reference), union=union)

    def links(self, traffic: Crowd, reference: Crowd) -> Links:
        traits = [*meta_traits(traffic.meta, reference.meta), births(traffic.births, reference.births)]
        samples = [[kept(digests(states)) for gauge, states in zip(self.reference.gauges, side.states, strict=True)
                    if gauge.kind == "repetition"] for side in (traffic, reference)]
        return Links(traits, len(traffic.names), len(reference.names), *(side[0] for side in samples if side))


def seen(found: Sequence[Campaign], is_copier: NDArray[np.bool_]) -> Seen:
    rows = np.unique(np.concatenate([np.empty(0, dtype=np.intp), *(campaign.rows for campaign in found)]))
    right = int(is_copier[rows].sum())
    return Seen(right > 0, len(rows), right, int(is_copier.sum()),
                min((campaign.p_value for campaign in found), default=1.0))


def searches(name: str, seed: int) -> list[tuple[str, str, Seen]]:
    """All searches of one bed and seed: what, how, and what was seen."""
    world = World(name, seed)
    reference, traffic = world.people(N_REFERENCE, 1), world.people(N_HONEST, 2)
    done: list[tuple[str, str, Seen]] = []

    def note(what: str, how: str, crowd: Crowd) -> None:
        start = time.process_time()
        done.append((what, how, seen(world.search(crowd, reference), crowd.is_copier)))
        print(f"{name} {seed} {what} {how}: {done[-1][2]} {time.process_time() - start:.0f} s", flush=True,
              file=sys.stderr)

    for what, how, crowd in copiers(world):
        note(what, how, traffic + crowd)
    for how, crowd in drifted(world, traffic):
        note("honest", how, crowd)
    rng = generator(seed, "populations")
    for _ in range(N_POPULATIONS):
        crowd = traffic.of(rng.choice(N_HONEST, N_SMALL, replace=False))
        other = reference.of(rng.choice(N_REFERENCE, N_SMALL_REFERENCE, replace=False))
        done.append(("honest", "same people, drawn again", seen(world.search(crowd, other), crowd.is_copier)))
    return done


def copiers(world: World) -> Iterator[tuple[str, str, Crowd]]:
    for attack in ATTACKS:
        for n, mixing, cards in ((400, 0.0, 1), (400, 0.5, 1), (400, 0.75, 1), (400, 0.75, 8), (50, 0.0, 1)):
            made = campaigns.campaign(world.bed, attack, n, 38, mixing, seed=world.seed,
                                      accounts_per_payment=cards)
            how = f"{n} accounts, {mixing:.0%} honest" + (f", {cards} to a card" if cards > 1 else "")
            yield attack, how, world.crowd(made)


def drifted(world: World, traffic: Crowd) -> Iterator[tuple[str, Crowd]]:
    yield "no drift", traffic
    drifts: list[tuple[str, Drift]] = [
        ("style .1", Drift(style=0.1)), ("style .3", Drift(style=0.3)), ("spread 1.15", Drift(spread=1.15)),
        ("every other class twice as often", Drift(tilt=2.0))]
    for number, (how, drift) in enumerate(drifts):
        yield how, world.people(N_HONEST, 10 + number, drift=drift)
    team = honest.team(world.bed, N_TEAM, seed=world.seed, part="evaluation")
    yield "a team of 400", traffic + world.crowd(team)
    yield "another catalogue", world.people(N_HONEST, 20, "tuning")


def run() -> results.Result:
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(searches, *zip(*((name, seed) for name in BEDS for seed in SEEDS), strict=True)))
    worlds = [name for name in BEDS for _ in SEEDS]
    rows = []
    for name in BEDS:
        own = [row for world, part in zip(worlds, parts, strict=True) if world == name for row in part]
        for key in dict.fromkeys(row[:2] for row in own):
            rows.append(row_of(name, *key, [row[2] for row in own if row[:2] == key]))
    honest_ones = [row[2] for part in parts for row in part if row[1] in {"no drift", "same people, drawn again"}]
    return results.Result("watch_campaigns", [*rows, row_of("all", "honest", "without drift", honest_ones)])


def row_of(bed: str, what: str, how: str, all_seen: list[Seen]) -> dict[str, object]:
    """Alarms of all seeds, with their exact interval, and who was named."""
    alarms = sum(each.named > 0 if what == "honest" else each.is_found for each in all_seen)
    interval = stats.binomtest(alarms, len(all_seen)).proportion_ci(CONFIDENCE, "exact")
    named, right = sum(each.named for each in all_seen), sum(each.right for each in all_seen)
    n_copiers = sum(each.copiers for each in all_seen)
    return {"bed": bed, "what": what, "how": how, "searches": len(all_seen), "alarms": alarms,
            "low": round(interval.low, 4), "high": round(interval.high, 4),
            "recall": round(right / n_copiers, 3) if n_copiers else None,
            "precision": round(right / named, 3) if named else None,
            "p_value": float(f"{np.median([each.p_value for each in all_seen]):.1e}")}


def large() -> results.Result:
    """24,000 accounts at 26 queries among 100,000 honest ones at 10, on the first day."""
    world, volume = World(LARGE_BED, 0), Volume(median=PER_DAY, spread=0.5, most=100)
    reference = world.people(N_LARGE, 1, days=1.0, volume=volume)
    traffic = world.people(N_LARGE, 2, days=1.0, volume=volume)
    rows = []
    for attack, n, mixing in (("near", 24_000, 0.0), ("near", 24_000, 0.75), ("jacobian", 24_000, 0.75),
                              ("active", 24_000, 0.0), ("active", 24_000, 0.75), ("near", 2_000, 0.75)):
        made = world.crowd(campaigns.campaign(world.bed, attack, n, 26, mixing, days=1.0, seed=0))
        crowd = traffic + made
        start = time.process_time()
        one = seen(world.search(crowd, reference), crowd.is_copier)
        seconds = time.process_time() - start
        rows.append(row_of(LARGE_BED, attack, f"{n:,} accounts, {mixing:.0%} honest, day 1", [one])
                    | {"cpu_seconds": round(seconds, 1)})
        print(rows[-1], flush=True, file=sys.stderr)
    return results.Result("watch_campaigns_large", rows)


RUNS: dict[str, Callable[[], results.Result]] = {"": run, "large": large}

if __name__ == "__main__":
    found = RUNS[sys.argv[1] if len(sys.argv) > 1 else ""]()
    results.show(found)
    last = found.rows[-1]
    sys.exit(last["how"] == "without drift" and int(str(last["alarms"])) > FALSE * int(str(last["searches"])))
