from __future__ import annotations

import asyncio
import itertools

import httpx
import magika
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import top_labels
from counterclone.demo import filetypes_server, python_files
from counterclone.demo.filetypes import INPUT, OUTPUT, ROUTE, FileTypes

TYPES = FileTypes()
TOOL = magika.Magika()
SESSION = TYPES.session()
PADDING = TYPES.settings.padding_token
SPACE = b" \t\r\n\x0b\f"
CONTENTS = st.builds(bytes.join, st.sampled_from([b"", b" ", b"\n\n"]), st.lists(st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"import os\n", b"<html>", b"\x89PNG", SPACE, b"x" * 5000, b" " * 5000])), max_size=6))


@given(CONTENTS)
def test_label_and_score_are_the_tools(content: bytes) -> None:
    told = TOOL.identify_bytes(content).prediction
    tokens = TYPES.tokens(content)
    assert (tokens is None) == (told.dl.label == "undefined")
    if tokens is not None:
        (row,) = SESSION.run([OUTPUT], {INPUT: tokens[None]})[0]
        label, = top_labels(row[None])
        assert TYPES.settings.target_labels_space[label] == told.dl.label
        assert row[label] == pytest.approx(told.score, abs=1e-5)
        assert TYPES.told(label, told.score) == told.output.label == TYPES.told_by_tool(content)


def test_tokens_are_the_first_and_the_last_bytes() -> None:
    tokens = TYPES.tokens(b"  12345678" + b"a" * 6000 + b"end \n")
    assert tokens is not None
    assert tokens.shape == (2048,)
    assert bytes(tokens[:9].astype(np.uint8)) == b"12345678a"
    assert bytes(tokens[-4:].astype(np.uint8)) == b"aend"
    short = TYPES.tokens(b"\n12345678")
    assert short is not None
    assert (short == PADDING).sum() == 2048 - 17
    assert [*short[:8]] == [*short[-8:]] == [*b"12345678"]
    assert short[-9] == ord("\n")  # the space after the last bytes is left out, that before the first ones


@pytest.mark.parametrize("content", [b"", b"1234567", SPACE * 9, SPACE + b"1234567"])
def test_too_little_to_tell_has_no_tokens(content: bytes) -> None:
    assert TYPES.tokens(content) is None


@pytest.mark.parametrize(("label", "score", "told"), [
    ("png", 0.5, "png"), ("png", 0.49, "unknown"), ("python", 0.49, "txt"), ("markdown", 0.74, "txt"),
    ("markdown", 0.75, "markdown"), ("randomtxt", 0.9, "txt"), ("randombytes", 0.9, "unknown")])
def test_a_low_score_tells_less(label: str, score: float, told: str) -> None:
    assert TYPES.told(TYPES.settings.target_labels_space.index(label), score) == told


def test_the_server_serves_the_network_whatever_else_is_in_the_batch() -> None:
    found = (TYPES.tokens(content) for content in python_files.draw(5))
    tokens = np.stack([*itertools.islice((row for row in found if row is not None), 12)])
    body = {"inputs": [{"name": INPUT, "datatype": "INT32", "shape": [*tokens.shape], "data": tokens.tolist()}]}

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(filetypes_server.app()),
                                     base_url="http://test") as client:
            return await client.get(ROUTE.removesuffix("/infer")), await client.post(ROUTE, json=body)

    metadata, answer = asyncio.run(ask())
    assert metadata.json()["inputs"] == [{"name": INPUT, "datatype": "INT32", "shape": [-1, 2048]}]
    (output,) = answer.json()["outputs"]
    assert (output["name"], output["shape"]) == (OUTPUT, [12, 214])
    rows = np.array(output["data"], dtype=np.float32).reshape(output["shape"])
    assert (rows == [SESSION.run([OUTPUT], {INPUT: row[None]})[0][0] for row in tokens]).all()
