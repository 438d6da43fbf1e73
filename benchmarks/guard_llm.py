"""What the guard adds to answers of language models, in one process: CPU an answer, and time an event of a stream.

The machine's own measure stands beside it: how long it takes to parse the larger answer's JSON once.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from benchmarks import results
from counterclone import Guard
from counterclone.guard import asgi
from counterclone.randomness import new_secret

ROUNDS, ANSWERS, STREAMS, EVENTS = 7, 400, 60, 64
JSON = (b"content-type", b"application/json")
LIMITS = """
[target]
dialect = "openai"
[guard]
limit_queries_per_minute = 1000000000
limit_tokens_per_minute = 1000000000000
"""
SETTINGS = {
    "limits": LIMITS,
    "logprobs": LIMITS + '[[guard.policy]]\nkind = "logprobs"\ntop = 5\n',
    "logprobs and rules": LIMITS + ('[[guard.policy]]\nkind = "logprobs"\ntop = 5\n[[guard.rule]]\n'
                                    'kind = "logprob_bias"\n[[guard.rule]]\nkind = "sampling"\n'),
}
"""Each with a journal and metrics."""
ASKED = orjson.dumps({"model": "m", "logprobs": True, "top_logprobs": 5, "messages": [
    {"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Where is the cat? " * 10}]})


def entry(number: int, place: int) -> dict[str, Any]:
    text = f"w{number % 10}"
    return {"token": text, "logprob": -0.123456789 - number / 7 - place, "bytes": list(text.encode())}


TOKENS = [{**entry(i, 0), "top_logprobs": [entry(i, j) for j in range(5)]} for i in range(30)]


def answer(tokens: list[dict[str, Any]] | None, words: int) -> bytes:
    return orjson.dumps({"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "word " * words}, "finish_reason": "stop",
         "logprobs": None if tokens is None else {"content": tokens, "refusal": None}}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 30, "total_tokens": 80}})


SMALL, LARGE = answer(None, 150), answer(TOKENS, 30)
CHUNKS = [b"data: " + orjson.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [
    {"index": 0, "delta": {"content": " word"}, "finish_reason": None, "logprobs": {"content": TOKENS[:1]}}],
}) + b"\n\n" for _ in range(EVENTS)]


def whole(body: bytes) -> asgi.App:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [
            JSON, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    return app


def streamed(spent: list[float]) -> asgi.App:
    """A stream that notes how long each of its events is under way to the server."""

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"text/event-stream")]})
        for chunk in CHUNKS:
            started = time.perf_counter()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            spent.append(time.perf_counter() - started)
        await send({"type": "http.response.body", "body": b""})

    return app


async def ask(app: asgi.App, n: int) -> int:
    """Messages that the server got."""
    sent = 0

    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": ASKED}

    async def send(message: asgi.Message) -> None:
        nonlocal sent
        sent += 1

    for _ in range(n):
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
                   "client": ("192.0.2.7", 1), "headers": [
                       JSON, (b"content-length", b"%d" % len(ASKED)), (b"authorization", b"Bearer ann")]},
                  receive, send)
    return sent


def cpu(app: asgi.App) -> float:
    """Microseconds of the path's own thread an answer."""
    started = time.thread_time()
    asyncio.run(ask(app, ANSWERS))
    return 1e6 * (time.thread_time() - started) / ANSWERS


def guarded(app: asgi.App, folder: Path, settings: str) -> Guard:
    folder.mkdir(exist_ok=True)
    (folder / "counterclone.toml").write_text(settings, encoding="utf-8")
    return Guard(app, folder / "counterclone.toml", registry=CollectorRegistry())


def answers(folder: Path, name: str, body: bytes) -> list[dict[str, object]]:
    rows = []
    for kind, settings in SETTINGS.items():
        guard = guarded(whole(body), folder / f"{name}-{kind}".replace(" ", "-"), settings)
        bare, added = [], []
        for _ in range(ROUNDS):
            bare.append(cpu(whole(body)))
            added.append(cpu(guard) - bare[-1])
        guard.close()
        rows.append(row(name, kind, "CPU us an answer", min(added)))
    return rows


def streams(folder: Path) -> list[dict[str, object]]:
    rows = []
    for kind, settings in SETTINGS.items():
        spent: list[float] = []
        guard = guarded(streamed(spent), folder / f"stream-{kind}".replace(" ", "-"), settings)
        sent = asyncio.run(ask(guard, STREAMS))
        guard.close()
        if sent != STREAMS * (EVENTS + 2):
            raise RuntimeError(f"{sent} messages left of {STREAMS * (EVENTS + 2)}: events were merged or cut")
        firsts, others = spent[::EVENTS], [each for i, each in enumerate(spent) if i % EVENTS]
        name = f"stream of {EVENTS} events"
        rows.append(row(name, kind, "median ms an event", 1e3 * statistics.median(others)))
        rows.append(row(name, kind, "median ms to the first", 1e3 * statistics.median(firsts)))
    return rows


def row(body: str, settings: str, what: str, value: float) -> dict[str, object]:
    return {"answer": body, "settings": settings, "what": what, "added": round(value, 4)}


def best(act: Callable[[], object], n: int = 300) -> float:
    return 1e6 * min(timeit.repeat(act, timer=time.thread_time, number=n, repeat=ROUNDS)) / n


def run() -> results.Result:
    os.environ["COUNTERCLONE_SECRET"] = new_secret()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parsing = best(lambda: orjson.loads(LARGE))
        rows = [row(f"{len(LARGE) / 1e3:.1f} KB", "none", "CPU us to parse its JSON", parsing)]
        rows += answers(folder, f"{len(SMALL) / 1e3:.1f} KB", SMALL)
        rows += answers(folder, f"{len(LARGE) / 1e3:.1f} KB, 180 log-probabilities", LARGE)
        rows += streams(folder)
    return results.Result("guard_llm", rows)


if __name__ == "__main__":
    results.show(run())
