from __future__ import annotations

import numpy as np
import pytest

from counterclone.randomness import generator
from counterclone.watch.links import Links, births, meta_traits

N = 500


def metas(shared: int, *, kind: str = "payment", common: float = 0.0) -> list[dict[str, str]]:
    """Accounts of which the first few share a value, and some share one that is common."""
    return [{kind: "one" if i < shared else "common" if i < shared + common * N else f"own-{i}"} for i in range(N)]


class TestGroups:
    def test_a_shared_value_makes_a_group(self) -> None:
        links = Links(meta_traits(metas(20), [{"payment": f"h{i}"} for i in range(N)]), N, N)
        (group,) = links.groups()
        assert group.rows.tolist() == list(range(20))
        assert group.weight == pytest.approx(np.log(0.5 * (N + 1)), abs=0.8)
        assert group.reasons[0].startswith("20 of 20 accounts share 1 payment")

    def test_a_common_value_links_nobody(self) -> None:
        honest = [{"ip": "common" if i < 0.3 * N else f"h{i}"} for i in range(N)]
        assert Links(meta_traits(metas(0, kind="ip", common=0.3), honest), N, N).groups() == []

    def test_crowds_that_honest_accounts_form_as_well_weigh_less(self) -> None:
        """Classrooms share addresses that no reference knows; that honest accounts form classrooms it does."""
        classrooms = [{"ip": f"room-{i // 25}" if i < 100 else f"h{i}"} for i in range(N)]
        own = [{"ip": f"h{i}"} for i in range(N)]
        met = [{"ip": "new room" if i < 25 else f"own-{i}"} for i in range(N)]
        assert Links(meta_traits(met, classrooms), N, N).groups() == []
        assert len(Links(meta_traits(met, own), N, N).groups()) == 1

    def test_values_chain(self) -> None:
        meta = [{"payment": f"p{i // 4}", "ip": f"a{(i + 2) // 4}"} if i < 24 else {} for i in range(N)]
        groups = Links(meta_traits(meta, [{}] * N), N, N).groups()
        linked = {row for group in groups for row in group.rows.tolist()}
        assert len(linked) >= 16
        assert linked <= set(range(24))

    def test_hostile_meta_links_nobody(self) -> None:
        meta: list[dict[str, object]] = [{"ip": ["x"], "payment": None, "asn": "", "user_agent": True}] * 10
        assert Links(meta_traits(meta, []), 10, 0).groups() == []

    def test_accounts_that_began_together(self) -> None:
        rng = generator(0, "births")
        times = rng.uniform(0.0, 30 * 86_400.0, N)
        times[:30] = 600.0 * 100 + rng.uniform(0.0, 600.0, 30)
        (group,) = Links([births(times, rng.uniform(0.0, 30 * 86_400.0, N))], N, N).groups()
        assert set(range(30)) <= set(group.rows.tolist())


class TestDisjointness:
    def test_shards_of_a_pool_never_meet(self) -> None:
        rng = generator(0, "shards")
        honest = rng.integers(1, 300, (N, 8))
        shards = np.arange(1, 40 * 8 + 1).reshape(40, 8) + 10_000
        links = Links([], 40, N, shards, honest)
        assert links.disjointness(np.arange(40)) < 0.01

    def test_honest_accounts_meet(self) -> None:
        rng = generator(0, "people")
        honest = rng.integers(1, 300, (N, 8))
        assert Links([], 40, N, rng.integers(1, 300, (40, 8)), honest).disjointness(np.arange(40)) > 0.05

    def test_nothing_known_says_nothing(self) -> None:
        assert Links([], 40, N).disjointness(np.arange(40)) == 1.0


class TestTies:
    def test_each_shared_value_is_a_tie_with_its_accounts_the_heaviest_first(self) -> None:
        meta = [{"payment": f"p{i // 10}", "ip": "here" if i < 15 else f"a{i}"} if i < 20 else {}
                for i in range(N)]
        links = Links(meta_traits(meta, [{"payment": f"h{i}", "ip": f"h{i}"} for i in range(N)]), N, N)
        ties = links.ties(np.arange(20))
        assert [(tie.kind, tie.rows.tolist()) for tie in ties] == [
            ("ip", list(range(15))), ("payment", list(range(10))), ("payment", list(range(10, 20)))]
        assert all(tie.weight == pytest.approx(np.log(0.5 * (N + 1)), abs=0.8) for tie in ties)

    def test_a_tie_is_among_the_accounts_asked_for(self) -> None:
        links = Links(meta_traits(metas(20), [{"payment": f"h{i}"} for i in range(N)]), N, N)
        (tie,) = links.ties(np.array([3, 7, 400]))
        assert tie.rows.tolist() == [3, 7]
        assert links.ties(np.array([3, 400])) == []
        assert Links([], N, N).ties(np.arange(5)) == []
