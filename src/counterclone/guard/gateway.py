"""The stand-alone guard: a public port before the target, and a private one for health and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from prometheus_client import CollectorRegistry, Histogram
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from counterclone.errors import ConfigError
from counterclone.guard import asgi
from counterclone.guard.connections import Connection
from counterclone.guard.proxy import Proxy

logger = logging.getLogger(__name__)

BACKLOG = 1024
PULSE_SECONDS = 1.0
PROBE_SECONDS = 5.0
DRAIN_SECONDS = 20
"""How long requests under way may take once the gateway is told to stop."""
LAG_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0)


class Gateway:
    """Serves the guarded target until it is told to stop.

    Args:
        app: the guard around `proxy`.
        admin: health and metrics.
        proxy: the target.
        registry: exports the lag of the event loop, which callers wait for before any other clock here starts.
        request_seconds: the patience with slow clients.
        forwarders: networks whose `X-Forwarded-For` is believed.
        refresh: reads the configuration anew where it has changed; called once a second, with True on SIGHUP.
    """

    def __init__(self, app: asgi.App, admin: asgi.App, proxy: Proxy, *, registry: CollectorRegistry,
                 request_seconds: float, forwarders: Sequence[str], refresh: Callable[[bool], None]) -> None:
        if forwarders:
            app = ProxyHeadersMiddleware(app, trusted_hosts=list(forwarders))  # type: ignore[arg-type, assignment]
        self._public = _Server(_config(app, Connection))
        self._private = _Server(_config(admin, "auto"))
        self._proxy = proxy
        self._request_seconds = request_seconds
        self._refresh = refresh
        self._lag = Histogram("counterclone_event_loop_lag_seconds",
                              "How late the event loop is, which requests wait before they are looked at.",
                              registry=registry, buckets=LAG_BUCKETS)

    @property
    def is_stopping(self) -> bool:
        """Whether new requests should go elsewhere."""
        return self._public.should_exit

    def run(self, public: socket.socket, private: socket.socket) -> None:
        """Serve on two listening sockets until SIGTERM or SIGINT; a second SIGINT doesn't wait."""
        with asyncio.Runner(loop_factory=self._public.config.get_loop_factory()) as runner:
            runner.run(self.serve(public, private))

    async def serve(self, public: socket.socket, private: socket.socket) -> None:
        """As `run`, in a loop that runs already."""
        with self._signals():
            admin = asyncio.create_task(self._private.serve(sockets=[private]))
            pulse = asyncio.create_task(self._pulse())
            try:
                await self._public.serve(sockets=[public])
            finally:
                pulse.cancel()
                self._private.should_exit = True
                await admin

    def stop(self) -> None:
        """Finish the requests under way, then stop; at once where it was told before."""
        self._public.force_exit = self._public.should_exit
        self._public.should_exit = True

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop,
                    signal.SIGHUP: lambda: self._refresh(True)}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    async def _pulse(self) -> None:
        """Once a second: measure the lag, drop slow clients, look at the target and at the configuration."""
        loop = asyncio.get_running_loop()
        probed = -PROBE_SECONDS
        while True:
            due = loop.time() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))
            self._drop_slow_clients()
            if loop.time() - probed >= PROBE_SECONDS:
                probed = loop.time()
                await self._proxy.probe()
            try:
                self._refresh(False)
            except Exception:
                logger.exception("the configuration couldn't be looked at")

    def _drop_slow_clients(self) -> None:
        for connection in list(self._public.server_state.connections):
            if isinstance(connection, Connection) and connection.is_slow(self._request_seconds):
                connection.drop()


class _Server(uvicorn.Server):
    """Two of them live in one loop, so signals are the gateway's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str, key: str) -> socket.socket:
    """A socket that listens on host:port.

    Args:
        address: where; port 0 takes a free one.
        key: the setting that named it, for the message.

    Raises:
        ConfigError: the address is in use, or isn't this machine's.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{key} = {address}: {error.strerror}; name an address of this machine") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(found[4])
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{key} = {address}: {error.strerror}; stop what listens there, or name another "
                          "address") from None
    return listener


def address_of(listener: socket.socket) -> str:
    """The address that a socket listens on, as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: asgi.App, protocol: type[Connection] | str) -> uvicorn.Config:
    return uvicorn.Config(  # the target's own `date` and `server` pass
        app, http=protocol, ws="none", lifespan="on" if protocol is Connection else "off",
        access_log=False, log_config=None, proxy_headers=False, server_header=False, date_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS)
