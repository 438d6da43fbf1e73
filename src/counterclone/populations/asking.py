"""From what somebody is going to ask to the exchanges, as a guard would have journalled them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows, full_bits, top_labels
from counterclone.encoders import VECTOR_SIZE, compact_features
from counterclone.exchanges import Exchanges
from counterclone.populations.beds import Bed
from counterclone.populations.looks import Styles
from counterclone.queries import Features, canonical_features
from counterclone.randomness import Generator, Prf

_DIGESTS = Prf.from_secret("counterclone populations").subkey("digests")
_NUMBERS_AT_ONCE = 1 << 19
PLAIN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Queries to come, one an entry, in any order.

    Attributes:
        accounts: whose they are, numbers from 0, (n,).
        times: seconds since 1970, (n,).
        items: which of `base` is asked, (n,).
        base: inputs, (m, features).
        styles: what they are worn in, (senders, numbers).
        senders: whose style, `PLAIN` for none, (n,).
        sources: the place of the query that each repeats, its own where it repeats none, (n,).
    """

    accounts: NDArray[np.intp]
    times: NDArray[np.float64]
    items: NDArray[np.intp]
    base: Features
    styles: Styles
    senders: NDArray[np.intp]
    sources: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Asked:
    """What came of a plan; `gaps` are still to be counted.

    Attributes:
        exchanges: in the order of the plan.
        inputs: (n, features), None where they weren't to be kept.
        scores: (n, classes), likewise.
    """

    exchanges: Exchanges
    inputs: Features | None
    scores: Rows | None


def ask(bed: Bed, plan: Plan, rng: Generator, *, raw: bool = False) -> Asked:
    """Ask a bed's model everything in a plan, a few thousand at once.

    Args:
        bed: whose model answers.
        plan: what is asked.
        rng: draws the jitter.
        raw: whether inputs and scores are kept.
    """
    n = len(plan.items)
    new = np.flatnonzero(plan.sources == np.arange(n))
    place = np.empty(n, dtype=np.intp)
    place[new] = np.arange(len(new))
    place = place[plan.sources]
    vectors = np.empty((len(new), VECTOR_SIZE), dtype=np.float32)
    labels = np.empty(len(new), dtype=np.int32)
    margins = np.empty(len(new), dtype=np.float32)
    digests = np.empty(len(new), dtype=np.uint64)
    inputs, scores = [], []
    at_once = max(_NUMBERS_AT_ONCE // plan.base.shape[1], 1)
    for start in range(0, len(new), at_once):
        part = slice(start, start + at_once)
        chosen = new[part]
        worn = plan.base[plan.items[chosen]]
        senders = plan.senders[chosen]
        if (styled := np.flatnonzero(senders != PLAIN)).size:
            worn[styled] = bed.look.wear(worn[styled], plan.styles[senders[styled]], rng)
        rows = bed.answer(worn)
        vectors[part] = compact_features(worn)
        labels[part] = top_labels(rows)
        margins[part] = top_margins(rows)
        digests[part] = _DIGESTS.numbers(canonical_features(worn))
        if raw:
            inputs.append(worn)
            scores.append(rows)
    exchanges = Exchanges(
        accounts=plan.accounts, times=plan.times, vectors=vectors[place], labels=labels[place],
        margins=margins[place], digests=digests[place], gaps=np.full(n, np.nan, dtype=np.float32),
        bits=np.full(n, full_bits(bed.n_classes), dtype=np.float32))
    if not raw:
        return Asked(exchanges, None, None)
    return Asked(exchanges, np.concatenate(inputs)[place], np.concatenate(scores)[place])


def top_margins(rows: Rows) -> NDArray[np.float64]:
    """The top probability minus the second: (n,)."""
    top = np.partition(rows, -2, axis=1)
    margins: NDArray[np.float64] = top[:, -1] - top[:, -2]
    return margins


def resolved(sources: NDArray[np.intp]) -> NDArray[np.intp]:
    """Repeats of repeats, as repeats of what was asked first: (n,)."""
    while True:
        further = sources[sources]
        if (further == sources).all():
            return sources
        sources = further
