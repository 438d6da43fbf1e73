from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from tests.watch.toys import counts_of, traffic

from counterclone.exchanges import Exchanges
from counterclone.randomness import Prf, generator
from counterclone.watch.honest import Honest, gather, past
from counterclone.watch.sources import Traffic

KEY = Prf.from_secret("tests")


class Toy:
    """Exchanges as a source, cut into parts that number their accounts anew."""

    problems: ClassVar[list[str]] = []
    n_skipped = 0

    def __init__(self, exchanges: Exchanges, size: int = 100) -> None:
        self.exchanges = exchanges
        self.size = size

    def traffic(self) -> Iterator[Traffic]:
        for start in range(0, len(self.exchanges), self.size):
            part = self.exchanges.select(slice(start, start + self.size))
            numbers, accounts = np.unique(part.accounts, return_inverse=True)
            kinds = ["team" if number == 3 else "" for number in numbers.tolist()]
            yield Traffic([f"a{number}" for number in numbers], part.numbered(accounts), kinds,
                          [{} for _ in numbers])

    def follow(self) -> Iterator[Traffic | None]:
        yield from self.traffic()


def gathered(exchanges: Exchanges, **options: int) -> Honest:
    found = gather(Toy(exchanges), KEY, **options)
    assert found is not None
    return found


def population(n: int = 40) -> Exchanges:
    rng = generator(0, "honest")
    return traffic(rng, counts_of(rng, n))


def test_everything_is_gathered_with_names_kinds_and_gaps() -> None:
    exchanges = population()
    found = gathered(exchanges)
    assert len(found) == 40
    assert not found.is_sample
    assert [found.names[i] for i in found.exchanges.accounts] == [f"a{i}" for i in exchanges.accounts]
    assert (found.exchanges.vectors == exchanges.vectors).all()
    assert {name for name, kind in zip(found.names, found.kinds, strict=True) if kind == "team"} == {"a3"}
    for account in range(3):
        own = found.exchanges.select(found.exchanges.accounts == account)
        assert np.isnan(own.gaps[0])
        np.testing.assert_allclose(own.gaps[1:], np.diff(own.times), rtol=1e-5)


def test_of_many_some_accounts_are_kept_whole() -> None:
    exchanges = population()
    found = gathered(exchanges, max_rows=len(exchanges) // 3)
    assert found.is_sample
    assert 2 <= len(found) < 25
    assert len(found.exchanges) <= len(exchanges) // 3
    counts = np.bincount(exchanges.accounts)
    assert np.bincount(found.exchanges.accounts).tolist() == [counts[int(name[1:])] for name in found.names]


def test_the_past_is_who_came_in_the_first_half() -> None:
    exchanges = population()
    exchanges.times[exchanges.accounts % 2 == 1] += exchanges.times.max() - exchanges.times.min()
    found = past(gathered(exchanges))
    assert 15 <= len(found) <= 22
    assert {int(name[1:]) % 2 for name in found.names[:15]} == {0}


def test_nothing_is_no_reference() -> None:
    assert gather(Toy(population().select(slice(0, 0))), KEY) is None
