"""What a configuration file has in place, and what it had, as others may read it: no secret, nobody's name."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterclone.compose.audited import Copied
from counterclone.compose.terms import terms, total_limits
from counterclone.config import Accounts, Config, PluginTable, Tier, read_live
from counterclone.posture import InPlace, Version, counted

VERSIONS_SHOWN = 20
LONGEST_VALUE = 60
CALLERS = {
    "header": "A trusted proxy's header names them", "jwt": "Signed tokens (JWT) name them",
    "listed": "Keys that were handed out tell them apart", "open": "Any bearer key is an account of its own"}


def in_place(config: Config, path: Path, copies: Mapping[str, Copied]) -> InPlace:
    """What a file says.

    Args:
        config: the checked file.
        path: the file.
        copies: what audits found out, by the surfaces' keys.

    Raises:
        ConfigError: settings that can't work together.
    """
    guard, watch = config.guard, config.watch
    limits = terms(config, copies)[""].limits
    told = (("a webhook", watch.webhook_url), ("syslog", watch.syslog))
    return InPlace(
        enforces=guard.enforce, callers=_callers(config.accounts),
        is_open=config.accounts.source == "bearer" and config.accounts.api_keys == "open",
        limits={limit.name: limit.amount * guard.workers for limit in limits},
        copy_share=guard.limit_copy_share_per_day,
        total_limits={limit.name: limit.amount * guard.workers for limit in total_limits(config)},
        policies=tables(guard.policy), rules=tables(guard.rule), tiers=tuple(map(_tier, guard.tier)),
        acts=any(tier.action != "review" for tier in guard.tier),
        classes=tuple(f"{group.name}: {counted(len(group.accounts), 'account')}"
                      for group in config.accounts.class_),
        marks=tables(config.mark), journal=_kept(config), is_watched=_is_watched(config, path.parent),
        false_alarms_per_year=watch.false_alarms_per_year, told=tuple(name for name, place in told if place),
        is_writable_by_others=bool(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)))


def versions(history: Path) -> tuple[Sequence[Version], int]:
    """The last configurations that came into force, the first first, and how many there were."""
    found: list[Version] = []
    before: Mapping[str, Any] = {}
    for event in read_live(history):
        digest, config = str(event.get("digest", "")), event.get("config")
        flat = _flat(config) if isinstance(config, dict) else {}
        changed = sorted(key for key in {*before, *flat} if before.get(key) != flat.get(key)) if found else []
        found.append(Version(since=float(event["time"]), digest=digest, changed=tuple(changed)))
        before = flat
    return found[-VERSIONS_SHOWN:], len(found)


def tables(found: Iterable[PluginTable] | Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Tables of plug-ins, each as a line."""
    return tuple(_table(each) for each in found)


def _table(table: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} = {_value(value)}" for name, value in table.items() if name != "kind")
    return f"{table['kind']} ({options})" if options else str(table["kind"])


def _value(value: Any) -> str:
    """A value on a line of its own: ranges have a number for each feature."""
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _callers(accounts: Accounts) -> str:
    source = accounts.api_keys if accounts.source == "bearer" else accounts.source
    agreed = f"; they accept the terms '{accounts.terms}' by calling" if accounts.terms else ""
    return f"{CALLERS[source]}{agreed}"


def _tier(tier: Tier) -> str:
    gets = [str(tier.action)] if isinstance(tier.action, str) else []
    if isinstance(tier.limit_queries_per_minute, int):
        gets.append(f"{tier.limit_queries_per_minute:,} queries a minute")
    return f"from risk {tier.risk:g}: {', '.join([*gets, *tables(tier.policy)]) or 'nothing else'}"


def _kept(config: Config) -> str:
    journal = config.journal
    if not journal.path:
        return ""
    days = f"for {journal.retention_days:,} days" if journal.retention_days else "for ever"
    return f"{days}, {'with' if journal.payloads else 'without'} queries and answers"


def _is_watched(config: Config, folder: Path) -> bool:
    """Whether a guard has a journal to follow and honest traffic to compare it with."""
    benign = config.watch.benign
    return bool(benign and config.journal.path) and (folder / benign).exists()


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration as they are written in a file, with their values."""
    found = {}
    for section, keys in config.items():
        if isinstance(keys, dict):
            found.update({f"[{section}] {key}": value for key, value in keys.items()})
        else:
            found[f"[[{section}]]"] = keys
    return found
