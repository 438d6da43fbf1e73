"""The trials of one audit, one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np

from counterclone import plugins
from counterclone.answers import Rows, full_bits, top_labels
from counterclone.audit import trial
from counterclone.audit.findings import Shown
from counterclone.audit.plans import Group, Skipped
from counterclone.audit.preparation import shows_scores
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import ONLY_LABELS, Surface
from counterclone.audit.trace import Tracing
from counterclone.audit.trial import Plan, Trial
from counterclone.audit.utility import utility
from counterclone.budgets import Price
from counterclone.errors import ConfigError, CountercloneError, Refused
from counterclone.fidelity import agreement
from counterclone.protocols import Policy
from counterclone.randomness import Prf
from counterclone.releases import for_rows
from counterclone.targets.remembered import Remembered

MOST_DECIMALS = 6


class Session:
    """Tries attacks on a subject.

    Args:
        subject: the model.
        noise: the PRF of the policies' noise.
        price: of a query.
        say: told of each trial.
        trace: takes the queries, None for nowhere.

    Attributes:
        skipped: what built nothing, or failed, and why.
    """

    def __init__(self, subject: Subject, *, noise: Prf, price: Price, say: Callable[[str], None],
                 trace: Tracing | None = None) -> None:
        self._subject = subject
        self._noise = noise
        self._price = price
        self._say = say
        self._trace = trace
        self.skipped: list[Skipped] = []

    async def show(self, surface: Surface, shows: frozenset[str]) -> tuple[Surface, Shown]:
        """A surface with what an answer of this subject has there, and what honest users get.

        Args:
            surface: as it was asked for.
            shows: what the subject's own answers have.

        Raises:
            Refused: its rules don't admit the deployment's inputs.
        """
        self._begin()
        subject = self._subject
        before = surface.before(subject.target, self._noise, lower=subject.lower, upper=subject.upper)
        rows = (await before.query(subject.evaluate)).rows
        shown = surface.shows & shows if shows_scores(rows) else ONLY_LABELS | (surface.shows & shows & {"ids"})
        served = top_labels(rows)
        return replace(surface, shows=shown), Shown(
            name=surface.name, shows=tuple(sorted(shown)), decimals=_decimals(rows) if "scores" in shown else None,
            label_unchanged=agreement(top_labels(subject.answers), served).value,
            accuracy=None if subject.truth is None else agreement(subject.truth, served).value,
            utility=utility(subject.answers, rows, subject.truth), bits=bits_of(surface, subject.classes))

    async def attempt(self, groups: Sequence[Group], seeds: Sequence[int]) -> list[Trial]:
        """All trials of some groups.

        Raises:
            TargetError: the target can't be reached, or doesn't keep its promises.
        """
        trials: list[Trial] = []
        for number, group in enumerate(groups, start=1):
            with _one_thread():
                found = [done for plan in group.plans(seeds) if (done := await self._attempt(plan)) is not None]
            kind = plugins.kind_of(group.attack)
            what = f"{number}/{len(groups)} {kind} on {group.surface.name}, {group.budget:,} queries"
            if found:
                fidelity = statistics.fmean(done.fidelity for done in found)
                self._say(f"{what}: fidelity {fidelity:.1%}")
            else:
                self._say(f"{what}: no copy")
            trials += found
        return trials

    async def _attempt(self, plan: Plan) -> Trial | None:
        """One trial; None where it came to nothing, which is then noted."""
        self._begin()
        trace = {} if self._trace is None else {"trace": self._trace.of(plan)}
        try:
            found = await trial.run(plan, self._subject, price=self._price, noise=self._noise, **trace)
            reason = f"it built nothing with {plan.budget:,} queries"
        except ImportError as error:
            raise ConfigError(f"{error.name} isn't installed; `pip install 'counterclone[audit]'`") from None
        except Refused as error:
            found, reason = None, f"the surface's rules refused a query: {error}"
        except (CountercloneError, OSError):
            raise
        except Exception as error:  # whatever a plug-in raises, the others are tried
            found, reason = None, (f"it failed ({type(error).__name__}: {error}); report it to its author")
        skipped = Skipped(plan.kind, plan.surface.name, reason)
        if found is None and skipped not in self.skipped:
            self.skipped.append(skipped)
        return found

    def _begin(self) -> None:
        if isinstance(self._subject.target, Remembered):
            self._subject.target.begin()


def _one_thread() -> AbstractContextManager[Any]:
    """Students are small: BLAS spends more time on sharing their matrices out than on multiplying them."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with scikit-learn
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


def bits_of(surface: Surface, n_classes: int) -> float:
    """An upper bound on the bits of one answer through a surface."""
    policies = [cast(Policy, plugins.build("policies", table, surface.name)) for table in surface.policies]
    return min([full_bits(n_classes), *(policy.bits(n_classes) for policy in for_rows(policies))])


def _decimals(rows: Rows) -> int | None:
    """The decimals that rows are rounded to, None where they have more than six."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = rows * 10.0**decimals
        if np.abs(scaled - np.rint(scaled)).max() < 1e-6:
            return decimals
    return None
