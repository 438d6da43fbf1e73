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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **file, "title": "counterclone.toml",
            "$defs": definitions}


def _definition(struct: type[msgspec.Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema; those of the structs in it are added to `definitions`."""
    (reference,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    own: dict[str, Any] = components.pop(reference["$ref"].rpartition("/")[2])
    definitions |= components
    for definition in (own, *components.values()):
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    return own
