"""The file's JSON Schema, for editors."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from counterclone import plugins
from counterclone.config.sections import PLUGINS, Config


def schema() -> dict[str, Any]:
    """The file's JSON Schema, the options of our own and of installed plug-ins included."""
    definitions: dict[str, Any] = {}
    file = _definition(Config, definitions)
    for family in sorted(set(PLUGINS.values())):
        for kind in plugins.kinds(family):
            spec = _definition(plugins.load(family, kind), definitions)
            spec["properties"] = {"kind": {"const": kind}, **spec.get("properties", {})}
            spec["required"] = ["kind", *spec.get("required", [])]
            definitions[f"{family}.{kind}"] = spec
    for section in ("Guard", "Tier", "AccountClass", "Watch"):
        for key, value in definitions[section]["properties"].items():
            if key in PLUGINS:
                tables = next(part for part in value.get("anyOf", [value]) if part.get("type") == "array")
                tables["items"] = {"oneOf": [{"$ref": f"#/$defs/{PLUGINS[key]}.{kind}"}
                                             for kind in plugins.kinds(PLUGINS[key])]}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **file, "title": "counterclone.toml",
             "$defs": definitions}
    settled: dict[str, Any] = _settled(whole)
    return settled


def _settled(part: Any) -> Any:
    """A part whose bounds are whole numbers where they can be: Python keeps but the first of equal annotations."""
    if isinstance(part, list):
        return [_settled(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: _whole(value) if key in _BOUNDS else _settled(value) for key, value in part.items()}


def _whole(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})


def _definition(struct: type[msgspec.Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema; those of the structs in it are added to `definitions`."""
    (reference,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    own: dict[str, Any] = components.pop(reference["$ref"].rpartition("/")[2])
    definitions |= components
    for definition in (own, *components.values()):
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    return own
