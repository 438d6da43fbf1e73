"""The stand-alone guard: a public port before the target, and a private one for health and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, Histogram
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from counterclone.errors import Busy, RequestError, TargetError
from counterclone.guard import asgi
from counterclone.guard.connections import Connection
from counterclone.guard.proxy import Proxy
from counterclone.guard.sockets import room

logger = logging.getLogger(__name__)

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
        parent: the process without which it stops, None where it serves for itself.
    """

    def __init__(self, app: asgi.App, admin: asgi.App, proxy: Proxy, *, registry: CollectorRegistry,
                 request_seconds: float, forwarders: Sequence[str], refresh: Callable[[bool], None],
                 parent: int | None = None) -> None:
        app = Fallback(app)
        if forwarders:
            app = ProxyHeadersMiddleware(app, trusted_hosts=list(forwarders))  # type: ignore[arg-type, assignment]
        connection = functools.partial(Connection, limit_connections=room(proxy.limit_connections))
        self._public = _Server(_config(app, connection, lifespan="on"))
        self._private = _Server(_config(admin, "auto"))
        self._proxy = proxy
        self._request_seconds = request_seconds
        self._refresh = refresh
        self._parent = parent
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
                await self._proxy.close()  # which a server that doesn't wait leaves out

    def stop(self) -> None:
        """Finish the requests under way, then stop; at once where it was told before."""
        self._public.force_exit = self._public.should_exit
        self._public.should_exit = True

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # which alone gets signals
            yield
            return
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
        """Once a second: measure the lag, drop slow clients, look at parent, target and configuration."""
        loop = asyncio.get_running_loop()
        probed = -PROBE_SECONDS
        while True:
            due = loop.time() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))
            if self._parent is not None and os.getppid() != self._parent:
                logger.error("the process that started this one is gone; stopping")
                self.stop()
                return
            try:
                self._drop_slow_clients()
                if loop.time() - probed >= PROBE_SECONDS:
                    probed = loop.time()
                    await self._proxy.probe()
                self._refresh(False)
            except Exception:  # the next second is another chance
                logger.exception("clients, target or configuration couldn't be looked at")

    def _drop_slow_clients(self) -> None:
        for connection in list(self._public.server_state.connections):
            if isinstance(connection, Connection) and connection.is_slow(self._request_seconds):
                connection.drop()


class Fallback:
    """Answers requests that an app gives up with an error of ours, where the guard didn't do it."""

    def __init__(self, app: asgi.App) -> None:
        self._app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection."""
        try:
            await self._app(scope, receive, send)
        except RequestError as error:
            if isinstance(error, TargetError) and error.has_begun:
                return  # the server cuts the connection, which tells the client that there would be more
            body = orjson.dumps({"error": str(error), "code": error.code})
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            if isinstance(error, Busy):
                headers.append((b"retry-after", b"1"))
            await send({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """Two of them live in one loop, so signals are the gateway's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: asgi.App, protocol: Any, lifespan: Literal["on", "off"] = "off") -> uvicorn.Config:
    return uvicorn.Config(  # the target's own `date` and `server` pass
        app, http=protocol, ws="none", lifespan=lifespan, access_log=False, log_config=None, proxy_headers=False,
        server_header=False, date_header=False, timeout_graceful_shutdown=DRAIN_SECONDS)
