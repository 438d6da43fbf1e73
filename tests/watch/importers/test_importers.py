from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from counterclone.journal import Line, Lines, read_lines
from counterclone.randomness import Prf
from counterclone.watch import sources
from counterclone.watch.importers import Format, kserve, translation

NAMES = Prf.from_secret("tests")
NOON = 1_764_158_400.0


def read(path: Path, *records: Any, form: Format = "auto") -> tuple[list[Line], Lines]:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    lines = read_lines(path, translation(form, NAMES, path))
    return list(lines), lines


def one(path: Path, *records: Any, form: Format = "auto") -> Line:
    (line,), _ = read(path, *records, form=form)
    return line


def reason(path: Path, *records: Any, form: Format) -> str:
    found, lines = read(path, *records, form=form)
    assert (found, lines.n_skipped) == ([], 1)
    return lines.skipped[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


# LiteLLM

LITELLM: dict[str, Any] = {
    "id": "chatcmpl-1", "call_type": "acompletion", "status": "success", "startTime": NOON, "endTime": NOON + 2.5,
    "model": "m", "end_user": "", "requester_ip_address": "10.0.0.7",
    "metadata": {"user_api_key_hash": "88dc28d0f03", "user_api_key_user_id": "alice", "user_agent": "curl/8"},
    "messages": [{"role": "user", "content": "hi"}],
    "response": {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}}


def test_a_call_of_litellm(path: Path) -> None:
    line = one(path, LITELLM)
    assert (line.time, line.account) == (NOON + 2.5, "alice")
    assert line.query.messages == LITELLM["messages"]
    assert line.answer is not None
    assert line.answer.text == "hello"
    assert line.meta == {"ip": "10.0.0.7", "user_agent": "curl/8"}


@pytest.mark.parametrize(("change", "account"), [
    ({"end_user": "u9"}, "u9"),
    ({"metadata": {"user_api_key_hash": "88dc28d0f03"}}, "88dc28d0f03"),
    ({"metadata": None, "api_key": "sk-1234"}, f"key:{NAMES.digest(b'sk-1234', 8).hex()}"),
], ids=["end user", "hash", "key"])
def test_who_called_litellm(path: Path, change: dict[str, Any], account: str) -> None:
    assert one(path, {**LITELLM, **change}).account == account


def test_litellms_payload_may_be_wrapped_and_its_parts_may_be_text(path: Path) -> None:
    wrapped = {"standard_logging_object": {**LITELLM, "messages": "a prompt",
                                           "response": json.dumps(LITELLM["response"])}}
    line = one(path, wrapped)
    assert line.query.text == "a prompt"
    assert line.answer is not None
    assert line.answer.text == "hello"


def test_failed_calls_are_no_exchanges_and_no_faults(path: Path) -> None:
    found, lines = read(path, {**LITELLM, "status": "failure"}, LITELLM)
    assert (len(found), lines.n_skipped) == (1, 0)


def test_redacted_messages_are_faults(path: Path) -> None:
    redacted = {**LITELLM, "messages": [{"role": "user", "content": "redacted-by-litellm"}]}
    assert "logged no messages" in reason(path, redacted, form="litellm")


# OpenAI and vLLM

CHAT: dict[str, Any] = {
    "timestamp": "2025-11-26T12:00:00.123456789Z", "user": "bob", "status_code": 200,
    "request": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "response": {"created": 5, "choices": [{"message": {"content": "hello"}}]}}


def test_a_chat(path: Path) -> None:
    line = one(path, CHAT)
    assert line.time == pytest.approx(NOON + 0.123456)
    assert line.account == "bob"
    assert line.query.messages == CHAT["request"]["messages"]
    assert line.answer is not None
    assert line.answer.text == "hello"


def test_several_prompts_are_an_exchange_each(path: Path) -> None:
    found, _ = read(path, {**CHAT, "request": {"prompt": ["one", "two"]},
                           "response": {"choices": [{"text": "1"}, {"text": "2"}]}})
    assert [(line.query.text, line.answer.text) for line in found if line.answer] == [("one", "1"), ("two", "2")]


def test_an_embedding(path: Path) -> None:
    line = one(path, {**CHAT, "request": {"input": "one"}, "response": {"data": [{"embedding": [0.5, 1.0]}]}})
    assert line.answer is not None
    assert line.answer.vectors is not None
    assert line.answer.vectors.tolist() == [[0.5, 1.0]]


def test_an_answer_of_the_responses_api(path: Path) -> None:
    line = one(path, {**CHAT, "request": {"input": [{"role": "user", "content": "hi"}]}, "response": {
        "created_at": 5, "output": [{"content": [{"type": "output_text", "text": "hello"}]}]}})
    assert line.answer is not None
    assert line.answer.text == "hello"


@pytest.mark.parametrize(("change", "account"), [
    ({"request": {"prompt": "x", "user": "carol"}}, "carol"),
    ({"headers": {"X-User-Id": ["dave"]}}, "dave"),
    ({"headers": {"Authorization": "Bearer sk-1"}}, f"key:{NAMES.digest(b'sk-1', 8).hex()}"),
], ids=["body", "header", "key"])
def test_who_called(path: Path, change: dict[str, Any], account: str) -> None:
    record = {name: value for name, value in CHAT.items() if name != "user"}
    assert one(path, {**record, **change}).account == account


@pytest.mark.parametrize("change", [
    {"status_code": 429}, {"response": {"error": {"message": "no"}}},
    {"response": {"status_code": 500, "body": {}}},
], ids=["status", "error", "body"])
def test_failed_requests_are_no_exchanges(path: Path, change: dict[str, Any]) -> None:
    record = {name: value for name, value in CHAT.items() if name != "status_code"}
    found, lines = read(path, {**record, **change})
    assert (found, lines.n_skipped) == ([], 0)


@pytest.mark.parametrize(("record", "text"), [
    ({**CHAT, "user": None}, "says who called"),
    ({**CHAT, "timestamp": "yesterday"}, "yesterday"),
    ({**CHAT, "timestamp": True, "response": {}}, "its time is None"),
    ({**CHAT, "request": {"messages": "hi"}}, "aren't a list of objects"),
    ({**CHAT, "request": {}}, "no messages, prompt or input"),
], ids=["nobody", "no time", "true", "messages", "nothing"])
def test_what_is_bad_is_said(path: Path, record: dict[str, Any], text: str) -> None:
    assert text in reason(path, record, form="openai")


# KServe

def event(kind: str, data: Any, name: str = "e1", **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": f"org.kubeflow.serving.inference.{kind}", "id": name,
            "source": "http://localhost:9081/", "time": "2025-11-26T12:00:00.5Z", "data": data,
            "metadata": {"X-Account": ["erin"], "X-Real-Ip": ["10.0.0.8"]}, **more}


PREDICT = {"instances": [[6.8, 2.8], [6.0, 3.4]]}


def test_a_request_meets_its_response_whatever_comes_first(path: Path) -> None:
    halves = [event("request", PREDICT), event("response", {"predictions": [1, 2]})]
    for records in (halves, halves[::-1]):
        line = one(path, *records)
        assert (line.time, line.account, line.meta) == (NOON + 0.5, "erin", {"ip": "10.0.0.8"})
        assert line.query.features is not None
        assert line.query.features.tolist() == PREDICT["instances"]
        assert line.answer is not None
        assert line.answer.labels == [1, 2]


def test_tensors(path: Path) -> None:
    asked = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]},
                        {"name": "z", "shape": [2, 1], "datatype": "FP32", "data": [5.0, 6.0]}]}
    answer = {"outputs": [{"name": "label", "shape": [2], "datatype": "INT64", "data": [0, 1]},
                          {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [0.9, 0.1, 0.2, 0.8]}]}
    line = one(path, event("request", asked), event("response", answer))
    assert line.query.features is not None
    assert line.query.features.tolist() == [[1, 2, 5], [3, 4, 6]]
    assert line.answer is not None
    assert line.answer.scores is not None
    assert line.answer.scores.tolist() == [[0.9, 0.1], [0.2, 0.8]]


