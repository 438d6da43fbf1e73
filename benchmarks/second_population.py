"""Another way to make up traffic, for judging what was tuned on `counterclone.populations` and on nothing here.

Nothing of how people differ is shared with it: here an account is a sequence of sessions, each with a topic of its
own; a session goes on with what was asked before or looks like it (a restaurant process); styles multiply instead
of add; volumes are negative binomial; copiers hand their queries out in turn, with clocks of a scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import full_bits, top_labels
from counterclone.encoders import compact_features
from counterclone.exchanges import Exchanges
from counterclone.populations import attacks
from counterclone.populations.beds import Bed, Part
from counterclone.populations.population import DAY, START, Meta, Population, assembled
from counterclone.queries import Features, canonical_features
from counterclone.randomness import Generator, Prf, generator

KINDS: Mapping[str, float] = {"ordinary": 0.8, "office": 0.1, "cron": 0.06, "tester": 0.04}
_DIGESTS = Prf.from_secret("second population")
_SESSION = 9.0

Times = NDArray[np.float64]


def population(bed: Bed, n_accounts: int, days: float = 30.0, seed: int = 0, part: Part = "evaluation",
               median: float = 40.0, *, raw: bool = False) -> Population:
    """Honest accounts."""
    rng = generator(seed, "second", bed.name, part)
    kinds = rng.choice(list(KINDS), n_accounts, p=list(KINDS.values())).tolist()
    offices = rng.integers(0, max(n_accounts // 150, 1), n_accounts)
    office_tint = rng.normal(0.0, 0.12, (int(offices.max()) + 1, 3))
    own = bed.parts[part]
    by_class = [np.flatnonzero(own.labels == label) for label in range(bed.n_classes)]
    inputs, accounts, times = [], [], []
    for account, kind in enumerate(kinds):
        n = int(np.clip(rng.negative_binomial(1.2, 1.2 / (1.2 + 1.3 * median)), 5, 25 * median))
        tint = rng.normal(0.0, 0.15, 3)
        if kind == "office":
            tint = 0.5 * tint + office_tint[offices[account]]
        if kind == "tester":
            n = min(len(own.labels), int(12 * median))
            asked = own.inputs[rng.permutation(len(own.labels))[:n]]
            when = START + rng.random() * 0.8 * days * DAY + np.cumsum(rng.exponential(2.0, n))
        else:
            asked = _worn(bed, _visits(own.inputs, by_class, n, rng), tint, rng)
            when = _cron(n, days, rng) if kind == "cron" else _sessions(n, days, rng)
        inputs.append(asked)
        accounts.append(np.full(n, account))
        times.append(when)
    return _made(bed, np.concatenate(inputs), np.concatenate(accounts), np.concatenate(times), kinds,
                 _meta(kinds, offices, rng), rng, raw=raw)


def campaign(bed: Bed, attack: str, n_accounts: int, queries_each: int, mixing: float = 0.0, *, days: float = 30.0,
             seed: int = 0, raw: bool = False) -> Population:
    """A copier's accounts, which take turns, each with an address and a payment of its own."""
    rng = generator(seed, "second campaign", bed.name, attack, n_accounts)
    n = n_accounts * queries_each
    accounts = np.tile(rng.permutation(n_accounts), queries_each)
    times = START + np.sort(rng.random(n)) * days * DAY
    is_cover = rng.random(n) < mixing
    asked = np.empty((n, len(bed.lower)))
    own = bed.parts["attack"]
    by_class = [np.flatnonzero(own.labels == label) for label in range(bed.n_classes)]
    for account in range(n_accounts) if mixing else ():
        mine = np.flatnonzero(is_cover & (accounts == account))
        asked[mine] = _worn(bed, _visits(own.inputs, by_class, len(mine), rng), rng.normal(0.0, 0.15, 3), rng)
    stolen = np.flatnonzero(~is_cover)
    pool = attacks.pool(bed, attack, len(stolen), seed)
    asked[stolen] = pool[np.arange(len(stolen)) % len(pool)]
    kinds = [f"campaign/{attack}"] * n_accounts
    meta = _meta(kinds, np.zeros(n_accounts, np.intp), rng)
    return _made(bed, asked, accounts, times, kinds, meta, rng, raw=raw)


