"""Settings to what a guard does."""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from counterclone import plugins
from counterclone.budgets import COPY_SHARE, DAY, Price
from counterclone.compose import audited
from counterclone.compose.secrets import root_key
from counterclone.compose.terms import terms, total_limits
from counterclone.compose.watching import Watching, decided
from counterclone.compose.watermarks import check_timestamps, watermark
from counterclone.config import Accounts as AccountsConfig
from counterclone.config import Config, PluginTable, Target
from counterclone.config import Journal as JournalConfig
from counterclone.errors import ConfigError
from counterclone.guard.acceptance import Acceptance
from counterclone.guard.identity import (
    Identity,
    KeyTable,
    ListedKeys,
    OpenKeys,
    ProxyHeader,
    Source,
    TokenClaim,
    account_id,
)
from counterclone.guard.keys import KeyRing
from counterclone.guard.marking import Marking
from counterclone.guard.metrics import metrics_of
from counterclone.guard.naming import Naming
from counterclone.guard.options import Options
from counterclone.guard.recording import Recorder
from counterclone.guard.release import Terms
from counterclone.guard.tiers import Step, Tiers
from counterclone.journal import JournalWriter
from counterclone.protocols import Dialect, LimitStore, Remembering, Rule
from counterclone.randomness import KEY_BYTES, Prf
from counterclone.stores.memory import MemoryStore

logger = logging.getLogger(__name__)

DIALECT_ORDER = ("oip", "predict")
"""Where the dialect is found from the request: `predict` takes any POST, so it comes last."""
IDLE_SECONDS = 3600.0


def options(config: Config, folder: Path, registry: CollectorRegistry, *, worker: int = 0,
            watching: Watching | None = None, marking: Marking | None = None,
            previous: Options | None = None) -> Options:
    """What a guard with this configuration does.

    Args:
        config: the checked file.
        folder: the file's folder, which relative paths start from.
        registry: exports the counts.
        worker: this process's number among the workers.
        watching: knows the accounts' risks, and learns what is journalled; None for nobody.
        marking: puts marks into answers, None for none.
        previous: what the guard did until now; what its limits have counted, its journal and its marks go on.

    Raises:
        ConfigError: settings that can't work together, or a secret that can't be read.
    """
    root = root_key(config, folder)
    metrics = metrics_of(registry)
    by_class = terms(config, audited.load(folder))
    if watching:
        watching.bills.price, watching.bills.alert_usd = price(config.target), config.guard.alert_usd_per_day
    if marking:
        metrics.marks.add(marking.counts)
    for problem in _idle(config, by_class[""], watching):
        logger.warning("%s", problem)
    resolved = Options(
        dialects=dialects(config.target.dialect),
        identity=identity(config, folder, root),
        terms=by_class,
        tiers=_tiers(config, root, watching, previous) if watching else None,
        rules=_started(rules(config.guard.rule), previous),
        store=previous.store if previous else _store(config),
        total_limits=total_limits(config),
        noise=_noise(root.subkey("noise"), config.target.epoch),
        marking=previous.marking if previous else marking,
        naming=_naming(config),
        acceptance=_acceptance(config.accounts),
        journal=previous.journal if previous else None,
        metrics=metrics,
        scores=config.target.scores,
        paths=config.guard.paths,
        enforce=config.guard.enforce,
        blocks_unknown=config.guard.unknown == "block",
        blocks_uncleaned=config.guard.on_error == "block",
        limit_body_bytes=config.guard.limit_body_bytes,
        limit_answer_bytes=config.guard.limit_answer_bytes,
        limit_in_flight=config.guard.limit_in_flight,
    )
    if previous or not config.journal.path:
        return resolved
    # last: a mistake leaves no thread behind
    journal = _journal(config.journal, folder, f"worker-{worker}", root, watching)
    metrics.journals.add(journal)
    return replace(resolved, journal=journal)


def price(target: Target) -> Price:
    """What callers pay."""
    return Price(target.price_usd_per_1000_queries / 1e3, target.price_usd_per_million_tokens_in / 1e6,
                 target.price_usd_per_million_tokens_out / 1e6)


