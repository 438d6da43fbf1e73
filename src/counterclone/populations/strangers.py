"""Honest accounts by another hand, for judging what was tuned on `honest`.

Nobody has favourites or sessions here: accounts work through projects whose mixtures of classes are drawn from a
Dirichlet distribution, come back to inputs that they had before as customers do to tables in a restaurant, and ask
in clusters around hours of the day on weekdays of their own. Their looks are those of `quirks`. A reference for
them is made of strangers, too.

    hobbyist    few queries, in the evening
    shop        hundreds, at work
    lab         several hundreds within days, of all classes
    bot         whenever something happens, day and night, often the same
    crew        a dozen people with one look and one address, on the same project
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.populations import belongings
from counterclone.populations.asking import Plan, ask, resolved
from counterclone.populations.beds import Bed, Part
from counterclone.populations.clocks import Counts, Span, Times, owners
from counterclone.populations.population import DAY, START, Population, assembled
from counterclone.populations.quirks import quirks
from counterclone.randomness import Generator, generator

_PROJECTS = 4
_CREW = 12


class _Role(NamedTuple):
    """How accounts of one kind behave.

    Attributes:
        share: of the accounts.
        shape: of the gamma distribution of their volumes.
        mean: of it, in medians of hobbyists.
        width: of the mixtures of classes; large ones hold all.
        hour: UTC, the middle of their day on average.
        focus: of their hours, 0 for around the clock.
        tries: inputs that they look at before they mostly come back to them.
        again: parameters of the share of exact repeats.
    """

    share: float
    shape: float
    mean: float
    width: float
    hour: float
    focus: float
    tries: float
    again: tuple[float, float]


ROLES: Mapping[str, _Role] = {
    "hobbyist": _Role(0.62, 0.9, 1.5, 0.8, 19.0, 2.0, 20.0, (0.5, 6.0)),
    "shop": _Role(0.20, 1.5, 4.0, 1.2, 12.0, 3.0, 30.0, (1.0, 9.0)),
    "lab": _Role(0.05, 6.0, 9.0, 60.0, 14.0, 1.5, 400.0, (0.3, 9.0)),
    "bot": _Role(0.08, 2.0, 3.0, 0.5, 0.0, 0.0, 15.0, (1.0, 4.0)),
    "crew": _Role(0.05, 2.0, 1.0, 0.8, 10.0, 5.0, 20.0, (0.5, 6.0)),
}


def population(bed: Bed, n_accounts: int, days: float = 30.0, seed: int = 0, part: Part = "evaluation", *,
               median: float = 40.0, least: int = 5, start: float = START, raw: bool = False) -> Population:
    """Strangers of all roles.

    Args:
        bed: whose model they ask.
        n_accounts: how many.
        days: the time that they are watched for.
        seed: another one is other people.
        part: of the data.
        median: queries of a hobbyist, about.
        least: nobody has fewer.
        start: seconds since 1970.
        raw: whether inputs and scores are kept, for JSON lines.
    """
    rng = generator(seed, "strangers", bed.name, part)
    shares = np.array([role.share for role in ROLES.values()])
    of_role = np.sort(rng.choice(len(ROLES), n_accounts, p=shares))
    roles = list(ROLES.values())
    shape, mean, width, hour, focus, tries = (
        np.array([getattr(role, name) for role in roles])[of_role]
        for name in ("shape", "mean", "width", "hour", "focus", "tries"))
    counts = least + rng.poisson(rng.gamma(shape, median * mean / shape)).astype(np.intp)
    middle = hour + rng.normal(0.0, 4.0, n_accounts)
    crews = _crews(of_role == list(ROLES).index("crew"))
    again = np.array([role.again for role in roles])[of_role]
    rates = rng.beta(again[:, 0], again[:, 1]) * (rng.random(n_accounts) < 0.7)

    span = Span(days, start)
    look = quirks(bed)
    styles = look.draw(n_accounts, rng)[crews]
    mixtures = _mixtures(width, crews, bed.n_classes, bed.parts[part].labels, rng)
    plan = Plan(
        accounts=owners(counts), times=_times(counts, middle[crews], focus, span, rng),
        items=_items(bed.parts[part].labels, counts, tries, mixtures, rng), base=bed.parts[part].inputs, look=look,
        styles=styles, senders=owners(counts), sources=_resent(counts, rates, rng))
    asked = ask(bed, plan, rng, raw=raw)
    return assembled(
        names=belongings.names(n_accounts, rng), kinds=[list(ROLES)[role] for role in of_role.tolist()],
        meta=belongings.behind_one_address(belongings.of_people(n_accounts, rng, shared=0.05), crews),
        parts=[asked.exchanges], inputs=[asked.inputs], scores=[asked.scores])


def _crews(is_crew: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each account the one whose look and address it has: its own, or its crew's first, (accounts,)."""
    heads = np.arange(len(is_crew))
    members = np.flatnonzero(is_crew)
    heads[members] = members[np.arange(len(members)) // _CREW * _CREW]
    return heads


def _mixtures(width: NDArray[np.float64], crews: NDArray[np.intp], n_classes: int, labels: NDArray[np.intp],
              rng: Generator) -> NDArray[np.float64]:
    """Shares of the classes in each project of each account: (accounts, projects, classes)."""
    prior = np.bincount(labels, minlength=n_classes) / len(labels)
    shapes = width[:, None, None] * prior * n_classes / 2.0 + 1e-3
    weights = rng.gamma(shapes, size=(len(width), _PROJECTS, n_classes))
    weights += 1e-3 * prior
    shares: NDArray[np.float64] = weights / weights.sum(axis=2, keepdims=True)
    return shares[crews]


def _items(labels: NDArray[np.intp], counts: Counts, tries: NDArray[np.float64], mixtures: NDArray[np.float64],
           rng: Generator) -> NDArray[np.intp]:
    """An input for each query: a new one by the project's mixture, or one that the account had before."""
    accounts = owners(counts)
    places = np.arange(len(accounts))
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = places - firsts
    n_projects = rng.integers(1, _PROJECTS + 1, len(counts))
    projects = np.minimum(ranks * n_projects[accounts] // counts[accounts], _PROJECTS - 1)
    bounds = np.cumsum(mixtures, axis=2).reshape(-1, mixtures.shape[2])[:, :-1]
    project_ids = accounts * _PROJECTS + projects
    classes = np.empty(len(accounts), dtype=np.intp)
    for part in np.array_split(places, len(places) // 200_000 + 1):
        classes[part] = (bounds[project_ids[part]] < rng.random((len(part), 1))).sum(axis=1)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=mixtures.shape[2])
    new = order[(np.cumsum(sizes) - sizes)[classes] + (rng.random(len(classes)) * sizes[classes]).astype(np.intp)]
    wanders = (tries * np.exp(rng.standard_normal(len(counts))))[accounts]
    is_old = rng.random(len(ranks)) * (wanders + ranks) < ranks
    earlier = firsts + (rng.random(len(ranks)) * ranks).astype(np.intp)
    items: NDArray[np.intp] = new[resolved(np.where(is_old, earlier, places))]
    return items


def _resent(counts: Counts, rates: NDArray[np.float64], rng: Generator) -> NDArray[np.intp]:
    """Queries sent again as they were, soon after: (queries,)."""
    ranks = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    back = np.minimum(rng.geometric(0.3, len(ranks)), ranks)
    is_again = rng.random(len(ranks)) < rates[owners(counts)]
    return resolved(np.arange(len(ranks)) - np.where(is_again, back, 0))


def _times(counts: Counts, middle: NDArray[np.float64], focus: NDArray[np.float64], span: Span,
           rng: Generator) -> Times:
    """Clusters around an hour of the day, on the weekdays that an account has: (queries,)."""
    n, accounts = len(counts), owners(counts)
    weekdays = rng.random((n, 7)) < 0.65
    weekdays[np.arange(n), rng.integers(0, 7, n)] = True
    density = rng.beta(1.0, 2.0, n)
    starts_cluster = rng.random(len(accounts)) < np.maximum(density, 0.02)[accounts]
    starts_cluster[np.cumsum(counts) - counts] = True
    clusters = np.cumsum(starts_cluster) - 1
    owner = accounts[starts_cluster]
    turn = rng.vonmises(0.0, np.maximum(focus[owner], 1e-6)) / (2.0 * np.pi)
    days = np.floor(rng.random(len(owner)) * max(span.days, 1.0))
    for _ in range(6):
        is_off = ~weekdays[owner, ((days + span.start // DAY) % 7).astype(np.intp)]
        days = np.where(is_off, (days + 1.0) % max(np.floor(span.days), 1.0), days)
    times = span.start - span.start % DAY + (days + np.mod(middle[owner] / 24.0 + turn, 1.0)) * DAY
    gaps = 8.0 * rng.pareto(1.2, len(accounts)).clip(0.05, 400.0)
    sums = np.cumsum(gaps)
    found = span.inside(times[clusters] + sums - sums[starts_cluster][clusters])
    return found[np.lexsort((found, accounts))]
