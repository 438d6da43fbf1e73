"""Language models behind URLs: what they are asked, and which texts are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from counterclone.errors import ConfigError, TargetError, TargetUnreachable

if TYPE_CHECKING:
    from tests.targets.conftest import Api

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
ONE_MODEL = {"object": "list", "data": [{"id": "m", "object": "model"}]}


def choices(*texts: str, order: int = 1) -> dict[str, Any]:
    found = [{"index": place, "text": text, "finish_reason": "stop"} for place, text in enumerate(texts)]
    return {"id": "c", "object": "text_completion", "model": "m", "choices": found[::order]}


def said(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def ask(api: Api, prompts: list[str], path: str = COMPLETIONS, **endpoint: Any) -> list[str]:
    reply, = api.ask(prompts, path=path, dialect="openai", **endpoint)
    assert reply.rows.shape == (len(prompts), 0)
    assert reply.texts is not None
    return list(reply.texts)


def test_prompts_are_completed_together_and_texts_are_put_in_order(api: Api) -> None:
    api.metadata, api.steps = ONE_MODEL, [choices("one", "", "thrée", order=-1)]
    assert ask(api, ["a", "b", "c"]) == ["one", "", "thrée"]
    assert api.documents == [{"model": "m", "prompt": ["a", "b", "c"], "max_tokens": 500, "temperature": 1.0}]
    assert api.headers["user-agent"] == "counterclone"


def test_many_prompts_are_several_requests(api: Api) -> None:
    api.metadata = ONE_MODEL
    api.steps = [choices(*map(str, range(10))), choices(*map(str, range(10, 20)))]
    assert ask(api, ["x"] * 20) == [str(number) for number in range(20)]
    assert api.requests == 2


def test_a_chat_has_one_prompt_and_thoughts_are_no_text(api: Api) -> None:
    api.steps = [said(content="one", reasoning_content="hm"), said(content=None),
                 said(content=[{"type": "text", "text": "th"}, {"type": "text", "text": "ree"}])]
    assert ask(api, ["a", "b", "c"], CHAT, model="other") == ["one", "", "three"]
    assert [each["messages"] for each in api.documents] == [[{"role": "user", "content": text}] for text in "abc"]
    assert {each["model"] for each in api.documents} == {"other"}


def test_the_models_are_listed_with_the_key(api: Api) -> None:
    api.metadata, api.steps = ONE_MODEL, [429, choices("one")]
    assert ask(api, ["a"], api_key="secret") == ["one"]
    assert api.headers["authorization"] == api.listed_with["authorization"] == "Bearer secret"


@pytest.mark.parametrize(("metadata", "message"), [
    ({"data": [{"id": "m"}, {"id": "n"}]}, "has the models m, n; name one with --model"),
    ({"data": []}, "has the models none"),
])
def test_several_models_need_a_name(api: Api, metadata: Any, message: str) -> None:
    api.metadata = metadata
    with pytest.raises(ConfigError, match=message):
        ask(api, ["a"])


def test_a_server_that_lists_nothing_is_told(api: Api) -> None:
    api.metadata = {"models": []}
    with pytest.raises(TargetUnreachable, match="no metadata with `data`"):
        ask(api, ["a"])


def test_another_route_is_told(api: Api) -> None:
    with pytest.raises(ConfigError, match="is no route where texts are written; expected an address such as"):
        ask(api, ["a"], "/v1")


@pytest.mark.parametrize("answer", [
    choices("one"), choices("one", "two", "three"), {"choices": []}, {"predictions": [[0.5, 0.5]]},
    {"output": [{"type": "message", "content": [{"type": "output_text", "text": "one"}]}]},
], ids=["too few", "too many", "none", "others", "another route's"])
def test_answers_without_a_text_for_each_prompt_are_refused(api: Api, answer: Any) -> None:
    api.metadata, api.steps = ONE_MODEL, [answer]
    with pytest.raises(TargetError, match="expected `choices` with one for each"):
        ask(api, ["a", "b"])
