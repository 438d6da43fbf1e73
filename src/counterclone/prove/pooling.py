"""Several commitments tested together: their keys are drawn apart, so what they tell is independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from counterclone import statistics
from counterclone.evidence import AccountEvidence, Evidence


def pooled(evidence: Sequence[Evidence]) -> Evidence:
    """What one mark tells under several commitments, as one evidence.

    P-values are combined as Fisher does, which is valid for those of a draw too, and e-values multiplied. An
    account counts under the commitments that it has rows of its own under. The power is the largest of one.

    Args:
        evidence: of the same mark, each under a commitment of its own, none of which might have stopped early.
    """
    if len(evidence) == 1:
        return evidence[0]
    accounts: dict[str, list[AccountEvidence]] = {}
    for each in evidence:
        for account in each.accounts:
            accounts.setdefault(account.account, []).append(account)
    ranks = [each.p_decoy for each in evidence if each.p_decoy is not None]
    return Evidence(
        kind=evidence[0].kind, p_value=statistics.fisher([each.p_value for each in evidence]),
        e_value=math.prod(each.e_value for each in evidence), p_decoy=statistics.fisher(ranks) if ranks else None,
        trials=sum(each.trials for each in evidence), hits=sum(each.hits for each in evidence),
        null_rate=max(each.null_rate for each in evidence), queries=sum(each.queries for each in evidence),
        power=max(each.power for each in evidence),
        accounts=tuple(_account(found) for found in accounts.values()))


def _account(evidence: Sequence[AccountEvidence]) -> AccountEvidence:
    return AccountEvidence(
        account=evidence[0].account, p_value=statistics.fisher([each.p_value for each in evidence]),
        e_value=math.prod(each.e_value for each in evidence), trials=sum(each.trials for each in evidence),
        hits=sum(each.hits for each in evidence))
