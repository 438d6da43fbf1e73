from __future__ import annotations

from typing import Any

import pytest
from tests.discovery.servers import (
    Reply,
    said,
    serving,
    settled,
    table,
)

from counterclone import discovery


def dims(*sizes: str) -> dict[str, Any]:
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": size} for size in sizes]}}


def tensorflow(inputs: object, answer: object) -> dict[tuple[str, str], Reply]:
    signature = {"serving_default": {"inputs": inputs, "outputs": {"probabilities": dims("-1", "3")}}}
    return {
        ("GET", "/"): Reply({"error": "Malformed request: GET /"}, 404),
        ("GET", "/v1/models/iris"): Reply({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}),
        ("GET", "/v1/models/iris/metadata"): Reply({
            "model_spec": {"name": "iris"}, "metadata": {"signature_def": {"signature_def": signature}}}),
        ("POST", "/v1/models/iris:predict"): Reply(answer),
    }


@pytest.mark.parametrize(("inputs", "row"), [
    ({"x": dims("-1", "4")}, [0.0] * 4),
    ({"x": dims("-1", "2", "3")}, [[0.0] * 3] * 2),
    ({"x": dims("-1")}, 0.0),
    ({"a": dims("-1", "1"), "b": {**dims("-1", "2"), "dtype": "DT_INT64"}}, {"a": [0.0], "b": [0, 0]}),
    ({"x": {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}}, ""),
    ({}, [0.0]), (None, [0.0]),
], ids=str)
@pytest.mark.parametrize("path", ["/v1/models/iris", "/v1/models/iris:predict"])
def test_a_model_of_tensorflow_serving(inputs: object, row: object, path: str) -> None:
    with serving(table(tensorflow(inputs, {"predictions": [[0.2, 0.3, 0.5]]}))) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert (read.guard.paths, found.scores.classes) == (("*",), 3)
    assert served.queries == [("/v1/models/iris:predict", {"instances": [row]})]
    assert "port 8500" in found.api.warnings[0]
    assert "gives probabilities." in said(found)


def test_tensorflow_serving_lists_no_models() -> None:
    with serving(table(tensorflow({}, {}))) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.dialect == "predict"
    assert f"`counterclone init {served.url}/v1/models/NAME`" in said(found)


@pytest.mark.parametrize("dim", [["99999999"] * 3, ["2"] * 17])
def test_a_row_that_is_too_large_is_not_asked(dim: list[str]) -> None:
    with serving(table(tensorflow({"x": dims("-1", *dim)}, {}))) as served:
        assert settled(discovery.probe(f"{served.url}/v1/models/iris")).target.scores == ""
    assert served.queries == []
