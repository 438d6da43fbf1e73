from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States
from counterclone.testing import alien_exchanges, check_detector, honest_exchanges

RUNS = itertools.count()


class Sizes(Spec, frozen=True):
    """Mean absolute values of queries, with a fault to order."""

    fault: str = ""

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "are larger than others"

    def start(self, reference: Exchanges) -> Tracker:
        return Tracker(self.fault, float(np.abs(reference.vectors).mean()), next(RUNS))


class Silent(Sizes, frozen=True):
    """One that doesn't say what it finds."""

    words: ClassVar[str] = ""


class Greedy(Sizes, frozen=True):
    """One that needs what no exchange has."""

    needs: ClassVar[frozenset[str]] = frozenset({"prompts"})


@dataclass
class Tracker:
    fault: str
    usual: float
    run: int
    asked: int = 0

    def empty(self, n: int) -> States:
        width = 1000 if self.fault == "wide" else 2
        return np.zeros((n, width), dtype=np.int32 if self.fault == "short" else np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        known = np.flatnonzero(~np.isnan(exchanges.vectors[:, 0]))
        accounts = exchanges.accounts[known]
        sizes = np.abs(exchanges.vectors[known]).mean(axis=1).astype(np.float64)
        if self.fault == "batch" and len(sizes):
            sizes -= sizes.mean()
        if self.fault == "draws":
            sizes += self.run
        if self.fault == "order" and len(accounts):
            states[accounts[-1:], 0] += 1
        if self.fault == "writes":
            exchanges.margins[:] = 0.0
        np.add.at(states[:, 0], accounts, 1)
        np.add.at(states[:, 1], accounts, np.rint(1000.0 * sizes).astype(np.int64))

    def merge(self, states: States, others: States) -> States:
        if self.fault == "merge":
            return np.maximum(states, others)
        if self.fault == "left":
            return states + others * 2
        if self.fault == "in place":
            states += others
            return states
        merged: States = states + others
        return merged

    def score(self, states: States) -> NDArray[np.float64]:
        self.asked += 1
        counts = states[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = states[:, 1] / 1000.0 / counts - self.usual
        if self.fault == "counts":
            scores += self.asked
        if self.fault == "crowd" and len(scores):
            scores -= scores[0]
        if self.fault == "clears":
            states[:] = 0
        if self.fault == "backwards":
            scores = -scores
        if self.fault == "endless":
            return np.where(counts > 20, np.inf, np.where(counts >= 5, scores, np.nan))
        return scores if self.fault == "eager" else np.where(counts >= 5, scores, np.nan)

    def profile(self, states: States) -> NDArray[np.float64]:
        profile = np.nan_to_num(self.score(states), posinf=0.0)[:, np.newaxis]
        return profile / 0.0 if self.fault == "profile" else profile


def test_a_good_detector_passes() -> None:
    check_detector(Sizes())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("fault", "law"), [
    ("wide", "a summary has at most 4096 bytes"),
    ("short", "summaries are rows of 64-bit whole numbers"),
    ("batch", "a batch equals its parts"),
    ("draws", "starting is deterministic"),
    ("order", "learning has no order"),
    ("writes", "learning doesn't change the exchanges"),
    ("merge", "merged shards equal the whole"),
    ("left", "merged shards equal the whole"),
    ("in place", "merging"),
    ("counts", "scoring is pure"),
    ("crowd", "an account's score doesn't depend on the others'"),
    ("clears", "scoring changes nothing"),
    ("backwards", "what is unlike honest accounts scores higher"),
    ("endless", "a score is a number, or NaN"),
    ("profile", "a profile is a row of finite numbers"),
])
def test_a_broken_detector_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_detector(Sizes(fault=fault))


def test_a_detector_says_what_it_needs_and_finds() -> None:
    for detector in (Silent(), Greedy()):
        with pytest.raises(AssertionError, match="says what it needs and what a high score means"):
            check_detector(detector)


def test_an_own_alien_is_tried() -> None:
    with pytest.raises(AssertionError, match="what is unlike honest accounts scores higher"):
        check_detector(Sizes(), alien=honest_exchanges(40, seed=7))


@pytest.mark.parametrize("made", [honest_exchanges, alien_exchanges])
def test_invented_traffic_is_in_the_order_of_time_with_its_gaps(made: object) -> None:
    exchanges: Exchanges = made(20, seed=3)  # type: ignore[operator]
    assert (np.diff(exchanges.times) >= 0.0).all()
    first = exchanges.ranks() == 0
    np.testing.assert_array_equal(np.isnan(exchanges.gaps), first)
    own = exchanges.accounts == 4
    np.testing.assert_allclose(exchanges.gaps[own][1:], np.diff(exchanges.times[own]), rtol=1e-6)
    assert len(np.unique(exchanges.digests)) < len(exchanges)
