from __future__ import annotations

import math

import numpy as np
import pytest

from counterclone.answers import Context
from counterclone.policies.logprobs import Logprobs
from counterclone.queries import Query, Sampling
from counterclone.randomness import Prf
from counterclone.speech import Logprobs as Told
from counterclone.speech import Said, Speech
from counterclone.testing import check_policy

TOLD = Told(np.array([-0.126, math.nan, -9999.0]), np.array([
    [-0.126, -2.345, -3.0, -4.0], [-5.0, -1.0, -1.0, -2.0], [math.nan] * 4]))


def shown(policy: Logprobs, told: Told | None = TOLD, sampling: Sampling | None = None,
          hides: bool = False) -> Speech:
    context = Context(Prf.from_secret("x"), Query(["a"], sampling=sampling))
    return policy.open(context).feed(Speech([Said("0", "a text")], told, hides=hides))


@pytest.mark.parametrize("policy", [Logprobs(), Logprobs(top=0, decimals=0), Logprobs(top=1000, decimals=15),
                                    Logprobs(top=2, with_logit_bias=True), Logprobs(top=3, decimals=1)])
def test_laws(policy: Logprobs) -> None:
    check_policy(policy)


def test_the_likeliest_are_shown_and_rounded() -> None:
    found = shown(Logprobs(top=2, decimals=1)).logprobs
    assert found is not None
    np.testing.assert_array_equal(found.chosen, [-0.1, math.nan, -9999.0])
    np.testing.assert_array_equal(found.top, [
        [-0.1, -2.3, math.nan, math.nan], [math.nan, -1.0, -1.0, math.nan], [math.nan] * 4])
    zero = shown(Logprobs(decimals=0), Told(np.array([-0.1]), np.empty((1, 0)))).logprobs
    assert zero is not None
    assert not np.signbit(zero.chosen[0])


def test_the_first_of_equals_is_shown() -> None:
    found = shown(Logprobs(top=1)).logprobs
    assert found is not None
    np.testing.assert_array_equal(found.top[1], [math.nan, -1.0, math.nan, math.nan])


def test_none_with_a_bias() -> None:
    biased = Sampling(logprobs=5, bias={"7": 1.0})
    assert shown(Logprobs(), sampling=biased).logprobs is None
    assert shown(Logprobs(with_logit_bias=True), sampling=biased).logprobs is not None
    assert shown(Logprobs(), sampling=Sampling(logprobs=5)).logprobs is not None


def test_numbers_that_nobody_reads_leave_no_more() -> None:
    assert not shown(Logprobs(), hides=True).hides
    assert not shown(Logprobs(), None, hides=True).hides


def test_bits() -> None:
    assert Logprobs(decimals=2).value_bits == pytest.approx(math.log2(1e6))
    assert Logprobs(decimals=15).value_bits == pytest.approx(math.log2(1e19))
