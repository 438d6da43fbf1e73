from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.watch.toys import traffic

from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.randomness import generator
from counterclone.watch.figures import Figure, compare


def honest(n: int = 120, queries: int = 20) -> Exchanges:
    found = traffic(generator(0, "figures"), np.full(n, queries))
    return replace(found, labels=(found.digests % np.uint64(3)).astype(np.int32))


def figures(own: Exchanges, others: Exchanges | None = None) -> dict[str, Figure]:
    return {figure.name: figure for figure in compare(own, others or honest())}


def of_one(exchanges: Exchanges) -> Exchanges:
    return exchanges.numbered(np.zeros(len(exchanges), dtype=np.intp))


def test_an_account_like_the_others_is_inside() -> None:
    found = figures(honest().of(np.array([7])))
    assert len(found) == 7  # nobody counted gaps
    assert sum(figure.is_outside for figure in found.values()) <= 2
    for figure in found.values():
        assert figure.low <= figure.median <= figure.high


def test_what_is_unusual_is_outside() -> None:
    own = of_one(traffic(generator(1, "figures"), np.full(1, 20), shift=5.0))
    own = replace(own, times=np.linspace(1.76e9, 1.76e9 + 95.0, 20), digests=np.repeat(np.uint64(9), 20),
                  gaps=np.full(20, 5.0, dtype=np.float32), margins=np.zeros(20, dtype=np.float32))
    others = replace(honest(), gaps=np.full(120 * 20, 3600.0, dtype=np.float32))
    found = figures(own, others)
    assert {name: figure.value for name, figure in found.items() if not name.startswith("distance")} == {
        "queries on a day with any": 20.0, "share of different queries": 0.05,
        "share of the most frequent answer": 1.0, "different answers": 1.0, "median margin of the answers": 0.0,
        "median seconds between queries": 5.0, "different hours of the day (UTC)": pytest.approx(1.0, abs=1.0)}
    assert all(figure.is_outside for figure in found.values())


def test_what_is_unknown_is_left_out() -> None:
    own = honest().of(np.array([7]))
    blind = replace(own, labels=np.full(len(own), NO_LABEL, dtype=np.int32),
                    margins=np.full(len(own), np.nan, dtype=np.float32),
                    vectors=np.full_like(own.vectors, np.nan))
    assert set(figures(blind)) == {"queries on a day with any", "share of different queries",
                                   "different hours of the day (UTC)"}


def test_accounts_of_about_as_many_queries_are_compared() -> None:
    few, many = honest(60, 10), honest(60, 200)
    others = Exchanges(**{name: np.concatenate([column, getattr(many, name) + (60 if name == "accounts" else 0)])
                          for name, column in vars(few).items()})
    light, heavy = few.of(np.array([0])), many.of(np.array([0]))
    name = "queries on a day with any"
    assert figures(light, others)[name].high < figures(heavy, others)[name].low
