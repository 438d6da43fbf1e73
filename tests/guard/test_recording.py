from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Rows, full_bits, margins
from counterclone.encoders import encode_features, encode_texts
from counterclone.guard.recording import Later, Reading, Record, Recorder
from counterclone.journal import SCHEMA, vectors
from counterclone.queries import Query, canonical_value
from counterclone.randomness import Prf, generator

PRF = Prf.from_secret("digests")
RECORDER = Recorder(PRF, keeps_payloads=False)
NOTHING = Reading(None, 0.0)


def record(query: Query | None, reading: Reading | Later = NOTHING, **fields: Any) -> Record:
    return Record(**{"time": 1_764_000_000.25, "account": "0123456789abcdef", "account_class": "",
                     "dialect": "predict", "decision": "served", "status": 200, "n_bytes": 100,
                     "n_rows": query.n_rows if query else 1, "query": query, "reading": reading, **fields})


def rows_of(*records: Record, recorder: Recorder = RECORDER) -> list[dict[str, Any]]:
    batch = recorder.encode(records)
    assert batch.schema == SCHEMA
    found: list[dict[str, Any]] = batch.to_pylist()
    return found


def probabilities(n_rows: int, n_classes: int, seed: int = 0) -> Rows:
    odds = generator(seed, "odds").exponential(size=(n_rows, n_classes))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


