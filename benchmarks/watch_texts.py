"""Prompts of a language model: windows of pooled traffic, and campaigns among honest accounts.

Windows: 1,500 prompts of whole accounts, some of them a copier's; the statistic is `residual`, fitted on windows
in place of accounts: a kernel two-sample test (MMD) by random features. Its threshold is of honest windows of
other people with other texts than those that it is fitted on, and than those that it is judged by.

Campaigns: a day of 10,000 honest accounts, one search at its end. That is 3.8 % of the time in which 24,000
accounts get 16 million answers at 26 prompts a day.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from benchmarks import prompts, results
from benchmarks.watch_campaigns import Crowd, Seen, World, row_of, seen
from counterclone.detectors._whitened import Whitened
from counterclone.detectors.residual import Residual
from counterclone.exchanges import Exchanges, join
from counterclone.populations import texts
from counterclone.populations.honest import Volume
from counterclone.populations.population import Population
from counterclone.populations.population import join as join_populations
from counterclone.protocols import States
from counterclone.randomness import Generator, Prf, generator
from counterclone.watch.engine import detectors
from counterclone.watch.reference import Reference

SEEDS = (0, 1, 2)
A_DAY = Volume(median=10.0, spread=0.5, most=100)
REFERENCE, THRESHOLD, JUDGED, COPIED = range(4)
"""Quarters of the library."""

WINDOW = 1_500
N_CROWDS, N_IN_CROWD = 4, 1_500
N_FITTED, N_HONEST, N_EACH = 300, 2_000, 40
FALSE = 0.003
FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
PEOPLE: Mapping[str, float] = {"chatter": 0.7, "paster": 0.15, "translator": 0.05, "classroom": 0.1}
CROWDS: Mapping[str, Mapping[str, float]] = {"all kinds": texts.KINDS, "people": PEOPLE}
WINDOW_ATTACKS = tuple(attack for attack in texts.ATTACKS if attack != "mimic")

N_FITTING, N_REFERENCE, N_TRAFFIC, N_TEAM, AT_ONCE = 6_000, 16_000, 10_000, 400, 2_000
PROMPTS = 26
SEARCHED = (
    ("slots", 400, 0.0), ("slots", 400, 0.5), ("spread", 400, 0.5), ("borrowed", 400, 0.5), ("pool", 400, 0.0),
    ("foreign", 400, 0.0), ("reasoning", 400, 0.5), ("spread", 400, 0.0), ("borrowed", 400, 0.0),
    ("reasoning", 400, 0.0), ("graded", 400, 0.0), ("capability", 400, 0.0), ("mimic", 400, 0.0),
    ("slots", 50, 0.0))

Scores = NDArray[np.float64]


def windows() -> results.Result:
    rows = []
    for name, kinds in CROWDS.items():
        shares, false = [], []
        for seed in SEEDS:
            start = time.process_time()
            own, wrong = judged(kinds, seed)
            shares.append(own)
            false.append(wrong)
            print(name, seed, wrong, own.mean(axis=1).round(3), f"{time.process_time() - start:.0f} s", flush=True,
                  file=sys.stderr)
        found = np.mean(shares, axis=0)
        rows += [window_row(name, attack, share, float(np.mean(false)))
                 for attack, share in zip(WINDOW_ATTACKS, found, strict=True)]
        rows.append(window_row(name, "mean", found.mean(axis=0), float(np.mean(false))))
    return results.Result("watch_texts_windows", rows)


def window_row(crowd: str, attack: str, share: Scores, false: float) -> dict[str, object]:
    by_fraction = {f"at {fraction:.0%}": round(float(share[FRACTIONS.index(fraction)]), 3)
                   for fraction in (0.05, 0.1, 0.2, 0.3, 0.5)}
    return {"honest": crowd, "copier": attack, "mean": round(float(share.mean()), 3), **by_fraction,
            "honest_alarmed": round(false, 4)}


def judged(kinds: Mapping[str, float], seed: int) -> tuple[Scores, float]:
    """The share of windows found, (attacks, fractions), and that of honest ones."""
    library, rng = prompts.library(), generator(seed, "windows")
    sides = [[crowd_of(library.part(side, 4), kinds, 100 * seed + 10 * side + i) for i in range(N_CROWDS)]
             for side in (REFERENCE, THRESHOLD, JUDGED)]
    tracker = Residual().start(fitted_on(sides[REFERENCE], rng))
    summaries = [[summed(tracker, each) for each in side] for side in sides[THRESHOLD:]]
    bars, honest = (scored(tracker, [window(side[i % N_CROWDS], WINDOW, rng) for i in range(N_HONEST)])
                    for side in summaries)
    bar = np.sort(bars)[-int(FALSE * (N_HONEST + 1))]
    share = np.empty((len(WINDOW_ATTACKS), len(FRACTIONS)))
    for i, attack in enumerate(WINDOW_ATTACKS):
        copier = summed(tracker, texts.campaign(library.part(COPIED, 4), attack, 400, 26, seed=seed))
        for j, fraction in enumerate(FRACTIONS):
            n = round(fraction * WINDOW)
            mixed = [window(summaries[-1][k % N_CROWDS], WINDOW - n, rng) + window(copier, n, rng)
                     for k in range(N_EACH)]
            share[i, j] = (scored(tracker, mixed) >= bar).mean()
    return share, float((honest >= bar).mean())


def crowd_of(library: texts.Library, kinds: Mapping[str, float], seed: int) -> Population:
    return texts.population(library, N_IN_CROWD, 1.0, seed, kinds=kinds, volume=A_DAY)


def fitted_on(crowds: Sequence[Population], rng: Generator) -> Exchanges:
    """Windows as accounts."""
    parts = []
    for number in range(N_FITTED):
        crowd = crowds[number % len(crowds)]
        chosen = rng.permutation(len(crowd))
        n = int(np.searchsorted(np.cumsum(crowd.counts[chosen]), WINDOW)) + 1
        part = crowd.exchanges.of(chosen[:n])
        parts.append(part.numbered(np.full(len(part), number)))
    return join(parts)


def summed(tracker: Whitened, population: Population) -> States:
    states = tracker.empty(len(population))
    tracker.learn(states, population.exchanges)
    return states


def window(states: States, n_prompts: int, rng: Generator) -> States:
    """The summary of accounts with so many prompts, or a few more: (width,)."""
    chosen = rng.permutation(len(states))
    n = int(np.searchsorted(np.cumsum(states[chosen, 0]), n_prompts)) + 1
    total: States = states[chosen[:n]].sum(axis=0)
    return total


def scored(tracker: Whitened, found: Sequence[States]) -> Scores:
    return tracker.score(np.stack(found))


class TextWorld(World):
    """A library with detectors that are set on people of a part of it."""

    def __init__(self, seed: int, kinds: Sequence[str] = ()) -> None:
        self.seed, self.key = seed, Prf.from_secret(f"texts {seed}")
        fitted = [self._people(REFERENCE, i, AT_ONCE) for i in range(N_FITTING // AT_ONCE)]
        self.at = join_populations(*fitted)
        specs = detectors([{"kind": kind} for kind in kinds])
        self.reference = Reference.fit(self.at.exchanges, specs, self.key, names=self.at.names)

    def honest(self, side: int, n: int) -> Crowd:
        """People of a quarter of the library, made in parts, each with prompts of its own that went viral."""
        return reduce(add, (self.crowd(self._people(side, 100 + i, AT_ONCE)) for i in range(n // AT_ONCE)))

    def _people(self, side: int, number: int, n: int) -> Population:
        return texts.population(prompts.library().part(side, 4), n, 1.0, 1_000 * self.seed + 200 * side + number,
                                volume=A_DAY)


def searches(seed: int) -> dict[tuple[str, str], Seen]:
    """All searches of one seed: of whom and how many, and what was seen."""
    world, done = TextWorld(seed), {}
    reference, traffic = world.honest(THRESHOLD, N_REFERENCE), world.honest(JUDGED, N_TRAFFIC)
    for what, how, crowd in crowds_of(world, traffic):
        start = time.process_time()
        one = done[what, how] = seen(world.search(crowd, reference), crowd.is_copier)
        print(seed, what, how, one, f"{time.process_time() - start:.0f} s", flush=True, file=sys.stderr)
    return done


def crowds_of(world: TextWorld, traffic: Crowd) -> Iterator[tuple[str, str, Crowd]]:
    for attack, n, mixing in SEARCHED:
        made = texts.campaign(prompts.library().part(COPIED, 4), attack, n, PROMPTS, mixing, seed=world.seed)
        yield attack, f"{n} accounts, {mixing:.0%} honest", traffic + world.crowd(made)
    yield "honest", "all kinds", traffic
    team = texts.team(prompts.library().part(JUDGED, 4), N_TEAM, 1.0, world.seed, volume=A_DAY)
    yield "honest", f"{N_TEAM} users of a new program", traffic + world.crowd(team)


def campaigns() -> results.Result:
    """All searches of all seeds."""
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        parts = list(pool.map(searches, SEEDS))
    rows = [row_of("texts", *key, [part[key] for part in parts]) for key in parts[0]]
    return results.Result("watch_texts", rows)


RUNS: dict[str, Callable[[], results.Result]] = {"": campaigns, "windows": windows}

if __name__ == "__main__":
    results.show(RUNS[sys.argv[1] if len(sys.argv) > 1 else ""]())
