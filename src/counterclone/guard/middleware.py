"""The guard as pure ASGI 3: no task and no queue for a request.

The middleware holds options only; what belongs to a request lives in its responder.
"""

from __future__ import annotations

from counterclone.guard import asgi
from counterclone.guard.options import Options
from counterclone.guard.responder import Responder

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Middleware:
    """Guards every inference request of an ASGI app; everything else passes through untouched."""

    def __init__(self, app: asgi.App, options: Options) -> None:
        self._app = app
        self._options = options

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
        elif scope["type"] != "http" or scope["method"] in SAFE_METHODS or not self._guards(scope):
            await self._app(scope, receive, send)
        else:
            await Responder(self._app, self._options, scope, receive, send).respond()

    def _guards(self, scope: asgi.Scope) -> bool:
        """Whether the path is guarded, as the server or as the app sees it."""
        return self._options.guards(scope["path"]) or self._options.guards(asgi.app_path(scope))

    def _closing(self, send: asgi.Send) -> asgi.Send:
        """Flush the journal before the server is told that shutdown is complete."""
        journal = self._options.journal

        async def closing(message: asgi.Message) -> None:
            if journal is not None and message["type"].startswith("lifespan.shutdown."):
                journal.close()
            await send(message)

        return closing
