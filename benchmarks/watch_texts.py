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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import prompts, results
from benchmarks.watch_campaigns import Crowd, Seen, World, row_of, seen
from counterclone.budgets import BYTES_PER_TOKEN
from counterclone.detectors.residual import Residual
from counterclone.detectors.typicality import Typicality
from counterclone.exchanges import Exchanges, join
from counterclone.policies.logprobs import Logprobs
from counterclone.populations import texts
from counterclone.populations.honest import Volume
from counterclone.populations.population import Population
from counterclone.populations.population import join as join_populations
from counterclone.protocols import States
from counterclone.randomness import Generator, Prf, generator
from counterclone.watch.engine import DEFAULT_DETECTORS, detectors
from counterclone.watch.reference import Reference

SEEDS = (0, 1, 2)
A_DAY = Volume(median=10.0, spread=0.5, most=100)
REFERENCE, THRESHOLD, JUDGED, COPIED = range(4)
"""Quarters of the library."""

WINDOW = 1_500
N_CROWDS, N_IN_CROWD = 4, 1_000
N_FITTED, N_HONEST, N_EACH = 300, 1_000, 20
FALSE = 0.003
FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
SHOWN = (0, 1, 3, 5, 9)
WINDOW_ATTACKS = tuple(attack for attack in texts.ATTACKS if attack != "mimic")
N_FITTING, N_REFERENCE, N_TRAFFIC, N_TEAM, AT_ONCE = 6_000, 16_000, 10_000, 400, 2_000
PROMPTS = 26
TOKEN_BITS = 8 * BYTES_PER_TOKEN
N_ALONE, N_EACH_ALONE = 3_000, 100
SEARCHED = (
    ("slots", 400, 0.0), ("slots", 400, 0.5), ("spread", 400, 0.5), ("borrowed", 400, 0.5), ("pool", 400, 0.0),
    ("foreign", 400, 0.0), ("reasoning", 400, 0.5), ("spread", 400, 0.0), ("borrowed", 400, 0.0),
    ("reasoning", 400, 0.0), ("graded", 400, 0.0), ("capability", 400, 0.0), ("mimic", 400, 0.0),
    ("slots", 50, 0.0))

NOBODY = np.zeros(N_TRAFFIC + N_TEAM, dtype=np.bool_)

Scores = NDArray[np.float64]


def windows() -> results.Result:
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        parts = list(pool.map(window_shares, SEEDS))
    rows = []
    for how, by in parts[0]:
        found = np.mean([part[how, by].found for part in parts], axis=0)
        false = round(float(np.mean([part[how, by].honest for part in parts])), 4)
        for copier, share in zip((*WINDOW_ATTACKS, "mean"), (*found, found.mean(axis=0)), strict=True):
            shown = {f"at {FRACTIONS[k]:.0%}": round(float(share[k]), 2) for k in SHOWN}
            mean = round(float(share.mean()), 3)
            rows.append({"windows of": how, "by": by, "copier": copier, "mean": mean, **shown, "honest": false})
    return results.Result("watch_texts_windows", rows)


class Shares(NamedTuple):
    """The share of windows that raise an alarm.

    Attributes:
        found: of those with a copier, (attacks, fractions).
        honest: of those without.
    """

    found: Scores
    honest: float


class Meter:
    """Detectors that are fitted on windows, whose summaries are kept side by side."""

    def __init__(self, specs: Sequence[Residual | Typicality], windows: Exchanges) -> None:
        self._trackers = [spec.start(windows) for spec in specs]
        self._ends = np.cumsum([tracker.empty(0).shape[1] for tracker in self._trackers])[:-1]

    def summed(self, population: Population, *, is_whole: bool) -> States:
        """Summaries of accounts, or of prompts: (n, width)."""
        exchanges = population.exchanges
        if not is_whole:
            exchanges = exchanges.numbered(np.arange(len(exchanges)))
        parts = [tracker.empty(exchanges.n_accounts) for tracker in self._trackers]
        for tracker, part in zip(self._trackers, parts, strict=True):
            tracker.learn(part, exchanges)
        return np.hstack(parts)

    def scored(self, found: Sequence[States]) -> Scores:
        """Windows' scores: (windows, detectors)."""
        parts = np.split(np.stack(found), self._ends, axis=1)
        return np.stack([tracker.score(part) for tracker, part in zip(self._trackers, parts, strict=True)], axis=1)


