"""A guard with a watch that has seen a campaign, and somebody who looks at its console."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from prometheus_client import CollectorRegistry
from tests.conftest import Clock
from tests.watch.toys import Shift, counts_of, traffic

from counterclone import Guard
from counterclone.compose.desk import GuardDesk
from counterclone.console.app import Console
from counterclone.console.sessions import Patience, Sessions
from counterclone.console.trail import TRAIL_FILE, Trail
from counterclone.exchanges import join
from counterclone.guard import asgi
from counterclone.guard.admin import Admin
from counterclone.guard.metrics import metrics_of
from counterclone.randomness import Prf, generator
from counterclone.watch.cases import Evidence
from counterclone.watch.engine import Engine, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.sources import Traffic

TOKEN = "a token that nobody guesses"
HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(2)>{{7*7}}"""
"""A name that would be a script on a page that didn't escape it."""
KEY = Prf.from_secret("console")
N_HONEST, N_COPIERS = 300, 40
RATE = 0.01 * 2 * 365 / 30 * (N_HONEST + N_COPIERS)
SETTINGS = """
# who changes this, tell ann
[guard]
limit_queries_per_minute = 60
[[guard.tier]]
risk = 0.9
action = "throttle"
limit_queries_per_minute = 2
"""


class Told(NamedTuple):
    """An alarm as the watch tells it."""

    accounts: Sequence[str]
    evidence: Evidence
    campaign: str


class Watched(NamedTuple):
    """A watch, and all that it told."""

    engine: Engine
    told: list[Told]


def watched() -> Watched:
    """A watch after a day with copiers in it, one with a hostile name."""
    told: list[Told] = []
    rng = generator(0, "console")
    names = [f"known {i}" for i in range(1500)]
    known = Honest(names, [""] * len(names), traffic(rng, counts_of(rng, len(names))),
                   {name: {"ip": f"10.1.{i // 250}.{i % 250}"} for i, name in enumerate(names)})
    engine = Engine(reference_of(known, [Shift(column=i) for i in range(4)], KEY), known, KEY,
                    false_alarms_per_year=RATE, max_accounts=200_000,
                    tell=lambda accounts, evidence, campaign: told.append(Told(accounts, evidence, campaign)))
    honest = traffic(rng, counts_of(rng, N_HONEST))
    copiers = traffic(rng, np.full(N_COPIERS, 30), shift=1.5)
    accounts = [*(f"{i:016x}" for i in range(N_HONEST)), HOSTILE, *(f"copier {i}" for i in range(1, N_COPIERS))]
    engine.take(Traffic(accounts, join([honest, copiers.numbered(copiers.accounts + N_HONEST)]),
                        [""] * len(accounts), [{}] * N_HONEST + [{"ip": "192.0.2.1"}] * N_COPIERS))
    engine.search()
    return Watched(engine, told)


async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """A model server that nobody asks."""
    raise AssertionError("nobody asks it")


class Scene:
    """A guard, its console, and the clock of its sessions.

    Args:
        folder: of the configuration.
        watched: what watches, None for nothing.
        settings: the file.
    """

    def __init__(self, folder: Path, watched: Watched | None, settings: str = SETTINGS) -> None:
        self.folder, self.path, self.clock = folder, folder / "counterclone.toml", Clock()
        self.path.write_text(settings)
        (folder / "counterclone.key").write_text("0123456789abcdef" * 4)
        (folder / "counterclone.key").chmod(0o600)
        self.registry = CollectorRegistry()
        self.guard = Guard(app, self.path, registry=self.registry)
        if watched is not None:
            self.guard.watching.resume(watched.engine)
            for each in watched.told:
                self.guard.watching.tell(each.accounts, each.evidence, each.campaign)
        self.trail = Trail(folder / TRAIL_FILE)
        self.desk = GuardDesk(self.guard, self.path, metrics_of(self.registry))
        self.admin = Admin(self.registry, self.guard.troubles, console=Console(
            self.desk, self.trail, Sessions(TOKEN, self.clock), Patience(self.clock)))

    @property
    def campaign(self) -> str:
        """The id of the campaign's case."""
        return next(case.id for case in self.desk.cases() if case.is_campaign)

    def close(self) -> None:
        self.guard.watching.engine = None  # others look at it, too
        self.guard.close()


class Served(NamedTuple):
    """Somebody else's private port."""

    admin: asgi.App


class Visitor:
    """Somebody with a browser that keeps cookies and follows nothing.

    Args:
        scene: whose console they look at.
        address: where they call from.
    """

    def __init__(self, scene: Scene | Served, address: str = "127.0.0.1") -> None:
        self._transport = httpx.ASGITransport(scene.admin, client=(address, 1234))
        self.cookies = httpx.Cookies()

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def send(self, path: str, headers: dict[str, str] | None = None, /, **fields: str) -> httpx.Response:
        """Send a form with these fields alone."""
        return self._ask("POST", path, fields, headers)

    def submit(self, page: str, path: str, /, **fields: str) -> httpx.Response:
        """Send a form of a page with its token."""
        return self.send(path, form_token=token_of(self.get(page)), **fields)

    def log_in(self, token: str = TOKEN, who: str = "ann") -> httpx.Response:
        return self.submit("/login", "/login", who=who, token=token)

    def _ask(self, method: str, path: str, fields: dict[str, str] | None = None,
             headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://console",
                                         cookies=self.cookies) as client:
                response = await client.request(method, path, data=fields, headers=headers)
                self.cookies = client.cookies
                return response

        return asyncio.run(ask())


def token_of(page: httpx.Response) -> str:
    """What a page's forms carry."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    assert found is not None
    return found[1]
