from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from counterclone.populations import beds, quirks, strangers
from counterclone.populations.population import DAY, START, Population

BED = beds.load("digits")


@pytest.fixture(scope="module")
def people() -> Population:
    return strangers.population(BED, 400, days=14.0, seed=1)


def of_kind(population: Population, kind: str) -> Population:
    return population.of(np.array([each == kind for each in population.kinds]))


def test_strangers_are_made_by_other_code_than_the_honest() -> None:
    """Else what was tuned on the one would be judged by itself."""
    imported = {name for module in (strangers, quirks) for node in ast.walk(ast.parse(inspect.getsource(module)))
                if isinstance(node, ast.ImportFrom) for name in [node.module]}
    assert not {name for name in imported if name and name.endswith((".honest", ".tastes"))}


@pytest.mark.parametrize("name", beds.names())
def test_every_bed_has_them_the_same_for_the_same_seed(name: str) -> None:
    one, same, other = (strangers.population(beds.load(name), 12, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.exchanges.vectors, same.exchanges.vectors)
    assert not set(one.names) & set(other.names)
    assert np.isfinite(one.exchanges.vectors).all()


def test_every_role_is_there(people: Population) -> None:
    assert set(people.kinds) == set(strangers.ROLES)
    for role, facts in strangers.ROLES.items():
        assert people.kinds.count(role) / len(people) == pytest.approx(facts.share, abs=0.06)
    assert np.median(of_kind(people, "lab").counts) > 4 * np.median(of_kind(people, "hobbyist").counts)
    assert people.counts.min() >= 5


def test_they_ask_within_the_days_most_of_them_by_day(people: Population) -> None:
    times = people.exchanges.times
    assert START <= times.min() < times.max() < START + 14.0 * DAY
    hours = of_kind(people, "shop").exchanges.times % DAY / 3600.0
    assert np.histogram(hours, 24, (0.0, 24.0))[0].max() > 2.0 * len(hours) / 24
    around = np.histogram(of_kind(people, "bot").exchanges.times % DAY / 3600.0, 4, (0.0, 24.0))[0]
    assert around.min() > 0.7 * around.mean()


def test_they_come_back_to_inputs_and_some_send_queries_twice(people: Population) -> None:
    digests = people.exchanges.digests
    assert 0.03 < 1.0 - len(np.unique(digests)) / len(digests) < 0.2


def test_a_crew_is_behind_one_address(people: Population) -> None:
    crew = of_kind(people, "crew")
    assert len({each["ip"] for each in crew.meta}) == -(-len(crew) // 12)


def test_hobbyists_differ_in_what_they_ask_and_labs_less(people: Population) -> None:
    def variety(kind: str) -> float:
        chosen = of_kind(people, kind)
        tables = [np.bincount(chosen.exchanges.labels[chosen.exchanges.accounts == account], minlength=10)
                  for account in np.flatnonzero(chosen.counts >= 30)]
        return float(np.mean([np.sort(table)[-3:].sum() / table.sum() for table in tables]))

    assert variety("hobbyist") > 0.6
    assert variety("lab") < 0.55
