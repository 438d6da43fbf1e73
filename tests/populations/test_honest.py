from __future__ import annotations

import numpy as np
import pytest

from counterclone.populations import beds, honest
from counterclone.populations.honest import Drift, Volume
from counterclone.populations.population import DAY, START, Population

BED = beds.load("digits")


@pytest.fixture(scope="module")
def people() -> Population:
    return honest.population(BED, 600, days=20.0, seed=1)


def of_kind(population: Population, kind: str) -> Population:
    return population.of(np.array([each == kind for each in population.kinds]))


def test_the_same_seed_is_the_same_population_and_another_is_another() -> None:
    one, same, other = (honest.population(BED, 40, seed=seed) for seed in (3, 3, 4))
    assert one.names == same.names
    assert one.meta == same.meta
    assert np.array_equal(one.exchanges.vectors, same.exchanges.vectors)
    assert np.array_equal(one.exchanges.times, same.exchanges.times)
    assert not set(one.names) & set(other.names)
    asked = [set(each.exchanges.digests.tolist()) - plain_digests(each) for each in (one, other)]
    assert not asked[0] & asked[1]


def plain_digests(population: Population) -> set[int]:
    """What evaluators ask is the data itself."""
    return set(of_kind(population, "evaluator").exchanges.digests.tolist())


def test_every_kind_is_there_in_its_share(people: Population) -> None:
    shares = {kind: people.kinds.count(kind) / len(people) for kind in honest.KINDS}
    assert set(people.kinds) == set(honest.KINDS)
    assert all(abs(shares[kind] - asked) < 0.06 for kind, asked in honest.KINDS.items())
    assert not people.is_campaign.any()


def test_exchanges_are_in_order_within_the_days_and_their_gaps_are_the_accounts_own(people: Population) -> None:
    exchanges = people.exchanges
    assert (np.diff(exchanges.times) >= 0.0).all()
    assert exchanges.times.min() >= START
    assert exchanges.times.max() < START + 20.0 * DAY
    assert np.isnan(exchanges.gaps).sum() == len(people)
    alone = people.of(np.array([7])).exchanges
    assert alone.gaps[1:] == pytest.approx(np.diff(alone.times), rel=1e-5, abs=1e-2)


def test_volumes_are_as_asked(people: Population) -> None:
    casual = of_kind(people, "casual").counts
    assert casual.min() >= 5
    assert casual.max() <= 500
    assert 33 < np.median(casual) < 50
    assert np.median(of_kind(people, "batch").counts) > 500
    few = honest.population(BED, 200, days=1.0, volume=Volume(median=8.0, least=1, most=40), seed=2)
    assert few.counts.min() >= 1
    assert len(few.exchanges) < 200 * 25


def test_a_casual_account_prefers_few_classes_of_its_own(people: Population) -> None:
    casual = of_kind(people, "casual")
    busy = casual.of(casual.counts >= 40)
    shares = np.array([np.bincount(busy.exchanges.labels[busy.exchanges.accounts == account], minlength=10)
                       / busy.counts[account] for account in range(len(busy))])
    assert np.sort(shares, axis=1)[:, -3:].sum(axis=1).mean() > 0.75
    assert len(np.unique(shares.argmax(axis=1))) == 10


def test_an_evaluator_asks_all_classes_alike_and_nothing_twice_in_one_run(people: Population) -> None:
    evaluators = of_kind(people, "evaluator")
    labels = evaluators.exchanges.labels
    assert np.bincount(labels, minlength=10).min() > 0.07 * len(labels)


def test_accounts_differ_in_style_more_than_halves_of_one_account_do() -> None:
    """Otherwise accounts were exchangeable with draws from one pool, and every threshold would look right."""
    people = honest.population(BED, 60, kinds={"casual": 1.0}, seed=5,
                               volume=Volume(median=300.0, spread=0.1))
    means = np.array([[people.exchanges.vectors[(people.exchanges.accounts == account)
                                                & (people.exchanges.labels == label)][half::2].mean(axis=0)
                       for half in (0, 1)] for account in range(60)
                      for label in [int(np.bincount(people.of(np.array([account])).exchanges.labels).argmax())]])
    within = ((means[:, 0] - means[:, 1])**2).sum(axis=1).mean()
    same = [np.bincount(people.of(np.array([account])).exchanges.labels).argmax() for account in range(60)]
    pairs = [(i, j) for i in range(60) for j in range(i) if same[i] == same[j]]
    between = np.mean([((means[i, 0] - means[j, 1])**2).sum() for i, j in pairs])
    assert between > 3.0 * within


def test_honest_people_repeat_themselves_by_very_different_rates(people: Population) -> None:
    casual = of_kind(people, "casual")
    busy = casual.of(casual.counts >= 50)
    rates = np.array([1.0 - len(np.unique(busy.exchanges.digests[busy.exchanges.accounts == account]))
                      / busy.counts[account] for account in range(len(busy))])
    assert (rates < 0.02).mean() > 0.1
    assert (rates > 0.2).mean() > 0.1


def test_agents_have_even_gaps_and_people_bursts(people: Population) -> None:
    def spread(kind: str) -> float:
        gaps = of_kind(people, kind).exchanges
        deviations = [np.nanstd(np.log(np.maximum(gaps.gaps[gaps.accounts == account], 1e-3)))
                      for account in range(gaps.n_accounts)]
        return float(np.median(deviations))

    assert spread("agent") < 0.1
    assert spread("casual") > 1.0


def test_people_sleep(people: Population) -> None:
    casual = of_kind(people, "casual")
    busy = casual.of(casual.counts >= 60)
    used = [len(np.unique((busy.exchanges.times[busy.exchanges.accounts == account] % DAY) // 3600))
            for account in range(len(busy))]
    assert np.median(used) < 14


def test_classrooms_share_an_address_and_others_hardly(people: Population) -> None:
    addresses = [each["ip"] for each in of_kind(people, "classroom").meta]
    assert len(set(addresses)) <= len(addresses) / 15
    others = [each["ip"] for each in of_kind(people, "casual").meta]
    assert 0.94 < len(set(others)) / len(others) < 1.0


def test_parts_of_the_data_are_other_inputs() -> None:
    one, other = (honest.population(BED, 200, part=part, kinds={"evaluator": 1.0},  # whose inputs are the data's
                                    volume=Volume(most=300)) for part in ("calibration", "evaluation"))
    assert not set(one.exchanges.digests.tolist()) & set(other.exchanges.digests.tolist())


def test_drift_moves_everybody_from_a_day_on() -> None:
    drift = Drift(style=1.0, tilt=2.0, from_day=10.0)
    still, moved = (honest.population(BED, 150, days=20.0, seed=9, kinds={"casual": 1.0}, drift=each)
                    for each in (None, drift))
    early = moved.exchanges.times < START + 10.0 * DAY
    means = [each.exchanges.vectors[rows].mean(axis=0) for each in (still, moved)
             for rows in (each.exchanges.times < START + 10.0 * DAY, each.exchanges.times >= START + 10.0 * DAY)]
    assert early.any()
    assert np.linalg.norm(means[0] - means[2]) < 0.3
    assert np.linalg.norm(means[1] - means[3]) > 0.4


def test_a_team_has_one_style_and_three_classes() -> None:
    team = honest.team(BED, 30, seed=3)
    shares = np.bincount(team.exchanges.labels, minlength=10) / len(team.exchanges)
    assert np.sort(shares)[-3:].sum() > 0.7
    assert set(team.kinds) == {"team"}
