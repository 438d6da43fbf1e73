"""What audits found out about a configuration's surfaces, kept beside it for its limits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from counterclone import plugins
from counterclone.audit import SURFACES, Audit, Surface
from counterclone.errors import ConfigError
from counterclone.randomness import new_id

AUDIT_FILE = "counterclone.audit.json"
COPY = 0.9


class Copied(msgspec.Struct, frozen=True):
    """The cheapest audited copy through one surface.

    Attributes:
        surface: its name in the audit's report.
        queries: to a 90 % copy.
        is_reached: whether that was reached; else the queries are what was tried in vain.
        attack: the cheapest one, "" where none reached it.
        target: that was audited.
    """

    surface: str
    queries: int
    is_reached: bool
    attack: str
    target: str


def key_of(policies: Iterable[Mapping[str, Any]], rules: Iterable[Mapping[str, Any]]) -> str:
    """What names a surface, however its tables are written: policies and rules with their defaults."""
    tables = {"policies": [_resolved("policies", table) for table in policies],
              "rules": [_resolved("rules", table) for table in rules]}
    return hashlib.blake2b(msgspec.json.encode(tables, order="deterministic"), digest_size=8).hexdigest()


def load(folder: Path) -> dict[str, Copied]:
    """What is known, by the surfaces' keys; nothing where no audit has run.

    Raises:
        ConfigError: the file can't be read.
    """
    path = folder / AUDIT_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Copied])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}; expected what `counterclone audit` wrote; run it again, or remove "
                          "the file") from None


def save(folder: Path, audit: Audit, guarded: Surface) -> None:
    """Keep what an audit found out about the surface that callers see, and about those it was compared with.

    Args:
        folder: the configuration's.
        audit: what was found.
        guarded: what callers see.

    Raises:
        ConfigError: the file can't be read or written.
    """
    known = load(folder)
    for shown in audit.surfaces:
        surface = guarded if shown is audit.surfaces[0] else SURFACES[shown.name]
        copied = _copied(audit, shown.name)
        if copied is not None and _is_a_guards(surface):
            known[key_of(surface.policies, surface.rules)] = copied
    path = folder / AUDIT_FILE
    partial = path.with_name(f"{path.name}.{new_id(4)}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; let the audit write there, which limit_copy_share_per_day "
                          "reads") from None


def _copied(audit: Audit, name: str) -> Copied | None:
    reach = audit.reach(COPY, name)
    if reach is not None:
        return Copied(name, reach.queries, True, reach.attack, audit.target)
    tried = [point.queries for point in audit.points if point.surface == name]
    return Copied(name, int(max(tried)), False, "", audit.target) if tried else None


def _is_a_guards(surface: Surface) -> bool:
    """Whether a guard's policies and rules make the surface, and nothing else does."""
    return surface.float_bits == 64 and (surface.is_open or bool(surface.rules))


def _resolved(family: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": table["kind"], **msgspec.to_builtins(plugins.build(family, table, f"[[guard.{family}]]"))}
