"""The ASGI 3 types, and the headers of a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

STALE_AFTER_EDIT = frozenset({b"content-length", b"transfer-encoding", b"etag", b"content-md5", b"digest",
                              b"content-digest", b"repr-digest"})
"""Answer headers that say something about the exact bytes."""

SINGLE = frozenset({b"host", b"authorization", b"x-api-key", b"content-type", b"content-encoding",
                    b"inference-header-content-length"})
"""Request headers of which servers read one, some the first and some the last."""


def sent_twice(headers: Headers) -> bytes:
    """A header that is there twice and could so be read in two ways, b"" where none is."""
    names = [name for name, _ in headers if name in SINGLE]
    return b"" if len(names) == len(set(names)) else next(name for name in names if names.count(name) > 1)


def app_path(scope: Scope) -> str:
    """The path as the app's own routes have it: without the prefix that it is mounted at."""
    return path_below(scope["path"], scope.get("root_path", ""))


def path_below(path: str, root: str) -> str:
    """A path without the prefix that the app is mounted at."""
    return path[len(root):] if root and path.startswith(root + "/") else path


async def whole_body(receive: Receive) -> bytes:
    """The body of a request, of any length: for servers of our own."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)