def _visits(inputs: Features, by_class: Sequence[NDArray[np.intp]], n: int, rng: Generator) -> Features:
    """What an account asks: topics change with sessions, and what was asked before is asked again."""
    mood = rng.gamma(0.5, 1.0, len(by_class)) + 1e-3
    again = rng.beta(0.8, 9.0) * np.sqrt(n)
    chosen: list[int] = []
    topic = rng.dirichlet(mood / mood.sum() * 3.0 + 1e-3)
    for number in range(n):
        if rng.random() < 1.0 / _SESSION:
            topic = rng.dirichlet(mood / mood.sum() * 3.0 + 1e-3)
        if rng.random() < again / (again + number + 1.0) and chosen:
            chosen.append(chosen[int(rng.integers(len(chosen)))])
        else:
            members = by_class[int(rng.choice(len(by_class), p=topic))]
            chosen.append(int(rng.choice(members)) if len(members) else int(rng.integers(len(inputs))))
    return inputs[chosen]


def _worn(bed: Bed, inputs: Features, tint: NDArray[np.float64], rng: Generator) -> Features:
    """Inputs as an account's device gives them: equal inputs stay equal."""
    unique, places = np.unique(inputs, axis=0, return_inverse=True)
    width = bed.upper - bed.lower
    share = (unique - bed.lower) / np.where(width > 0.0, width, 1.0)
    if bed.side:
        ramp = np.tile(np.linspace(-1.0, 1.0, bed.side), bed.side)
        share = share ** np.exp(tint[0]) * (1.0 + 0.5 * tint[1] * ramp)
        share = share + rng.normal(0.0, 0.02, share.shape) * (share > 0.05)
    else:
        share = share * np.exp(0.3 * tint[0]) + 0.05 * tint[1] * (share > 0.0)
        share = share + rng.normal(0.0, 0.01, share.shape) * (share > 0.0)
    worn = bed.lower + share.clip(0.0, 1.0) * width
    if bed.step:
        worn = np.rint(worn / bed.step) * bed.step
    found: Features = worn.clip(bed.lower, bed.upper)[places.ravel()]
    return found


def _sessions(n: int, days: float, rng: Generator) -> Times:
    """Sessions at the account's favourite hour, more or less."""
    n_sessions = 1 + int(rng.poisson(n / _SESSION))
    hour = rng.vonmises(0.0, 1.5, n_sessions) * 12.0 / np.pi + rng.uniform(6.0, 22.0)
    starts = START + np.floor(rng.random(n_sessions) * days) * DAY + hour % 24.0 * 3600.0
    of_session = np.sort(rng.integers(0, n_sessions, n))
    times = np.sort(starts)[of_session] + rng.exponential(90.0, n).cumsum() % 2400.0
    return np.sort(times)


def _cron(n: int, days: float, rng: Generator) -> Times:
    """Some each night at the same minute."""
    minute = rng.integers(0, 24 * 60) * 60.0
    return np.sort(START + np.floor(rng.random(n) * days) * DAY + minute + rng.random(n) * 40.0)


def _meta(kinds: Sequence[str], offices: NDArray[np.intp], rng: Generator) -> list[Meta]:
    octets = rng.integers(1, 255, (len(kinds), 4))
    cards = rng.integers(0, 1 << 40, len(kinds))
    return [{"ip": f"203.0.113.{offices[i] % 250}" if kind == "office" else ".".join(map(str, octets[i])),
             "payment": f"card-{cards[i]:x}", "user_agent": f"client/{octets[i][0] % 7}",
             "asn": f"AS{octets[i][1] % 60}"} for i, kind in enumerate(kinds)]


def _made(bed: Bed, inputs: Features, accounts: NDArray[np.intp], times: Times, kinds: Sequence[str],
          meta: Sequence[Meta], rng: Generator, *, raw: bool) -> Population:
    scores = bed.answer(inputs)
    top = np.partition(scores, -2, axis=1)
    exchanges = Exchanges(
        accounts=accounts.astype(np.intp), times=times, vectors=compact_features(inputs).astype(np.float32),
        labels=top_labels(scores).astype(np.int32), margins=(top[:, -1] - top[:, -2]).astype(np.float32),
        digests=_DIGESTS.numbers(canonical_features(inputs)), gaps=np.full(len(inputs), np.nan, np.float32),
        bits=np.full(len(inputs), full_bits(bed.n_classes), np.float32))
    names = [f"{number:016x}" for number in rng.integers(0, 1 << 62, len(kinds)).tolist()]
    return assembled(names=names, kinds=list(kinds), meta=list(meta), parts=[exchanges],
                     inputs=[inputs if raw else None], scores=[scores if raw else None])


