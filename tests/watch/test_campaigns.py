from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.watch.clouds import DIMENSIONS, Points, campaign, honest

from counterclone.randomness import Prf, generator
from counterclone.watch.campaigns import Campaign, both, find, reference_needed
from counterclone.watch.links import Links, meta_traits

KEY = Prf.from_secret("campaigns")
N_HONEST, N_REFERENCE, LEVEL = 1_200, 2_400, 0.01


def names_of(n: int) -> list[str]:
    return [f"account-{i}" for i in range(n)]


def searched(points: Points, *, seed: int = 1, counts: NDArray[np.int64] | None = None, links: Links | None = None,
             words: tuple[str, ...] = (), level: float = LEVEL) -> list[Campaign]:
    counts = np.full(len(points), 30) if counts is None else counts
    reference = honest(N_REFERENCE, generator(seed, "reference"))
    return find(points, counts, names_of(len(points)), reference, np.full(N_REFERENCE, 30), key=KEY, level=level,
                links=links, words=words)


def traffic(n_campaign: int, distance: float, *, seed: int = 1, shift: float = 0.0, size: float = 1.0) -> Points:
    rng = generator(seed, "traffic")
    return np.concatenate([honest(N_HONEST, rng, shift, size), campaign(n_campaign, rng, distance)])


class TestFind:
    def test_a_campaign_is_found_and_named(self) -> None:
        (found,) = searched(traffic(120, 6.0))
        named = found.rows >= N_HONEST
        assert found.p_value < 1e-4
        assert named.sum() >= 114
        assert named.mean() >= 0.93
        assert found.accounts == tuple(sorted(names_of(N_HONEST + 120)[i] for i in found.rows))
        assert found.queries == 30 * len(found.rows)
        assert found.risk == 1.0

    def test_two_campaigns_are_two(self) -> None:
        rng = generator(2, "second")
        points = np.concatenate([traffic(120, 6.0), campaign(120, rng, 6.0, towards=1)])
        found = searched(points)
        assert len(found) == 2
        for each in found:
            sides = np.bincount(np.searchsorted([N_HONEST, N_HONEST + 120], each.rows, side="right"), minlength=3)
            assert max(sides[1], sides[2]) >= 0.9 * len(each.rows)

    def test_honest_accounts_alone_raise_nothing(self) -> None:
        assert searched(traffic(0, 0.0)) == []

    @pytest.mark.parametrize(("shift", "size"), [(0.3, 1.0), (0.0, 1.15)])
    def test_everybody_may_drift(self, shift: float, size: float) -> None:
        assert searched(traffic(0, 0.0, shift=shift, size=size)) == []

    def test_figures_of_few_values_tell_nobody_apart(self) -> None:
        rng = generator(5, "atoms")
        points, reference = honest(N_HONEST, rng), honest(N_REFERENCE, rng)
        for side, share in ((points, 0.48), (reference, 0.52)):  # the middle jumps from one value to the other
            side[:, 0] = np.where(rng.random(len(side)) < share, -0.5, 1.0)
        counts, known = np.full(N_HONEST, 30), np.full(N_REFERENCE, 30)
        assert find(points, counts, names_of(N_HONEST), reference, known, key=KEY, level=LEVEL) == []

    def test_an_honest_team_of_one_style_names_nobody(self) -> None:
        rng = generator(3, "team")
        style = 0.35 * rng.standard_normal(DIMENSIONS)
        team = style + 0.9 * rng.standard_normal((200, DIMENSIONS))
        assert searched(np.concatenate([traffic(0, 0.0), team])) == []

    def test_too_few_accounts_are_not_searched(self) -> None:
        assert searched(traffic(120, 6.0)[-60:]) == []

    def test_accounts_with_few_queries_are_left_out(self) -> None:
        counts = np.r_[np.full(N_HONEST, 30), np.full(120, 4)]
        assert searched(traffic(120, 6.0), counts=counts) == []

    def test_reasons_name_the_detector_that_sees_it(self) -> None:
        rng = generator(4, "one")
        points = honest(N_HONEST + 100, rng)
        points[-100:, :3] += 6.0
        words = ("its margins are thin",) * 3 + ("its clock is even",) * (DIMENSIONS - 3)
        (found,) = searched(points, words=words)
        assert "its margins are thin" in found.reasons[0]

    def test_what_most_accounts_have_alike_is_no_reason_for_a_hairs_difference(self) -> None:
        rng = generator(4, "one")
        points = honest(N_HONEST + 100, rng)
        points[:, 3] = np.where(rng.random(len(points)) < 0.9, 0.5, 0.0)
        points[-100:, :3] += 6.0
        points[-100:, 3] = 0.5
        words = ("its margins are thin",) * 3 + ("its clock is even",) * (DIMENSIONS - 3)
        (found,) = searched(points, words=words)
        assert "its margins are thin" in found.reasons[0]
        assert not any("its clock" in reason for reason in found.reasons)

    def test_accounts_without_points_are_in_no_campaign(self) -> None:
        empty, known = np.empty((300, 0)), np.full(300, 30)
        assert find(empty, known, names_of(300), empty, known, key=KEY, level=LEVEL) == []

    def test_a_half_is_chosen_by_a_key_and_by_nothing_else(self) -> None:
        points = traffic(120, 6.0)
        reference = honest(N_REFERENCE, generator(1, "reference"))
        counts = np.full(len(points), 30)
        rows = {find(points, counts, names_of(len(points)), reference, np.full(N_REFERENCE, 30),
                     key=Prf.from_secret(secret), level=0.5)[0].rows.tobytes() for secret in ("a", "b", "a")}
        assert len(rows) == 2


