from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest

from counterclone.answers import Answer
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects.openai import Openai
from counterclone.protocols import Body
from counterclone.queries import Sampling
from counterclone.speech import Logprobs, Speech, Usage
from counterclone.testing import check_dialect
from counterclone.testing.llm_server import LlmServer, _embeddings

OPENAI = Openai()
JSON = {b"content-type": b"application/json"}
SAID = [{"role": "user", "content": "Where is the cat?"}]
SERVER = LlmServer()
BY_OBJECTS = LlmServer(columns=False)
CHAT = {"model": "toy", "messages": SAID, "logprobs": True, "top_logprobs": 2, "n": 2, "temperature": 0.0,
        "logit_bias": {"7": -3.0}, "max_tokens": 2}
COMPLETION = {"model": "toy", "prompt": ["a", "b"], "logprobs": 3, "max_tokens": 2}
RESPONSE = {"model": "toy", "input": "The cat", "include": ["message.output_text.logprobs"], "top_logprobs": 3,
            "max_output_tokens": 2}
COLUMNS = {"tokens": ["a", "b"], "token_logprobs": [None, -1.25], "top_logprobs": [None, {"b": -1.25, "c": -3.5}]}
EMBEDDING = {"model": "toy", "input": ["a", "b"]}


def body(document: object) -> Body:
    return Body(document if isinstance(document, bytes) else orjson.dumps(document), JSON)


def sampling(**fields: object) -> Sampling:
    found = OPENAI.read_query(body({"messages": SAID, **fields}), "").sampling
    assert found is not None
    return found


def read(document: object) -> Answer:
    return OPENAI.read_answer(body(document), 1, "")


def speech(document: object) -> Speech:
    found = read(document).speech
    assert found is not None
    return found


@pytest.mark.parametrize(("request_", "answer", "n_rows"), [
    (CHAT, SERVER.chat(CHAT), 1), (COMPLETION, SERVER.completion(COMPLETION), 2),
    (COMPLETION, BY_OBJECTS.completion(COMPLETION), 2), (RESPONSE, SERVER.response(RESPONSE), 1),
    (EMBEDDING, _embeddings(EMBEDDING), 2), (EMBEDDING, _embeddings(EMBEDDING | {"encoding_format": "base64"}), 2),
], ids=["chat", "columns", "objects", "response", "embeddings", "base64"])
def test_laws(request_: dict[str, Any], answer: dict[str, Any], n_rows: int) -> None:
    check_dialect(OPENAI, request=body(request_), answer=body(answer), n_rows=n_rows)


@pytest.mark.parametrize("server", [SERVER, BY_OBJECTS])
def test_laws_of_events(server: LlmServer) -> None:
    for asked, events in ((CHAT, server.chat_events(CHAT)), (COMPLETION, server.completion_events(COMPLETION)),
                          (RESPONSE, server.response_events(RESPONSE))):
        whole = [event for event in events if isinstance(event, dict)]
        check_dialect(OPENAI, request=body(asked), answer=body(whole[1]), n_rows=2 if asked is COMPLETION else 1)


@pytest.mark.parametrize(("path", "model"), [
    ("/v1/chat/completions", ""), ("/chat/completions", ""), ("/api/v1/completions", ""), ("/v1/embeddings", ""),
    ("/v1/responses", ""), ("/openai/deployments/gpt/chat/completions", "gpt"), ("/v1/messages", None),
    ("/v1/models", None), ("/predict", None), ("/v1/responses/resp_1", None), ("/v1/chat/completions/", None)])
def test_paths(path: str, model: str | None) -> None:
    assert OPENAI.model("POST", path) == model
    assert OPENAI.model("GET", path) is None


# Requests

@pytest.mark.parametrize(("fields", "rows"), [
    ({"messages": SAID}, [{"messages": SAID}]), ({"prompt": "a"}, ["a"]), ({"prompt": ["a", "b"]}, ["a", "b"]),
    ({"prompt": [1, 2]}, [{"tokens": [1, 2]}]), ({"input": [[1, 2], [3]]}, [{"tokens": [1, 2]}, {"tokens": [3]}]),
    ({"input": SAID, "prompt": None}, [{"messages": SAID}]),
    ({"input": "a", "instructions": "b"}, [{"messages": [
        {"role": "system", "content": "b"}, {"role": "user", "content": "a"}]}]),
    ({"input": SAID, "instructions": "b"}, [{"messages": [{"role": "system", "content": "b"}, *SAID]}]),
    ({"input": [1], "instructions": "b"}, [{"instructions": "b", "input": {"tokens": [1]}}])])
