"""Answers of language models and encoders through the guard: what leaves, what is refused, what is journalled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.testing.llm_server import LlmServer

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Model, Reply

CHAT = "/v1/chat/completions"
SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the cat?"}]
ASKED: dict[str, Any] = {"model": "toy", "messages": SAID}
TOLD = ASKED | {"logprobs": True, "top_logprobs": 3}
BIASED = ASKED | {"logit_bias": {"3": 100}}
POLICY = '[[guard.policy]]\nkind = "logprobs"\ntop = 2\ndecimals = 1\n'


def logprobs(reply: Reply) -> Any:
    return reply.json["choices"][0]["logprobs"]


@pytest.mark.parametrize("dialect", ["", '[target]\ndialect = "openai"\n'])
def test_the_format_is_found_from_the_path(guarded: Build, dialect: str) -> None:
    guard = guarded(LlmServer(), dialect + POLICY)
    assert [len(each["top_logprobs"]) for each in logprobs(guard.ask(TOLD, path=CHAT))["content"]] == [2] * 8
    assert guard.ask({"model": "toy", "input": "a"}, path="/v1/embeddings").status == 502
    assert guard.ask({"instances": [[1.0]]}, path="/v1/completions").status == 400
    assert {row["dialect"] for row in guard.exchanges()} == {"openai"}


def test_unknown_fields_stay_byte_for_byte(guarded: Build, answering: Model) -> None:
    body = (b'{"x": 1.50, "choices": [{"y": 1e2,"logprobs": {"content": [{"token": "a", "logprob": -0.123,'
            b' "top_logprobs": []}], "z":  3}, "message": {"content": "\\u00fc", "tool_calls": [ 1.0 ]}}]}')
    reply = guarded(answering(body), POLICY).ask(TOLD, path=CHAT)
    for kept in (b'"x":1.50', b'"y":1e2', b'"content":"\\u00fc"', b'"tool_calls":[ 1.0 ]', b'"z":3'):
        assert kept in reply.body
    assert b'"logprob":-0.1,' in reply.body
    assert reply.headers[b"content-length"] == b"%d" % len(reply.body)
    plain = b'{"choices": [ {"message": {"content": "a"}, "logprobs": null} ], "x": 1.50}'
    assert guarded(answering(plain), POLICY).ask(TOLD, path=CHAT).body == plain


@pytest.mark.parametrize(("settings", "problem"), [
    ('[[guard.policy]]\nkind = "rounding"\ndecimals = 2\n', "log-probabilities and no policy is for them"),
    ('[[guard.policy]]\nkind = "quantise"\n', "the owner can add `logprobs`")])
def test_numbers_that_no_policy_is_for_do_not_leave(guarded: Build, settings: str, problem: str) -> None:
    guard = guarded(LlmServer(), settings)
    reply = guard.ask(TOLD, path=CHAT)
    assert reply.status == 502
    assert problem in reply.json["error"]["message"]
    assert guard.ask(ASKED, path=CHAT).status == 200
    assert b'"answer_not_cleaned"' in guard.ask(TOLD | {"stream": True}, path=CHAT).body


def test_probabilities_that_no_policy_is_for_do_not_leave(guarded: Build, classifier: Any) -> None:
    guard = guarded(classifier, POLICY)
    assert guard.ask({"instances": [[1.0, 2.0, 3.0, 4.0]]}).status == 502


def test_labels_leave_text_alone(guarded: Build) -> None:
    guard = guarded(LlmServer(), '[[guard.policy]]\nkind = "labels"\n')
    reply = guard.ask(TOLD, path=CHAT)
    assert logprobs(reply) is None
    assert reply.json["choices"][0]["message"]["content"]


def test_a_bias_takes_the_log_probabilities_away(guarded: Build) -> None:
    guard = guarded(LlmServer(), POLICY)
    assert logprobs(guard.ask(TOLD | BIASED, path=CHAT)) is None
    streamed = guard.ask(TOLD | BIASED | {"stream": True}, path=CHAT).body
    assert b'"logprob"' not in streamed
    assert streamed.endswith(b"data: [DONE]\n\n")


# Rules

def test_both_are_refused_in_the_clients_shape(guarded: Build) -> None:
    server = LlmServer()
    guard = guarded(server, '[[guard.rule]]\nkind = "logprob_bias"\n')
    reply = guard.ask(TOLD | BIASED, path=CHAT)
    assert (reply.status, reply.json["error"]["code"]) == (400, "query_refused")
    assert server.seen == []


def test_other_accounts_are_seen_and_a_changed_file_forgets_nothing(guarded: Build) -> None:
    guard = guarded(LlmServer(), '[[guard.rule]]\nkind = "logprob_bias"\n')
    assert guard.ask(BIASED, path=CHAT, key="ann").status == 200
    assert guard.ask(TOLD, path=CHAT, key="bob").status == 400
    toml = guard.folder / "counterclone.toml"
    toml.write_text(toml.read_text() + '[[guard.policy]]\nkind = "logprobs"\n')
    guard.guard.refresh(force=True)
    assert guard.ask(TOLD, path=CHAT, key="bob").status == 400
    assert guard.ask(TOLD | {"messages": SAID[1:]}, path=CHAT, key="bob").status == 200


def test_log_probabilities_are_stripped_from_the_request(guarded: Build) -> None:
    server = LlmServer()
    guard = guarded(server, '[[guard.rule]]\nkind = "logprob_bias"\nmode = "strip"\n')
    reply = guard.ask(TOLD | BIASED | {"x": [1.0]}, path=CHAT)
    assert logprobs(reply) is None
    assert server.seen == [BIASED | {"logprobs": False, "top_logprobs": None, "x": [1.0]}]
    asked = {"model": "toy", "prompt": "a", "logprobs": 3, "logit_bias": {"3": 1}}
    assert logprobs(guard.ask(asked, path="/v1/completions")) is None
    assert server.seen[-1]["logprobs"] is None


def test_many_answers_at_once_are_refused(guarded: Build) -> None:
    guard = guarded(LlmServer(), '[[guard.rule]]\nkind = "sampling"\nrepeats_max = 1\n')
    assert guard.ask(ASKED | {"n": 128}, path=CHAT).status == 400
    assert [guard.ask(ASKED | {"temperature": 0}, path=CHAT).status for _ in range(2)] == [200, 400]


def test_each_of_several_answers_counts(guarded: Build) -> None:
    guard = guarded(LlmServer(), "[guard]\nlimit_queries_per_minute = 5\n")
    assert [guard.ask(ASKED | {"n": n}, path=CHAT).status for n in (3, 3, 2, 1)] == [200, 429, 200, 429]
    assert guard.ask(ASKED | {"n": 128}, path=CHAT, key="bob").status == 429


# Prompts and the journal

def test_a_long_prompt(guarded: Build) -> None:
    guard = guarded(LlmServer(), POLICY)
    assert guard.ask({"model": "toy", "prompt": "word " * 1_900_000}, path="/v1/completions").status == 200
    assert guard.ask({"model": "toy", "prompt": "word " * 2_100_000}, path="/v1/completions").status == 413


def test_conversations_are_journalled_by_what_is_new_in_them(guarded: Build) -> None:
    guard = guarded(LlmServer(), "[journal]\npayloads = true\n" + POLICY)
    longer = [*SAID[:1], {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, SAID[1]]
    parts = [{"role": "user", "content": [{"type": "text", "text": "Where is the cat?"}]}]
    for messages in (SAID, longer, parts, [{"role": "user", "content": "Where is the dog?"}]):
        guard.ask(ASKED | {"messages": messages}, path=CHAT)
    rows = guard.exchanges()
    vectors = [row["vector"] for row in rows]
    assert vectors[0] == vectors[1] == vectors[2] != vectors[3]
    assert len({row["digest"] for row in rows}) == 4
    assert json.loads(rows[1]["payload"])["query"] == {"messages": longer}
    assert {row["model"] for row in rows} == {"toy"}
    assert all(row["bits"] > 0 for row in rows)


def test_bits_of_rounded_numbers(guarded: Build) -> None:
    bits = []
    for settings in ("", POLICY, '[[guard.policy]]\nkind = "labels"\n'):
        guard = guarded(LlmServer(), settings)
        guard.ask(TOLD, path=CHAT)
        bits.append(guard.exchanges()[0]["bits"])
    text = 8 * len("".join(each["token"] for each in _tokens()).encode())
    assert bits[0] > bits[1] > bits[2] == text
    assert bits[1] == pytest.approx(text + 8 * 3 * np.log2(1e5), rel=1e-6)


def _tokens() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = LlmServer().chat(TOLD)["choices"][0]["logprobs"]["content"]
    return content


def test_an_encoded_answer_is_one_that_nobody_reads(guarded: Build, answering: Model) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
    assert guarded(answering(b"\x1f\x8b", headers=headers), POLICY).ask(TOLD, path=CHAT).status == 502
    assert guarded(answering(b"x"), POLICY).ask(TOLD, path=CHAT).json["error"]["type"] == "server_error"
