from __future__ import annotations

import pytest
from tests.discovery.servers import (
    Reply,
    mlflow,
    said,
    serving,
    settled,
    table,
)

from counterclone import discovery


@pytest.mark.parametrize("path", ["", "/invocations"])
def test_a_scoring_server_of_mlflow(path: str) -> None:
    with serving(table(mlflow(Reply({"predictions": [[0.4, 0.6]]})))) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert (found.api.server, read.guard.paths) == ("MLflow 2.14.1", ("*",))
    assert served.queries == [("/invocations", {"instances": [[0.0]]})]


def test_what_the_model_says_of_a_query_is_told() -> None:
    refusal = Reply({"message": "X has 1 features,\nbut the model expects 4\x1b[31m"}, 400)
    with serving(table(mlflow(refusal))) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.dialect == "predict"
    assert "was answered 400" in said(found)
    assert "the model expects 4" in said(found)
    assert found.text.isascii()
    assert "\x1b" not in found.text


def test_ping_alone_is_not_mlflow() -> None:
    with serving(table({("GET", "/ping"): Reply(b"pong"), ("GET", "/version"): Reply(b"<html>")})) as served:
        assert settled(discovery.probe(served.url)).target.dialect == "auto"
