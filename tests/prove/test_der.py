from __future__ import annotations

import pytest
from asn1crypto import tsp
from hypothesis import given
from hypothesis import strategies as st
from tests.prove.authority import Authority

from counterclone.prove._der import in_order


@pytest.fixture(scope="module")
def answer() -> bytes:
    question = tsp.TimeStampReq({"version": "v1", "message_imprint": {
        "hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(32)}, "nonce": 5})
    return Authority().answer(question.dump())


def certificates(answer: bytes) -> list[bytes]:
    token = tsp.TimeStampResp.load(answer)["time_stamp_token"]["content"]
    return [each.chosen.dump() for each in token["certificates"]]


def test_certificates_are_sorted_and_nothing_else_is_changed(answer: bytes) -> None:
    found = in_order(answer)
    assert certificates(answer) == sorted(certificates(answer), reverse=True)
    assert certificates(found) == sorted(certificates(answer))
    first, second = certificates(answer)
    assert found == answer.replace(first + second, second + first)
    assert in_order(found) == found


def test_a_part_of_an_answer_stays_as_it_is(answer: bytes) -> None:
    token_at_least = len(answer) - len(certificates(answer)[0])
    assert all(len(in_order(answer[:size])) == size for size in range(token_at_least))


@given(st.binary(max_size=60))
def test_anything_else_keeps_its_bytes(content: bytes) -> None:
    assert sorted(in_order(content)) == sorted(content)
