"""The demo's model behind FastAPI, bare or guarded: `python -m counterclone.demo.server FD SEED [CONFIG]`."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from counterclone import Guard
from counterclone.demo import digits
from counterclone.demo.serving import ROUTE


class Request(BaseModel):
    """Images, (n, 64)."""

    instances: list[list[float]]


class Response(BaseModel):
    """Probabilities, (n, 10)."""

    predictions: list[list[float]]


def app(seed: int, config: str | None) -> FastAPI:
    """The model's API; the guard is one line of it."""
    model = digits.train(digits.load(seed).training, seed)
    api = FastAPI()

    @api.post(ROUTE)
    def predict(request: Request) -> Response:
        return Response(predictions=model.predict_proba(request.instances).tolist())

    if config:
        api.add_middleware(Guard, config=config)
    return api


def main(descriptor: str, seed: str, config: str | None = None) -> None:
    """Serve on a socket that the parent process listens on."""
    # By descriptor, uvicorn would take the socket for a Unix one and leave Nagle's delay on.
    listener = socket.socket(fileno=int(descriptor))
    uvicorn.Server(uvicorn.Config(app(int(seed), config), log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
