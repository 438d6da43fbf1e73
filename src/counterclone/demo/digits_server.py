"""The digits behind FastAPI, bare or guarded: `python -m counterclone.demo.digits_server FD SEED [CONFIG]`."""

from __future__ import annotations

import sys

from fastapi import FastAPI
from pydantic import BaseModel

from counterclone import Guard
from counterclone.demo import digits, serving


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

    @api.post(digits.ROUTE)
    def predict(request: Request) -> Response:
        return Response(predictions=model.predict_proba(request.instances).tolist())

    if config:
        api.add_middleware(Guard, config=config)
    return api


def main(descriptor: str, seed: str, config: str | None = None) -> None:
    """Serve on a socket that the parent process listens on."""
    serving.serve(app(int(seed), config), int(descriptor))


if __name__ == "__main__":
    main(*sys.argv[1:])