class TestLinked:
    def test_a_linked_group_is_scored_as_one_account(self) -> None:
        """Accounts whose honest queries hide the others: alone few are unlike honest ones, together they are."""
        rng = generator(5, "mixed")
        points = honest(N_HONEST, rng)
        points[100:160] *= 1.35
        meta = [{"payment": f"p{i}"} for i in range(N_HONEST)]
        for i in range(60):
            meta[100 + i]["payment"] = "p-shared"
        links = Links(meta_traits(meta, [{"payment": f"h{i}"} for i in range(N_REFERENCE)]), N_HONEST, N_REFERENCE)
        asked: list[set[str]] = []

        def union(accounts: object) -> float:
            asked.append(set(accounts))  # type: ignore[call-overload]
            return 1e-4

        counts = np.full(N_HONEST, 30)
        (found,) = find(points, counts, names_of(N_HONEST), honest(N_REFERENCE, rng), np.full(N_REFERENCE, 30),
                        key=KEY, level=LEVEL, links=links, union=union)
        assert set(found.accounts) == {f"account-{i}" for i in range(100, 160)} == asked[0]
        assert 4e-4 <= found.p_value <= LEVEL
        assert "payment" in found.reasons[0]

    @pytest.mark.parametrize("union", [0.4, 1e-4])
    def test_a_linked_group_whose_members_ask_as_honest_accounts_do_is_none(self, union: float) -> None:
        """An office with one style may be unlike any single account, its members aren't."""
        rng = generator(5, "class")
        meta = [{"payment": "shared" if i < 60 else f"p{i}"} for i in range(N_HONEST)]
        links = Links(meta_traits(meta, []), N_HONEST, 0)
        assert find(honest(N_HONEST, rng), np.full(N_HONEST, 30), names_of(N_HONEST), honest(N_REFERENCE, rng),
                    np.full(N_REFERENCE, 30), key=KEY, level=LEVEL, links=links, union=lambda _: union) == []


def test_two_pieces_of_evidence() -> None:
    assert both(1.0, 1.0) == 1.0
    assert both(0.01, 0.01) < 0.01
    assert both(0.0, 0.5) == 0.0


def test_the_reference_that_naming_takes() -> None:
    assert reference_needed(100_000, 50) == 133_334
    assert reference_needed(10_400, 400) < 2_000
