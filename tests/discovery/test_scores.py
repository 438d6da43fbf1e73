from __future__ import annotations

import gzip

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


@pytest.mark.parametrize(("answer", "name", "classes", "told"), [
    ([[0.25, 0.75]], "", 2, "the probabilities of 2 classes."),
    ({"predictions": [{"label": "cat", "probs": [0.5, 0.5]}]}, "predictions.probs", 2, "in 'predictions.probs'"),
    ({"predictions": [{"cat": 0.5, "dog": 0.25, "owl": 0.25}]}, "predictions.*", 3, "3 classes"),
    ({"a": [[0.5, 0.5]], "b": [[0.1, 0.9]]}, "", 2, "Several outputs hold probabilities: a, b"),
    ({"predictions": [[0.33, 0.33, 0.33]]}, "predictions", 3, "nearly probabilities"),
    ({"predictions": [[0.875]]}, "predictions", 2, "the probability of the positive class"),
    ({"predictions": [{"p": 0.875}]}, "predictions.p", 2, "the probability of the positive class"),
    ({"predictions": [3]}, "", None, "no scores, only labels or text"),
    ({"label": "cat"}, "", None, "no scores, only labels or text"),
    ({"predictions": [1.0]}, "", None, "no rows of probabilities"),
    ({"predictions": [[2.5, -1.0]]}, "", None, "no rows of probabilities"),
    ({"predictions": [[0.5, 0.5]], "logits": [[2.0, 2.0]]}, "predictions", 2, "output 'logits' holds the logits"),
    ({"predictions": [{"p": [0.5, 0.5], "z": [2.0, 2.0]}]}, "", None, "holds the logits"),
], ids=str)
def test_scores_are_found_as_the_guard_finds_them(answer: object, name: str, classes: int | None,
                                                  told: str) -> None:
    with serving(table(mlflow(Reply(answer)))) as served:
        found = discovery.probe(served.url)
    assert (settled(found).target.scores, found.scores.classes) == (name, classes)
    assert told in said(found)


@pytest.mark.parametrize("reply", [
    Reply(b"<html>", content_type="text/html"), Reply(b"", content_type="application/json"),
    Reply(b"{", content_type="application/json"), Reply(b"[" * 100_000, content_type="application/json"),
    Reply(gzip.compress(b'{"predictions": [[0.5, 0.5]]}'), content_type="application/json",
          content_encoding="gzip"),
    Reply(b'{"predictions": [[NaN, 0.5]]}', content_type="application/json"),
    Reply({"predictions": [[0.5, 0.5]], "pad": "x" * (2 << 20)}),
], ids=["html", "empty", "cut", "deep", "gzip", "nan", "long"])
def test_an_answer_that_cannot_be_read_shows_nothing(reply: Reply) -> None:
    with serving(table(mlflow(reply))) as served:
        found = discovery.probe(served.url)
    assert (settled(found).target.scores, found.scores.classes) == ("", None)
