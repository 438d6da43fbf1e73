"""How a client writes queries in each dialect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import orjson

from counterclone.errors import ConfigError, TargetError, TargetUnreachable
from counterclone.queries import Inputs

if TYPE_CHECKING:
    from aiohttp import ClientSession


class Wire(Protocol):
    """Queries as bytes."""

    @property
    def url(self) -> str:
        """Where they are sent."""
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


async def find_wire(session: ClientSession, url: str, kind: str) -> Wire:
    """How to ask the API at a URL.

    Args:
        session: the HTTP client.
        url: of the inference route; for `oip` also the model's.
        kind: the dialect.

    Raises:
        ConfigError: no queries are written in this dialect, or the URL names no model.
        TargetUnreachable: an Open Inference Protocol server doesn't tell its model's inputs.
        TargetError: the model takes several inputs.
    """
    if kind == "predict":
        return PredictWire(url)
    if kind != "oip":
        raise ConfigError(f"[target] dialect = '{kind}': no queries are written in it; wrap the API in a callable")
    model = url.removesuffix("/").removesuffix("/infer")
    if "/v2/models/" not in model:
        raise ConfigError(f"{url}: names no model; expected an address such as "
                          "http://127.0.0.1:9000/v2/models/digits")
    inputs = await _inputs(session, model)
    if len(inputs) != 1:
        raise TargetError(f"{model}: the model takes {len(inputs)} inputs; one is audited, so wrap the API in a "
                          "callable")
    name, datatype, shape = (inputs[0].get(key) for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise TargetError(f"{model}: its input has no name, datatype and shape; expected a tensor's metadata")
    return OipWire(f"{model}/infer", name, datatype, tuple(int(side) for side in shape[1:]))


async def _inputs(session: ClientSession, model: str) -> list[Mapping[str, Any]]:
    import aiohttp

    try:
        async with session.get(model, allow_redirects=False) as response:
            content, status = await response.read(), response.status
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise TargetUnreachable(f"{model}: {str(error) or 'no answer in time'}; expected an Open Inference "
                                "Protocol server; start it, or correct the address") from None
    try:
        document = orjson.loads(content)
        found: list[Mapping[str, Any]] = [dict(each) for each in document["inputs"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise TargetUnreachable(f"{model}: answered {status} and no metadata with `inputs`; expected those of a "
                                "model") from None
    return found
