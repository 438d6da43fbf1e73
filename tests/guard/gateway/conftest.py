"""A gateway between raw sockets: what is sent, and what the model server gets, are bytes that the tests see."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from counterclone.compose.gateway import gateway as composed
from counterclone.guard.metrics import metrics_of

SECONDS = 15.0
"""How long a test waits for what must happen; nothing waits so long when all is well."""
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
QUERY = b'{"instances": [[1.0, 2.0, 3.0]]}'
Headers = list[tuple[bytes, bytes]]


class Message(NamedTuple):
    """A request or an answer: its first line, its headers with names in lower case, its body without a framing."""

    line: bytes
    headers: Headers
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split()[1])

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def values(self, name: bytes) -> list[bytes]:
        """What the headers of a name say."""
        return [value for key, value in self.headers if key == name]


class Wire:
    """One end of a connection that reads HTTP strictly, and sends any bytes."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        self._socket = connection
        self._read = b""

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)

    def head(self) -> Message:
        """A message's first line and headers.

        Raises:
            EOFError: the other end closed, before it or in it.
        """
        line, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        fields = [each.split(b":", 1) for each in lines]
        return Message(line, [(name.lower(), value.strip()) for name, value in fields], b"")

    def message(self, *, has_body: bool = True) -> Message:
        """A whole request or answer.

        Args:
            has_body: False for an answer to HEAD.

        Raises:
            EOFError: the other end closed before its end.
        """
        head = self.head()
        lengths = head.values(b"content-length")
        assert len(lengths) <= 1
        if not has_body or head.line.split()[1] in (b"204", b"304"):
            return head
        if codings := head.values(b"transfer-encoding"):
            assert (codings, lengths) == ([b"chunked"], [])
            return head._replace(body=b"".join(self.chunks()))
        return head._replace(body=self.take(int(lengths[0])) if lengths else b"")

    def chunks(self) -> Iterator[bytes]:
        """A chunked body as it comes."""
        size = None
        while size != 0:
            size = int(self._until(b"\r\n"), 16)
            piece = self.take(size + 2)
            assert piece[size:] == b"\r\n"
            if size:
                yield piece[:size]

    def take(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: the other end closed before.
        """
        while len(self._read) < count:
            self._more()
        found, self._read = self._read[:count], self._read[count:]
        return found

    def rest(self) -> bytes:
        """All that comes until the other end closes, or resets the connection."""
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        found, self._read = self._read, b""
        return found

    def close(self) -> None:
        self._socket.close()

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close as a crash would."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        found, self._read = self._read.split(end, 1)
        return found

    def _more(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError(self._read)
        self._read += data


@contextlib.contextmanager
def connected(port: int) -> Iterator[Wire]:
    """A connection to a port of this machine."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(connection)


Script = Callable[[Wire, Message], None]
"""What a model server does with a request; it closes the connection by raising EOFError."""


class Upstream:
    """A model server that does with each request as a script says, and keeps what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Message] = []
        self.connections = 0
        self.ended = 0
        self.script: Script = respond
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def answers(self, *pieces: bytes, closes: bool = False) -> None:
        """From now on, answer with these bytes, each piece in a segment of its own."""

        def script(wire: Wire, asked: Message) -> None:
            wire.send(*pieces)
            if closes:
                raise EOFError

        self.script = script

    def close(self) -> None:
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            wire = Wire(connection)
            while True:
                asked = wire.message()
                self.asked.append(asked)
                self.script(wire, asked)
        except (EOFError, OSError):  # the gateway closed
            pass
        finally:
            self._open.discard(connection)
            connection.close()
            self.ended += 1


def respond(wire: Wire, asked: Message) -> None:
    """What a well-behaved server does."""
    wire.send(json_answer(ANSWER))


def json_answer(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """An answer as a well-behaved server gives it."""
    return (b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            + headers + b"\r\n" + body)


def post(body: bytes = QUERY, path: bytes = b"/predict", headers: bytes = b"") -> bytes:
    """A request as a well-behaved client sends it."""
    return (b"POST " + path + b" HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ann\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body) + headers + b"\r\n" + body)


def get(path: bytes = b"/health", headers: bytes = b"") -> bytes:
    """A request that isn't guarded."""
    return b"GET " + path + b" HTTP/1.1\r\nhost: gateway\r\n" + headers + b"\r\n"


class Running:
    """A gateway that serves in a thread of its own."""

    def __init__(self, folder: Path, settings: str, upstream: Upstream) -> None:
        self.upstream = upstream
        self.folder = folder
        self.path = folder / "counterclone.toml"
        (folder / "counterclone.key").write_text("0123456789abcdef" * 4)
        (folder / "counterclone.key").chmod(0o600)
        self.path.write_text(settings.format(url=upstream.url))
        self.registry = CollectorRegistry()
        self._stack = contextlib.ExitStack()
        self._listening = self._stack.enter_context(composed(
            self.path, public="127.0.0.1:0", private="127.0.0.1:0", registry=self.registry))
        self.gateway, self.guard = self._listening.gateway, self._listening.guard
        self.public = self._listening.public
        self.port: int = self.public.getsockname()[1]
        self.admin_port: int = self._listening.private.getsockname()[1]
        self.is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert until(lambda: self.gateway._public.started and self.gateway._private.started)

    def client(self) -> contextlib.AbstractContextManager[Wire]:
        """A connection of a client."""
        return connected(self.port)

    def ask(self, *pieces: bytes, has_body: bool = True) -> Message:
        """One request on a connection of its own, and its answer."""
        with self.client() as wire:
            wire.send(*pieces)
            return wire.message(has_body=has_body)

    def admin(self, path: bytes) -> Message:
        """What the private port answers."""
        with connected(self.admin_port) as wire:
            wire.send(get(path))
            return wire.message()

    def counts(self) -> dict[str, float]:
        """What `/metrics` shows, by name and labels: `requests_total served predict 2xx`."""
        families = text_string_to_metric_families(self.admin(b"/metrics").body.decode())  # type: ignore[no-untyped-call]
        return {" ".join([sample.name.removeprefix("counterclone_"), *sample.labels.values()]): sample.value
                for family in families for sample in family.samples}

    @property
    def pool(self) -> aiohttp.BaseConnector:
        """The connections to the target."""
        session = self.gateway._proxy._session
        assert session is not None
        assert session.connector is not None
        return session.connector

    def is_at_rest(self) -> bool:
        """Whether nothing of any request is left: no task, no place, no connection to the target in use."""
        return not (self.gateway._public.server_state.tasks or self.pool._acquired
                    or metrics_of(self.registry).in_flight or self.gateway._proxy.in_flight)

    def close(self) -> None:
        """Stop, as SIGTERM does."""
        self.gateway.stop()
        self._thread.join(timeout=SECONDS)
        assert not self._thread.is_alive()
        self._stack.close()

    def _run(self) -> None:
        self._listening.run()
        self.is_stopped.set()


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


SETTINGS = """
[target]
url = "{url}"
answer_seconds = 30
connect_seconds = 30

[accounts]
trusted_proxies = ["192.0.2.0/24"]

[[accounts.class]]
name = "free"
accounts = ["key:free"]
policies = "none"

[guard]
request_seconds = 30
limit_queries_per_minute = 0
limit_body_bytes = 3_000_000
limit_answer_bytes = 300_000
paths = ["/predict", "/v2/*"]

[[guard.policy]]
kind = "rounding"
decimals = 1
"""
IMPATIENT = SETTINGS.replace("= 30\n", "= 1\n")
"""For what must not last; nothing else is asked of such a gateway, since a busy machine may take as long."""


Make = Callable[[str], contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes gateways that outlive a test."""
    return lambda settings: _running(tmp_path_factory.mktemp("gateway"), settings)


@pytest.fixture(scope="session")
def long_lived(make: Make) -> Iterator[Running]:
    """The gateway of most tests."""
    with make(SETTINGS) as running:
        yield running


@pytest.fixture(scope="session")
def short_tempered(make: Make) -> Iterator[Running]:
    with make(IMPATIENT) as running:
        yield running


@pytest.fixture
def gateway(long_lived: Running) -> Iterator[Running]:
    """A gateway that waits for long, before a model server that behaves until a test tells it not to."""
    yield from _at_rest(long_lived)


@pytest.fixture
def impatient(short_tempered: Running) -> Iterator[Running]:
    """A gateway that waits for a second only."""
    yield from _at_rest(short_tempered)


@pytest.fixture
def upstream(gateway: Running) -> Upstream:
    """The model server behind `gateway`."""
    return gateway.upstream


@pytest.fixture(name="until", scope="session")
def fixture_until() -> Callable[..., bool]:
    """Waits for a condition."""
    return until


@pytest.fixture
def connect() -> Callable[[int], contextlib.AbstractContextManager[Wire]]:
    """Connects to a port of this machine."""
    return connected


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts gateways of their own: `impatient`, or with more settings."""
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    monkeypatch.setattr("counterclone.guard.gateway.PULSE_SECONDS", 0.1)
    with contextlib.ExitStack() as stack:

        def begin(settings: str = SETTINGS, *, upstream: Upstream | None = None, url: str = "{url}") -> Running:
            if upstream is None:
                upstream = stack.enter_context(contextlib.closing(Upstream()))
            folder = tmp_path / f"gateway{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            settings = (IMPATIENT if settings == "impatient" else settings).replace("{url}", url)
            return stack.enter_context(contextlib.closing(Running(folder, settings, upstream)))

        yield begin


@contextlib.contextmanager
def _running(folder: Path, settings: str) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(Upstream()) as upstream:
        patch.delenv("COUNTERCLONE_SECRET", raising=False)
        patch.setattr("counterclone.guard.gateway.PULSE_SECONDS", 0.1)
        with contextlib.closing(Running(folder, settings, upstream)) as running:
            yield running


def _at_rest(running: Running) -> Iterator[Running]:
    """The gateway as it was at the beginning, and a check that nothing of the test is left in it."""
    running.upstream.script = respond
    running.upstream.asked.clear()
    running.gateway._proxy._logged = -math.inf
    yield running
    assert until(running.is_at_rest)
    for asked in running.upstream.asked:
        check_request(running.upstream, asked)


def check_request(upstream: Upstream, asked: Message) -> None:
    """What holds for all that a model server gets: it can be read in one way only, and names no other hop."""
    names = [name for name, _ in asked.headers]
    assert asked.line.endswith(b" HTTP/1.1")
    assert asked.values(b"host") == [b"127.0.0.1:%d" % upstream.port]
    assert len(asked.values(b"content-length") + asked.values(b"transfer-encoding")) <= 1
    assert not {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect",
                b"proxy-authorization"}.intersection(names)
    assert len(asked.body) == int((asked.values(b"content-length") or [b"%d" % len(asked.body)])[0])
