"""Sockets that listen, and how many others the process may open."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
from urllib.parse import urlsplit

from counterclone.errors import ConfigError

logger = logging.getLogger(__name__)

BACKLOG = 1024
LAST_PORT = 65_535
CONNECTIONS = 10_000
"""Of clients, at once."""
LEAST_CONNECTIONS = 64
SPARE_FILES = 256
"""For journal, configuration, private port and libraries."""
_ANY = ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def listen(address: str, key: str, *, shared: bool = False) -> socket.socket:
    """A socket that listens on host:port.

    Args:
        address: where; port 0 takes a free one.
        key: the setting that named it, for the message.
        shared: whether other processes of this user may listen there too.

    Raises:
        ConfigError: it is no such address, it is in use, or it isn't this machine's.
    """
    listener = bind(address, key, shared=shared)
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _taken(address, key, error) from None
    return listener


def bind(address: str, key: str, *, shared: bool = False) -> socket.socket:
    """A socket that has host:port and doesn't listen, so that nobody is sent to it; as `listen`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > LAST_PORT:
        raise ConfigError(f"{key} = {address}: expected host:port such as 127.0.0.1:8000 or [::1]:8000")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{key} = {address}: {_reason(error)}; name an address of this machine") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(found[4])
    except OSError as error:
        listener.close()
        raise _taken(address, key, error) from None
    return listener


def leads_to(url: str, listener: socket.socket) -> bool:
    """Whether a URL is that of a socket that listens, under whatever name of this machine."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    own = listener.getsockname()
    if port != own[1]:
        return False
    try:
        found = {address[4][0] for address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # nobody knows it just now
        return False
    return own[0] in found or (own[0] in _ANY and any(map(_is_own, found)))


def address_of(listener: socket.socket) -> str:
    """The address that a socket listens on, as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def room(upstream: int) -> int:
    """How many clients may be connected, so that files for everything else are left.

    The process's own limit on open files is raised as far as the system lets it.

    Args:
        upstream: connections to the target.
    """
    wanted = CONNECTIONS + upstream + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
    room = CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft - upstream - SPARE_FILES)
    if room < LEAST_CONNECTIONS:
        logger.warning("this process may open only %d files, too few for [guard] limit_in_flight; allow it %d "
                       "(ulimit -n)", soft, wanted)
    return max(LEAST_CONNECTIONS, room)


def _is_own(host: str | int) -> bool:
    """Whether an address is this machine's: nobody can listen on another one."""
    with socket.socket(socket.AF_INET6 if ":" in str(host) else socket.AF_INET) as tried:
        try:
            tried.bind((host, 0))
        except OSError:
            return False
    return True


def _taken(address: str, key: str, error: OSError) -> ConfigError:
    return ConfigError(f"{key} = {address}: {_reason(error)}; stop what listens there, or name another address")


def _reason(error: OSError | UnicodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
