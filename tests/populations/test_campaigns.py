from __future__ import annotations

import subprocess
import sys
import typing

import numpy as np
import pytest

from counterclone.errors import ConfigError
from counterclone.populations import attacks, beds, honest
from counterclone.populations.campaigns import Clock, campaign
from counterclone.populations.population import DAY, START, join

BED = beds.load("digits")


@pytest.mark.parametrize("attack", sorted(attacks.POOLS))
def test_a_campaign_asks_as_much_as_it_is_told_in_shards(attack: str) -> None:
    found = campaign(BED, attack, 20, 30, seed=1, days=3.0)
    assert len(found.exchanges) == 600
    assert found.counts.min() >= 1
    assert len(np.unique(found.counts)) > 5
    assert set(found.kinds) == {f"campaign/{attack}"}
    assert found.is_campaign.all()
    assert found.exchanges.times.max() < START + 3.0 * DAY
    once = np.unique(found.exchanges.digests)
    assert len(once) > 0.95 * 600
    again = campaign(BED, attack, 20, 30, seed=1, days=3.0)
    assert np.array_equal(found.exchanges.digests, again.exchanges.digests)


def test_an_unknown_attack_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'natural'"):
        campaign(BED, "natral")


def test_one_account_may_ask_it_all() -> None:
    alone = campaign(BED, "noise", 1, 500)
    assert alone.counts.tolist() == [500]


@pytest.mark.parametrize("mixing", [0.5, 0.9])
def test_mixing_is_the_share_of_what_honest_people_ask(mixing: float) -> None:
    mixed = campaign(BED, "noise", 60, 50, mixing, seed=2)
    margins = mixed.exchanges.vectors.reshape(-1, 8, 8)[:, :, [0, 7]]  # where nobody writes
    is_noise = margins.mean(axis=(1, 2)) > 0.3
    assert 1.0 - is_noise.mean() == pytest.approx(mixing, abs=0.03)
    assert len(mixed.exchanges) == 3000


def test_clocks() -> None:
    spreads = {}
    for clock in typing.get_args(Clock):
        gaps = campaign(BED, "random", 10, 60, days=10.0, clock=clock, seed=4).exchanges.gaps
        spreads[clock] = float(np.nanstd(np.log(np.maximum(gaps, 1e-3))))
    assert spreads["machine"] < spreads["jittered"] < spreads["people"]


def test_addresses_and_cards_are_shared_as_asked() -> None:
    found = campaign(BED, "noise", 40, 5, accounts_per_ip=10, accounts_per_payment=4)
    assert len({each["ip"] for each in found.meta}) == 4
    assert len({each["payment"] for each in found.meta}) == 10
    own = campaign(BED, "noise", 40, 5)
    assert len({each["ip"] for each in own.meta}) == len({each["payment"] for each in own.meta}) == 40


def test_a_campaign_hides_among_honest_accounts() -> None:
    people, thieves = honest.population(BED, 50, days=5.0), campaign(BED, "near", 10, 20, days=5.0)
    both = join(people, thieves)
    assert len(both) == 60
    assert len(both.exchanges) == len(people.exchanges) + len(thieves.exchanges)
    assert both.is_campaign.sum() == 10
    assert (np.diff(both.exchanges.times) >= 0.0).all()
    alone = both.of(both.is_campaign)
    assert alone.names == thieves.names
    assert np.array_equal(alone.exchanges.vectors, thieves.exchanges.vectors)
    assert np.array_equal(alone.exchanges.gaps, thieves.exchanges.gaps, equal_nan=True)


def test_ten_thousand_queries_a_day_and_one() -> None:
    hasty = campaign(BED, "near", 1, 10_000, days=1.0)
    assert len(hasty.exchanges) == 10_000
    assert hasty.exchanges.times.max() < START + DAY
    assert len(np.unique(hasty.exchanges.digests)) > 9_000  # the pool has half as many: the rest are copies, moved
    patient = campaign(BED, "near", 30, 20, days=20.0, clock="machine").exchanges
    assert np.nanmedian(patient.gaps) == pytest.approx(DAY, rel=0.2)


NO_SOCKET = """
import sys
from counterclone.populations import beds, campaigns, honest, population
bed = beds.load("digits")
def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(event)
sys.addaudithook(refuse)
people = honest.population(bed, 20, seed=77)
print(len(population.join(people, campaigns.campaign(bed, "audit/jacobian", 2, 30, seed=77))))
"""


def test_no_socket_is_opened() -> None:
    """In a process of its own: another test's server may still listen in this one."""
    done = subprocess.run([sys.executable, "-c", NO_SOCKET], capture_output=True, text=True, check=True)
    assert done.stdout == "22\n"

