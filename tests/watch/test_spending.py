from __future__ import annotations

import pytest

from counterclone.watch.spending import LARGEST_LEVEL, Purse, night_level, search_level

DAY = 86_400.0


def test_a_years_searches_spend_the_campaigns_half() -> None:
    assert sum(search_level(2.0, 1.0) for _ in range(365)) == pytest.approx(1.0)


def test_a_search_spends_no_more_than_a_hundredth() -> None:
    assert search_level(1_000.0, 365.0) == LARGEST_LEVEL
    assert search_level(12.0, -1.0) == 0.0


def test_nights_without_end_spend_what_there_is() -> None:
    spent = sum(night_level(0.01, night) for night in range(1, 10_000))
    assert 0.0099 < spent < 0.01
    with pytest.raises(ValueError, match="from 1"):
        night_level(0.01, 0)


def test_a_clock_that_jumps_back_gives_nothing_twice() -> None:
    purse = Purse(3.65)
    assert purse.spend(DAY, 0.0) == pytest.approx(0.005)
    assert purse.spend(0.5 * DAY, 0.0) == 0.0
    assert purse.spend(DAY, 0.0) == 0.0
    assert purse.spend(1.5 * DAY, 0.0) == pytest.approx(0.0025)
