"""The public guard: an ASGI middleware that follows its file."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from counterclone.compose import audited
from counterclone.compose.settings import options
from counterclone.compose.watching import watching
from counterclone.compose.watermarks import watermark
from counterclone.config import Config, History, find, load
from counterclone.errors import ConfigError
from counterclone.guard import asgi
from counterclone.guard.admin import Admin
from counterclone.guard.middleware import Middleware
from counterclone.guard.proof import Proof
from counterclone.guard.workers import WorkerSlot
from counterclone.protocols import TOKEN_FILE

if TYPE_CHECKING:
    from counterclone.compose.marks import Marker

logger = logging.getLogger(__name__)

LOCK_FILE = "counterclone.lock"
HISTORY_FILE = "counterclone.history.jsonl"


class Guard:
    """ASGI middleware that limits what leaks through a model's API.

    `app.add_middleware(Guard, config="counterclone.toml")`, or `app = Guard(app)`.

    Args:
        app: any ASGI 3 app.
        config: the configuration file; COUNTERCLONE_CONFIG or ./counterclone.toml where left out.
        registry: the Prometheus registry that exports the counts; the process's own where left out.

    Attributes:
        config: what is in force.
        admin: an ASGI app with `/livez`, `/readyz` and `/metrics`, for a private port.
        watching: what it knows of its accounts.

    Raises:
        ConfigError: the file has mistakes, or too many processes guard with it.
    """

    def __init__(self, app: asgi.App, config: str | os.PathLike[str] | None = None, *,
                 registry: CollectorRegistry | None = None) -> None:
        self._path = path = find(None if config is None else os.fspath(config))
        self._registry = registry = registry or prometheus_client.REGISTRY
        self._read = self._seen = _signatures(path)
        text = _text(path)
        self.config = load(path)
        self._copies = audited.load(path.parent)
        self._slot = WorkerSlot(path.parent / LOCK_FILE, self.config.guard.workers)
        self._marker: Marker | None = None
        try:
            self.watching = watching(self.config, path.parent, registry, worker=self._slot.number)
            if self.config.guard.enforce and watermark(self.config):
                from counterclone.compose.marks import Marker  # with its cryptography, which others don't need

                self._marker = Marker(self.config, path.parent)
            self._options = options(self.config, path.parent, registry, worker=self._slot.number,
                                    watching=self.watching,
                                    marking=self._marker.marking if self._marker else None)
        except ConfigError:
            if self._marker:
                self._marker.close()
            self._slot.close()  # else it's taken for as long as somebody looks at the error
            raise
        self._middleware = Middleware(app, self._options, self._end)
        self._refused = ""
        self._history = History(path.parent / HISTORY_FILE, worker=self._slot.number)
        self._history.begin(self.config, time.time(), text)
        self._proof = Proof(path.parent / TOKEN_FILE)
        self.admin = Admin(registry, self.troubles)

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection."""
        if not await self._proof.answers(scope, send):
            await self._middleware(scope, receive, send)

    def troubles(self) -> list[str]:
        """What doesn't work just now, in words; the guard serves all the same."""
        journal = self._options.journal
        found = [f"journal: {journal.last_error}"] if journal and journal.last_error else []
        if store_trouble := self._options.store.trouble:
            found.append(f"store: {store_trouble}")
        if self._refused:
            found.append(f"configuration: {self._refused}; the last good one stays in force")
        if journal and journal.last_missed:
            found.append(f"watch: {journal.last_missed}; journalled and not watched")
        found += self.watching.troubles()
        found += self._marker.troubles() if self._marker else []
        if self._history.last_error:
            found.append(f"history of configurations: {self._history.last_error}")
        return found

    def refresh(self, *, force: bool = False) -> None:
        """Read file and audits anew where they have changed, or in any case; one with mistakes changes nothing.

        What isn't as it was at the last look may still be under somebody's pen, and half a file lacks policies.
        Limits go on counting where they were. What the process was started with (`[journal]`, addresses, the
        target's, `workers`, `secret_env`) stays until it is started again.
        """
        signature = _signatures(self._path)
        is_settled, self._seen = signature == self._seen, signature
        if not force and (signature == self._read or not is_settled):
            return
        self._read = signature
        try:
            text = _text(self._path)
            changed, copies = _with_lasting(load(self._path), self.config), audited.load(self._path.parent)
            if (changed, copies) == (self.config, self._copies):
                self._refused = ""
                return
            resolved = options(changed, self._path.parent, self._registry, watching=self.watching,
                               previous=self._options)
        except ConfigError as error:
            self._refused = "; ".join(error.problems)
            logger.error("%s; the last good configuration stays in force", self._refused)
            return
        self._refused = ""
        self.config, self._copies, self._options = changed, copies, resolved
        self._middleware.options = resolved
        self._history.begin(changed, time.time(), text)
        logger.info("%s: read anew, digest %s", self._path, changed.digest())

    def close(self) -> None:
        """Flush the journal and give the worker's place back; a server's shutdown does it too."""
        self._end()
        self._slot.close()

    def _end(self) -> None:
        self._options.store.close()
        if self._options.journal is not None:
            self._options.journal.close()
        self.watching.close()
        if self._marker:
            self._marker.close()
        self._history.end(time.time())


def _signatures(path: Path) -> tuple[tuple[int, ...], ...]:
    """What changes with the file, or with what audits found out."""
    return _signature(path), _signature(path.parent / audited.AUDIT_FILE)


def _signature(path: Path) -> tuple[int, ...]:
    """What changes with the file, also where a link is pointed elsewhere; () where it can't be seen."""
    try:
        seen = os.stat(path)
    except OSError:
        return ()
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def _text(path: Path) -> str:
    """What the history keeps of the file; nothing where it can't be read, which is told by who needs it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _with_lasting(new: Config, old: Config) -> Config:
    """The new settings with those of the old that last until the process ends."""
    lasting = replace(
        new, journal=old.journal, store=old.store, watch=old.watch, mark=old.mark, prove=old.prove,
        console=old.console,
        target=replace(new.target, kind=old.target.kind, url=old.target.url,
                       connect_seconds=old.target.connect_seconds, answer_seconds=old.target.answer_seconds),
        guard=replace(new.guard, listen=old.guard.listen, admin=old.guard.admin, workers=old.guard.workers,
                      request_seconds=old.guard.request_seconds),
        accounts=replace(new.accounts, secret_env=old.accounts.secret_env))
    if lasting != new:
        logger.warning("some of the settings that changed take effect at the next start: [journal], [store], "
                       "[watch], [[mark]], [prove], [console], [target] kind, url and *_seconds, [guard] listen, "
                       "admin, workers and request_seconds, [accounts] secret_env")
    return lasting
