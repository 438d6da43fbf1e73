from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.audit.plans import Skipped, budgets_for, groups
from counterclone.audit.surfaces import SURFACES

if TYPE_CHECKING:
    from tests.audit.conftest import Toys


def kinds(found: Any) -> list[tuple[str, str, int]]:
    return [(plan.kind, plan.surface.name, plan.budget) for group in found for plan in group.plans([0])]


def test_what_fits_is_tried_on_every_surface_with_every_budget(toys: Toys) -> None:
    found, skipped = groups([toys.toy, toys.exact], [SURFACES["full"], SURFACES["labels"]], [5, 9], is_text=False,
                            is_free=True)
    assert kinds(found) == [
        ("toy", "full", 5), ("toy", "full", 9), ("exact", "full", 5), ("exact", "full", 9),
        ("toy", "labels", 5), ("toy", "labels", 9)]
    assert skipped == [Skipped("exact", "labels", "it needs scores, which aren't shown")]


def test_a_plan_is_made_for_each_seed(toys: Toys) -> None:
    (group,), _ = groups([toys.toy], [SURFACES["full"]], [5], is_text=False, is_free=True)
    assert [plan.seed for plan in group.plans(range(3, 6))] == [3, 4, 5]


def test_texts_and_numbers_are_asked_by_their_own(toys: Toys) -> None:
    found, skipped = groups([toys.toy, toys.texts], [SURFACES["full"]], [5], is_text=True, is_free=True)
    assert kinds(found) == [("texts", "full", 5)]
    assert skipped == [Skipped("toy", "full", "it asks with numbers")]


def test_elsewhere_nothing_exact_is_tried(toys: Toys) -> None:
    found, skipped = groups([toys.toy, toys.exact], [SURFACES["full"]], [5], is_text=False, is_free=False)
    assert kinds(found) == [("toy", "full", 5)]
    assert skipped == [Skipped("exact", "full", "it recovers the model itself, or knows the defence: for "
                               "callables and the loopback only")]


@pytest.mark.parametrize(("n_features", "expected"), [
    (64, (65, 100, 300, 1000)), (4, (5, 100, 300, 1000)), (0, (100, 300, 1000)), (299, (100, 300, 1000)),
    (784, (100, 300, 785, 1000)), (5000, (100, 300, 1000))])
def test_budgets_are_chosen_by_the_features(n_features: int, expected: Any) -> None:
    subject: Any = SimpleNamespace(lower=np.zeros(n_features))
    assert budgets_for(subject) == expected
