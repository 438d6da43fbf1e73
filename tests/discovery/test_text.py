from __future__ import annotations

import socket
import threading
import tomllib
from collections.abc import Iterator

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.discovery.servers import (
    DIGITS,
    Reply,
    oip,
    serving,
    settled,
    table,
)

from counterclone import compose, config, discovery
from counterclone.discovery.apis import Api
from counterclone.discovery.scores import Scores
from counterclone.discovery.settings import text
from counterclone.guard import asgi

WORDS = st.text(max_size=40)
APIS = st.builds(
    Api, dialect=st.sampled_from(["oip", "predict", "auto"]),
    url=st.sampled_from(["http://127.0.0.1:8000", "https://h/a%20b", "http://[::1]:8001/x"]), server=WORDS,
    paths=st.lists(WORDS, min_size=1, max_size=3).map(tuple), about=st.lists(WORDS, max_size=3).map(tuple),
    warnings=st.lists(WORDS, max_size=2).map(tuple), ports=st.just((8100, 8201)), is_alone=st.booleans())
FOUND = st.builds(Scores, name=WORDS, classes=st.none() | st.integers(2, 5000), about=st.lists(WORDS).map(tuple))


@given(APIS, FOUND)
def test_whatever_a_server_says_stays_in_its_place(api: Api, scores: Scores) -> None:
    """Nothing that a server names can become a setting, and what becomes one reads back as it was."""
    written = text(api, scores, ["GET / (200)"])
    read = config.parse(tomllib.loads(written), {}, "text")
    compose.check(read)
    expected = config.parse({
        "target": {"url": api.url, "dialect": api.dialect, "scores": scores.name if api.is_alone else ""},
        "guard": {"paths": list(api.paths), "listen": read.guard.listen, "admin": read.guard.admin,
                  "policy": [{"kind": "rounding", "decimals": 2}]}}, {}, "text")
    assert read == expected
    ports = {int(address.rpartition(":")[2]) for address in (read.guard.listen, read.guard.admin)}
    assert len(ports - {8000, 8001, 8100, 8201} if "800" in api.url else ports) == 2


@given(APIS, FOUND)
def test_the_text_fits_a_screen(api: Api, scores: Scores) -> None:
    lines = text(api, scores, ["GET / (200)"]).splitlines()
    assert all(len(line) <= 100 for line in lines if line.startswith("#"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["name", "version", "inputs", "outputs", "datatype", "shape", "data", "paths", "post",
                         "models", "error", "predictions", "instances", "schema", "properties", "$ref", "items"]),
        inner, max_size=5), max_leaves=25)


@pytest.fixture(scope="module")
def changing() -> Iterator[tuple[dict[str, Reply], str]]:
    """A server whose answer to everything can be changed."""
    current: dict[str, Reply] = {}

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await table({}, current["reply"])(scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield current, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@given(VALUES, st.sampled_from(["", "/v2/models/m", "/v1/models/m", "/x"]))
@settings(max_examples=60)
def test_any_answer_ends_in_a_file(changing: tuple[dict[str, Reply], str], value: object, path: str) -> None:
    current, url = changing
    current["reply"] = Reply(value)
    settled(discovery.probe(url + path))


def test_the_same_server_gets_the_same_text() -> None:
    with serving(oip({"digits": DIGITS})) as served:
        first = discovery.probe(served.url).text
        served.asked.clear()
        assert discovery.probe(served.url).text == first
