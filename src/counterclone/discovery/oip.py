"""Open Inference Protocol v2: Triton, KServe, MLServer and others."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import orjson

from counterclone.discovery.apis import LARGEST_QUERY, Address, Api, Ask, fields, items, sides, zeros
from counterclone.discovery.site import Page, Site
from counterclone.discovery.text import listed, shown

MOST_MODELS = 1000
_PLACE = re.compile(r"(.*?)/v2(?:/models/([^/]+)(/versions/[^/]+)?)?(?:/.*)?")


class Bypass(NamedTuple):
    """The ports beside HTTP that a server usually opens.

    Attributes:
        services: what answers there.
        ports: their numbers where nobody changed them.
        remedy: how its owner closes them.
    """

    services: str
    ports: tuple[int, ...]
    remedy: str


BYPASSES = {
    "triton": Bypass("gRPC (port 8001 unless changed) and metrics (8002)", (8001, 8002),
                     "start it with --grpc-address=127.0.0.1 --metrics-address=127.0.0.1, or with "
                     "--allow-grpc=false --allow-metrics=false"),
    "mlserver": Bypass("gRPC (port 8081 unless changed) and metrics (8082)", (8081, 8082),
                       "bind it to loopback with MLSERVER_HOST=127.0.0.1"),
    "kserve": Bypass("gRPC (port 8081 unless changed)", (8081,),
                     "start it with --enable_grpc=false, or leave the port out of its service"),
}
OTHERS = Bypass("gRPC on another port, if it is like most of its kind", (), "bind that port to loopback")


async def find(site: Site, address: Address, first: Page) -> Api | None:
    """The server's models, and a query to the first that is ready."""
    place = _PLACE.fullmatch(address.path)
    prefix, model, version = place.groups() if place else (address.path, None, None)
    base = address.origin + prefix
    about = fields((await site.get(f"{base}/v2")).document)
    name = about.get("name")
    is_server = isinstance(name, str) and isinstance(about.get("version"), str)
    models = await _models(site, base) if is_server else []
    if model:
        models = [unquote(model), *(other for other in models if other != unquote(model))]
    metadata = fields((await site.get(_route(base, models[0], version))).document) if models else {}
    if not is_server and not (items(metadata.get("inputs")) and items(metadata.get("outputs"))):
        return None
    bypass = next((bypass for kind, bypass in BYPASSES.items() if kind in str(name).lower()), OTHERS)
    server = f"{name} {about['version']}" if is_server else "a server of the Open Inference Protocol"
    content = _query(metadata)
    return Api(
        dialect="oip", url=base, server=shown(server),
        ask=Ask(f"{_route(base, models[0], version)}/infer", content) if content else None,
        about=await _about(site, base, models, metadata), ports=bypass.ports, is_alone=len(models) == 1,
        warnings=(f"{shown(name) if is_server else 'This server'} also answers {bypass.services}: that BYPASSES "
                  f"THE GUARD. Close it to everybody but yourself: {bypass.remedy}, or a firewall; don't publish "
                  "it from a container.",))


async def _models(site: Site, base: str) -> list[str]:
    """The models that are ready, by Triton's and MLServer's extension or by KServe's list."""
    index = items((await site.post(f"{base}/v2/repository/index", {"ready": True})).document)
    names = [model.get("name") for model in map(fields, index) if model.get("state", "READY") == "READY"]
    if not names:
        names = list(items(fields((await site.get(f"{base}/v2/models")).document).get("models")))
    return sorted({name for name in names[:MOST_MODELS] if isinstance(name, str) and name})


def _route(base: str, model: str, version: str | None) -> str:
    return f"{base}/v2/models/{quote(model, safe='')}{version or ''}"


async def _about(site: Site, base: str, models: list[str], metadata: Any) -> tuple[str, ...]:
    lines = []
    if (await site.get(f"{base}/v2/health/ready")).status != 200:
        lines.append("It says that it isn't ready.")
    if not models:
        return (*lines, f"It lists no models; `counterclone init {shown(base)}/v2/models/NAME` looks at one.")
    if len(models) > 1:
        lines.append(f"Models: {listed(models)}; '{shown(models[0])}' was looked at.")
    if metadata:
        lines.append(f"Model '{shown(models[0])}' takes {_tensors(metadata.get('inputs'))} and gives "
                     f"{_tensors(metadata.get('outputs'))}.")
    return tuple(lines)


def _tensors(tensors: object) -> str:
    told = (f"'{shown(tensor.get('name'))}' {shown(tensor.get('datatype'))} {shown(tensor.get('shape'))}"
            for tensor in map(fields, items(tensors)))
    return listed(told) or "what it doesn't say"


def _query(metadata: Any) -> bytes | None:
    """A row of zeros for each declared input."""
    inputs, room = [], LARGEST_QUERY
    for tensor in map(fields, items(metadata.get("inputs"))):
        datatype, shape = tensor.get("datatype"), items(tensor.get("shape"))
        if not shape or not isinstance(datatype, str) or not isinstance(tensor.get("name"), str):
            return None
        zero: object = {"BYTES": "", "BOOL": False}.get(datatype, 0.0 if "FP" in datatype else 0)
        data = zeros(zero, shape, room)
        if data is None:
            return None
        room -= len(data)
        inputs.append({"name": tensor["name"], "datatype": datatype, "shape": sides(shape), "data": data})
    return orjson.dumps({"inputs": inputs}) if inputs else None