def test_rows(fields: dict[str, object], rows: list[object]) -> None:
    query = OPENAI.read_query(body({"model": "toy", **fields}), "")
    assert list(query.values) == rows
    assert query.features is None
    assert query.model == "toy"
    assert len(query.cells) == len(rows)


@pytest.mark.parametrize("fields", [
    {}, {"messages": []}, {"messages": SAID, "prompt": "a"}, {"prompt": ["a", 1]}, {"prompt": [[]]}, {"input": 1},
    {"prompt": "a", "n": "5"}, {"prompt": "a", "n": True}, {"prompt": "a", "n": 1.5}, {"prompt": "a", "n": 2**40},
    {"prompt": "a", "logprobs": "5"}, {"prompt": "a", "temperature": "0"},
    {"prompt": "a", "logit_bias": {"1": "x"}}, {"prompt": "a", "logit_bias": 3},
    {"input": "a", "background": True}])
def test_what_could_be_read_in_two_ways_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UnknownFormat, match="; "):
        OPENAI.read_query(body(fields), "")


def test_what_is_asked_beside_the_text() -> None:
    assert sampling() == Sampling()
    assert sampling(logprobs=False, top_logprobs=None, logit_bias=None, seed=None) == Sampling()
    assert sampling(logprobs=True).logprobs == 0
    assert sampling(logprobs=True, top_logprobs=5).logprobs == 5
    assert sampling(logprobs=0).logprobs == 0
    assert sampling(prompt_logprobs=0).logprobs == 0
    assert sampling(n_probs=7).logprobs == 7
    assert sampling(include=["message.output_text.logprobs"]).logprobs == 0
    assert sampling(logit_bias={"5": 100, "7": -100.0}).bias == {"5": 100.0, "7": -100.0}
    assert sampling(logit_bias=[[5, 1.5], [" cat", False]]).bias == {"5": 1.5, " cat": -100.0}
    assert sampling(allowed_token_ids=[3, 4]).bias == {"3": 100.0, "4": 100.0}
    assert sampling(n=128, best_of=200) == Sampling(n=128, best_of=200)
    assert sampling(temperature=0).is_repeatable
    assert sampling(seed=1).is_repeatable
    assert sampling(max_tokens=5, max_completion_tokens=9).max_tokens == 9


# Answers

def test_two_answers_and_their_counts() -> None:
    found = speech(SERVER.chat(CHAT))
    assert [each.name for each in found.said] == ["choices/0", "choices/1"]
    assert found.usage == Usage(5, 8)
    assert found.logprobs is not None
    assert found.logprobs.top.shape == (4, 2)


@pytest.mark.parametrize("usage", [
    None, "a", [], {"prompt_tokens": -1, "completion_tokens": 1.5},
    {"prompt_tokens": "3", "completion_tokens": None}, {"prompt_tokens": 10**15, "completion_tokens": 2**62}])
def test_counts_that_can_not_be_true_are_no_counts(usage: object) -> None:
    assert speech({"choices": [], "usage": usage}).usage == Usage()


def test_null_and_infinite_log_probabilities() -> None:
    found = speech({"choices": [{"text": "ab", "logprobs": COLUMNS}]}).logprobs
    assert found is not None
    np.testing.assert_array_equal(found.chosen, [math.nan, -1.25])
    np.testing.assert_array_equal(found.top, [[math.nan, math.nan], [-1.25, -3.5]])
    infinite = (b'{"choices": [{"message": {"content": "is -Infinity, so"}, "logprobs": {"content": [{"token":'
                b' "a", "logprob": -Infinity, "top_logprobs": []}]}}]}')
    answer = read(infinite)
    assert answer.speech is not None
    assert answer.speech.logprobs is not None
    assert answer.speech.logprobs.chosen.tolist() == [-9999.0]
    none = OPENAI.write_answer(answer.with_speech(answer.speech._replace(logprobs=None)), {}).content
    assert orjson.loads(none)["choices"][0] == {"message": {"content": "is -Infinity, so"}, "logprobs": None}


