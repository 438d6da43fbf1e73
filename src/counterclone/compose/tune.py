"""The configured target to a sweep of settings, and the chosen setting into the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from counterclone import config as configuration
from counterclone import tune as sweep
from counterclone.budgets import COPY_SHARE, Limit
from counterclone.compose import audit, latest, watch
from counterclone.compose.audit import Options
from counterclone.compose.latest import Latest
from counterclone.config import Config, Watch
from counterclone.errors import ConfigError
from counterclone.tune import Crowd, Limits, Subject, Tuned
from counterclone.tune.crowd import RISKS
from counterclone.tune.quotas import Quota
from counterclone.watch import honest, sources
from counterclone.watch.engine import detectors


def tune(options: Options, config_file: str | None, say: Callable[[str], None],
         benign: str | None = None) -> Tuned:
    """Sweep the settings of the target that the command line or the file names.

    Args:
        options: as for an audit; surfaces, ids and traces aren't for sweeps.
        config_file: the file.
        say: told of the progress.
        benign: honest traffic, a journal's folder or a file of exchanges; [watch] benign where left out.

    Raises:
        ConfigError: there is no target, or something doesn't fit.
        SourceError: the honest traffic can't be read.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    path = configuration.find(config_file)
    found = audit.settings_of(path)
    settings = found or Config()
    deployment = audit.deployment_of(found, path, True)
    subject = Subject(
        predict=audit.target_of(options, settings, path), pool=audit.inputs_of(options.pool, options),
        evaluate=audit.inputs_of(options.evaluate, options),
        deployment=replace(deployment, limits=_fixed(deployment.limits or ())),
        copy_share=settings.guard.limit_copy_share_per_day, pool_kind=options.pool_kind,
        returns=options.returns, seconds=settings.target.answer_seconds, name=options.target or "",
        authorized_by=options.authorized_by or settings.target.authorized_by, folder=path.parent)
    limits = Limits(settings.tune.accuracy_loss_max, settings.tune.calibration_error_increase_max,
                    settings.tune.honest_limited_max)
    tuned = sweep.tune(
        subject, own=settings.guard.policy, limits=limits, crowd=_crowd(benign, found, path, options.seed),
        budgets=options.budgets, attacks=options.attacks,
        seeds=options.seeds, seed=options.seed, resume=options.resume, say=say)
    tuned = msgspec.structs.replace(tuned, marks=tuple(map(marked, settings.mark)))
    if found is not None:
        latest.save(path.parent / latest.TUNE_FILE, Latest(time=time.time(), result=tuned))
    return tuned


def _fixed(limits: Sequence[Limit]) -> list[Limit]:
    """Limits but for the one that depends on what a copy takes through the policies."""
    return [limit for limit in limits if limit.name != COPY_SHARE]


def _crowd(benign: str | None, settings: Config | None, path: Path, seed: int) -> Crowd | None:
    watched = settings.watch if settings else Watch()
    place = Path(benign) if benign is not None else path.parent / watched.benign
    if benign is None and not watched.benign:
        return None
    root = watch.root_of(settings, path.parent, seed)
    key = root.subkey("watch")
    known = honest.gather(sources.find(place, root.subkey("digests")), key)
    if known is None:
        raise ConfigError(f"{place}: holds no exchanges; name honest traffic with --benign or [watch] benign")
    return Crowd(honest=known, detectors=detectors(watched.detector), key=key,
                 false_alarms_per_year=watched.false_alarms_per_year,
                 risks=sorted({*RISKS, *(tier.risk for tier in (settings or Config()).guard.tier)}))


def marked(table: Mapping[str, Any]) -> str:
    """What a mark changes besides, in words."""
    rate = table.get("rate")
    share = f"up to {rate:.2%} of the answers" if isinstance(rate, float) else "some answers"
    return f"The mark {table['kind']} changes {share} besides; that isn't in the table."


def write(tuned: Tuned, config_file: str | None) -> Path:
    """Put the chosen setting into the file in the place of its policies, and the chosen limit, if there is one.

    Returns:
        The file.

    Raises:
        ConfigError: nothing was chosen, tomlkit isn't installed, or the file can't be read or written.
    """
    if tuned.chosen is None:
        raise ConfigError(f"--write: nothing was chosen: {tuned.reason}")
    path = configuration.find(config_file)
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = edited(before, tuned.chosen, tuned.chosen_limit)
        path.write_text(after, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; let it be written, or leave --write out") from None
    configuration.load(path)
    return path


def edited(text: str, policies: Sequence[Mapping[str, Any]], quota: Quota | None = None) -> str:
    """A file's text with other policies and another limit, its comments kept.

    Raises:
        ConfigError: tomlkit isn't installed, or the text is no TOML.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import ParseError
    except ImportError:
        raise ConfigError("tomlkit isn't installed; `pip install 'counterclone[audit]'`") from None
    try:
        document = tomlkit.parse(text)
    except ParseError as error:
        raise ConfigError(f"--write: {error}; correct the file") from None
    guard = document.setdefault("guard", tomlkit.table())
    guard.pop("policy", None)
    if quota is not None:
        guard[quota.key] = quota.amount
    tables = tomlkit.aot()
    for policy in policies:
        table = tomlkit.table()
        table.update(policy)
        tables.append(table)
    if policies:
        guard.append("policy", tables)
    return tomlkit.dumps(document)
