from __future__ import annotations

import numpy as np
import pytest
from tests.watch.toys import Shift, counts_of, traffic, unlabelled

from counterclone.exchanges import join
from counterclone.randomness import Prf, generator
from counterclone.watch.reference import ALL, Reference, points_reached

KEY = Prf.from_secret("test")


def reference_of(n: int = 600, seed: int = 0, **options: object) -> Reference:
    rng = generator(seed, "reference")
    return Reference.fit(traffic(rng, counts_of(rng, n)), [Shift(), Shift(column=1)], KEY, **options)  # type: ignore[arg-type]


def test_a_third_of_the_accounts_fits_a_sixth_scales_and_half_calibrate() -> None:
    reference = reference_of()
    assert (reference.n_fit, len(reference.counts)) == (300, 300)
    assert reference.n_calibration == (reference.counts >= 5).sum()
    assert reference.problems == ()
    assert [gauge.kind for gauge in reference.gauges] == ["toys", "toys"]
    for gauge in reference.gauges:
        np.testing.assert_array_equal(gauge.states[:, 0], reference.counts)


def test_of_few_accounts_most_fit() -> None:
    reference = reference_of(90)
    assert (reference.n_fit, len(reference.counts)) == (40, 50)
    assert len(reference.gauges) == 2


def test_an_account_is_as_rare_as_by_the_detector_that_finds_it_rarest() -> None:
    reference = reference_of(4000)
    ends = [gauge.ranks[ALL].values for gauge in reference.gauges]
    one_far = np.array([[ends[0][-5], -np.inf], [-np.inf, ends[1][-5]], [ends[0][-5], ends[1][-5]]])
    alone, other, both = reference.account_p_values(one_far)
    assert both == min(alone, other)
    # two detectors: an account that 5 of n go as far as by one of them is about as rare as 10 of n
    assert 6 / (1 + reference.n_calibration) < alone < 20 / (1 + reference.n_calibration)
    beyond = np.array([[ends[0][-1] + 9.0, -np.inf], [-np.inf, -np.inf]])
    assert reference.account_p_values(beyond).tolist() == [1 / (1 + reference.n_calibration), 1.0]


def test_it_depends_on_everything_that_it_is_made_from() -> None:
    rng = generator(0, "digest")
    exchanges = traffic(rng, counts_of(rng, 200))
    names = [f"a{i}" for i in range(200)]
    made = {
        "first": Reference.fit(exchanges, [Shift()], KEY, names=names),
        "again": Reference.fit(exchanges, [Shift()], KEY, names=names),
        "names": Reference.fit(exchanges, [Shift()], KEY),
        "kinds": Reference.fit(exchanges, [Shift()], KEY, names=names, kinds=["b"] * 200),
        "key": Reference.fit(exchanges, [Shift()], Prf.from_secret("other"), names=names),
        "detector": Reference.fit(exchanges, [Shift(column=1)], KEY, names=names),
        "exchanges": Reference.fit(exchanges.select(slice(1, None)), [Shift()], KEY, names=names),
    }
    assert made["first"].digest == made["again"].digest
    assert len({reference.digest for reference in made.values()}) == len(made) - 1
    np.testing.assert_array_equal(made["first"].gauges[0].states, made["again"].gauges[0].states)


def test_ten_lines_set_no_detector_and_say_so() -> None:
    rng = generator(1, "few")
    reference = Reference.fit(traffic(rng, np.array([1, 2, 2, 2, 3])), [Shift()], KEY)
    assert reference.gauges == ()
    assert reference.n_calibration == 0
    assert "honest accounts" in reference.problems[0]
    assert reference.profiles.shape == (len(reference.counts), 0)


def test_nothing_at_all_is_no_reference() -> None:
    exchanges = traffic(generator(0, "none"), np.array([1])).select(slice(0, 0))
    reference = Reference.fit(exchanges, [Shift()], KEY)
    (problem,) = reference.problems
    assert problem.startswith("detector 'toys': 0 honest accounts are too few to set it, it takes 30")


