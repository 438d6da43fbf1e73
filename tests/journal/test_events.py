from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from counterclone.encoders import ENCODER_VERSION, encode_features, encode_texts
from counterclone.journal import FORMAT_VERSION, SCHEMA, Exchange, to_batch, vectors
from counterclone.journal.events import MAX_NAME, check_rows, schema_problem

MakeExchange = Callable[..., Exchange]
CONTRACT = {
    "time": "timestamp[us, tz=UTC]", "account": "string", "account_class": "string", "dialect": "string",
    "model": "string", "decision": "string", "status": "int16", "digest": "uint64", "n_features": "int32",
    "n_classes": "int32", "label": "int32", "margin": "float", "bits": "float",
    "vector": "fixed_size_binary[128]", "payload": "binary",
}


def test_the_columns_are_the_contract() -> None:
    assert {field.name: str(field.type) for field in SCHEMA} == CONTRACT
    assert SCHEMA.metadata == {b"counterclone.journal": FORMAT_VERSION.encode(),
                               b"counterclone.encoder": ENCODER_VERSION.encode()}


def test_one_row_for_each_row_of_a_query() -> None:
    features = np.array([[0.5, 1.0], [2.0, -4.0]])
    block = Exchange(
        time=1_764_000_000.123456, account="00ff00ff00ff00ff", account_class="evaluators", dialect="oip",
        model="crédit", decision="served", status=200, digests=[2**64 - 1, 0], labels=np.array([3, -1]),
        margins=np.array([0.25, math.nan]), n_classes=10, bits=59.5, features=features,
        payloads=[b'{"a":1}', b"\x00\xff"])
    batch = to_batch([block])
    batch.validate(full=True)
    assert batch.schema.equals(SCHEMA, check_metadata=True)
    first, second = batch.to_pylist()
    assert first.pop("time").timestamp() == 1_764_000_000.123456
    assert first.pop("vector") == features[0].astype("<f2").tobytes() + bytes(124)
    assert first == {
        "account": "00ff00ff00ff00ff", "account_class": "evaluators", "dialect": "oip", "model": "crédit",
        "decision": "served", "status": 200, "digest": 2**64 - 1, "n_features": 2, "n_classes": 10, "label": 3,
        "margin": 0.25, "bits": 59.5, "payload": b'{"a":1}'}
    assert (second["digest"], second["label"], second["payload"]) == (0, -1, b"\x00\xff")
    assert math.isnan(second["margin"])


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, -1, 1, 3, 64, 70])), max_size=12))
def test_exchanges_of_every_kind_mix(make_exchange: MakeExchange, kinds: list[tuple[int, int | None]]) -> None:
    blocks, expected = [], []
    for i, (n_rows, d) in enumerate(kinds):
        block = make_exchange(10 * i, n_rows=n_rows, d=max(d or 0, 1))
        if d is None:
            block = replace(block, features=None)
            expected += [np.full((n_rows, 64), np.nan)]
        elif d < 0:
            block = replace(block, features=None, texts=[f"text {i}"] * n_rows, payloads=[b"{}"] * n_rows)
            expected += [encode_texts([f"text {i}"] * n_rows)]
        else:
            block = replace(block, features=np.full((n_rows, d), i + 0.5))
            expected += [encode_features(np.full((n_rows, d), i + 0.5))]
        blocks.append(block)
    batch = to_batch(blocks)
    batch.validate(full=True)
    assert batch.column("digest").to_pylist() == [digest for block in blocks for digest in block.digests]
    assert batch.column("n_features").to_pylist() == [
        max(d or 0, 0) for n_rows, d in kinds for _ in range(n_rows)]
    assert np.array_equal(vectors(batch), np.concatenate([np.empty((0, 64)), *expected]), equal_nan=True)
    assert vectors(batch.slice(1, 2)).shape[0] == batch.slice(1, 2).num_rows
    assert np.array_equal(vectors(pa.Table.from_batches([batch.slice(2), batch.slice(0, 2)])),
                          np.concatenate([vectors(batch)[2:], vectors(batch)[:2]]), equal_nan=True)