# Many at once equal one by one

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def exactly(n: int, inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(inner, min_size=n, max_size=n)


def queries(n_rows: int) -> st.SearchStrategy[Query]:
    lists = st.sampled_from([0, 1, 2, 3, 64, 65]).flatmap(lambda width: exactly(n_rows, exactly(width, NUMBERS)))
    images = exactly(n_rows, exactly(1, exactly(2, NUMBERS)))
    mixtures = exactly(n_rows, st.lists(NUMBERS | TEXTS | st.none(), min_size=1, max_size=3))
    objects = exactly(n_rows, st.dictionaries(TEXTS, NUMBERS | TEXTS, max_size=3))
    tensors = lists.map(lambda rows: np.array(rows, dtype=np.float64).reshape(n_rows, -1 if rows[0] else 0))
    values = lists | images | mixtures | objects | exactly(n_rows, TEXTS) | tensors | exactly(n_rows, NUMBERS)
    return values.map(lambda values: Query(values, model="m"))


@st.composite
def records(draw: st.DrawFn) -> Record:
    n_rows = draw(st.integers(1, 3))
    if draw(st.integers(0, 9)) == 0:
        return record(None, decision="refused", status=400)
    query = draw(queries(n_rows))
    if draw(st.booleans()):
        return record(query, account_class=draw(TEXTS), decision=draw(st.sampled_from(["served", "limited"])))
    rows = probabilities(n_rows, draw(st.integers(1, 4)), draw(st.integers(0, 50)))
    reading = Reading(rows, draw(st.floats(0.0, 1e4, width=32)))
    return record(query, Later(lambda: reading) if draw(st.booleans()) else reading,
                  time=draw(st.integers(0, 2**31)) + 0.5)


def is_same(one: object, other: object) -> bool:
    return one == other or repr(one) == repr(other) == "nan"


@given(st.lists(records(), min_size=1, max_size=12))
def test_many_records_are_encoded_as_each_by_itself(many: list[Record]) -> None:
    together = rows_of(*many)
    alone = [row for each in many for row in rows_of(each)]
    for one, other in zip(together, alone, strict=True):
        assert all(is_same(one[name], other[name]) for name in SCHEMA.names), (one, other)


@given(st.lists(records(), min_size=1, max_size=6))
def test_each_row_is_what_a_plain_computation_says(many: list[Record]) -> None:
    batch = RECORDER.encode(many)
    n_seen = 0
    for each in many:
        read = batch.slice(n_seen, each.n_rows)
        n_seen += each.n_rows
        check(each, read.to_pylist(), vectors(read))
    assert n_seen == batch.num_rows


def check(each: Record, rows: list[dict[str, Any]], encoded: np.ndarray[Any, Any]) -> None:
    """One record's rows, computed as simply as can be."""
    query = each.query
    reading = each.reading if isinstance(each.reading, Reading) else each.reading()
    for name in ("account", "account_class", "dialect", "decision", "status"):
        assert {row[name] for row in rows} == {getattr(each, name)}
    assert {row["time"].timestamp() for row in rows} == {each.time}
    assert {row["model"] for row in rows} == {query.model if query else ""}
    assert [row["digest"] for row in rows] == ([PRF.number(cell) for cell in query.cells] if query else [0])
    assert {row["bits"] for row in rows} == {reading.bits}
    assert {row["n_features"] for row in rows} == {0 if query is None or query.features is None
                                                  else query.features.shape[1]}
    if reading.rows is None:
        assert {(row["n_classes"], row["label"]) for row in rows} == {(0, -1)}
        assert all(math.isnan(row["margin"]) for row in rows)
    else:
        assert {row["n_classes"] for row in rows} == {reading.rows.shape[1]}
        assert [row["label"] for row in rows] == reading.rows.argmax(axis=1).tolist()
        assert [row["margin"] for row in rows] == margins(reading.rows).astype(np.float32).tolist()
    if query is None:
        assert [row["vector"] for row in rows] == [None]
    elif query.features is not None:
        np.testing.assert_array_equal(encoded, encode_features(query.features))
    else:
        texts = [value if isinstance(value, str) else canonical_value(value).decode() for value in query.values]
        np.testing.assert_array_equal(encoded, encode_texts(texts))


# Digests

@pytest.mark.parametrize(("one", "other"), [
    ([[1, 2.5]], [[1.0, 2.5000001]]), ([[True, 2.5]], [[1, 2.5]]), ([[0.0]], [[1e-9]]),
    ([["f", 1]], [["F ", 1.0]]), (["A  film"], ["a FILM"]), ([{"a": 1, "b": "x"}], [{"b": "X", "a": 1.0}]),
    (np.array([[1.0, 2.5]]), [[1, 2.5]]),
], ids=["numbers", "true", "zero", "mixed", "text", "objects", "tensor"])
def test_equal_queries_have_equal_digests(one: Any, other: Any) -> None:
    first, second = rows_of(record(Query(one)), record(Query(other)))
    assert first["digest"] == second["digest"] != 0


def test_digests_differ_by_query_and_by_key() -> None:
    many = [record(Query([[float(i)]])) for i in range(100)] + [record(Query([f"text {i}"])) for i in range(100)]
    rekeyed = Recorder(Prf.from_secret("another key"), keeps_payloads=False)
    assert len({row["digest"] for row in rows_of(*many) + rows_of(*many, recorder=rekeyed)}) == 400


def test_the_digest_does_not_depend_on_who_asked_what_else() -> None:
    lone = rows_of(record(Query([[1, 2.5]])))[0]["digest"]
    crowd = [record(Query(values)) for values in ([[3, 4]], [["x", 1]], [[1, 2.5]], ["text"], [[1, 2, 3]])]
    assert rows_of(*crowd)[2]["digest"] == lone


# Readings

def test_a_later_reading_is_read_once_however_often_the_disk_refuses() -> None:
    n_read = itertools.count()

    def read() -> Reading:
        next(n_read)
        return Reading(probabilities(1, 3), full_bits(3))

    late = record(Query([[1.0]]), Later(read))
    assert rows_of(late) == rows_of(late) == rows_of(late)
    assert next(n_read) == 1


def test_a_request_that_was_not_read_is_one_row() -> None:
    assert [row["digest"] for row in rows_of(record(None))] == [0]


# Payloads

def payloads(query: Query, reading: Reading, *, keeps: bool = True) -> list[Any]:
    rows = rows_of(record(query, reading), recorder=Recorder(PRF, keeps_payloads=keeps))
    return [row["payload"] and orjson.loads(row["payload"]) for row in rows]


SCORES = np.array([[0.75, 0.25], [0.5, 0.5]])


def test_payloads_are_kept_only_when_asked() -> None:
    assert payloads(Query([[1, 2], [3, 4]]), Reading(SCORES, 1.0), keeps=False) == [None, None]
    assert payloads(Query([[1, 2], [3, 4]]), Reading(SCORES, 1.0)) == [
        {"query": {"features": [1.0, 2.0]}, "answer": {"scores": [0.75, 0.25]}},
        {"query": {"features": [3.0, 4.0]}, "answer": {"scores": [0.5, 0.5]}}]


@pytest.mark.parametrize(("values", "expected"), [
    ([[[1, 2], [3, 4]]], {"features": [1.0, 2.0, 3.0, 4.0]}), ([0.5], {"features": [0.5]}),
    (["good"], {"text": "good"}), ([["f", 1]], {"text": '["f",1]'}), ([{"a": "b"}], {"text": '{"a":"b"}'}),
    ([None], {"text": "null"}), (np.array([[1.0, 2.0]]), {"features": [1.0, 2.0]}),
], ids=["image", "number", "text", "mixed", "object", "null", "tensor"])
def test_every_query_has_a_payload(values: Any, expected: dict[str, object]) -> None:
    assert payloads(Query(values), NOTHING) == [{"query": expected, "answer": None}]


@pytest.mark.parametrize(("released", "expected"), [
    (None, [[0.75, 0.25], [0.5, 0.5]]), ({"p": np.array([[1.0, 0.0], [0.0, 1.0]])}, [[1.0, 0.0], [0.0, 1.0]]),
    ({"p": np.eye(2)[[0, 1, 1, 0]], "q": SCORES}, [[1.0, 0.0], [0.0, 1.0]]),
], ids=["as it is", "released", "two rows a query"])
def test_a_payload_holds_the_answer_as_the_caller_got_it(released: dict[str, Rows] | None,
                                                        expected: object) -> None:
    found = payloads(Query([[1], [2]]), Reading(SCORES, 1.0, released))
    assert [each["answer"]["scores"] for each in found] == expected


def test_a_request_that_was_not_read_has_no_payload() -> None:
    recorder: Callable[..., Any] = Recorder(PRF, keeps_payloads=True).encode
    assert recorder([record(None)]).column("payload").to_pylist() == [None]