def test_unwritten_numbers_stay_null() -> None:
    answer = read({"choices": [{"text": "ab", "logprobs": COLUMNS}]})
    assert answer.speech is not None
    told = answer.speech.logprobs
    assert told is not None
    top = told.top.copy()
    top[1, 1] = math.nan
    fewer = answer.speech._replace(logprobs=Logprobs(told.chosen, top))
    written = OPENAI.write_answer(answer.with_speech(fewer), {})
    assert orjson.loads(written.content)["choices"][0]["logprobs"] == {
        "tokens": ["a", "b"], "token_logprobs": [None, -1.25], "top_logprobs": [None, {"b": -1.25}]}


def test_tokens_with_more_and_with_fewer_likeliest_ones() -> None:
    def told(*numbers: float) -> list[dict[str, object]]:
        return [{"token": f"w{number}", "logprob": number} for number in numbers]

    def document(*tops: list[dict[str, object]] | None) -> dict[str, Any]:
        entries = [{"token": "a", "logprob": -1.0, "top_logprobs": top} for top in tops]
        return {"choices": [{"text": "", "logprobs": {"content": entries[:2], "refusal": entries[2:]}}]}

    answer = read(document(told(-1, -2, -3), None, told(-5, -6)))
    assert answer.speech is not None
    found = answer.speech.logprobs
    assert found is not None
    nan = math.nan
    np.testing.assert_array_equal(found.top, [[-1, -2, -3], [nan, nan, nan], [-5, -6, nan]])
    shown = found._replace(top=np.where(found.top < -2, nan, found.top))
    written = OPENAI.write_answer(answer.with_speech(answer.speech._replace(logprobs=shown)), {})
    assert orjson.loads(written.content) == document(told(-1, -2), None, [])


@pytest.mark.parametrize("choice", [
    {"logprobs": {"content": [{"token": "a", "prob": 0.5, "logprob": -0.7, "top_logprobs": []}]}},
    {"logprobs": {"content": [{"token": "a"}]}}, {"logprobs": {"content": ["a"]}},
    {"logprobs": {"content": [{"token": "a", "logprob": "x"}]}},
    {"logprobs": {"tokens": ["a"], "token_logprobs": [{}]}}, {"logprobs": {"logits": [1.5]}},
    {"logprobs": [{"token": "a", "logprob": []}]}])
def test_strange_log_probabilities_can_not_be_read(choice: dict[str, object]) -> None:
    with pytest.raises(AnswerError, match="log-probabilities"):
        read({"choices": [choice]})


def test_numbers_in_other_shapes_are_seen() -> None:
    hiding: list[dict[str, Any]] = [
        {"choices": [{"text": "a", "prompt_logprobs": [None, {"5": {"logprob": -1.5}}]}]},
        {"logprobs": [{"logprob": -1.5}]}, {"choices": [{"message": {"logits": [1.5]}}]},
        {"type": "response.completed", "response": {"output": [], "probability": 0.5}}]
    plain: list[dict[str, Any]] = [
        {"top_logprobs": 5, "choices": []}, {"response": {"output": [], "top_logprobs": 0}},
        {"choices": [{"text": "a", "prompt_logprobs": None, "logits": []}]}, {"logprobs": True}]
    assert [speech(document).hides for document in hiding] == [True] * 4
    assert [speech(document).hides for document in plain] == [False] * 4
    answer = read(b'{"prompt_logprobs": [{"5": 1.5}], "x": 1.50, "choices": []}')
    assert answer.speech is not None
    written = OPENAI.write_answer(answer.with_speech(answer.speech._replace(hides=False)), {}).content
    assert written == b'{"prompt_logprobs":null,"x":1.50,"choices":[]}'


def test_a_vector_that_is_none() -> None:
    for embedding in ("not base64!", [1.0, None], {"a": 1}, [[1.0]], "AAA="):
        with pytest.raises(AnswerError, match="embedding"):
            read({"data": [{"embedding": embedding}, {"embedding": [1.0, 2.0]}]})


def test_errors() -> None:
    error = orjson.loads(OPENAI.error(429, "rate_limit_exceeded", "wait"))
    assert error == {"error": {"message": "wait", "type": "rate_limit_error", "param": None,
                               "code": "rate_limit_exceeded"}}
