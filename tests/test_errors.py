from __future__ import annotations

import inspect
import re

import pytest

from counterclone import errors
from counterclone.errors import (
    ConfigError,
    CountercloneError,
    LimitExceeded,
    Refused,
    RequestError,
    TooLarge,
    Unauthenticated,
    UnknownFormat,
)

DRAWN = re.compile(r"^([│├└─ ]*)([A-Z]\w+)(?: +(.*))?$")


def drawn_tree() -> dict[str, tuple[str, str]]:
    """Each class in the module's drawing, with its parent and its note."""
    tree: dict[str, tuple[str, str]] = {}
    parents = {-1: "Exception"}
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if found := DRAWN.match(line):
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            tree[found[2]] = parents[depth - 1], found[3] or ""
    return tree


def real_tree() -> dict[str, str]:
    return {name: value.__bases__[0].__name__ for name, value in vars(errors).items()
            if inspect.isclass(value) and value.__module__ == errors.__name__}


def test_the_drawing_has_every_class_under_its_parent() -> None:
    assert {name: parent for name, (parent, _) in drawn_tree().items()} == real_tree()


def test_the_drawing_has_the_statuses() -> None:
    for name, (_, note) in drawn_tree().items():
        error = getattr(errors, name)
        if issubclass(error, RequestError) and error is not RequestError:
            assert note.startswith(str(error.status)), name


def test_every_class_says_what_it_means() -> None:
    assert all(getattr(errors, name).__doc__ for name in real_tree())


@pytest.mark.parametrize("error", [RequestError, Unauthenticated, UnknownFormat, Refused, TooLarge],
                         ids=lambda error: error.__name__)
def test_a_request_error_has_status_and_code(error: type[RequestError]) -> None:
    assert 400 <= error.status < 500
    assert re.fullmatch(r"[a-z_]+", error.code)
    assert str(error("why")) == "why"


def test_codes_differ() -> None:
    found = [error.code for error in (RequestError, Unauthenticated, UnknownFormat, Refused, TooLarge,
                                      LimitExceeded)]
    assert len(set(found)) == len(found)


def test_a_config_error_lists_its_problems() -> None:
    error = ConfigError("first", "second")
    assert error.problems == ("first", "second")
    assert str(error) == "first\nsecond"


@pytest.mark.parametrize("wait", [2.5, None], ids=["soon", "never"])
def test_a_limit_says_how_long_to_wait(wait: float | None) -> None:
    error = LimitExceeded("over", limit="limit_queries_per_day", quota=10.0, period_seconds=86_400.0,
                          retry_after_seconds=wait)
    assert (error.limit, error.quota, error.period_seconds) == ("limit_queries_per_day", 10.0, 86_400.0)
    assert error.retry_after_seconds == wait
    assert (error.status, str(error)) == (429, "over")


def test_everything_is_caught_as_one() -> None:
    assert all(issubclass(getattr(errors, name), CountercloneError) for name in real_tree())
