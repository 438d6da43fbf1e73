"""Rows on their way through policies, in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterclone.answers import SUM_TOLERANCE, Context, Rows, sum_error
from counterclone.errors import AnswerError
from counterclone.protocols import Policy


def released(policies: Sequence[Policy], context: Context, rows: Rows) -> Rows:
    """What leaves of some rows: (rows, classes).

    Raises:
        AnswerError: a policy failed, or made rows that aren't probabilities.
    """
    shape = rows.shape
    for policy in policies:
        rows = _applied(policy, context, rows)
    if rows.shape != shape or not sum_error(rows) <= SUM_TOLERANCE:
        raise AnswerError("the policies made rows that aren't probabilities; report it to the policy's author")
    return rows


def _applied(policy: Policy, context: Context, rows: Rows) -> Rows:
    try:
        release = policy.start(context)
        fed, held = release.feed(rows), release.finish()
        return np.asarray(fed, np.float64) if held is None else np.concatenate([fed, held])
    except Exception as error:  # whatever a plug-in raises, the answer isn't clean
        raise AnswerError(f"policy {type(policy).__name__} failed ({type(error).__name__}: {error}); report "
                          "it to its author") from error
