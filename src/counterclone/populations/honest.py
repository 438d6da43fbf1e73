"""Honest accounts: each with its own tastes, style, volume, hours and repeats.

    casual      a person with one to three favourite classes
    drifting    one whose style and favourites change with time
    classroom   twenty to thirty-five people behind one address, who do the same exercise with the same device
    agent       a program that asks around the clock at even gaps, often the same
    batch       a customer's nightly job: many classes, a dozen times as many queries
    reseller    one key for eight to thirty people
    evaluator   somebody who runs a balanced test set, some of them twice
    visitor     somebody who came on the day of a release, to try a bit of everything once
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.populations import belongings
from counterclone.populations.asking import PLAIN, Plan, ask, resolved
from counterclone.populations.beds import Bed, Part
from counterclone.populations.clocks import Counts, Span, Times, by_machines, by_people, by_runs, owners
from counterclone.populations.looks import Styles
from counterclone.populations.population import DAY, START, Population, assembled
from counterclone.populations.tastes import Catalogue, Tastes, broad, favourites, repeats
from counterclone.randomness import Generator, generator

KINDS: Mapping[str, float] = {
    "casual": 0.74, "drifting": 0.06, "classroom": 0.06, "agent": 0.05, "batch": 0.03, "reseller": 0.02,
    "evaluator": 0.02, "visitor": 0.02}
"""Shares of the accounts where nobody says."""

_STAGES = 5
_HEAVY = (12.5, 25.0)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How many queries an account has in all: log-normal.

    Attributes:
        median: of casual accounts; batch jobs and resellers have 12 to 25 times as many.
        spread: the deviation of the logarithm.
        least: and none has fewer.
        most: of all but batch jobs and resellers; evaluators have as many.
    """

    median: float = 40.0
    spread: float = 1.0
    least: int = 5
    most: int = 500

    def draw(self, n: int, rng: Generator, scale: float = 1.0) -> Counts:
        """Counts of `n` accounts."""
        drawn = scale * self.median * np.exp(self.spread * rng.standard_normal(n))
        return np.clip(np.rint(drawn), self.least, self.most).astype(np.intp)

    def heavy(self, n: int, rng: Generator) -> Counts:
        """Counts of `n` heavy accounts."""
        return np.rint(self.median * rng.uniform(*_HEAVY, n)).astype(np.intp).clip(self.least)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Changes that move all honest accounts at once.

    Attributes:
        style: by how many deviations between accounts everybody's style moves.
        spread: by what factor accounts differ more.
        tilt: how much more often every other class is asked for.
        from_day: when it begins.
    """

    style: float = 0.0
    spread: float = 1.0
    tilt: float = 1.0
    from_day: float = 0.0


@dataclass(frozen=True, eq=False)
class _Group:
    """Accounts of one kind: when each asks, and in whose style and by whose taste."""

    counts: Counts
    times: Times
    styles: Styles
    tastes: Tastes
    senders: NDArray[np.intp]
    rates: NDArray[np.float64]
    items: NDArray[np.intp] | None = None
    sources: NDArray[np.intp] | None = None
    places: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class _Scene:
    """What kinds are made from."""

    bed: Bed
    catalogue: Catalogue
    prior: NDArray[np.float64]
    span: Span
    volume: Volume
    rng: Generator

    def styles(self, n: int) -> Styles:
        return self.bed.look.draw(n, self.rng)

    def favourites(self, n: int) -> Tastes:
        return favourites(n, self.prior, self.rng)

    def rates(self, n: int, a: float = 0.6, b: float = 5.0) -> NDArray[np.float64]:
        return self.rng.beta(a, b, n)


def population(bed: Bed, n_accounts: int, days: float = 30.0, seed: int = 0, part: Part = "calibration", *,
               kinds: Mapping[str, float] = KINDS, volume: Volume | None = None, drift: Drift | None = None,
               start: float = START, raw: bool = False) -> Population:
    """Honest accounts of all kinds.

    Args:
        bed: whose model they ask.
        n_accounts: how many.
        days: the time that they are watched for.
        seed: another one is other people, with other clocks.
        part: of the data; what detectors are tuned on and judged by mustn't be the same.
        kinds: shares of the accounts, which sum to 1.
        volume: how many queries each has.
        drift: what moves all of them.
        start: seconds since 1970.
        raw: whether inputs and scores are kept, for JSON lines.
    """
    rng = generator(seed, "honest", bed.name, part)
    labels = bed.parts[part].labels
    catalogue = Catalogue(labels, bed.n_classes)
    drift = drift or Drift()
    scene = _Scene(bed, catalogue, catalogue.prior, Span(days, start), volume or Volume(), rng)
    kind_of = np.sort(rng.choice(len(kinds), n_accounts, p=np.array(list(kinds.values()))))
    parts, of_kind, metas = [], [], []
    for number, kind in enumerate(kinds):
        members = np.flatnonzero(kind_of == number)
        if not len(members):
            continue
        group = _MAKERS[kind](scene, len(members))
        plan = _plan(scene, group, drift, part)
        asked = ask(bed, plan, rng, raw=raw)
        parts.append((asked, members[0]))
        metas += _metas(group, len(members), rng)
        of_kind += [kind] * len(members)
    return assembled(
        names=belongings.names(n_accounts, rng), kinds=of_kind, meta=metas,
        parts=[asked.exchanges.numbered(asked.exchanges.accounts + first) for asked, first in parts],
        inputs=[asked.inputs for asked, _ in parts], scores=[asked.scores for asked, _ in parts])


def team(bed: Bed, n_accounts: int, days: float = 30.0, seed: int = 0, part: Part = "calibration", *,
         volume: Volume | None = None, start: float = START, raw: bool = False) -> Population:
    """An honest team: many accounts with one device's style and one task's three classes, as `population`."""
    rng = generator(seed, "team", bed.name, part)
    catalogue = Catalogue(bed.parts[part].labels, bed.n_classes)
    scene = _Scene(bed, catalogue, catalogue.prior, Span(days, start), volume or Volume(), rng)
    counts = scene.volume.draw(n_accounts, rng)
    shared, own = scene.styles(1), scene.styles(n_accounts)
    styles = np.concatenate([np.repeat(shared[:, :-1], n_accounts, axis=0), own[:, -1:]], axis=1)
    tastes = np.repeat(scene.favourites(1), n_accounts, axis=0)
    group = _Group(counts, by_people(counts, scene.span, rng), styles, tastes, owners(counts),
                   scene.rates(n_accounts))
    asked = ask(bed, _plan(scene, group, Drift(), part), rng, raw=raw)
    return assembled(names=belongings.names(n_accounts, rng), kinds=["team"] * n_accounts,
                     meta=belongings.of_people(n_accounts, rng), parts=[asked.exchanges], inputs=[asked.inputs],
                     scores=[asked.scores])


def _plan(scene: _Scene, group: _Group, drift: Drift, part: Part) -> Plan:
    """What a group asks, after whatever moved everybody."""
    styles, tastes, senders = group.styles, group.tastes, group.senders
    if drift != Drift():
        moved = scene.bed.look.shifted(styles, drift.style)
        moved[:, :-1] *= np.float32(drift.spread)
        weights = tastes * np.where(np.arange(tastes.shape[1]) % 2, np.float32(drift.tilt), np.float32(1.0))
        late = (senders != PLAIN) & (group.times >= scene.span.start + drift.from_day * DAY)
        senders = senders + len(styles) * late
        styles = np.concatenate([styles, moved])
        tastes = np.concatenate([tastes, weights / weights.sum(axis=1, keepdims=True)])
    items = scene.catalogue.draw(tastes, senders, scene.rng) if group.items is None else group.items
    again = repeats(group.counts, group.rates, scene.rng) if group.sources is None else group.sources
    return Plan(accounts=owners(group.counts), times=group.times, items=items,
                base=scene.bed.parts[part].inputs, styles=styles, senders=senders, sources=resolved(again))


def _metas(group: _Group, n: int, rng: Generator) -> list[dict[str, str]]:
    metas = belongings.of_people(n, rng)
    return metas if group.places is None else belongings.behind_one_address(metas, group.places)


def _casual(scene: _Scene, n: int) -> _Group:
    counts = scene.volume.draw(n, scene.rng)
    return _Group(counts, by_people(counts, scene.span, scene.rng), scene.styles(n), scene.favourites(n),
                  owners(counts), scene.rates(n))


def _drifting(scene: _Scene, n: int) -> _Group:
    counts = scene.volume.draw(n, scene.rng, 1.5)
    ends = [(scene.styles(n), scene.favourites(n)) for _ in range(2)]
    shares = np.linspace(0.0, 1.0, _STAGES)
    # a sender for each stage of each account
    styles, tastes = (np.stack([(1.0 - share) * ends[0][i] + share * ends[1][i] for share in shares], axis=1)
                      .reshape(n * _STAGES, -1).astype(np.float32) for i in range(2))
    accounts = owners(counts)
    ranks = np.arange(len(accounts)) - np.repeat(np.cumsum(counts) - counts, counts)
    stages = np.minimum(ranks * _STAGES // counts[accounts], _STAGES - 1)
    return _Group(counts, by_people(counts, scene.span, scene.rng), styles, tastes, accounts * _STAGES + stages,
                  scene.rates(n))


def _classroom(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    rooms = _grouped(n, 20, 36, rng)
    n_rooms = int(rooms[-1]) + 1
    counts = scene.volume.draw(n, rng, 0.5)
    device, task = scene.styles(n_rooms), scene.favourites(n_rooms)
    styles, tastes = scene.styles(n), scene.favourites(n)
    styles[:, :-1] = np.sqrt(0.7) * device[rooms, :-1] + np.sqrt(0.3) * styles[:, :-1]
    tastes = (0.8 * task[rooms] + 0.2 * tastes).astype(np.float32)
    hours, begins = rng.uniform(7.0, 15.0, n_rooms), rng.random(n_rooms) * 0.6 * scene.span.days
    times = by_people(counts, scene.span, rng, session=20.0, hours=hours[rooms], start_days=begins[rooms])
    return _Group(counts, times, styles, tastes, owners(counts), scene.rates(n), places=rooms)


def _agent(scene: _Scene, n: int) -> _Group:
    counts = scene.volume.draw(n, scene.rng, 2.0)
    return _Group(counts, by_machines(counts, scene.span, scene.rng), scene.styles(n), scene.favourites(n),
                  owners(counts), scene.rates(n, 1.0, 2.0))


def _batch(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    counts = scene.volume.heavy(n, rng)
    runs = 1 + rng.integers(0, max(int(scene.span.days), 1), n)
    return _Group(counts, by_runs(counts, scene.span, rng, runs=runs), scene.styles(n),
                  broad(n, scene.prior, rng), owners(counts), 0.5 * scene.rates(n))


def _reseller(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    counts = scene.volume.heavy(n, rng)
    users = rng.integers(8, 31, n)
    firsts = np.cumsum(users) - users
    accounts = owners(counts)
    # a user with half as many queries as the one before him
    senders = firsts[accounts] + (users[accounts] * rng.random(len(accounts)) ** 2).astype(np.intp)
    n_users = int(users.sum())
    return _Group(counts, by_people(counts, scene.span, rng, session=4.0), scene.styles(n_users),
                  scene.favourites(n_users), senders, scene.rates(n))


def _evaluator(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    size = scene.volume.most
    runs = np.where(rng.random(n) < 0.3, 2, 1)
    counts = runs * size
    accounts = owners(counts)
    tests = np.stack([scene.catalogue.balanced(size, rng) for _ in range(n)])
    places = np.arange(len(accounts))
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = places - firsts
    items = tests[accounts, ranks % size]
    sources = firsts + ranks % size
    return _Group(counts, by_runs(counts, scene.span, rng, runs=runs), scene.styles(1), broad(1, scene.prior, rng),
                  np.full(len(accounts), PLAIN), scene.rates(n), items, sources)


def _visitor(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    counts = scene.volume.draw(n, rng, 0.4)
    release = np.full(n, np.floor(rng.random() * scene.span.days))
    times = by_people(counts, scene.span, rng, session=30.0,
                      start_days=np.minimum(release, max(scene.span.days - 1.0, 0.0)))
    return _Group(counts, times, scene.styles(n), broad(n, scene.prior, rng, 2.0), owners(counts), scene.rates(n))


def _grouped(n: int, least: int, most: int, rng: Generator) -> NDArray[np.intp]:
    """Accounts in groups of `least` to `most`, but for the last: (n,)."""
    sizes = rng.integers(least, most, n // least + 1)
    return np.repeat(np.arange(len(sizes)), sizes)[:n]


_MAKERS: Mapping[str, Callable[[_Scene, int], _Group]] = {
    "casual": _casual, "drifting": _drifting, "classroom": _classroom, "agent": _agent, "batch": _batch,
    "reseller": _reseller, "evaluator": _evaluator, "visitor": _visitor}
