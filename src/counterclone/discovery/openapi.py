"""Apps that describe themselves: FastAPI and whatever else serves /openapi.json."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from counterclone.discovery.apis import Address, Api, Ask, fields, items
from counterclone.discovery.site import Page, Site
from counterclone.discovery.text import listed, shown
from counterclone.guard.dialects.predict import QUERY_FIELDS

MOST_STEPS = 8
LARGEST_EXAMPLE = 100_000
_PARAMETER = re.compile(r"\{[^/{}]*\}")
_WRITING = ("post", "put", "patch", "delete")


class Route(NamedTuple):
    """A POST route that takes queries.

    Attributes:
        path: from the origin, with its parameters in braces.
        content: a body that fits its schema.
    """

    path: str
    content: bytes


async def find(site: Site, address: Address, first: Page) -> Api | None:
    """The routes under the address whose bodies have a field of `predict`."""
    for prefix in _prefixes(address.path):
        document = fields((await site.get(f"{address.origin}{prefix}/openapi.json")).document)
        here = {f"{prefix}{path}": fields(operations) for path, operations in fields(document.get("paths")).items()
                if _is_under(f"{prefix}{path}", address.path)}
        routes = [route for path, operations in here.items() if (route := _route(path, operations, document))]
        routes = [route for route in routes if route.path == address.path] or routes
        if routes:
            about = fields(document.get("info"))
            server = shown(f"{about.get('title', '')} {about.get('version', '')}")
            return _api(address, server, routes, _others(here, routes))
    return None


def _prefixes(path: str) -> list[str]:
    """Where the description may be: at the root, at the address, or one above it."""
    return list(dict.fromkeys(["", path, path.rpartition("/")[0]]))


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _others(here: dict[str, Any], routes: list[Route]) -> list[str]:
    """The other routes that take a body, which the guard can't read."""
    known = {route.path for route in routes}
    return [path for path, operations in here.items()
            if path not in known and any(method in operations for method in _WRITING)]


def _api(address: Address, server: str, routes: list[Route], others: list[str]) -> Api:
    is_endpoint = any(route.path == address.path for route in routes)
    base = Address(address.origin, "" if is_endpoint else address.path)
    own = [route.path.removeprefix(base.path) for route in routes]
    paths = tuple(map(_pattern, own)) if is_endpoint or others else ("*",)
    about = [f"Routes that take queries: {listed(own)}."]
    if others:
        about.append(f"Other routes that take a body: {listed(others)}. They pass untouched; add each that "
                     "answers with scores to [guard] paths.")
    plain = next((route for route in routes if not _PARAMETER.search(route.path)), None)
    ask = Ask(address.origin + plain.path, plain.content) if plain else None
    return Api(dialect="predict", url=base.url, server=server, paths=paths, about=tuple(about), ask=ask)


def _pattern(path: str) -> str:
    """A path as a shell pattern, whatever its parameters are."""
    return "*".join(glob.escape(unquote(part)) for part in _PARAMETER.split(path))


def _route(path: str, operations: Any, document: Any) -> Route | None:
    """The route if its body has one of the fields, by its schema."""
    body = fields(fields(fields(fields(operations.get("post")).get("requestBody")).get("content")))
    schema = _resolved(fields(body.get("application/json")).get("schema"), document)
    names = fields(schema.get("properties"))
    field = next((name for name in QUERY_FIELDS if name in names), None)
    if field is None:
        return None
    wanted = {*_required(schema), field}
    room = LARGEST_EXAMPLE // len(wanted)
    example = fields(_given(schema)) or {name: _example(names[name], document, room) for name in sorted(wanted)}
    return Route(path, orjson.dumps(example))


def _resolved(schema: object, document: Any) -> Mapping[str, Any]:
    """A schema with its references followed."""
    for _ in range(MOST_STEPS):
        reference = fields(schema).get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        schema = document
        for name in reference[2:].split("/", MOST_STEPS):
            schema = fields(schema).get(name.replace("~1", "/").replace("~0", "~"))
    return fields(schema)


def _required(schema: Mapping[str, Any]) -> list[str]:
    """The properties that a value must have."""
    names = fields(schema.get("properties"))
    return [name for name in items(schema.get("required")) if isinstance(name, str) and name in names]


def _given(schema: Any) -> Any:
    """A value that the schema itself names, None where it names none."""
    for key in ("examples", "enum"):
        if values := items(schema.get(key)):
            return values[0]
    return next((schema[key] for key in ("example", "const", "default") if schema.get(key) is not None), None)


def _example(schema: object, document: Any, room: int) -> Any:
    """A value that fits a schema: what it names itself, else zeros; None where there is no room for one.

    Args:
        schema: the value's.
        document: where references lead.
        room: how many values it may hold; it halves at each step inwards, so that every schema has an end.
    """
    found = _resolved(schema, document)
    given = _given(found)
    if given is not None or not room:
        return given
    choices = [choice for key in ("anyOf", "oneOf", "allOf") for choice in items(found.get(key))]
    wanted = _required(found)
    least = found.get("minItems")
    n_items = max(least, 1) if type(least) is int else 1
    room //= 2 * max(len(choices), len(wanted), n_items)
    if not room:
        return None
    match found.get("type"):
        case "array":
            return [_example(found.get("items"), document, room)] * n_items
        case "object":
            return {name: _example(found["properties"][name], document, room) for name in wanted}
        case "number" | "integer" | "string" | "boolean" as kind:
            return {"number": 0.0, "integer": 0, "string": "", "boolean": False}[kind]
    values = (_example(choice, document, room) for choice in choices)
    return next((value for value in values if value is not None), None)
