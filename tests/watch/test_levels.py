from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.watch.levels import LARGEST_LEVEL, account_level, accounts_needed, risk_of

levels = st.floats(1e-9, LARGEST_LEVEL)


def test_the_level_is_half_of_the_false_alarms_over_the_accounts_seen() -> None:
    assert account_level(12.0, 365.0, 3000) == pytest.approx(6 / 3000)
    assert account_level(12.0, 36.5, 3000) == pytest.approx(0.6 / 3000)
    assert account_level(12.0, 0.0, 3000) == 0.0
    assert account_level(1e6, 365.0, 10) == LARGEST_LEVEL
    assert account_level(12.0, 365.0, 0) == LARGEST_LEVEL


@given(st.floats(1e-12, 1.0), levels)
def test_risk_is_one_from_the_level_on_and_only_there(p_value: float, level: float) -> None:
    risk = risk_of(p_value, level)
    assert 0.0 <= risk <= 1.0
    assert (risk == 1.0) == (p_value <= level)


def test_risk_goes_by_the_logarithm() -> None:
    assert risk_of(1.0, 1e-4) == 0.0
    assert risk_of(1e-2, 1e-4) == pytest.approx(0.5)
    assert risk_of(1e-9, 0.0) == 0.0


@given(levels)
def test_as_many_accounts_as_it_takes_and_no_fewer(level: float) -> None:
    needed = accounts_needed(level)
    assert needed is not None
    assert 1.0 / (needed + 1) <= level * (1 + 1e-12)
    assert 1.0 / needed > level * (1 - 1e-12)


def test_no_number_of_accounts_reaches_a_level_of_zero() -> None:
    assert accounts_needed(0.0) is None
