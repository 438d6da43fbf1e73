"""The configured target to a sweep of settings, and the chosen setting into the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterclone import config as configuration
from counterclone import tune as sweep
from counterclone.compose import audit, latest
from counterclone.compose.audit import Options
from counterclone.compose.latest import Latest
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.tune import Limits, Subject, Tuned


def tune(options: Options, config_file: str | None, say: Callable[[str], None]) -> Tuned:
    """Sweep the settings of the target that the command line or the file names.

    Args:
        options: as for an audit; surfaces, ids and traces aren't for sweeps.
        config_file: the file.
        say: told of the progress.

    Raises:
        ConfigError: there is no target, or something doesn't fit.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    path = configuration.find(config_file)
    found = audit.settings_of(path)
    settings = found or Config()
    subject = Subject(
        predict=audit.target_of(options, settings, path), pool=audit.inputs_of(options.pool, options),
        evaluate=audit.inputs_of(options.evaluate, options),
        deployment=audit.deployment_of(found, path, True), pool_kind=options.pool_kind,
        returns=options.returns, seconds=settings.target.answer_seconds, name=options.target or "",
        authorized_by=options.authorized_by or settings.target.authorized_by, folder=path.parent)
    limits = Limits(settings.tune.accuracy_loss_max, settings.tune.calibration_error_increase_max)
    tuned = sweep.tune(
        subject, own=settings.guard.policy, limits=limits, budgets=options.budgets, attacks=options.attacks,
        seeds=options.seeds, seed=options.seed, resume=options.resume, say=say)
    if found is not None:
        latest.save(path.parent / latest.TUNE_FILE, Latest(time=time.time(), result=tuned))
    return tuned


def write(tuned: Tuned, config_file: str | None) -> Path:
    """Put the chosen setting into the file in the place of its policies; everything else stays as it is.

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
        after = edited(before, tuned.chosen)
        path.write_text(after, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; let it be written, or leave --write out") from None
    configuration.load(path)
    return path


def edited(text: str, policies: Sequence[Mapping[str, Any]]) -> str:
    """A file's text with other policies, its comments kept.

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
    tables = tomlkit.aot()
    for policy in policies:
        table = tomlkit.table()
        table.update(policy)
        tables.append(table)
    if policies:
        guard.append("policy", tables)
    return tomlkit.dumps(document)
