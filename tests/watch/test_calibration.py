from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.watch.toys import Shift, counts_of, traffic

from counterclone.randomness import generator
from counterclone.watch.calibration import CHECKPOINTS, Ranks, Scale, Scores, Stretches

FIRST = [5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000]


def test_accounts_are_scored_seven_times_each_time_they_become_ten_times_as_busy() -> None:
    assert CHECKPOINTS[:16].tolist() == FIRST
    assert (np.diff(CHECKPOINTS) > 0).all()


def test_a_course_is_what_the_tracker_says_at_each_checkpoint() -> None:
    rng = generator(0, "course")
    counts = np.array([3, 5, 12, 40, 101])
    exchanges = traffic(rng, counts)
    tracker = Shift().start(exchanges)
    course = Stretches(exchanges, len(counts)).course(tracker)
    ranks = exchanges.ranks()
    for point, checkpoint in enumerate(CHECKPOINTS):
        states = tracker.empty(len(counts))
        tracker.learn(states, exchanges.select(ranks < checkpoint))
        expected = np.where(counts >= checkpoint, tracker.score(states), np.nan)
        np.testing.assert_array_equal(course.scores[point], expected)
    np.testing.assert_array_equal(course.states[:, 0], counts)


def test_a_scale_puts_the_honest_median_at_zero_and_their_upper_tail_at_normal_deviations() -> None:
    rng = generator(1, "scale")
    scores = np.full((len(CHECKPOINTS), 4000), np.nan)
    scores[2] = rng.chisquare(8, 4000)
    scores[3] = 50.0 * rng.lognormal(0.0, 2.0, 4000)
    scale = Scale.fit(scores)
    assert scale is not None
    for point in (2, 3):
        values = scale.values(scores[point], np.full(4000, point))
        assert np.median(values) == pytest.approx(0.0, abs=1e-9)
        assert np.quantile(values, 0.95) == pytest.approx(stats.norm.ppf(0.95), rel=0.05)
    farther = scale.values(scores[3], np.full(4000, 4))  # where nobody honest got, deviations count less
    np.testing.assert_allclose(farther * (1.0 + np.log(30 / 20)), scale.values(scores[3], np.full(4000, 3)))
    assert scale.last == 3
    assert scale.values(np.array([8.0]), np.array([0])) == scale.values(np.array([8.0]), np.array([2]))


def test_there_is_no_scale_without_enough_accounts() -> None:
    assert Scale.fit(np.full((len(CHECKPOINTS), 29), 1.0)) is None


def test_accounts_that_score_alike_have_a_scale() -> None:
    scale = Scale.fit(np.zeros((len(CHECKPOINTS), 50)))
    assert scale is not None
    assert np.isfinite(scale.maxima(np.ones((len(CHECKPOINTS), 3)))).all()


def test_an_account_without_scores_has_no_maximum() -> None:
    scale = Scale.fit(np.ones((len(CHECKPOINTS), 30)))
    assert scale is not None
    assert scale.maxima(np.full((len(CHECKPOINTS), 2), np.nan)).tolist() == [-np.inf, -np.inf]


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), max_size=30), st.floats(-6, 6))
def test_a_p_value_counts_the_honest_accounts_that_went_as_far(honest: list[float], value: float) -> None:
    ranks = Ranks.of(np.array([*honest, -np.inf]))
    expected = (1 + sum(other >= value for other in honest)) / (1 + len(honest))
    assert ranks.p_values(np.array([value, -np.inf])).tolist() == [expected, 1.0]


@given(st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=40), st.floats(-25, 40))
def test_a_value_is_as_rare_as_the_honest_account_that_had_it(honest: list[float], value: float) -> None:
    """Either way it is one among all others, so that a threshold is neither too low nor too high."""
    ranks, everybody = Ranks.of(np.array(honest)), Ranks.of(np.array([*honest, value]))
    new = ranks.surprises(np.array([value, -np.inf]))
    own = everybody.surprises(np.array([*honest, value]), are_own=True)
    is_farthest = value > max(honest)
    assert new[1] == 0.0
    assert (new[0] > np.log(1 + len(honest)) + 1e-12) == is_farthest
    if not is_farthest:
        assert own[-1] == pytest.approx(new[0] + np.log((2 + len(honest)) / (1 + len(honest))))
    assert own[-1] == own.max() if is_farthest else True


def test_farther_than_everybody_is_rarer_the_farther() -> None:
    values = generator(3, "far").exponential(0.7, 3000)
    ranks = Ranks.of(values)
    one, two, three = ranks.surprises(values.max() + np.array([0.0, 0.7, 1.4]))
    assert one == pytest.approx(np.log(3001 / 2))
    assert three - two == pytest.approx(1.0, rel=0.5)
    assert two > np.log(3001)
    assert ranks.surprises(values, are_own=True).max() > np.log(3001)


def test_ranks_of_whole_lives_keep_their_rate_for_accounts_that_differ() -> None:
    """Accounts have tastes of their own, so that thresholds from single exchanges wouldn't hold."""
    rng = generator(2, "rate")
    tracker = Shift().start(traffic(rng, np.full(3, 5)))

    def scores(n: int) -> Scores:
        return Stretches(traffic(rng, counts_of(rng, n)), n).course(tracker).scores

    scale = Scale.fit(scores(500))
    assert scale is not None
    p_values = Ranks.of(scale.maxima(scores(2000))).p_values(scale.maxima(scores(2000)))
    for level in (0.01, 0.05, 0.2):
        seen = int((p_values <= level).sum())
        # both sides are draws: 2,000 accounts against a threshold from 2,000
        assert stats.norm.sf(abs(seen - 2000 * level) / np.sqrt(2 * 2000 * level)) > 1e-4
