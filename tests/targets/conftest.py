from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from counterclone.answers import Reply
from counterclone.queries import Inputs
from counterclone.targets.http import Endpoint, reaching

ROUTE = "/v1/models/m:predict"


class Api:
    """A model's HTTP API that does as it is told.

    Attributes:
        steps: what is done with the next requests: a status, a status with a `Retry-After`, a body, "drop" or
            "hang"; afterwards each row gets the probabilities (x, 1 - x) of its first feature.
        asked: the rows of each request that was answered with probabilities.
        documents: of all requests.
        headers: of the last request.
        listed_with: headers of the last request for metadata.
        said: what the client told of its pauses.
    """

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.asked: list[Any] = []
        self.requests = 0
        self.documents: list[Any] = []
        self.headers: dict[str, str] = {}
        self.listed_with: dict[str, str] = {}
        self.most_rows = 1000
        self.metadata: Any = {}
        self.said: list[str] = []

    async def respond(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.method == "GET":
            self.listed_with = headers
            return web.json_response(self.metadata)
        self.requests += 1
        self.headers = headers
        document = orjson.loads(await request.read())
        self.documents.append(document)
        if self.steps and (answer := await self._step(request, self.steps.pop(0))) is not None:
            return answer
        rows = document.get("instances") or document["inputs"][0]["data"]
        if len(rows) > self.most_rows:
            return web.Response(status=413)
        self.asked.append(document)
        if "inputs" in document:
            tensor = document["inputs"][0]
            rows = [[0.25]] * tensor["shape"][0]
            output = {"name": "p", "datatype": "FP64", "shape": [len(rows), 2], "data": [0.25, 0.75] * len(rows)}
            return web.json_response({"outputs": [output]})
        first = [len(row) / 100 if isinstance(row, str) else row[0] for row in rows]
        return web.json_response({"predictions": [[x, 1.0 - x] for x in first]})

    async def _step(self, request: web.Request, step: Any) -> web.StreamResponse | None:
        if step == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if step == "hang":
            await asyncio.sleep(30)
        if isinstance(step, tuple):
            return web.Response(status=step[0], headers={"Retry-After": step[1]})
        if isinstance(step, int):
            return web.Response(status=step, text="it's\x1b[31m so")
        return web.json_response(step)

    def ask(self, *batches: Inputs, path: str = ROUTE, **endpoint: Any) -> list[Reply]:
        """What a client of its own gets for some batches."""

        async def asking(url: str) -> list[Reply]:
            async with reaching(Endpoint(url + path, **endpoint), self.said.append) as target:
                return [await target.query(batch) for batch in batches]

        replies: list[Reply] = self.run(asking)
        return replies

    def run(self, use: Callable[[str], Awaitable[Any]]) -> Any:
        """Serve while a coroutine with the server's address runs."""

        async def serving() -> Any:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.respond)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                host, port = runner.addresses[0][:2]
                return await use(f"http://{host}:{port}")
            finally:
                await runner.cleanup()

        return asyncio.run(serving())


@pytest.fixture
def api() -> Api:
    return Api()
