from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import Context, PerRow, Rows
from counterclone.errors import AnswerError
from counterclone.policies.labels import Labels
from counterclone.policies.rounding import Rounding
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.releases import released

ROWS = np.array([[0.625, 0.25, 0.125], [0.1, 0.1, 0.8]])
CONTEXT = Context(Prf(bytes(32)), Query(np.zeros((2, 3))))


class Broken(Rounding, frozen=True):
    """A policy that makes something else of its rows."""

    def start(self, context: Context) -> PerRow:
        return PerRow(self._apply)

    def _apply(self, rows: Rows) -> Rows:
        if self.decimals == 1:
            raise ZeroDivisionError("by hand")
        return rows[:1] if self.decimals == 2 else rows * (-1.0 if self.decimals == 3 else np.nan)


def test_without_policies_rows_leave_as_they_are() -> None:
    assert released([], CONTEXT, ROWS) is ROWS


def test_policies_are_applied_in_order() -> None:
    one_hot = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert released([Rounding(decimals=1)], CONTEXT, ROWS)[0].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert released([Rounding(decimals=1), Labels()], CONTEXT, ROWS).tolist() == one_hot
    assert released([Labels(), Rounding(decimals=1)], CONTEXT, ROWS).tolist() == one_hot


def test_a_policy_that_fails_is_named() -> None:
    with pytest.raises(AnswerError, match=r"policy Broken failed \(ZeroDivisionError: by hand\)"):
        released([Broken(decimals=1)], CONTEXT, ROWS)


@pytest.mark.parametrize("decimals", [2, 3, 4], ids=["fewer rows", "negative", "NaN"])
def test_what_is_no_probabilities_never_leaves(decimals: int) -> None:
    with pytest.raises(AnswerError, match="aren't probabilities"):
        released([Broken(decimals=decimals)], CONTEXT, ROWS)
