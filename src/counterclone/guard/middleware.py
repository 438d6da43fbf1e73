"""The guard as pure ASGI 3: no task and no queue for a request.

The middleware holds options only; what belongs to a request lives in its responder.
"""

from __future__ import annotations

from collections.abc import Callable

from counterclone.guard import asgi
from counterclone.guard.admission import Admission
from counterclone.guard.options import Options
from counterclone.guard.responder import respond

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Middleware:
    """Guards every inference request of an ASGI app; everything else passes through untouched.

    Attributes:
        options: what is done to the next request; those under way keep theirs.
    """

    def __init__(self, app: asgi.App, options: Options, close: Callable[[], None]) -> None:
        """Stand before an app.

        Args:
            app: any ASGI 3 app.
            options: what is done to a request.
            close: called before the server is told that shutdown is complete.
        """
        self._app = app
        self.options = options
        self._close = close

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection."""
        kind, options, route = scope["type"], self.options, None
        if kind == "lifespan":
            await self._live(scope, receive, send)
            return
        if kind == "http" and (scope["method"] not in SAFE_METHODS or _has_body(scope["headers"])):
            route = options.route(scope["method"], scope["path"], scope.get("root_path", ""),
                                  scope.get("raw_path") or b"")
        if route is None:
            unnamed = options.naming.unnamed(scope) if kind == "http" and options.naming else scope
            await self._app(unnamed, receive, send)
        else:
            await respond(self._app, Admission(options, route, scope, receive), send)

    async def _live(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Pass the lifespan through, and live it in the place of an app that knows none.

        What is still to be written is written before the server is told that shutdown is complete.
        """
        is_known = False

        async def receiving() -> asgi.Message:
            nonlocal is_known
            is_known = True
            return await receive()

        async def closing(message: asgi.Message) -> None:
            nonlocal is_known
            is_known = True
            if message["type"].startswith("lifespan.shutdown."):
                self._close()
            await send(message)

        try:
            await self._app(scope, receiving, closing)
        except Exception:  # whatever it says of a scope that it doesn't know
            if is_known:
                raise
        if not is_known:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._close()
            await send({"type": "lifespan.shutdown.complete"})


def _has_body(headers: asgi.Headers) -> bool:
    """Whether a body comes with a request; some servers read one whatever the method."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
               for name, value in headers)
