"""A suspect as the command line names it, to one that can be asked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Literal

from counterclone.compose import callables
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.protocols import Target
from counterclone.targets.http import Endpoint, reaching
from counterclone.targets.local import Local, Predict

METHODS = {"scores": "predict_proba", "texts": "generate", "logits": "next_logprobs"}
"""What is called of a model that is no function."""


def name_of(suspect: str | Predict) -> str:
    """What a verdict calls it."""
    return suspect if isinstance(suspect, str) else getattr(suspect, "__name__", "suspect")


def is_url(suspect: str | Predict) -> bool:
    """Whether it is asked over the network."""
    return isinstance(suspect, str) and "://" in suspect


def check_basis(suspect: str | Predict, basis: str) -> None:
    """That a URL is asked on some ground.

    Raises:
        ConfigError: none is said.
    """
    if is_url(suspect) and not basis:
        raise ConfigError("--basis: say on what ground this URL is asked, such as 'public API, terms of 2026-03'; "
                          "it is kept with the evidence")


@contextlib.asynccontextmanager
async def reached(suspect: str | Predict, config: Config, say: Callable[[str], None], *,
                  returns: Literal["scores", "texts", "logits"] = "scores",
                  model: str = "") -> AsyncIterator[Target]:
    """The suspect while it is asked.

    Args:
        suspect: `pkg.mod:function`, a URL, or a callable itself.
        config: says how a URL is asked, and how long a suspect may take.
        say: told of a URL's pauses.
        returns: what it answers with; a URL's texts are those of OpenAI's API, `logits` a language model's for the
            next token.
        model: its name, where the URL has several.

    Raises:
        ConfigError: there is no such callable, no such route or model at the URL, or a URL would have to tell of
            every token.
        TargetUnreachable: nobody answers there.
    """
    if isinstance(suspect, str) and is_url(suspect):
        if returns == "logits":
            raise ConfigError(f"{suspect} is a URL, where no probabilities of all tokens are told; expected "
                              "pkg.mod:function, or a test by texts")
        target = config.target
        endpoint = Endpoint(suspect, "openai" if returns == "texts" else target.dialect, target.scores,
                            os.environ.get(target.api_key_env, ""), target.connect_seconds, target.answer_seconds,
                            model)
        async with reaching(endpoint, say) as http:
            yield http
        return
    if isinstance(suspect, str):
        suspect = callables.named(suspect, "SUSPECT", METHODS[returns])
    local = Local(suspect, returns=returns, seconds=config.target.answer_seconds)
    try:
        yield local
    finally:
        local.close()
