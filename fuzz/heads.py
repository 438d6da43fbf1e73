"""A connection's bytes through the gateway, beside what an independent parser (h11) reads in them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11
import uvicorn
from uvicorn.server import ServerState

from counterclone.guard import asgi
from counterclone.guard.connections import Connection
from counterclone.guard.gateway import Fallback
from counterclone.guard.proxy import Proxy

SECONDS = 5.0
BODY = b"ok"


class Asked(NamedTuple):
    """A request as somebody read it."""

    method: bytes
    target: bytes
    body: bytes


class Whole:
    """Reads a body whole before the target gets any of it, as the guard does."""

    def __init__(self, app: asgi.App) -> None:
        self.read: list[Asked] = []
        self._app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.read.append(Asked(scope["method"].encode(), scope["raw_path"] + query, bytes(body)))
        framing = (b"content-length", b"transfer-encoding")
        kept = [header for header in scope["headers"] if header[0] not in framing]
        whole = {**scope, "headers": [*kept, (b"content-length", b"%d" % len(body))]}
        left = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> asgi.Message:
            return left.pop() if left else await receive()

        await self._app(whole, replay, send)


class Transport(asyncio.Transport):
    """A client's end of a connection, which keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1234)})
        self.written = bytearray()
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        """Nothing more is written."""

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def pause_reading(self) -> None:
        """The rest is sent all the same."""

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return 0


class Heads:
    """The public port before a model server, all in one loop and without a client's socket."""

    def __init__(self) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._asked: list[Asked] = []
        self._problems: list[str] = []
        self._loop.run_until_complete(self._start())

    def check(self, data: bytes) -> None:
        """Let a client send bytes, and go away.

        Raises:
            AssertionError: the target got what isn't one request in one frame, or isn't what the bytes say.
        """
        self._asked.clear()
        self._guard.read.clear()
        self._loop.run_until_complete(self._run(data))
        assert not self._problems, self._problems
        for ours, others in zip(self._guard.read, read_by_h11(data), strict=False):
            assert ours == others, f"we read {ours!r}, another server reads {others!r}"
        read = iter(self._guard.read)  # of which the proxy may refuse some
        assert all(asked in read for asked in self._asked), f"{self._asked!r} is more than {self._guard.read!r}"

    def close(self) -> None:
        """Close the connections to the model server, and the server."""
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _start(self) -> None:
        self._is_over = asyncio.Event()
        self._server = server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = Proxy(f"http://127.0.0.1:{port}", connect_seconds=SECONDS, answer_seconds=SECONDS,
                      limit_connections=100)
        is_started = asyncio.Event()

        async def receive() -> asgi.Message:
            if is_started.is_set():
                await self._is_over.wait()
            return {"type": "lifespan.startup"}

        async def send(message: asgi.Message) -> None:
            is_started.set()

        self._living = asyncio.create_task(proxy({"type": "lifespan"}, receive, send))
        await is_started.wait()
        self._guard = Whole(proxy)
        self._config = uvicorn.Config(Fallback(self._guard), http=Connection, ws="none", access_log=False,
                                      log_config=None, server_header=False, date_header=False, proxy_headers=False)
        self._config.load()

    async def _end(self) -> None:
        self._is_over.set()
        await self._living
        self._server.close()
        await self._server.wait_closed()
        await asyncio.sleep(0.01)  # for the connections to be closed at both ends

    async def _run(self, data: bytes) -> None:
        state, transport = ServerState(), Transport()
        connection = Connection(self._config, state, {}, limit_connections=10)
        connection.connection_made(transport)
        for piece in (data[:len(data) // 2], data[len(data) // 2:]):
            if not transport.is_closing():
                connection.data_received(piece)
        async with asyncio.timeout(SECONDS):
            while state.tasks and not is_waiting(connection):
                await asyncio.sleep(0)
            connection.connection_lost(None)
            while state.tasks:
                await asyncio.sleep(0)
        assert not state.connections
        assert not transport.written or transport.written.startswith(b"HTTP/1.1 "), bytes(transport.written)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = h11.Connection(h11.SERVER)
        while data := await reader.read(1 << 16):
            server.receive_data(data)
            try:
                for asked in requests(server, writer):
                    self._asked.append(asked)
            except h11.RemoteProtocolError as error:
                self._problems.append(f"{error}: {data!r}")
                break
        writer.close()


def is_waiting(connection: Connection) -> bool:
    """Whether the request under way waits for the rest of its body."""
    cycle = connection._answered
    return cycle is not None and cycle.more_body and not (cycle.message_event.is_set() or cycle.response_complete)


def requests(server: h11.Connection, writer: asyncio.StreamWriter | None) -> Iterator[Asked]:
    """The requests that h11 reads in what it received, each answered.

    Raises:
        h11.RemoteProtocolError: it isn't HTTP to it.
    """
    request, body = None, bytearray()
    while True:
        event = server.next_event()
        if isinstance(event, h11.Request):
            request, body = event, bytearray()
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            yield Asked(request.method, request.target, bytes(body))
            content = b"" if request.method == b"HEAD" else BODY
            answer = [server.send(each) for each in (
                h11.Response(status_code=200, headers=[("content-length", str(len(BODY)))]),
                h11.Data(data=content), h11.EndOfMessage())]
            if writer is not None:
                writer.write(b"".join(each or b"" for each in answer))
            if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                return
            server.start_next_cycle()
        else:
            return


def read_by_h11(data: bytes) -> list[Asked]:
    """The requests up to the first that h11 refuses or misses a part of; targets as they go on to a target."""
    server, found = h11.Connection(h11.SERVER), []
    try:
        server.receive_data(data)
        for method, target, body in requests(server, None):
            parts = urlsplit(target.decode("latin-1")) if target.startswith((b"http://", b"https://")) else None
            path = target if parts is None else f"{parts.path}?{parts.query}".encode("latin-1")
            found.append(Asked(method, path.partition(b"#")[0].removesuffix(b"?"), body))
    except (h11.ProtocolError, ValueError):
        pass
    return found
