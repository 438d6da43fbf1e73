from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.guard import tiers as module
from counterclone.guard.release import Terms
from counterclone.guard.tiers import HOLD_SECONDS, RELEASE, Step, Tiers
from counterclone.randomness import Prf

KEY = Prf.from_secret("a secret of the tests")
STEP_SECONDS = 30.0


class World:
    """Time and risks, as a test sets them."""

    def __init__(self, *bars: float, key: Prf = KEY) -> None:
        self.now = 1000.0
        self.risks: dict[str, float] = {}
        self.decisions: dict[str, int] = {}
        self.steps: list[Step] = []
        self.bars = bars
        self.key = key
        self.tiers = self.build()

    def build(self) -> Tiers:
        return Tiers(self.bars, self, self.key, step_seconds=STEP_SECONDS, decided=self.decisions.get,
                     tell=self.steps.append, clock=lambda: self.now)

    def risk(self, account: str) -> float:
        return self.risks.get(account, 0.0)

    def level(self, account: str = "ann", *, after: float = 0.0) -> int:
        self.now += after
        return self.tiers.level(account)

    def settle(self, risk: float, account: str = "ann") -> int:
        """The tier once a risk has been there for two steps of time."""
        self.risks[account] = risk
        self.level(account)
        return self.level(account, after=2 * STEP_SECONDS)

    def seconds_to(self, level: int, account: str = "ann") -> float:
        """How long it takes to get to a tier, asked every tenth of a second."""
        start = self.now
        while self.level(account) != level:
            self.now += 0.1
            assert self.now < start + 10 * STEP_SECONDS
        return self.now - start


# Up

@pytest.mark.parametrize(("risk", "level"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.94, 1), (0.95, 2), (1.0, 2)])
def test_the_tier_is_the_last_one_whose_bar_the_risk_reaches(risk: float, level: int) -> None:
    assert World(0.5, 0.95).settle(risk) == level


def test_an_account_of_little_risk_leaves_nothing_behind() -> None:
    world = World(0.5)
    assert world.settle(0.49) == 0
    assert not world.tiers._places
    world.settle(0.6)
    assert list(world.tiers._places) == ["ann"]


def test_a_step_is_told_once() -> None:
    world = World(0.5, 0.95)
    for risk in (0.6, 0.7, 0.99, 0.99):
        world.settle(risk)
    assert world.steps == [Step("ann", 1, 0.6), Step("ann", 2, 0.99)]


def test_without_tiers_risk_changes_nothing() -> None:
    assert World().settle(1.0) == 0


# When

def test_a_step_waits_for_a_moment_that_only_the_key_knows() -> None:
    waits = []
    for number in range(200):
        world = World(0.5)
        world.risks[f"account {number}"] = 1.0
        waits.append(world.seconds_to(1, f"account {number}"))
    assert min(waits) < 0.2 * STEP_SECONDS
    assert STEP_SECONDS < max(waits) <= 2 * STEP_SECONDS
    assert 0.4 * STEP_SECONDS < sum(waits) / len(waits) < STEP_SECONDS
    other = World(0.5, key=KEY.subkey("other"))
    other.risks["account 0"] = 1.0
    assert other.seconds_to(1, "account 0") != waits[0]


def test_each_step_of_time_has_another_moment() -> None:
    tiers = World(0.5).tiers
    shares = [tiers._next_look("ann", STEP_SECONDS * k) / STEP_SECONDS % 1 for k in range(50)]
    assert len({round(share, 6) for share in shares}) > 25
    assert min(shares) < 0.2 < 0.8 < max(shares)


@given(st.floats(0.0, 1e9), st.text(max_size=5))
def test_the_next_moment_is_later_and_within_two_steps(now: float, account: str) -> None:
    moment = World(0.5).tiers._next_look(account, now)
    assert now < moment <= now + 2 * STEP_SECONDS + 1e-3


def test_what_happens_between_two_moments_is_not_seen() -> None:
    world = World(0.5)
    world.risks["ann"] = 0.9
    world.level()
    world.risks["ann"] = 0.1
    assert world.level(after=2 * STEP_SECONDS) == 0
    assert world.steps == []


# Down

def test_a_little_less_risk_changes_nothing() -> None:
    world = World(0.5)
    world.settle(0.5)
    for _ in range(5):
        assert world.settle(0.5 * RELEASE + 0.01) == 1
        world.now += HOLD_SECONDS


def test_much_less_risk_for_a_day_lets_an_account_out() -> None:
    world = World(0.5)
    world.settle(0.9)
    assert world.settle(0.1) == 1
    assert world.level(after=HOLD_SECONDS - 4 * STEP_SECONDS) == 1
    assert world.level(after=8 * STEP_SECONDS) == 0
    assert not world.tiers._places


def test_a_day_begins_again_with_more_risk() -> None:
    world = World(0.5)
    world.settle(0.9)
    world.settle(0.1)
    world.now += HOLD_SECONDS / 2
    world.settle(0.6)
    world.settle(0.1)
    assert world.level(after=HOLD_SECONDS / 2 + STEP_SECONDS) == 1


def test_an_account_goes_down_to_the_tier_that_still_holds_it() -> None:
    world = World(0.2, 0.5, 0.9)
    assert world.settle(1.0) == 3
    world.settle(0.45)
    assert world.level(after=HOLD_SECONDS) == 2
    assert world.steps[-1] == Step("ann", 2, 0.45)


def test_who_has_no_risk_left_is_out_at_the_next_moment() -> None:
    world = World(0.5, 0.9)
    assert world.settle(1.0) == 2
    assert world.settle(0.0) == 0


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 2e5)), max_size=20))
def test_a_tier_is_never_above_what_the_highest_risk_so_far_reached(
        course: Sequence[tuple[float, float]]) -> None:
    world, highest = World(0.3, 0.6, 0.9), 0.0
    for risk, seconds in course:
        world.risks["ann"] = risk
        highest = max(highest, risk)
        level = world.level(after=seconds)
        assert level <= sum(bar <= highest for bar in world.bars)
    assert all(before.level != after.level for before, after in zip(world.steps, world.steps[1:], strict=False))


# Decisions, settings, memory

def test_a_decision_counts_at_once_whatever_the_risk() -> None:
    world = World(0.5, 0.9)
    world.decisions["ann"] = 3
    assert world.level() == 3
    world.settle(1.0, "bob")
    world.decisions["bob"] = 0
    assert world.level("bob") == 0
    del world.decisions["bob"]
    assert world.level("bob") == 2


def test_terms_are_those_of_the_tier() -> None:
    coarse, blocked = Terms((), ()), Terms((), (), is_blocked=True)
    fine = Terms((), (), tiers=(coarse, blocked))
    world = World(0.5)
    assert world.tiers.terms("ann", fine) is fine
    world.settle(0.7)
    assert world.tiers.terms("ann", fine) is coarse
    world.decisions["ann"] = 2
    assert world.tiers.terms("ann", fine) is blocked


@pytest.mark.parametrize(("bars", "level"), [((0.5,), 1), ((0.6,), 0)], ids=["same bars", "others"])
def test_accounts_stay_where_they_are_as_long_as_the_bars_do(bars: tuple[float, ...], level: int) -> None:
    world = World(0.5)
    world.settle(0.9)
    before, world.bars = world.tiers, bars
    world.tiers = world.build()
    world.tiers.follow(before)
    assert world.level() == level


def test_memory_is_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACES_KEPT", 10)
    world = World(0.5)
    for number in range(25):
        world.settle(1.0, str(number))
    assert list(world.tiers._places) == [str(number) for number in range(15, 25)]
    assert world.settle(1.0, "0") == 1
