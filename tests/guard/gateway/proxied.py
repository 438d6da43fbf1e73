"""Requests to the gateway, answers of model servers, and the errors that stand for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.guard.gateway.conftest import Message

Until = Callable[..., bool]

QUERY = b'{"instances": [[1.0, 2.0, 3.0]]}'
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
EDITED = b'{"predictions":[[0.6,0.3,0.1]],"model":"m"}'
OIP = b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n" % len(ANSWER)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n" % len(ANSWER) + ANSWER + b"\r\n0\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
BROKEN = "the model server broke off, or didn't answer as HTTP has it; try again later"
DOWN = "the model server can't be reached; try again later"
SLOW = "the model server took too long; try again later, or ask for fewer rows at a time"


def post(path: bytes = b"/predict", body: bytes = QUERY, key: bytes = b"ann", headers: bytes = b"") -> bytes:
    return (b"POST " + path + b" HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer " + key
            + b"\r\ncontent-type: application/json\r\n" + headers
            + b"content-length: %d\r\n\r\n" % len(body) + body)


def get(headers: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" /health HTTP/1.1\r\nhost: gateway\r\n" + headers + b"\r\n"


REQUESTS = {"predict": post(), "oip": post(b"/v2/models/m/infer", OIP), "untouched": get(),
            "as it is": post(key=b"free")}
"""Guarded in either dialect, not guarded, and guarded without a policy."""


def check_error(kind: str, answer: Message, status: int, code: str, message: str) -> None:
    """An error of ours, in the shape of the dialect."""
    assert (answer.status, answer.values(b"content-type")) == (status, [b"application/json"])
    assert answer.json == ({"error": message} if kind == "oip" else {"error": message, "code": code})