def _idle(config: Config, everybody: Terms, watching: Watching | None) -> Iterator[str]:
    """Settings that do nothing as things are, in words."""
    guard = config.guard
    if guard.limit_copy_share_per_day and all(limit.name != COPY_SHARE for limit in everybody.limits):
        yield (f"[guard] {COPY_SHARE} is off: no audit of these policies and rules has run; run "
               "`counterclone audit`")
    if guard.tier and not (watching and watching.engine and config.journal.path):
        yield ("[[guard.tier]]: nothing tells the risk of accounts, so only decisions on cases put them into a "
               "tier; set [watch] benign and [journal] path")
    if guard.alert_usd_per_day and not (any(price(config.target)) and config.journal.path):
        yield ("[guard] alert_usd_per_day is off: nobody knows what accounts spend; set a price in [target], and "
               "[journal] path")


def check(config: Config) -> None:
    """What can be checked of a configuration without its secrets.

    Raises:
        ConfigError: settings that can't work together, a line for each.
    """
    problems: list[str] = []
    for part in (lambda: terms(config), lambda: total_limits(config), lambda: watermark(config),
                 lambda: check_timestamps(config),
                 lambda: _acceptance(config.accounts), lambda: _classes(config.accounts, Prf(bytes(KEY_BYTES)))):
        try:
            part()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)


def key_ring(config: Config, folder: Path, root: Prf | None = None) -> KeyRing:
    """The listed keys of a configuration.

    Args:
        config: the checked file.
        folder: the file's folder.
        root: the root key where it is known already.

    Raises:
        ConfigError: the key file, or the secret, can't be read.
    """
    root = root or root_key(config, folder)
    return KeyRing(folder / config.accounts.keys_file, root.subkey("keys"))


def identity(config: Config, folder: Path, root: Prf) -> Identity:
    """How callers are told apart.

    Raises:
        ConfigError: an account in two classes, a class named twice, or a key that can't be read.
    """
    accounts, names = config.accounts, root.subkey("accounts")
    classes = _classes(accounts, names)
    found = terms(config, audited.load(folder))
    day_limits = any(limit.period_seconds >= DAY for each in found.values() for limit in each.limits)
    table = KeyTable(accounts.open_keys_max, DAY if day_limits else IDLE_SECONDS)
    return Identity(_source(accounts, lambda: key_ring(config, folder, root)), names, classes, table)


def _acceptance(accounts: AccountsConfig) -> Acceptance | None:
    """What tells the terms that callers accepted, None where nothing does.

    Raises:
        ConfigError: anybody could make up the accounts, or the header.
    """
    if accounts.terms_header and accounts.source != "header":
        raise ConfigError('[accounts] terms_header: anybody could send it; set source = "header", so that '
                          "requests come through the proxy that sets it")
    if accounts.terms and accounts.source == "bearer" and accounts.api_keys == "open":
        raise ConfigError('[accounts] terms: nobody vouches for open keys; set api_keys = "listed", or another '
                          "source")
    if not (accounts.terms or accounts.terms_header):
        return None
    return Acceptance(accounts.terms, accounts.terms_header)


def _naming(config: Config) -> Naming | None:
    """What names accounts to the model server, None where nothing does; in shadow mode nothing is changed."""
    place = config.target.account_in
    return Naming(place) if place and config.guard.enforce else None


def rules(tables: Iterable[PluginTable]) -> tuple[Rule, ...]:
    """The rules of a list of tables, in order.

    Raises:
        ConfigError: a wrong table.
    """
    return tuple(cast(Rule, plugins.build("rules", table, "[[guard.rule]]")) for table in tables)


def _started(specs: tuple[Rule | Remembering, ...], previous: Options | None) -> tuple[Rule, ...]:
    """What runs of each rule; one that is as it was before goes on with what it remembers."""
    running = previous.rules if previous else ()
    return tuple(next((each for each in running if getattr(each, "spec", None) == spec), None) or spec.start()
                 if hasattr(spec, "start") else spec for spec in specs)


