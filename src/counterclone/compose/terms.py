"""Settings to what each account gets: policies and limits, by class and by tier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from msgspec import UNSET

from counterclone import plugins
from counterclone.budgets import COPY_SHARE, DAY, MINUTE, Limit, copy_limit
from counterclone.compose import audited
from counterclone.compose.audited import Copied
from counterclone.config import AccountClass, Config, PluginTable, Tier
from counterclone.errors import ConfigError
from counterclone.guard.release import Terms
from counterclone.protocols import Policy

A_MINUTE = "limit_queries_per_minute"


def terms(config: Config, copies: Mapping[str, Copied] = MappingProxyType({})) -> dict[str, Terms]:
    """Policies and limits by account class, "" for everybody else.

    Args:
        config: the checked file.
        copies: what audits found out, by the surfaces' keys.

    Raises:
        ConfigError: a class named twice, noise that nothing quantises, or a tier that isn't coarser than the one
            below it.
    """
    base = policies(config.guard.policy, "[[guard.policy]]")
    found = {"": _tiered(config, None, base, _copy_limits(config, None, config.guard.policy, copies))}
    for group in config.accounts.class_:
        if group.name in found:
            raise ConfigError(f"[[accounts.class]]: two classes are named '{group.name}'; give one another name")
        tables = config.guard.policy if group.policies == "base" else ()
        if not isinstance(group.policies, str):
            tables = group.policies
        own = base if group.policies == "base" else policies(tables, f"[[accounts.class]] '{group.name}'")
        found[group.name] = _tiered(config, group, own, _copy_limits(config, group, tables, copies))
    return found


def policies(tables: Iterable[PluginTable], where: str) -> tuple[Policy, ...]:
    """The policies of a list of tables, in order.

    Raises:
        ConfigError: a wrong table, or noise that nothing quantises.
    """
    tables = list(tables)
    built = tuple(cast(Policy, plugins.build("policies", table, where)) for table in tables)
    for number, policy in enumerate(built):
        following = built[number + 1:number + 2]
        if _adds_noise(policy) and not policy.quantises and not any(
                getattr(after, "quantises", False) for after in following):
            raise ConfigError(f"{where}: '{tables[number]['kind']}' adds noise that differences inside a cell of "
                              "equal queries would cancel; put `rounding` after it")
    return built


def total_limits(config: Config) -> tuple[Limit, ...]:
    """The limits on all accounts together, each worker's part of them.

    Raises:
        ConfigError: they can't be split between the workers.
    """
    return _limits(config, {
        "limit_total_queries_per_minute": config.guard.limit_total_queries_per_minute,
        "limit_total_queries_per_day": config.guard.limit_total_queries_per_day}, "[guard]")


def _tiered(config: Config, group: AccountClass | None, own: tuple[Policy, ...],
            more: tuple[Limit, ...]) -> Terms:
    """What an account gets, and what it gets in each tier: the policies of those below and more, so that all of a
    tier's answers could be computed from what others see; comparing two accounts then shows nothing new.

    Raises:
        ConfigError: a tier that isn't coarser than the one below it.
    """
    limits = _account_limits(config, group, more)
    is_marked = group is None or group.marks
    tiers: list[Terms] = []
    released, tightened = own, limits
    for number, tier in enumerate(config.guard.tier, start=1):
        if group is not None and not group.tiers:
            tiers.append(Terms(own, limits, is_marked=is_marked))
            continue
        where = f"[[guard.tier]] {number}"
        _check_tier(tier, config.guard.tier[:number - 1], where)
        released += _coarser(tier, where)
        if tier.limit_queries_per_minute is not UNSET:
            tightened = _tightened(config, tightened, tier.limit_queries_per_minute, where)
        tiers.append(Terms(released, tightened, is_blocked=tier.action == "block", is_marked=is_marked))
    return Terms(own, limits, tiers=(*tiers, Terms(released, tightened, is_blocked=True)), is_marked=is_marked)


def _check_tier(tier: Tier, below: Sequence[Tier], where: str) -> None:
    if below and tier.risk <= below[-1].risk:
        raise ConfigError(f"{where}: risk = {tier.risk:g} isn't above that of the tier before it; list tiers "
                          "from low risk to high")
    changes = bool(tier.policy) or tier.limit_queries_per_minute is not UNSET
    if tier.action == "throttle" and tier.limit_queries_per_minute is UNSET:
        raise ConfigError(f"{where}: action = 'throttle' needs `limit_queries_per_minute`; add it")
    if tier.action == "review" and changes:
        raise ConfigError(f"{where}: action = 'review' changes nothing for the caller; give policies and the "
                          "limit to another tier")
    if tier.action == "block" and changes:
        raise ConfigError(f"{where}: action = 'block' answers nothing; leave policies and the limit out")


def _coarser(tier: Tier, where: str) -> tuple[Policy, ...]:
    """A tier's own policies.

    Raises:
        ConfigError: one adds noise; with another tier's answer beside it, that would show the noise itself.
    """
    built = tuple(cast(Policy, plugins.build("policies", table, where)) for table in tier.policy)
    for table, policy in zip(tier.policy, built, strict=True):
        if _adds_noise(policy):
            raise ConfigError(f"{where}: '{table['kind']}' adds noise, which an account in another tier would "
                              "give away; put it into [[guard.policy]], where it is the same for everybody")
    return built


def _adds_noise(policy: Policy) -> bool:
    """Whether a policy adds keyed noise to rows; what is for speech alone quantises its own."""
    return getattr(policy, "adds_noise", False)


def _tightened(config: Config, limits: tuple[Limit, ...], amount: int, where: str) -> tuple[Limit, ...]:
    """Limits with a lower one a minute in the place of that of the tier below."""
    lower, = _limits(config, {A_MINUTE: amount}, where)
    before = next((limit for limit in limits if limit.name == A_MINUTE), None)
    if before is not None and lower.amount >= before.amount:
        raise ConfigError(f"{where}: {A_MINUTE} = {amount} isn't lower than what accounts have without it")
    return (lower, *(limit for limit in limits if limit is not before))


def _copy_limits(config: Config, group: AccountClass | None, tables: Iterable[PluginTable],
                 copies: Mapping[str, Copied]) -> tuple[Limit, ...]:
    """The limit that an audit of these policies sets, if there was one; it admits a query a day at least."""
    share = getattr(group, COPY_SHARE, UNSET)
    if share is UNSET:
        share = config.guard.limit_copy_share_per_day
    copied = copies.get(audited.key_of(tables, config.guard.rule)) if share else None
    if copied is None:
        return ()
    return (copy_limit(share / _parts(config), copied.queries),)


def _account_limits(config: Config, group: AccountClass | None, more: tuple[Limit, ...]) -> tuple[Limit, ...]:
    names = ("limit_queries_per_minute", "limit_queries_per_day", "limit_tokens_per_minute",
             "limit_tokens_per_day", "limit_leaked_bits_per_day")
    amounts = {}
    for name in names:
        own = getattr(group, name, UNSET)
        amounts[name] = getattr(config.guard, name) if own is UNSET else own
    where = f"[[accounts.class]] '{group.name}'" if group else "[guard]"
    return (*_limits(config, amounts, where), *more)


def _parts(config: Config) -> int:
    """How many count limits for themselves, and so by their part."""
    return 1 if config.store.url_env else config.guard.workers


def _limits(config: Config, amounts: Mapping[str, int], where: str) -> tuple[Limit, ...]:
    """The limits that are set; where each worker counts for itself, its part of them."""
    parts = _parts(config)
    limits = []
    for name, amount in amounts.items():
        if 0 < amount < parts:
            raise ConfigError(f"{where} {name} = {amount} can't be split between {parts} workers; raise it, set "
                              "[guard] workers lower, or let them count together with [store]")
        if amount:
            unit = next(unit for unit in ("bits", "tokens", "queries") if unit in name)
            limits.append(Limit(name, unit, amount / parts, DAY if name.endswith("day") else MINUTE))
    return tuple(limits)
