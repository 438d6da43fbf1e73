"""The configured target to an audit of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from counterclone import config as configuration
from counterclone.audit import SURFACES, Audit, Deployment, Surface, imitation, run
from counterclone.audit import files as input_files
from counterclone.audit.data import Data
from counterclone.audit.preparation import PoolKind
from counterclone.compose import audited, callables, latest
from counterclone.compose.latest import Latest
from counterclone.compose.settings import price
from counterclone.compose.terms import terms
from counterclone.config import DEFAULT_FILE, FILE_VARIABLE, Config
from counterclone.errors import ConfigError
from counterclone.targets.http import Endpoint
from counterclone.targets.local import Predict

GUARDED = "guarded"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says; its parts are those of `counterclone.audit.run`.

    Attributes:
        target: `pkg.mod:function` or a URL; [target] url where left out.
        pool: a file of inputs.
        evaluate: likewise.
        label: the column of true labels in both.
        ids: `pkg.mod:function`, where the API shows an id with each answer.
        task: what the target does; [target] task where left out.
    """

    target: str | None
    pool: Path | None
    pool_kind: PoolKind
    evaluate: Path | None
    label: str | None
    returns: Literal["scores", "logits"]
    ids: str | None
    budgets: Sequence[int]
    attacks: Sequence[str]
    surfaces: Sequence[str]
    seeds: int
    seed: int
    authorized_by: str | None
    resume: Path | None
    trace: Path | None
    task: Literal["classifier", "llm", "encoder"] | None = None


def audit(options: Options, config_file: str | None, say: Callable[[str], None]) -> Audit:
    """Audit what the command line or the file names, and keep what its limits need beside the file.

    Raises:
        ConfigError: there is no target, or something doesn't fit.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    path = configuration.find(config_file)
    settings = settings_of(path)
    target = target_of(options, settings or Config(), path)
    is_shown_as_it_is = options.target is not None and isinstance(target, Endpoint)
    deployment = deployment_of(settings, path, is_shown_as_it_is)
    task = options.task or (settings or Config()).target.task
    if task != "classifier":
        found = _imitated(options, target, task, (settings or Config(), deployment), say)
    else:
        found = _copied(options, target, deployment, (settings or Config(), path), say)
    if settings is not None and not is_shown_as_it_is:
        audited.save(path.parent, found, deployment.surface)
        surface = audited.key_of(deployment.surface.policies, deployment.surface.rules)
        latest.save(path.parent / latest.AUDIT_FILE, Latest(time=time.time(), surface=surface, result=found))
    return found


def _copied(options: Options, target: Predict | Endpoint, deployment: Deployment, configured: tuple[Config, Path],
            say: Callable[[str], None]) -> Audit:
    """The audit of a classifier."""
    settings, path = configured
    return run(
        target, pool=inputs_of(options.pool, options), evaluate=inputs_of(options.evaluate, options),
        pool_kind=options.pool_kind, deployment=deployment, budgets=options.budgets, attacks=options.attacks,
        surfaces=options.surfaces, seeds=options.seeds, seed=options.seed, returns=options.returns,
        ids=_ids(options, target), seconds=settings.target.answer_seconds, name=options.target or "",
        folder=path.parent, resume=options.resume, trace=options.trace, say=say,
        authorized_by=options.authorized_by or settings.target.authorized_by)


def _imitated(options: Options, target: Predict | Endpoint, task: imitation.Task,
              configured: tuple[Config, Deployment], say: Callable[[str], None]) -> Audit:
    """The audit of a language model or an encoder.

    Raises:
        ConfigError: an option is for classifiers, or the target is no callable.
    """
    settings, deployment = configured
    if isinstance(target, Endpoint):
        raise ConfigError(f"--task {task}: audits callables; name one with --target pkg.mod:function")
    given = {"--surface": options.surfaces, "--ids": options.ids, "--resume": options.resume,
             "--trace": options.trace}
    for name, value in given.items():
        if value:
            raise ConfigError(f"{name}: is for classifiers; leave it out with --task {task}")
    return imitation.run(
        target, task=task, pool=inputs_of(options.pool, options),
        evaluate=inputs_of(options.evaluate, options), pool_kind=options.pool_kind, deployment=deployment,
        budgets=options.budgets, attacks=options.attacks, seeds=options.seeds, seed=options.seed,
        seconds=settings.target.answer_seconds, name=options.target or "", say=say,
        authorized_by=options.authorized_by or settings.target.authorized_by)


def settings_of(path: Path) -> Config | None:
    """The file's settings; None where there is no file and none was named."""
    if not path.exists() and str(path) == DEFAULT_FILE and not os.environ.get(FILE_VARIABLE):
        return None
    return configuration.load(path)


def target_of(options: Options, settings: Config, path: Path) -> Predict | Endpoint:
    """The callable or the API that the command line or the file names.

    Raises:
        ConfigError: there is none.
    """
    if options.target is not None and "://" not in options.target:
        return callables.named(options.target, "--target", "predict_proba")
    target = settings.target
    if not options.target and not target.url:
        raise ConfigError(f"there is no target; name a callable with --target pkg.mod:function, or an API with "
                          f"--target URL or [target] url in {path}")
    url = options.target or _route(settings)
    return Endpoint(url, target.dialect, target.scores, os.environ.get(target.api_key_env, ""),
                    target.connect_seconds, target.answer_seconds)


def _route(settings: Config) -> str:
    """The inference route of [target] url: that itself, or with the one path that is guarded."""
    paths = settings.guard.paths
    if len(paths) == 1 and not set(paths[0]) & set("*?["):
        return settings.target.url.rstrip("/") + paths[0]
    return settings.target.url


def _ids(options: Options, target: Predict | Endpoint) -> Predict | None:
    """What gives each answer's id, of a model its `apply`, as scikit-learn's trees call it; None where none is."""
    if options.ids is None:
        return None
    if isinstance(target, Endpoint):
        raise ConfigError(f"--ids {options.ids}: the target is a URL, whose ids aren't read; name a callable as "
                          "the target, or leave --ids out")
    return callables.named(options.ids, "--ids", "apply")


def deployment_of(settings: Config | None, path: Path, is_shown_as_it_is: bool) -> Deployment:
    """How the file shows and sells the target.

    Args:
        settings: the file's, None where there is none.
        path: the file.
        is_shown_as_it_is: whether its policies are left out.
    """
    if settings is None:
        return Deployment()
    guard, target = settings.guard, settings.target
    surface = SURFACES["full"]
    if (guard.policy or guard.rule) and not is_shown_as_it_is:
        surface = Surface(name=GUARDED, policies=guard.policy, rules=guard.rule,
                          is_open=all(rule["kind"] != "range" for rule in guard.rule))
    limits = terms(settings, audited.load(path.parent))[""].limits
    return Deployment(surface=surface, price=price(target), training_cost_usd=target.training_cost_usd,
                      limits=limits, config_digest=settings.digest())


def inputs_of(path: Path | None, options: Options) -> Any:
    """The inputs of a file, with true labels where the options name their column; None without a file."""
    if path is None:
        return None
    data: Data = input_files.read(path, options.label)
    return tuple(data)
