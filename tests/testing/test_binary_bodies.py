"""A format whose bodies go on behind their JSON is tried in both parts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from counterclone.answers import Answer
from counterclone.guard.dialects.oip import Oip
from counterclone.protocols import Body
from counterclone.queries import Query
from counterclone.testing import check_dialect

LENGTH = b"inference-header-content-length"


def body(field: str, *rows: list[float]) -> Body:
    content = np.array(rows, "<f4").tobytes()
    head = msgspec.json.encode({"model_name": "m", field: [
        {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(content)}}]})
    return Body(head + content, {LENGTH: b"%d" % len(head)})


REQUEST, ANSWER = body("inputs", [0.5, 1.0], [2.0, 3.0]), body("outputs", [0.75, 0.25], [0.5, 0.5])


class Careless(Oip, frozen=True):
    """Binary tensors, read with a fault."""

    fault: str = ""

    def read_query(self, body: Body, model: str) -> Query:
        query = super().read_query(body, model)
        if self.fault == "tail" and not np.asarray(query.values).any():
            raise ZeroDivisionError
        return query

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        answer = super().read_answer(body, n_rows, scores)
        if self.fault == "head":
            msgspec.json.decode(body.content[:int(body.headers[LENGTH])])["model_name"].upper()
        return answer


def test_careful_reading_passes() -> None:
    check_dialect(Careless(), request=REQUEST, answer=ANSWER, n_rows=2)


@pytest.mark.parametrize(("fault", "law"), [
    ("tail", "a request with strange values is read, or raises UnknownFormat"),
    ("head", "an answer with strange values is read, or raises AnswerError"),
])
def test_a_fault_in_either_part_is_told(fault: str, law: str) -> None:
    with pytest.raises(AssertionError, match=f"breaks the law '{law}'"):
        check_dialect(Careless(fault=fault), request=REQUEST, answer=ANSWER, n_rows=2)
