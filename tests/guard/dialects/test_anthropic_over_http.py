"""Anthropic's own client, before a server of its API, bare and through the guard: the same objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from anthropic import Anthropic
from tests.guard.dialects.serving import Served, twice

if TYPE_CHECKING:
    from tests.guard.conftest import Build

OPEN = """
[target]
dialect = "anthropic"
"""
STRIPPED = OPEN + '[[guard.policy]]\nkind = "reasoning"\nmode = "strip"\n'
TOOLS: Any = [{"name": "weather", "input_schema": {"type": "object"}}]
SAID: Any = [{"role": "user", "content": "Where is the cat?"}]
Asked = Callable[[Anthropic], Any]


def message(model: str = "toy", **how: Any) -> Asked:
    return lambda client: client.messages.create(model=model, max_tokens=8, messages=SAID, **how)


CALLS: dict[str, Asked] = {
    "text": message(), "thinking": message("toy-thinking"), "tools": message(tools=TOOLS),
    "system": message(system="Be brief.")}


def client(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key="ann", max_retries=0)


@pytest.fixture(params=["", STRIPPED], ids=["no policy", "a policy"])
def both(guarded: Build, request: pytest.FixtureRequest) -> Iterator[Served]:
    with twice(guarded, request.param or OPEN) as served:
        yield served


def test_the_same_objects_bare_and_through_the_guard(both: Served) -> None:
    with client(both.bare) as bare, client(both.url) as through:
        for name in CALLS.keys() - {"thinking"}:
            assert CALLS[name](through) == CALLS[name](bare), name
        with through.messages.stream(model="toy", max_tokens=8, messages=SAID, tools=TOOLS) as stream:
            final = stream.get_final_message()
        assert final.content[0].text == message()(bare).content[0].text  # type: ignore[union-attr]
        assert final.content[1].input == {"city": "Köln", "days": 3}  # type: ignore[union-attr]
        assert final.usage.output_tokens == 8


def test_the_same_events_bare_and_through_the_guard(guarded: Build) -> None:
    with twice(guarded, OPEN) as both, client(both.bare) as bare, client(both.url) as through:
        for model in ("toy", "toy-thinking"):
            events = list(message(model, stream=True)(through))
            assert events == list(message(model, stream=True)(bare))
            assert len(events) > 10


def test_thoughts_are_kept_back(guarded: Build) -> None:
    with twice(guarded, STRIPPED) as both, client(both.bare) as bare, client(both.url) as through:
        whole, true = message("toy-thinking")(through), message("toy-thinking")(bare)
        assert (whole.content[0].thinking, whole.content[0].signature) == ("", "c2ln")
        assert whole.content[1] == true.content[1]
        with through.messages.stream(model="toy-thinking", max_tokens=8, messages=SAID) as stream:
            events = list(stream)
        assert [block.type for block in stream.get_final_message().content] == ["thinking", "text"]
        assert stream.get_final_message().content[1].text == whole.content[1].text  # type: ignore[union-attr]
        assert "Let" not in "".join(str(event) for event in events)


def test_the_key_of_its_clients_is_the_account(both: Served) -> None:
    with client(both.url) as through:
        message()(through)
        other = Anthropic(base_url=both.url, api_key=None, auth_token="ann", max_retries=0)
        message()(other)
        other.close()
        message()(through.with_options(api_key="bob"))
    names = [row["account"] for row in both.guarded.exchanges()]
    assert names[0] == names[1] != names[2]


def test_errors_are_the_clients_own(guarded: Build) -> None:
    with twice(guarded, OPEN + "[guard]\nlimit_queries_per_minute = 1\n") as both, client(both.url) as through:
        with pytest.raises(anthropic.NotFoundError, match="does not exist"):
            message("missing")(through)
        with pytest.raises(anthropic.BadRequestError, match="send a list of them"):
            through.messages.create(model="toy", max_tokens=8, messages=[])
        assert message()(through).content
        with pytest.raises(anthropic.RateLimitError) as limited:
            message()(through)
        assert limited.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
