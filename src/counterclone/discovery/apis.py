"""Where a server is probed, and what is known of its API before it is asked anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from counterclone import config
from counterclone.errors import ConfigError

LARGEST_QUERY = 1_000_000
"""Numbers in a query; for a declared shape with more none is made."""
MOST_SIDES = 16


class Address(NamedTuple):
    """What the user named: a server, a prefix on it, a model or an endpoint.

    Attributes:
        origin: scheme, host and port.
        path: "" or a path without a slash at its end.
    """

    origin: str
    path: str

    @property
    def url(self) -> str:
        """Both together."""
        return self.origin + self.path

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of a URL.

        Raises:
            ConfigError: it isn't one, or has a user, a query or a fragment.
        """
        if not url:
            raise ConfigError("URL is empty; expected an address such as http://127.0.0.1:9000")
        config.parse({"target": {"url": url}}, {}, "URL")
        parts = urlsplit(url)
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"))


class Ask(NamedTuple):
    """One harmless inference query.

    Attributes:
        url: where it is sent.
        content: a row of zeros, or an example that the API gives.
    """

    url: str
    content: bytes


class Api(NamedTuple):
    """An API that a server was found to speak.

    Attributes:
        dialect: the kind that reads it.
        url: what the gateway puts before a request's path.
        server: what it is, "" where it doesn't say.
        paths: shell patterns of what to guard.
        ask: the query that may show more, None where no query is known.
        about: what was found, in sentences.
        warnings: what the owner must know, likewise.
        ports: ports that its other services usually take.
        is_alone: whether the settings are for one model only.
    """

    dialect: str
    url: str
    server: str
    paths: tuple[str, ...] = ("*",)
    ask: Ask | None = None
    about: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    is_alone: bool = True


def fields(value: object) -> Mapping[str, Any]:
    """A JSON object's fields; none where a value isn't an object."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A JSON array's items; none where a value isn't an array."""
    return value if isinstance(value, list) else []


def zeros(value: object, shape: Sequence[object], room: int) -> list[Any] | None:
    """The flat values of a tensor for one row, all the same; None where they are more than `room`."""
    if len(shape) > MOST_SIDES:
        return None
    size = math.prod(sides(shape))
    return [value] * size if size <= room else None


def sides(shape: Sequence[object]) -> list[int]:
    """A declared shape for one row: what is -1, or else unknown, is 1."""
    return [side if type(side) is int and side > 0 else 1 for side in shape]