def test_lists_serve_as_well_as_arrays(make_exchange: MakeExchange) -> None:
    arrays = make_exchange(2**63 - 1, n_rows=2)
    lists = replace(arrays, digests=list(arrays.digests), labels=[1, 1], margins=[0.5, 0.5])
    assert to_batch([lists]).equals(to_batch([arrays]))
    assert to_batch([lists, arrays]).slice(2).equals(to_batch([arrays]))
    numbers = replace(arrays, digests=np.array(arrays.digests, dtype=np.uint64))
    assert to_batch([numbers]).equals(to_batch([arrays]))


@pytest.mark.parametrize("change", [
    {"labels": [1]}, {"margins": []}, {"features": np.zeros((3, 2))}, {"payloads": [b""] * 3},
    {"features": None, "texts": ["a"]}, {"time": math.nan}, {"time": -1.0}, {"time": 1e300},
    {"status": 70_000}, {"digests": [-1, 2]}, {"digests": [1, 2**64]}, {"account": None}, {"account": 7},
    {"labels": [2**40, 1]},
], ids=str)
def test_an_exchange_that_is_no_rows_is_refused(make_exchange: MakeExchange, change: dict[str, Any]) -> None:
    block = make_exchange(1, n_rows=2)
    with pytest.raises((ValueError, TypeError, OverflowError)):
        to_batch([block, replace(block, **change)])


def test_the_size_of_an_exchange_is_that_of_what_may_be_large(make_exchange: MakeExchange) -> None:
    assert make_exchange(0, n_rows=2, d=5).n_bytes == 80
    assert make_exchange(0, n_rows=2, d=0, payload=b"abc").n_bytes == 6
    assert replace(make_exchange(0, n_rows=2), features=None, texts=["abcd", ""]).n_bytes == 4
    assert replace(make_exchange(0), features=None).n_bytes == 0


def test_parts_that_are_wrong_in_opposite_ways_do_not_cancel(make_exchange: MakeExchange) -> None:
    block = make_exchange(1, n_rows=2)
    with pytest.raises(ValueError, match="differ in rows"):
        to_batch([replace(block, labels=[1]), replace(block, labels=[1, 1, 1])])


def test_a_callers_text_cannot_keep_an_exchange_out(make_exchange: MakeExchange) -> None:
    names = ["\ud800", "m" * 10_000, "a\0b", "\U0001f600" * 300]
    batch = to_batch([replace(make_exchange(i), model=name) for i, name in enumerate(names)])
    batch.validate(full=True)
    assert batch.column("model").to_pylist() == ["?", "m" * MAX_NAME, "a\0b", "\U0001f600" * MAX_NAME]


def test_a_schema_may_have_more_metadata_but_no_other_columns_and_no_other_version() -> None:
    more = SCHEMA.with_metadata({**SCHEMA.metadata, b"who": b"somebody"})
    assert schema_problem(more) is None
    assert schema_problem(SCHEMA.remove_metadata()) is None
    assert "columns" in str(schema_problem(SCHEMA.remove(3)))
    assert "columns" in str(schema_problem(pa.schema([("time", pa.int64())])))
    assert "format is 2" in str(schema_problem(SCHEMA.with_metadata({b"counterclone.journal": b"2"})))
    assert "format is" in str(schema_problem(SCHEMA.with_metadata({b"counterclone.journal": b"\xff"})))


def test_a_missing_value_is_refused(make_exchange: MakeExchange) -> None:
    batch = to_batch([make_exchange(1)])
    check_rows(batch)
    columns = batch.columns
    columns[1] = pa.nulls(1, pa.string())
    with pytest.raises(ValueError, match="'account'"):
        check_rows(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
