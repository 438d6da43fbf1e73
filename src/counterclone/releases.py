"""Rows, and what language models and encoders say, on their way through policies, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from counterclone.answers import SUM_TOLERANCE, Context, Rows, sum_error
from counterclone.errors import AnswerError
from counterclone.protocols import Policy, SpeechPolicy
from counterclone.speech import Said, Speech


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


def for_rows(policies: Sequence[Policy | SpeechPolicy]) -> tuple[Policy, ...]:
    """Those that are for rows, in order."""
    return tuple(cast(Policy, policy) for policy in policies if hasattr(policy, "start"))


def for_speech(policies: Sequence[Policy | SpeechPolicy]) -> tuple[SpeechPolicy, ...]:
    """Those that are for speech, in order."""
    return tuple(cast(SpeechPolicy, policy) for policy in policies if hasattr(policy, "open"))


def _applied(policy: Policy, context: Context, rows: Rows) -> Rows:
    try:
        release = policy.start(context)
        fed, held = release.feed(rows), release.finish()
        return np.asarray(fed, np.float64) if held is None else np.concatenate([fed, held])
    except Exception as error:  # whatever a plug-in raises, the answer isn't clean
        raise _failed(policy, error) from error


class SpeechReleases:
    """One answer of a language model or of an encoder on its way through policies, whole or in pieces.

    Args:
        policies: in order.
        context: the query behind it.
        guards_numbers: whether what no policy is for can't leave, as it can beside policies for texts alone.
    """

    def __init__(self, policies: Sequence[SpeechPolicy], context: Context, *, guards_numbers: bool) -> None:
        self._guards_numbers = guards_numbers
        self._edits = frozenset[str]().union(*(policy.edits for policy in policies))
        self._started = [(policy, policy.open(context)) for policy in policies]

    def feed(self, speech: Speech) -> Speech:
        """What leaves of a piece.

        Raises:
            AnswerError: a policy failed, or none is for something that the piece holds.
        """
        left = speech.materials - self._edits
        if left and self._guards_numbers:
            held, remedy = (" and ".join(words[each] for each in sorted(left)) for words in (_WORDS, _FOR))
            raise AnswerError(f"the answer holds {held} and no policy is for them; the owner can add {remedy}")
        for policy, release in self._started:
            try:
                speech = release.feed(speech)
            except Exception as error:  # whatever a plug-in raises, the answer isn't clean
                raise _failed(policy, error) from error
        return speech

    def finish(self) -> dict[str, str]:
        """Texts that were held back, by name.

        Raises:
            AnswerError: a policy failed.
        """
        held: dict[str, str] = {}
        for number, (policy, release) in enumerate(self._started):
            try:
                ended = dict(release.finish())
                for _, later in self._started[number + 1:]:
                    said = [Said(name, text) for name, text in ended.items()]
                    ended = {each.name: each.text for each in later.feed(Speech(said)).said}
            except Exception as error:
                raise _failed(policy, error) from error
            held |= ended
        return held


_WORDS = {"logprobs": "log-probabilities", "vectors": "an embedding"}
_FOR = {"logprobs": "`logprobs`", "vectors": "`quantise`"}


def _failed(policy: object, error: Exception) -> AnswerError:
    return AnswerError(f"policy {type(policy).__name__} failed ({type(error).__name__}: {error}); report it to "
                       "its author")
