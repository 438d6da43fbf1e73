"""Health and metrics as a small ASGI app, for a port that the public doesn't reach."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from counterclone.guard import asgi

PATHS = ("/livez", "/readyz", "/healthz", "/metrics")


class Admin:
    """`/livez`, `/readyz` (also `/healthz`) and `/metrics`.

    Args:
        registry: what `/metrics` shows, in the OpenMetrics text format.
        troubles: what doesn't work just now, in words; the guard serves all the same.
        blockers: why requests should go elsewhere, in words; any of them makes `/readyz` a 503.
        console: answers all other paths, None for nobody.
    """

    def __init__(self, registry: CollectorRegistry, troubles: Callable[[], list[str]],
                 blockers: Callable[[], list[str]] = list, console: asgi.App | None = None) -> None:
        self._registry = registry
        self._troubles = troubles
        self._blockers = blockers
        self._console = console

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            return
        if self._console is not None and scope["path"] not in PATHS:
            await self._console(scope, receive, send)
            return
        status, kind, body = self._answer(scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path:
            case "/livez":
                return 200, "text/plain", b"alive\n"
            case "/readyz" | "/healthz":
                blockers = self._blockers()
                return 503 if blockers else 200, "application/json", orjson.dumps(
                    {"ready": not blockers, "troubles": [*blockers, *self._troubles()]})
            case "/metrics":
                text: bytes = generate_latest(self._registry)  # type: ignore[no-untyped-call]
                return 200, CONTENT_TYPE_LATEST, text
        return 404, "text/plain", b"there is /livez, /readyz and /metrics\n"
