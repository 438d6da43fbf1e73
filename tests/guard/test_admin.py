from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from counterclone.guard.admin import Admin
from counterclone.guard.metrics import metrics_of


class Reply(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


def no_troubles() -> list[str]:
    return []


def call(scope: dict[str, Any], troubles: Callable[[], list[str]] = no_troubles,
         registry: CollectorRegistry | None = None) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is to be received")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Admin(registry or CollectorRegistry(), troubles)(scope, receive, send))
    return sent


def get(path: str, troubles: Callable[[], list[str]] = no_troubles,
        registry: CollectorRegistry | None = None) -> Reply:
    start, body = call({"type": "http", "method": "GET", "path": path}, troubles, registry)
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    reply = Reply(start["status"], dict(start["headers"]), body["body"])
    assert reply.headers[b"content-length"] == b"%d" % len(reply.body)
    return reply


def test_it_lives() -> None:
    reply = get("/livez")
    assert (reply.status, reply.body) == (200, b"alive\n")


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
@pytest.mark.parametrize("troubles", [[], ["journal: No space left on device"]], ids=["none", "a full disk"])
def test_it_is_ready_and_says_what_troubles_it(path: str, troubles: list[str]) -> None:
    reply = get(path, lambda: troubles)
    assert (reply.status, reply.headers[b"content-type"]) == (200, b"application/json")
    assert orjson.loads(reply.body) == {"ready": True, "troubles": troubles}


def test_metrics_are_openmetrics() -> None:
    registry = CollectorRegistry()
    metrics_of(registry).note(("oip", "served", 200, 3, 1.0, 1e-5, 1e-3))
    reply = get("/metrics", registry=registry)
    assert reply.status == 200
    assert reply.headers[b"content-type"].startswith(b"application/openmetrics-text")
    families = text_string_to_metric_families(reply.body.decode())  # type: ignore[no-untyped-call]
    assert "counterclone_queries" in {family.name for family in families}


@pytest.mark.parametrize("path", ["/", "/metrics/", "/livez/x", ""])
def test_anything_else_is_not_found(path: str) -> None:
    reply = get(path)
    assert (reply.status, reply.body) == (404, b"there is /livez, /readyz and /metrics\n")


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_connections_are_left_alone(kind: str) -> None:
    assert call({"type": kind}) == []


def test_other_paths_are_the_consoles() -> None:
    asked: list[str] = []

    async def console(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None:
        pass

    admin = Admin(CollectorRegistry(), no_troubles, console=console)
    for path in ("/", "/accounts", "/livez", "/readyz", "/healthz", "/metrics", "/livez/x"):
        asyncio.run(admin({"type": "http", "method": "GET", "path": path}, receive, send))
    assert asked == ["/", "/accounts", "/livez/x"]
