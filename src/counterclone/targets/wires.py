"""How a client writes queries in each dialect."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np
import orjson

from counterclone.errors import ConfigError, TargetError, TargetUnreachable
from counterclone.queries import Inputs

if TYPE_CHECKING:
    from aiohttp import ClientSession


LENGTH = 500
"""Tokens that a language model is asked for at most, for each prompt."""
PROMPTS_AT_ONCE = 16
"""What a server writes within the time that an answer may take."""
COMPLETIONS, CHAT = "/completions", "/chat/completions"


class Wire(Protocol):
    """Queries as bytes."""

    @property
    def url(self) -> str:
        """Where they are sent."""
        ...

    @property
    def most(self) -> int:
        """Queries that a request holds at the most."""
        ...

    @property
    def writes(self) -> bool:
        """Whether answers are texts."""
        ...

    def request(self, inputs: Inputs) -> bytes:
        """The body of a request.

        Raises:
            TargetError: the API takes other inputs.
        """
        ...


class PredictWire(NamedTuple):
    """`{"instances": rows}`.

    Attributes:
        url: where requests are sent.
    """

    url: str

    @property
    def most(self) -> int:
        """As many as there are."""
        return sys.maxsize

    @property
    def writes(self) -> bool:
        """It answers with probabilities."""
        return False

    def request(self, inputs: Inputs) -> bytes:
        """The body of a request."""
        return orjson.dumps({"instances": inputs}, option=orjson.OPT_SERIALIZE_NUMPY)


class OipWire(NamedTuple):
    """One input tensor, as JSON.

    Attributes:
        url: where requests are sent.
        name: of the tensor.
        datatype: of the tensor, `BYTES` for texts.
        shape: of one row, -1 where it is free.
    """

    url: str
    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def most(self) -> int:
        """As many as there are."""
        return sys.maxsize

    @property
    def writes(self) -> bool:
        """It answers with probabilities."""
        return False

    def request(self, inputs: Inputs) -> bytes:
        """The body of a request.

        Raises:
            TargetError: the tensor takes other inputs.
        """
        is_text = isinstance(inputs, list)
        if is_text != (self.datatype == "BYTES"):
            raise TargetError(f"{self.url}: input '{self.name}' is {self.datatype}; expected "
                              f"{'BYTES for texts' if is_text else 'numbers'}")
        tensor = {"name": self.name, "datatype": self.datatype,
                  "shape": [len(inputs), *self._row_shape(1 if is_text else np.shape(inputs)[1])],
                  "data": inputs if is_text else self._numbers(inputs)}
        return orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)

    def _row_shape(self, n_features: int) -> list[int]:
        known = math.prod(side for side in self.shape if side > 0)
        free = [number for number, side in enumerate(self.shape) if side <= 0]
        shape = [side if side > 0 else 1 for side in self.shape]
        if free:
            shape[free[-1]] = n_features // known
        if math.prod(shape) != n_features:
            raise TargetError(f"{self.url}: input '{self.name}' has rows of shape {list(self.shape)}; the pool's "
                              f"have {n_features} features")
        return shape

    def _numbers(self, inputs: Any) -> Any:
        flat = np.ascontiguousarray(inputs, dtype=np.float64).reshape(-1)
        return flat if self.datatype.startswith("FP") else np.rint(flat).astype(np.int64)


class OpenaiWire(NamedTuple):
    """Prompts that a language model answers, sampled at temperature 1; a chat has one.

    Attributes:
        url: of the route for completions or for chats.
        model: its name.
    """

    url: str
    model: str

    @property
    def most(self) -> int:
        """One conversation, or several prompts."""
        return 1 if self._is_chat else PROMPTS_AT_ONCE

    @property
    def writes(self) -> bool:
        """It answers with texts."""
        return True

    def request(self, inputs: Inputs) -> bytes:
        """The body of a request."""
        asked = ({"messages": [{"role": "user", "content": inputs[0]}]} if self._is_chat
                 else {"prompt": inputs})
        return orjson.dumps({"model": self.model, "max_tokens": LENGTH, "temperature": 1.0, **asked})

    @property
    def _is_chat(self) -> bool:
        return urlsplit(self.url).path.endswith(CHAT)


async def find_wire(session: ClientSession, url: str, kind: str, model: str = "") -> Wire:
    """How to ask the API at a URL.

    Args:
        session: the HTTP client.
        url: of the inference route; for `oip` also the model's.
        kind: the dialect.
        model: its name, where the API at the URL has several; "" for the only one.

    Raises:
        ConfigError: no queries are written in this dialect, the URL has another route, or names no model.
        TargetUnreachable: the server doesn't tell its model's inputs, or its models.
        TargetError: the model takes several inputs.
    """
    if kind == "predict":
        return PredictWire(url)
    if kind == "openai":
        return OpenaiWire(url, model or await _only_model(session, url))
    if kind != "oip":
        raise ConfigError(f"[target] dialect = '{kind}': no queries are written in it; wrap the API in a callable")
    address = url.removesuffix("/").removesuffix("/infer")
    if "/v2/models/" not in address:
        raise ConfigError(f"{url}: names no model; expected an address such as "
                          "http://127.0.0.1:9000/v2/models/digits")
    inputs = await _listed(session, address, "inputs", "an Open Inference Protocol server")
    if len(inputs) != 1:
        raise TargetError(f"{address}: the model takes {len(inputs)} inputs; one is audited, so wrap the API in a "
                          "callable")
    name, datatype, shape = (inputs[0].get(key) for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise TargetError(f"{address}: its input has no name, datatype and shape; expected a tensor's metadata")
    return OipWire(f"{address}/infer", name, datatype, tuple(int(side) for side in shape[1:]))


async def _only_model(session: ClientSession, url: str) -> str:
    """The name of the model at a URL.

    Raises:
        ConfigError: the URL has another route, or there are several models.
        TargetUnreachable: the server doesn't tell.
    """
    path = urlsplit(url).path
    if not path.endswith(COMPLETIONS):
        raise ConfigError(f"{url}: is no route where texts are written; expected an address such as "
                          f"http://127.0.0.1:8000/v1{COMPLETIONS} or .../v1{CHAT}")
    address = url.removesuffix(CHAT).removesuffix(COMPLETIONS) + "/models"
    names = [str(each.get("id", "")) for each in await _listed(session, address, "data", "a server as OpenAI's")]
    if len(names) != 1:
        raise ConfigError(f"{address}: has the models {', '.join(names) or 'none'}; name one with --model")
    return names[0]


async def _listed(session: ClientSession, address: str, field: str, expected: str) -> list[Mapping[str, Any]]:
    """What a server tells of itself under a field."""
    import aiohttp

    try:
        async with session.get(address, allow_redirects=False) as response:
            content, status = await response.read(), response.status
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise TargetUnreachable(f"{address}: {str(error) or 'no answer in time'}; expected {expected}; start it, "
                                "or correct the address") from None
    try:
        document = orjson.loads(content)
        found: list[Mapping[str, Any]] = [dict(each) for each in document[field]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise TargetUnreachable(f"{address}: answered {status} and no metadata with `{field}`; expected those of "
                                "a model") from None
    return found