def window_shares(seed: int) -> dict[tuple[str, str], Shares]:
    """By how windows are made and what looks at them."""
    library = prompts.library()
    sides = [[texts.population(library.part(side, 4), N_IN_CROWD, 1.0, 100 * seed + 10 * side + i, volume=A_DAY)
              for i in range(N_CROWDS)] for side in (REFERENCE, THRESHOLD, JUDGED)]
    copiers = [texts.campaign(library.part(COPIED, 4), attack, 400, PROMPTS, seed=seed)
               for attack in WINDOW_ATTACKS]
    done = {}
    for how, is_whole in (("whole accounts", True), ("single prompts", False)):
        rng = generator(seed, "windows", how)
        meter = Meter((Residual(), Typicality()), fitted_on(sides[REFERENCE], rng, is_whole=is_whole))
        threshold, judged = ([meter.summed(each, is_whole=is_whole) for each in side]
                             for side in sides[THRESHOLD:])
        known, honest = (meter.scored([window(side[i % N_CROWDS], WINDOW, rng) for i in range(N_HONEST)])
                         for side in (threshold, judged))
        mixed = [[mixed_scores(meter, judged, meter.summed(copier, is_whole=is_whole), round(share * WINDOW), rng)
                  for share in FRACTIONS] for copier in copiers]
        known.sort(axis=0)
        for by, columns in (("residual", [0]), ("residual or typicality", [0, 1])):
            bars = known[-int(FALSE / len(columns) * (N_HONEST + 1)), columns]
            found = [[float((part[:, columns] >= bars).any(axis=1).mean()) for part in row] for row in mixed]
            done[how, by] = Shares(np.array(found), float((honest[:, columns] >= bars).any(axis=1).mean()))
            print(seed, how, by, done[how, by].found.mean(axis=1).round(2), done[how, by].honest, flush=True,
                  file=sys.stderr)
    return done


def fitted_on(crowds: Sequence[Population], rng: Generator, *, is_whole: bool) -> Exchanges:
    """Windows as accounts."""
    parts = []
    for number in range(N_FITTED):
        crowd = crowds[number % len(crowds)]
        if is_whole:
            chosen = rng.permutation(len(crowd))
            n = int(np.searchsorted(np.cumsum(crowd.counts[chosen]), WINDOW)) + 1
            part = crowd.exchanges.of(chosen[:n])
        else:
            part = crowd.exchanges.select(rng.permutation(len(crowd.exchanges))[:WINDOW])
        parts.append(part.numbered(np.full(len(part), number)))
    return join(parts)


def window(states: States, n_prompts: int, rng: Generator) -> States:
    """The summary of accounts with so many prompts, or a few more: (width,)."""
    chosen = rng.permutation(len(states))
    n = int(np.searchsorted(np.cumsum(states[chosen, 0]), n_prompts)) + 1
    total: States = states[chosen[:n]].sum(axis=0)
    return total


def mixed_scores(meter: Meter, crowds: Sequence[States], copier: States, n_copied: int, rng: Generator) -> Scores:
    """Of windows in which so many prompts are a copier's: (windows, detectors)."""
    return meter.scored([window(crowds[i % N_CROWDS], WINDOW - n_copied, rng) + window(copier, n_copied, rng)
                         for i in range(N_EACH)])


