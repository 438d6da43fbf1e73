"""Which attacks are tried, on what, and why others aren't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec

from counterclone import plugins
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import Surface
from counterclone.audit.trial import Plan
from counterclone.plugins import Spec
from counterclone.protocols import Attack

ASKS = frozenset({"numbers", "text"})
LARGEST = 1000


class Skipped(msgspec.Struct, frozen=True):
    """An attack that isn't tried on a surface, or built nothing there.

    Attributes:
        attack: its kind.
        surface: what the target shows.
        reason: in words.
    """

    attack: str
    surface: str
    reason: str


class Group(NamedTuple):
    """Trials that differ in their seed only."""

    attack: Spec
    surface: Surface
    budget: int

    def plans(self, seeds: Sequence[int]) -> list[Plan]:
        """A plan for each seed."""
        return [Plan(attack=self.attack, surface=self.surface, budget=self.budget, seed=seed) for seed in seeds]


def budgets_for(subject: Subject) -> tuple[int, ...]:
    """Budgets where the user names none: what equations take, and what students learn from."""
    n_unknown = len(subject.lower) + 1
    by_equations = {n_unknown} if 1 < n_unknown <= LARGEST else set()
    return tuple(sorted({100, 300, LARGEST} | by_equations))


def groups(attacks: Sequence[Spec], surfaces: Sequence[Surface], budgets: Sequence[int], *, is_text: bool,
           is_free: bool) -> tuple[list[Group], list[Skipped]]:
    """What is tried, and what isn't.

    Args:
        attacks: to choose among.
        surfaces: what the target may show.
        budgets: queries.
        is_text: whether the target takes texts.
        is_free: whether attacks that recover the model itself, or know the defence, may be run.
    """
    found, skipped = [], []
    for surface in surfaces:
        for spec in attacks:
            if reason := _misfit(cast(Attack, spec), surface, is_text=is_text, is_free=is_free):
                skipped.append(Skipped(plugins.kind_of(spec), surface.name, reason))
            else:
                found += [Group(spec, surface, budget) for budget in budgets]
    return found, skipped


def _misfit(attack: Attack, surface: Surface, *, is_text: bool, is_free: bool) -> str:
    """Why an attack doesn't fit, "" where it does."""
    asks = attack.needs & ASKS
    if asks and ("text" if is_text else "numbers") not in asks:
        return f"it asks with {' or '.join(sorted(asks))}"
    if missing := attack.needs - ASKS - surface.shows - {"labels"}:
        return f"it needs {' and '.join(sorted(missing))}, which aren't shown"
    if attack.is_exact and not is_free:
        return "it recovers the model itself, or knows the defence: for callables and the loopback only"
    return ""
