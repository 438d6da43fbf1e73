"""The guard before a target of its own: configuration to a gateway that listens."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from counterclone.compose.guard import Guard
from counterclone.config import Config, load
from counterclone.errors import ConfigError
from counterclone.guard import asgi
from counterclone.guard.admin import Admin
from counterclone.guard.gateway import Gateway
from counterclone.guard.metrics import metrics_of
from counterclone.guard.proxy import Proxy
from counterclone.guard.sockets import address_of, bind, leads_to, listen
from counterclone.guard.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Listening(NamedTuple):
    """A gateway whose ports are open; it serves once `run` is called.

    Attributes:
        gateway: what serves.
        guard: what it does.
        public: the socket for callers.
        private: the socket for health, metrics and the console.
    """

    gateway: Gateway
    guard: Guard
    public: socket.socket
    private: socket.socket

    @property
    def addresses(self) -> dict[str, str]:
        """Where it listens and what it guards, as URLs."""
        return {"listen": address_of(self.public), "admin": address_of(self.private),
                "target": self.guard.config.target.url}

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self.gateway.run(self.public, self.private)


@contextlib.contextmanager
def gateway(path: Path, *, public: str | None, private: str | None, registry: CollectorRegistry,
            parent: int | None = None) -> Iterator[Listening]:
    """A gateway with a configuration file, closed at the end.

    Args:
        path: the file.
        public: where to listen for callers; `[guard] listen` where left out.
        private: where to serve health and metrics; `[guard] admin` where left out.
        registry: exports the counts.
        parent: the process without which it stops.

    Raises:
        ConfigError: the file has mistakes, names no target, or its addresses can't be listened on.
    """
    config = load(path)
    _check_target(config, path)
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(contextlib.closing(listen(address, key, shared=is_shared)))
                     for address, key, is_shared in (
                         (public or config.guard.listen, "[guard] listen", config.guard.workers > 1),
                         (private or config.guard.admin, "[guard] admin", False))]
        proxy = Proxy(config.target.url, connect_seconds=config.target.connect_seconds,
                      answer_seconds=config.target.answer_seconds,
                      limit_connections=2 * config.guard.limit_in_flight)
        if any(leads_to(proxy.url, listener) for listener in listeners):
            raise ConfigError(f"{path}: [target] url is where the gateway itself listens; name the model server")
        guard = stack.enter_context(contextlib.closing(Guard(proxy, path, registry=registry)))
        # Where a proxy names the accounts, callers are known by the proxy's own address.
        forwarders = () if config.accounts.source == "header" else config.accounts.trusted_proxies
        admin = Admin(registry, guard.troubles, lambda: _blockers(proxy, serving), _console(guard, path, registry))
        serving = Gateway(guard, admin, proxy, registry=registry, request_seconds=config.guard.request_seconds,
                          forwarders=forwarders, refresh=lambda force: guard.refresh(force=force), parent=parent)
        yield Listening(serving, guard, *listeners)


@contextlib.contextmanager
def gateways(path: Path, workers: int, *, public: str | None, private: str | None) -> Iterator[Supervisor]:
    """Several gateways with one configuration file behind one port.

    Args:
        path: the file.
        workers: how many; each counts its part of the limits where there is no store.
        public: as of one.
        private: as of one; each worker after the first has the next port.

    Raises:
        ConfigError: the file has mistakes, or where callers come to can't be listened on.
    """
    config = load(path)
    private = private or config.guard.admin
    host, _, port = private.rpartition(":")
    if not port.isdigit():
        raise ConfigError(f"[guard] admin = {private}: expected host:port such as 127.0.0.1:8001")
    with contextlib.closing(bind(public or config.guard.listen, "[guard] listen", shared=True)) as reserved:
        address = address_of(reserved).removeprefix("http://")
        ports = [int(port) and int(port) + number for number in range(workers)]
        yield Supervisor(
            [(sys.executable, "-m", "counterclone", "guard", "--json", "--supervised", "--config",
              os.fspath(path), "--listen", address, "--admin", f"{host}:{own}") for own in ports],
            {**os.environ, "COUNTERCLONE_GUARD_WORKERS": str(workers)})


def _console(guard: Guard, path: Path, registry: CollectorRegistry) -> asgi.App | None:
    """The owner's pages, None where what they need isn't installed."""
    try:
        from counterclone.compose.console import console
    except ModuleNotFoundError as error:
        logger.info("there is no console: %s isn't installed; `pip install 'counterclone[console]'`", error.name)
        return None
    return console(guard, path, metrics_of(registry))


def _check_target(config: Config, path: Path) -> None:
    if config.target.kind != "http":
        raise ConfigError(f"{path}: [target] kind = '{config.target.kind}' has no address to stand before; "
                          "expected 'http', or wrap the app in process")
    if not config.target.url:
        raise ConfigError(f"{path}: [target] url is missing; name the model server, such as http://127.0.0.1:9000")


def _blockers(proxy: Proxy, gateway: Gateway) -> list[str]:
    """Why requests should go elsewhere just now."""
    found = [f"target {proxy.url}: {proxy.trouble}"] if proxy.trouble else []
    return [*found, "stopping"] if gateway.is_stopping else found