def test_images_are_flat_rows_and_texts_are_a_line_each(path: Path) -> None:
    line = one(path, event("request", {"instances": [[[1, 2], [3, 4]]]}),
               event("response", {"predictions": [[1.0]]}))
    assert line.query.features is not None
    assert line.query.features.tolist() == [[1, 2, 3, 4]]
    found, _ = read(path, event("request", {"instances": ["one", {"text": "two"}]}),
                    event("response", {"predictions": ["en", "de"]}))
    assert [line.query.text for line in found] == ["one", '{"text":"two"}']
    assert [line.answer.labels for line in found if line.answer] == [["en"], ["de"]]


def test_a_body_may_be_text_or_base64(path: Path) -> None:
    request = {**event("request", None), "data_base64": base64.b64encode(json.dumps(PREDICT).encode()).decode()}
    line = one(path, request, event("response", json.dumps({"predictions": [[0.1, 0.9], [1, 0]]})))
    assert line.answer is not None
    assert line.answer.scores is not None
    assert line.answer.scores.tolist() == [[0.1, 0.9], [1, 0]]


def test_what_lacks_its_other_half_is_said(path: Path) -> None:
    path.write_text(json.dumps(event("request", PREDICT)) + "\n")
    source = sources.find(path, NAMES)
    assert list(source.traffic()) == []
    problem, = source.problems
    assert problem == f"{path}: 1 events lack the request or the response of the same id; they are left out"


def test_waiting_events_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kserve, "WAITING_MAX", 2)
    found, _ = read(path, *(event("request", PREDICT, f"e{i}") for i in range(3)),
                    *(event("response", {"predictions": [1, 2]}, f"e{i}") for i in (1, 2)))
    assert len(found) == 2


@pytest.mark.parametrize(("records", "text"), [
    ([event("request", PREDICT, metadata={}), event("response", {})], "says who called"),
    ([event("request", []), event("response", {})], "`data` is no object"),
    ([event("request", {"inputs": [{"name": "x"}]}), event("response", {})], "without `data`"),
    ([event("request", PREDICT), event("response", {"predictions": [1]})], "`label` has 1 rows for the query's 2"),
    ([{"specversion": "1.0", "type": "else", "id": "x"}], "no event of KServe's"),
], ids=["nobody", "data", "tensor", "rows", "type"])
def test_bad_events_are_said(path: Path, records: list[Any], text: str) -> None:
    assert text in reason(path, *records, form="kserve")


# Which format

def test_lines_of_ours_stay_ours_whatever_their_answers_hold(path: Path) -> None:
    ours = {"time": 1, "account": "a", "query": {"messages": [{"role": "user", "content": "x"}]},
            "response": {"choices": []}}
    assert one(path, ours).time == 1.0


def test_bad_lines_at_the_start_do_not_decide(path: Path) -> None:
    found, lines = read(path, [], "text", LITELLM)
    assert (len(found), lines.n_skipped) == (1, 2)


@pytest.mark.parametrize("form", ["litellm", "openai", "kserve"])
@pytest.mark.parametrize("record", [
    None, [], {}, {"request": [], "messages": {}, "type": []}, {"id": {}, "data": 1}], ids=str)
def test_no_line_stops_it(path: Path, form: Format, record: Any) -> None:
    found, lines = read(path, record, form=form)
    assert (found, lines.n_skipped) == ([], 1)
