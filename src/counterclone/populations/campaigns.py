"""Campaigns: one copier's queries behind one account, or behind thousands."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterclone.populations import attacks, belongings
from counterclone.populations.asking import PLAIN, Plan, ask, resolved
from counterclone.populations.beds import Bed
from counterclone.populations.clocks import Counts, Span, Times, by_machines, by_people, owners
from counterclone.populations.population import START, Population, assembled
from counterclone.populations.tastes import Catalogue, favourites, repeats
from counterclone.queries import Features
from counterclone.randomness import Generator, generator

Clock = Literal["people", "jittered", "machine"]
_UNEVEN = 0.3
_COPY_JITTER = 0.5


def campaign(bed: Bed, attack: str = "natural", n_accounts: int = 400, queries_each: float = 38,
             mixing: float = 0.0, *, days: float = 30.0, seed: int = 0, clock: Clock = "people",
             accounts_per_ip: int = 1, accounts_per_payment: int = 1, start: float = START,
             raw: bool = False) -> Population:
    """A copier's accounts.

    The pool is cut into shards, so no two accounts ask the same. Each account's volume differs by about a third,
    and honest queries are by an honest taste and in an honest style of the account's own.

    Args:
        bed: whose model is copied.
        attack: one of `attacks.POOLS`, or `audit/` and the kind of an attack.
        n_accounts: how many.
        queries_each: of an account on average, honest ones included.
        mixing: the share of honest ones, 0 to 0.95.
        days: over which they are spread.
        seed: of everything drawn.
        clock: `people` keep honest hours and bursts, `machine`s ask at even gaps around the clock, and `jittered`
            ones try to hide that.
        accounts_per_ip: how many share an address.
        accounts_per_payment: how many share a card.
        start: seconds since 1970.
        raw: whether inputs and scores are kept, for JSON lines.

    Raises:
        ConfigError: there is no such attack.
    """
    rng = generator(seed, "campaign", bed.name, attack, n_accounts)
    counts = _uneven(n_accounts, round(n_accounts * queries_each), rng)
    accounts, times = owners(counts), _times(clock, counts, Span(days, start), rng)
    is_honest = rng.random(len(accounts)) < mixing
    asked_for = np.flatnonzero(~is_honest)
    asked_for = asked_for[np.argsort(times[asked_for], kind="stable")]  # the pool's order is the campaign's
    pool = attacks.pool(bed, attack, len(asked_for), seed)
    parts = [ask(bed, _theft(bed, pool, accounts[asked_for], times[asked_for], rng), rng, raw=raw)]
    if is_honest.any():
        parts.append(ask(bed, _cover(bed, accounts[is_honest], times[is_honest], n_accounts, rng), rng, raw=raw))
    return assembled(
        names=belongings.names(n_accounts, rng), kinds=[f"campaign/{attack}"] * n_accounts,
        meta=belongings.of_campaign(n_accounts, rng, accounts_per_ip=accounts_per_ip,
                                    accounts_per_payment=accounts_per_payment),
        parts=[part.exchanges for part in parts], inputs=[part.inputs for part in parts],
        scores=[part.scores for part in parts])


def _theft(bed: Bed, pool: Features, accounts: NDArray[np.intp], times: Times, rng: Generator) -> Plan:
    """The pool in its order, then copies of it that are moved a little."""
    n = len(accounts)
    moved = bed.look.draw(64, rng)
    moved[:, :-1] *= np.float32(_COPY_JITTER)
    items = np.concatenate([np.arange(min(n, len(pool))), *(
        rng.permutation(len(pool)) for _ in range(max(n - 1, 0) // max(len(pool), 1)))])[:n]
    is_copy = np.arange(n) >= len(pool)
    senders = np.where(is_copy, rng.integers(0, len(moved), n), PLAIN)
    return Plan(accounts=accounts, times=times, items=items, base=pool, styles=moved, senders=senders,
                sources=np.arange(n))


def _cover(bed: Bed, accounts: NDArray[np.intp], times: Times, n_accounts: int, rng: Generator) -> Plan:
    """What hides the rest: each account as a casual one."""
    own = bed.parts["attack"]
    catalogue = Catalogue(own.labels, bed.n_classes)
    counts = np.bincount(accounts, minlength=n_accounts)
    again = repeats(counts, rng.beta(0.6, 5.0, n_accounts), rng)
    return Plan(accounts=accounts, times=times,
                items=catalogue.draw(favourites(n_accounts, catalogue.prior, rng), accounts, rng), base=own.inputs,
                styles=bed.look.draw(n_accounts, rng), senders=accounts, sources=resolved(again))


def _uneven(n_accounts: int, total: int, rng: Generator) -> Counts:
    """Counts that sum to `total`, one at least."""
    weights = np.exp(_UNEVEN * rng.standard_normal(n_accounts))
    bounds = np.rint(np.cumsum(weights) / weights.sum() * max(total - n_accounts, 0)).astype(np.intp)
    counts: Counts = 1 + np.diff(bounds, prepend=0)
    return counts


def _times(clock: Clock, counts: Counts, span: Span, rng: Generator) -> Times:
    if clock == "people":
        return by_people(counts, span, rng)
    return by_machines(counts, span, rng, jitter=0.02 if clock == "machine" else 0.5)