class TextWorld(World):
    """A library with detectors that are set on people of a part of it."""

    def __init__(self, seed: int, kinds: Sequence[str] = DEFAULT_DETECTORS) -> None:
        self.seed, self.key = seed, Prf.from_secret(f"texts {seed}")
        fitted = [self._people(REFERENCE, i, AT_ONCE) for i in range(N_FITTING // AT_ONCE)]
        self.at = join_populations(*fitted)
        specs = detectors([{"kind": kind} for kind in kinds])
        self.reference = Reference.fit(self.at.exchanges, specs, self.key, names=self.at.names)

    def honest(self, side: int, n: int) -> Crowd:
        """People of a quarter of the library, made in parts, each with prompts of its own that went viral."""
        return reduce(add, (self.crowd(self._people(side, 100 + i, AT_ONCE)) for i in range(n // AT_ONCE)))

    def _people(self, side: int, number: int, n: int) -> Population:
        made = texts.population(prompts.library().part(side, 4), n, 1.0, 1_000 * self.seed + 200 * side + number,
                                volume=A_DAY)
        return told_more(made, np.array([kind == "evaluator" for kind in made.kinds]))


def told_more(population: Population, who: NDArray[np.bool_]) -> Population:
    """The same, some of whose accounts have six log-probabilities told with each token."""
    exchanges = population.exchanges
    factors = np.where(who, 1.0 + 6 * Logprobs().value_bits / TOKEN_BITS, 1.0).astype(np.float32)
    return replace(population, exchanges=replace(exchanges, bits=exchanges.bits * factors[exchanges.accounts]))


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


def alone(seed: int) -> dict[str, Scores]:
    """The p-values of accounts by themselves, by what they are."""
    world, found = TextWorld(seed), {}
    people = texts.population(prompts.library().part(JUDGED, 4), N_ALONE, 1.0, 1_000 * seed + 900, volume=A_DAY)
    p_values = world.reference.account_p_values(world.reference.maxima(people.exchanges))
    found["honest"] = p_values
    kinds = np.array(people.kinds)
    found |= {f"honest: {kind}": p_values[kinds == kind] for kind in texts.KINDS}
    for attack in texts.ATTACKS:
        made = texts.campaign(prompts.library().part(COPIED, 4), attack, N_EACH_ALONE, PROMPTS, seed=seed)
        found[attack] = world.reference.account_p_values(world.reference.maxima(made.exchanges))
    return found


def accounts() -> results.Result:
    """The share of accounts that are alarmed by themselves within a day."""
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        parts = list(pool.map(alone, SEEDS))
    rows = []
    for who in parts[0]:
        p_values = np.concatenate([part[who] for part in parts])
        rows.append({"who": who, "accounts": len(p_values), **{
            f"alarmed at {level:.1%}": round(float((p_values <= level).mean()), 4) for level in (0.001, 0.01)}})
    return results.Result("watch_texts_accounts", rows)


def known_program(seed: int) -> Seen:
    """A search of honest accounts with a program's users, of whom the reference has half as many."""
    world = TextWorld(seed)
    team = world.crowd(texts.team(prompts.library().part(JUDGED, 4), 2 * N_TEAM, 1.0, seed, volume=A_DAY))
    reference = world.honest(THRESHOLD, N_REFERENCE) + team.of(np.arange(N_TEAM, N_TEAM + N_TEAM // 2))
    return seen(world.search(world.honest(JUDGED, N_TRAFFIC) + team.of(np.arange(N_TEAM)), reference), NOBODY)


def programs() -> results.Result:
    """Honest users of a program that the reference knows."""
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        found = list(pool.map(known_program, SEEDS))
    return results.Result("watch_texts_programs", [
        row_of("texts", "honest", f"{N_TEAM} users of a program, {N_TEAM // 2} others in the reference", found)])


def greedy(seed: int) -> dict[tuple[str, str], Seen]:
    """Searches by `appetite` alone: honest people, and copiers like them who have log-probabilities told."""
    world = TextWorld(seed, ["appetite"])
    reference, traffic = world.honest(THRESHOLD, N_REFERENCE), world.honest(JUDGED, N_TRAFFIC)
    done = {("honest", "all kinds"): seen(world.search(traffic, reference), traffic.is_copier)}
    for n in (N_TEAM, 50):
        made = texts.campaign(prompts.library().part(COPIED, 4), "mimic", n, PROMPTS, seed=seed)
        crowd = traffic + world.crowd(told_more(made, np.ones(n, dtype=np.bool_)))
        done["mimic", f"{n} accounts"] = seen(world.search(crowd, reference), crowd.is_copier)
    print(seed, done, flush=True, file=sys.stderr)
    return done


def appetite() -> results.Result:
    """Copiers who can't be told by what they ask; of honest accounts, evaluators have log-probabilities too."""
    with ProcessPoolExecutor(len(SEEDS)) as pool:
        parts = list(pool.map(greedy, SEEDS))
    return results.Result("watch_texts_appetite", [
        row_of("texts", *key, [part[key] for part in parts]) for key in parts[0]])


RUNS: dict[str, Callable[[], results.Result]] = {
    "": campaigns, "programs": programs, "appetite": appetite, "accounts": accounts, "windows": windows}

if __name__ == "__main__":
    results.show(RUNS[sys.argv[1] if len(sys.argv) > 1 else ""]())
