"""Plug-ins: a frozen spec a file, found by its file name.

A family is a folder of modules; a module's name is the plug-in's `kind`, its one public `Spec` subclass
the plug-in. Third parties publish theirs under the entry-point group `counterclone.<family>`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from counterclone.errors import ConfigError

FAMILIES = {
    "attacks": "counterclone.attacks",
    "policies": "counterclone.policies",
    "rules": "counterclone.rules",
    "detectors": "counterclone.detectors",
    "marks": "counterclone.marks",
    "dialects": "counterclone.guard.dialects",
}


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a plug-in is made from: its fields are its TOML keys, and it holds no state."""

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring, as `counterclone list` shows it."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]


def kinds(family: str) -> list[str]:
    """Every kind of a family, sorted: ours and what is installed beside us."""
    return sorted({*_own_modules(family), *_entry_points(family)})


@functools.cache
def load(family: str, kind: str) -> type[Spec]:
    """The spec class of a kind, imported on first use.

    Raises:
        ConfigError: there is no such kind (the nearest name is in the message), or it can't be imported.
    """
    if kind in _own_modules(family):
        module = importlib.import_module(f"{FAMILIES[family]}.{kind}")
        return only_spec(vars(module), module.__name__)
    if kind in (published := _entry_points(family)):
        return _published(published[kind])
    raise ConfigError(f"there is no '{kind}' among the {family}{did_you_mean(kind, kinds(family))}; "
                      f"`counterclone list {family}` shows them")


def build(family: str, table: Mapping[str, Any], where: str) -> Spec:
    """The spec that a TOML table describes; `kind` names the plug-in.

    Args:
        family: the family, for example `policies`.
        table: the table, `kind` included.
        where: the table's place in the file, for the message.

    Raises:
        ConfigError: no kind, an unknown option (with the nearest name) or a wrong value.
    """
    options = dict(table)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: expected a `kind`, one of {', '.join(kinds(family))}")
    try:
        spec = load(family, kind)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    known = [field.encode_name for field in msgspec.structs.fields(spec)]
    if unknown := [key for key in options if key not in known]:
        raise ConfigError(*(
            f"{where}: '{kind}' has no option '{key}'{did_you_mean(key, known)}" for key in unknown))
    try:
        return msgspec.convert(options, spec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: '{kind}': {readable(error)}") from None


def kind_of(spec: Spec) -> str:
    """The kind of a spec: the last part of its module's name."""
    return type(spec).__module__.rpartition(".")[2]


def did_you_mean(name: str, names: list[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no name is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def readable(error: msgspec.ValidationError) -> str:
    """A validation message with the path in TOML's words: `[[guard.policy]] decimals: expected ...`."""
    text, _, path = str(error).partition(" - at `$.")
    return f"`{path.rstrip('`')}`: {text}" if path else text


def only_spec(names: Mapping[str, object], module: str) -> type[Spec]:
    """The one public spec that a module defines.

    Raises:
        ConfigError: it defines none, or several.
    """
    found = [value for name, value in names.items()
             if inspect.isclass(value) and issubclass(value, Spec) and value is not Spec
             and not name.startswith("_") and value.__module__ == module]
    if len(found) != 1:
        raise ConfigError(f"{module} must define one public Spec, it has {len(found)}")
    return found[0]


@functools.cache
def _own_modules(family: str) -> frozenset[str]:
    package = importlib.import_module(FAMILIES[family])
    return frozenset(module.name for module in pkgutil.iter_modules(package.__path__)
                     if not module.name.startswith("_"))


@functools.cache
def _entry_points(family: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"counterclone.{family}")}


def _published(point: EntryPoint) -> type[Spec]:
    try:
        plugin = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the entry point {point.value} can't be imported: {error}; reinstall the package "
                          "that publishes it") from None
    if inspect.isclass(plugin) and issubclass(plugin, Spec):
        return plugin
    raise ConfigError(f"the entry point {point.value} must be a subclass of counterclone.plugins.Spec")
