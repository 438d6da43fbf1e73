"""The guard as pure ASGI 3: no task and no queue for a request.

The middleware holds options only; what belongs to a request lives in its responder.
"""

from __future__ import annotations

from collections.abc import Callable

from counterclone.guard import asgi
from counterclone.guard.options import Options
from counterclone.guard.responder import Responder

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
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] != "http" or scope["method"] in SAFE_METHODS or not self._guards(scope):
            await self._app(scope, receive, send)
        else:
            await Responder(self._app, self.options, scope, receive, send).respond()

    def _guards(self, scope: asgi.Scope) -> bool:
        """Whether the path is guarded, as the server or as the app sees it."""
        return self.options.guards(scope["path"]) or self.options.guards(asgi.app_path(scope))

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
