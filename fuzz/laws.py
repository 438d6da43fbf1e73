"""What holds for any bytes; each law takes some and raises where it is broken."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from counterclone.answers import top_labels
from counterclone.errors import AnswerError, TooLarge, UnknownFormat
from counterclone.guard import encodings
from counterclone.guard.dialects.anthropic import Anthropic
from counterclone.guard.dialects.oip import Oip
from counterclone.guard.dialects.openai import Openai
from counterclone.guard.dialects.predict import Predict
from counterclone.guard.events import Events
from counterclone.protocols import Body, Dialect
from counterclone.testing import dialects
from fuzz.heads import Heads

Law = Callable[[bytes], None]

PREFIX = 4
"""Bytes before a body, that say how it is read: rows, whether it is an answer, and where its JSON ends."""
LIMIT = 100_000
ENCODINGS = (b"gzip", b"x-gzip", b"deflate", b"br")
JSON = {b"content-type": b"application/json"}


def predict(data: bytes) -> None:
    """JSON models: what is read is written again as it was, and no other reader sees another query in it."""
    rows, kind, body = data[:1], data[1:2], data[PREFIX:]
    if kind[:1] < b"\x80":
        _read_query(Predict(), Body(body, JSON))
    else:
        _read_answer(Predict(), Body(body, JSON), 1 + sum(rows) % 4)


def oip(data: bytes) -> None:
    """The Open Inference Protocol, with tensors in JSON or behind it: the same."""
    rows, kind, end, body = data[:1], data[1:2], int.from_bytes(data[2:PREFIX], "little"), data[PREFIX:]
    headers = JSON if not end else {b"content-type": b"application/octet-stream",
                                    b"inference-header-content-length": b"%d" % end}
    if kind[:1] < b"\x80":
        _read_query(Oip(), Body(body, headers))
    else:
        _read_answer(Oip(), Body(body, headers), 1 + sum(rows) % 4)


def openai(data: bytes) -> None:
    """The API of OpenAI, whole answers and the data of events: the same, and what is said is written again."""
    _read_either(Openai(), data)


def anthropic(data: bytes) -> None:
    """The API of Anthropic: the same."""
    _read_either(Anthropic(), data)


def events(data: bytes) -> None:
    """Streams of events: however they are cut, nothing is lost, and the data are the same."""
    cut, content = sum(data[:1]), data[1:]
    whole, pieced = Events(LIMIT), Events(LIMIT)
    one = whole.feed(content) + whole.finish()
    two = pieced.feed(content[:cut]) + pieced.feed(content[cut:]) + pieced.finish()
    for found in (one, two):
        assert b"".join(event.raw for event in found) == content
    assert [event.data for event in one if event.data] == [event.data for event in two if event.data]
    for event in one:
        if event.data:
            again = Events(LIMIT)
            written = event.with_data(b'{"a":1}').raw
            assert [each.data for each in again.feed(written) + again.finish()] == [b'{"a":1}']


def _read_either(dialect: Dialect, data: bytes) -> None:
    kind, body = data[1:2], Body(data[PREFIX:], JSON)
    if kind < b"\x80":
        _read_query(dialect, body)
    else:
        with np.errstate(over="raise", invalid="raise", divide="raise"), contextlib.suppress(AnswerError):
            dialects._use_answer(dialect, 1, "", body)


def unpacking(data: bytes) -> None:
    """Compressed bodies: never more than the limit comes out."""
    with contextlib.suppress(UnknownFormat, TooLarge):
        encoding = ENCODINGS[sum(data[:1]) % len(ENCODINGS)]
        assert len(encodings.unpacked(data[1:], encoding, LIMIT)) <= LIMIT


def heads(data: bytes) -> None:
    """Requests as bytes: the target gets those that another parser reads in them, and each in one frame."""
    _heads().check(data)


LAWS: dict[str, Law] = {"predict": predict, "oip": oip, "openai": openai, "anthropic": anthropic, "events": events,
                        "unpacking": unpacking, "heads": heads}


def close() -> None:
    """Close what the laws have opened."""
    if _heads.cache_info().currsize:
        _heads().close()
        _heads.cache_clear()


@cache
def _heads() -> Heads:
    return Heads()


def _read_query(dialect: Dialect, body: Body) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"), contextlib.suppress(UnknownFormat):
        dialects._use_request(dialect, body)
        text = body.content[:int(body.headers.get(b"inference-header-content-length", len(body.content)))]
        assert json.loads(text, object_pairs_hook=_first_wins) == json.loads(text), (
            "a server that reads the first of two names reads another query")


def _read_answer(dialect: Dialect, body: Body, n_rows: int) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for scores in ("", "s"):
            with contextlib.suppress(AnswerError):
                _write_answer(dialect, body, n_rows, scores)


def _write_answer(dialect: Dialect, body: Body, n_rows: int, scores: str) -> None:
    """Rows that are written as they were read are read again; half-precision tensors hold them only roughly."""
    answer = dialect.read_answer(body, n_rows, scores)
    tolerance = 0.02 if b"F16" in body.content.replace(b"P", b"") else dialects.SINGLE
    for name, output in answer.outputs.items():
        written = dialects._written(body, dialect.write_answer(answer, {name: output.rows}))
        back = dialect.read_answer(written, n_rows, name).outputs[name].rows
        assert back.shape == output.rows.shape, f"{output.rows.shape} came back as {back.shape}"
        assert np.allclose(back, output.rows, rtol=0.0, atol=tolerance), f"{output.rows} came back as {back}"
        assert (top_labels(back) == top_labels(output.rows)).all(), f"{output.rows} came back as {back}"


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))
