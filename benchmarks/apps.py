"""The apps under load: `python -m benchmarks.apps FD NAME [CONFIG]` serves one, guarded where CONFIG is given."""

from __future__ import annotations

import socket
import sys
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from counterclone import Guard
from counterclone.guard import asgi

N_FEATURES, N_CLASSES, ANSWER_BYTES = 16, 10, 1024
SCORES = [0.011, 0.022, 0.033, 0.044, 0.055, 0.066, 0.077, 0.188, 0.2021, 0.3019]
PAD = "x" * (ANSWER_BYTES - len(orjson.dumps({"predictions": [SCORES], "note": ""})))
ANSWER = orjson.dumps({"predictions": [SCORES], "note": PAD})
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def trivial(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Reads the request and answers constant bytes."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


class Request(BaseModel):
    instances: list[list[float]]


class Response(BaseModel):
    predictions: list[list[float]]
    note: str


def fastapi() -> FastAPI:
    """The same answer from a typed FastAPI route."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return Response(predictions=[SCORES for _ in request.instances], note=PAD)

    return app


def main(descriptor: str, name: str, config: str | None = None) -> None:
    app: Any = trivial if name == "trivial" else fastapi()
    if config:
        app = Guard(app, config=config)
    # By descriptor, uvicorn would take the socket for a Unix one and leave Nagle's delay on.
    listener = socket.socket(fileno=int(descriptor))
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