def dialects(kind: str) -> dict[str, Dialect]:
    """The wire formats to try, in order.

    Raises:
        ConfigError: there is no such dialect.
    """
    if kind == "auto":
        others = [name for name in plugins.kinds("dialects") if name not in DIALECT_ORDER]
        kinds = [*others, *DIALECT_ORDER]
    else:
        kinds = [kind]
    return {name: cast(Dialect, plugins.build("dialects", {"kind": name}, "[target] dialect"))
            for name in kinds}


def _journal(journal: JournalConfig, folder: Path, worker: str, root: Prf,
             watching: Watching | None) -> JournalWriter:
    recorder = Recorder(root.subkey("digests"), keeps_payloads=journal.payloads)
    watched: dict[str, Any] = {"on_batch": watching.take, "held": watching.cases.held} if watching else {}
    return JournalWriter(folder / journal.path, worker, retention_days=journal.retention_days,
                         retention_bytes=journal.retention_bytes, encode=recorder.encode, **watched)


def _tiers(config: Config, root: Prf, watching: Watching, previous: Options | None) -> Tiers:
    """The tiers of accounts, which stay where they are as long as the bars do."""
    listed = config.guard.tier

    def tell(step: Step) -> None:
        watching.step(step, listed[step.level - 1] if step.level else None)

    tiers = Tiers([tier.risk for tier in listed], watching, root.subkey("tiers"),
                  step_seconds=config.guard.tier_step_seconds, decided=decided(watching, listed), tell=tell)
    if previous is not None and previous.tiers is not None:
        tiers.follow(previous.tiers)
    return tiers


def _store(config: Config) -> LimitStore:
    """Where limits are counted: in this process, or with others.

    Raises:
        ConfigError: the store's address isn't set or can't be one, or its client isn't installed.
    """
    store = config.store
    if not store.url_env:
        return MemoryStore()
    if not (url := os.environ.get(store.url_env)):
        raise ConfigError(f"[store] url_env: the variable {store.url_env} isn't set; put the server's address in "
                          "it, such as redis://127.0.0.1:6379/0")
    try:
        from counterclone.stores.leases import LeasedStore
        from counterclone.stores.shared import SharedLimits
    except ImportError:
        raise ConfigError("[store] needs a client; `pip install 'counterclone[cluster]'`") from None
    return LeasedStore(SharedLimits(url), lease=store.lease, lease_seconds=store.lease_seconds,
                       parts=config.guard.workers * store.machines)


def _noise(key: Prf, epoch: str) -> Callable[[str], Prf]:
    @functools.lru_cache(maxsize=256)
    def of_model(model: str) -> Prf:
        return key.subkey(f"{epoch}/{model}")

    return of_model


def _classes(accounts: AccountsConfig, names: Prf) -> dict[str, str]:
    """The class of each account that is in one; an account's name may be a key, so no message has it."""
    classes: dict[str, str] = {}
    for group in accounts.class_:
        for number, name in enumerate(group.accounts, start=1):
            other = classes.setdefault(account_id(names, name), group.name)
            if other != group.name:
                raise ConfigError(f"[[accounts.class]]: account {number} of '{group.name}' is in '{other}' too; "
                                  "leave it in one")
    return classes


def _source(accounts: AccountsConfig, ring: Callable[[], KeyRing]) -> Source:
    if accounts.source == "header":
        return ProxyHeader(accounts.header, [ipaddress.ip_network(text) for text in accounts.trusted_proxies])
    if accounts.source == "jwt":
        key = os.environ.get(accounts.jwt_key_env)
        if not key:
            raise ConfigError(f"[accounts] jwt_key_env: the variable {accounts.jwt_key_env} isn't set; put the "
                              "tokens' secret or public key in it")
        try:
            return TokenClaim(key, accounts.jwt_algorithms, accounts.jwt_claim, accounts.jwt_audience or None)
        except ConfigError as error:
            raise ConfigError(f"[accounts] jwt_key_env: {error}") from None
    return ListedKeys(ring()) if accounts.api_keys == "listed" else OpenKeys()