def test_a_detector_that_lacks_what_it_needs_isnt_used() -> None:
    exchanges = traffic(generator(0, "vectors"), np.full(200, 6))
    exchanges.vectors[:] = np.nan
    (problem,) = Reference.fit(exchanges, [Shift()], KEY).problems
    assert problem == "detector 'toys' needs vectors and the honest exchanges have none: it isn't used"


def test_labels_that_the_target_gave_are_known() -> None:
    rng = generator(2, "labels")
    assert Reference.fit(traffic(rng, np.full(100, 8), label=7), [Shift()], KEY).labels.tolist() == [7]
    assert Reference.fit(unlabelled(traffic(rng, np.full(100, 8))), [Shift()], KEY).labels.tolist() == []


def test_accounts_are_ranked_among_their_kind() -> None:
    rng = generator(3, "kinds")
    ordinary, testers = traffic(rng, np.full(300, 20)), traffic(rng, np.full(300, 20), shift=3.0)
    both = join([ordinary, testers.numbered(testers.accounts + 300)])
    reference = Reference.fit(both, [Shift()], KEY, kinds=["ordinary"] * 300 + ["testers"] * 300)
    assert reference.kinds == ("ordinary", "testers")
    ranks = reference.gauges[0].ranks
    value = np.array([[np.median(ranks["testers"].values)]])
    assert reference.p_values(value, "testers")[0, 0] == pytest.approx(0.5, abs=0.02)
    assert reference.p_values(value, "ordinary")[0, 0] < 0.02
    assert reference.p_values(value, "unheard of")[0, 0] == pytest.approx(0.25, abs=0.05)


def test_a_union_is_scored_as_one_account() -> None:
    reference = reference_of(1500)
    rng = generator(4, "union")
    shifted = traffic(rng, np.full(40, 6), shift=0.5)
    one = shifted.numbered(np.zeros(len(shifted), dtype=np.intp))
    merged = []
    for tracker in reference.trackers:
        states = tracker.empty(1)
        tracker.learn(states, one)
        merged.append(states)
    alone = reference.p_value_of_union(merged, len(one))
    # tastes average out in a union, so that 0.5 is 1.7 deviations from where even accounts lie
    assert alone < 0.5
    assert reference.p_value_of_union([tracker.empty(1) for tracker in reference.trackers], 0) == 1.0


def test_profiles_are_the_detectors_side_by_side() -> None:
    reference = reference_of()
    assert reference.profiles.shape == (len(reference.counts), 2)
    assert reference.profiles[reference.counts >= 5].std() == pytest.approx(1.0, abs=0.15)


def test_the_last_checkpoint_that_counts_reach() -> None:
    assert points_reached(np.array([0, 5, 9, 10, 11, 10**9])).tolist() == [0, 0, 0, 1, 1, 42]


def test_copiers_in_the_past_are_left_out_and_named() -> None:
    rng = generator(5, "past")
    honest, copiers = traffic(rng, counts_of(rng, 800)), traffic(rng, np.full(8, 40), shift=20.0)
    past = join([honest, copiers.numbered(copiers.accounts + 800)])
    names = [*(f"honest {i}" for i in range(800)), *(f"copier {i}" for i in range(8))]
    reference = Reference.fit(past, [Shift(), Shift(column=1)], KEY, names=names, trim=0.02)
    assert set(reference.left_out) == set(names[800:])
    clean = Reference.fit(honest, [Shift(), Shift(column=1)], KEY, names=names[:800])
    assert reference.digest == clean.digest
    bounded = Reference.fit(past, [Shift(), Shift(column=1)], KEY, names=names, trim=0.005)
    assert len(bounded.left_out) <= 4  # and more copiers than that hide each other


def test_an_honest_past_stays_as_it_is() -> None:
    rng = generator(6, "past")
    honest = traffic(rng, counts_of(rng, 800))
    assert Reference.fit(honest, [Shift(), Shift(column=1)], KEY, trim=0.05).left_out == ()
