"""TensorFlow Serving, which describes a model but lists none."""

from __future__ import annotations

import re
from typing import Any

import orjson

from counterclone.discovery.apis import LARGEST_QUERY, Address, Api, Ask, fields, items, sides, zeros
from counterclone.discovery.site import Page, Site
from counterclone.discovery.text import listed, shown

_PLACE = re.compile(r"(.*)(/v1/models/([^/:]+)(?:/(?:versions|labels)/[^/:]+)?)(?:/metadata|:\w+)?")
_SERVER = "TensorFlow Serving"
_WARNING = ("TensorFlow Serving also answers gRPC (port 8500 unless changed): that BYPASSES THE GUARD. Close it "
            "to everybody but yourself: start it with --port=0, or a firewall; don't publish it from a container.")
_PORTS = (8500,)


async def find(site: Site, address: Address, first: Page) -> Api | None:
    """The model that the address names, and a query to it."""
    place = _PLACE.fullmatch(address.path)
    if place is None:
        return _unnamed(address, first)
    prefix, route, model = place.groups()
    base = address.origin + prefix
    if "model_version_status" not in fields((await site.get(base + route)).document):
        return None
    signature = _signature((await site.get(f"{base}{route}/metadata")).document)
    row = _row(signature)
    takes, gives = (listed(fields(signature.get(kind))) or "what it doesn't say" for kind in ("inputs", "outputs"))
    return Api(
        dialect="predict", url=base, server=_SERVER, warnings=(_WARNING,), ports=_PORTS,
        about=(f"Model '{shown(model)}' takes {takes} and gives {gives}.",),
        ask=None if row is None else Ask(f"{base}{route}:predict", orjson.dumps({"instances": [row]})))


def _unnamed(address: Address, first: Page) -> Api | None:
    """The server, recognised by how it refuses what it doesn't know."""
    if not str(fields(first.json).get("error", "")).startswith("Malformed request: GET"):
        return None
    return Api(dialect="predict", url=address.url, server=_SERVER, warnings=(_WARNING,), ports=_PORTS,
               is_alone=False,
               about=(f"It lists no models; `counterclone init {address.url}/v1/models/NAME` looks at one.",))


def _signature(document: object) -> Any:
    """The default signature in a model's metadata."""
    found = fields(fields(document).get("metadata"))
    for _ in range(2):  # the field is nested in one of its own name
        found = fields(found.get("signature_def"))
    return fields(found.get("serving_default")) or fields(next(iter(found.values()), None))


def _row(signature: Any) -> object:
    """One row of zeros for the declared inputs, [0.0] where they aren't known; None where it is too large."""
    columns, room = {}, LARGEST_QUERY
    for name, tensor in fields(signature.get("inputs")).items():
        declared = fields(fields(tensor).get("tensor_shape"))
        shape = [_side(fields(side).get("size")) for side in items(declared.get("dim"))][1:]  # without the batch
        datatype = str(fields(tensor).get("dtype"))
        zero: object = {"DT_STRING": "", "DT_BOOL": False}.get(datatype, 0 if "INT" in datatype else 0.0)
        flat = zeros(zero, shape, room)
        if flat is None:
            return None
        room -= len(flat)
        columns[name] = _nested(flat, sides(shape))
    if not columns:
        return [0.0]
    return columns if len(columns) > 1 else next(iter(columns.values()))


def _side(size: object) -> int:
    """A side of a shape; 64-bit integers are text in the JSON of protocol buffers."""
    return int(size) if isinstance(size, str) and re.fullmatch(r"\d{1,9}", size) else -1


def _nested(flat: list[Any], shape: list[int]) -> Any:
    """A flat list as lists of lists, by its shape."""
    if not shape:
        return flat[0]
    for side in reversed(shape[1:]):
        flat = [flat[i:i + side] for i in range(0, len(flat), side)]
    return flat
