"""The public port's connections: what uvicorn doesn't bound, a head's size and the patience with slow clients."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)

HEAD_BYTES = 1 << 16
"""The most of a request line and headers."""
_TOO_LONG = (b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
_FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """One connection of a client, that knows since when it keeps us waiting.

    Nothing here costs a timer for each request: the gateway looks over all connections once a second.
    """

    limit_connections = 10_000
    """How many may be open at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sending_since: float | None = None
        self._reading_since: float | None = None
        self._head_bytes: int | None = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._sending_since = self.loop.time()
        if len(self.connections) > self.limit_connections:
            transport.write(_FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes came; a head may have only so many."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._sending_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A request's head is whole."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole; whoever waits now is the client."""
        self._sending_since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._reading_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._reading_since = None
        super().resume_writing()

    def is_slow(self, patience_seconds: float) -> bool:
        """Whether the client has been sending one request, or not reading an answer, for so long."""
        waiting = [since for since in (self._sending_since, self._reading_since) if since is not None]
        return bool(waiting) and self.loop.time() - min(waiting) > patience_seconds

    def drop(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()
