"""Policies for speech that each break one law."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest

from counterclone.answers import Context
from counterclone.plugins import Spec
from counterclone.speech import Logprobs, Speech
from counterclone.testing import check_policy

DRAWS = itertools.count()


class Bent(Spec, frozen=True):
    """Everything as it is, with a fault or without."""

    fault: str = ""
    edited: tuple[str, ...] = ("texts", "logprobs", "vectors")
    bits: float = 64.0

    @property
    def edits(self) -> frozenset[str]:
        return frozenset(self.edited)

    @property
    def value_bits(self) -> float:
        return self.bits

    def open(self, context: Context) -> Broken:
        return Broken(self.fault)


class Broken:
    """One answer with the fault."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._n_fed = 0

    def feed(self, speech: Speech) -> Speech:
        self._n_fed += 1
        told, vectors = speech.logprobs, speech.vectors
        if self._fault == "names":
            return speech._replace(said=[each._replace(name="x") for each in speech.said])
        if self._fault == "fewer":
            return speech._replace(said=speech.said[1:])
        if self._fault == "text":
            return speech._replace(said=[each._replace(text=each.text.upper()) for each in speech.said])
        if self._fault == "pieces":
            return speech._replace(said=[each._replace(text=each.text.strip()) for each in speech.said])
        if self._fault == "counts" and told is not None:
            return speech._replace(logprobs=Logprobs(told.chosen - self._n_fed, told.top))
        if self._fault == "columns" and told is not None and told.top.shape[1]:
            return speech._replace(logprobs=Logprobs(told.chosen, told.top[:, 1:]))
        if self._fault == "in place" and told is not None:
            told.chosen[:] = math.nan
        if self._fault == "draws" and vectors is not None:
            return speech._replace(vectors=vectors + next(DRAWS))
        if self._fault == "vectors" and vectors is not None:
            return speech._replace(vectors=np.vstack([vectors, vectors]))
        if self._fault == "drops":
            return speech._replace(logprobs=None, hides=False)
        return speech

    def finish(self) -> Mapping[str, str]:
        return {"x": "held"} if self._fault == "holds" else {}


def test_a_policy_that_changes_nothing_passes() -> None:
    check_policy(Bent())


@pytest.mark.parametrize(("policy", "law"), [
    (Bent(edited=()), "a policy says what it is for"),
    (Bent(edited=("scores",)), "a policy says what it is for"),
    (Bent(bits=65.0), "value_bits is a bound"),
    (Bent(bits=-1.0), "value_bits is a bound"),
    (Bent(bits=3.0), "no more leaves than value_bits says"),
    (Bent(fault="names"), "what leaves has the shape of what came"),
    (Bent(fault="fewer"), "what leaves has the shape of what came"),
    (Bent(fault="columns"), "what leaves has the shape of what came"),
    (Bent(fault="vectors"), "what leaves has the shape of what came"),
    (Bent(fault="text", edited=("logprobs",)), "what a policy isn't for leaves as it is"),
    (Bent(fault="drops", edited=("texts", "vectors")), "what a policy isn't for leaves as it is"),
    (Bent(fault="pieces"), "the output doesn't depend on how the answer was cut"),
    (Bent(fault="counts"), "the output doesn't depend on how the answer was cut"),
    (Bent(fault="in place"), "what is fed isn't changed"),
    (Bent(fault="draws"), "the same query gets the same answer"),
    (Bent(fault="holds"), "a text that has ended isn't held back"),
], ids=lambda value: value.fault or str(value.edited) + str(value.bits) if isinstance(value, Bent) else "")
def test_a_broken_policy_is_told_its_law(policy: Bent, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_policy(policy)
    assert f"breaks the law '{law}" in str(caught.value)
