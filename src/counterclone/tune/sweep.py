"""The sweep: every setting against a student, those on the frontier against every attack."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from counterclone import audit
from counterclone.audit import SURFACES, Audit, Deployment, Surface
from counterclone.audit.preparation import PoolKind
from counterclone.errors import ConfigError
from counterclone.plugins import Spec
from counterclone.targets.http import Endpoint
from counterclone.targets.local import Predict
from counterclone.tune.choice import Limits, choose, frontier
from counterclone.tune.result import Point, Tuned
from counterclone.tune.settings import LABELS, Setting, settings

STUDENT = ("knockoff",)
LEVEL = 0.9
OWN = "own"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is tuned, as `audit.run` takes it.

    Attributes:
        predict: the model, without a guard.
        pool: inputs that a copier may have.
        evaluate: inputs that honest users send, with true labels where their loss is to be told.
        deployment: what callers pay and may ask.
        pool_kind: whether the pool is like what the users send.
        returns: whether `predict` returns probabilities or logits.
        seconds: how long a call may take.
        name: of the target in reports.
        authorized_by: who allows it.
        folder: of the token of an audit beyond the loopback.
    """

    predict: Predict | Endpoint
    pool: Any = None
    evaluate: Any = None
    deployment: Deployment = field(default_factory=Deployment)
    pool_kind: PoolKind = "own"
    returns: Literal["scores", "logits"] = "scores"
    seconds: float = 60.0
    name: str = ""
    authorized_by: str = ""
    folder: Path | str = "."


def tune(subject: Subject, *, own: Sequence[Mapping[str, Any]] = (), tried: Sequence[Setting] = (),
         limits: Limits | None = None, budgets: Sequence[int] = (), attacks: Sequence[str | Spec] = (),
         seeds: int = audit.DEFAULT_SEEDS, seed: int = 0, resume: Path | None = None,
         say: Callable[[str], None] = lambda text: None) -> Tuned:
    """Try settings on a model that you own, and choose one.

    Every setting is tried against a student of the answers, with one seed; those on the frontier against every
    attack that fits, those that know the defence among them, with several. The target answers each query once.

    Args:
        subject: the model.
        own: the file's policies, which are compared with the others.
        tried: the settings; those of `settings` where left out.
        limits: what honest users may lose.
        budgets: queries; chosen by the number of features where left out.
        attacks: kinds or specs; all that fit where left out.
        seeds: trials of each attack with each budget, on the frontier.
        seed: of the first.
        resume: a folder where answers are kept, so that none is asked twice after an interruption.
        say: told of the progress.

    Raises:
        ConfigError: something of this doesn't fit.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    started = time.monotonic()
    limits = limits or Limits()
    chosen_from = list(tried) or settings(own)
    with tempfile.TemporaryDirectory(prefix="counterclone-tune-") as folder:
        kept = resume or Path(folder)
        first = _audited(subject, chosen_from, attacks=STUDENT, budgets=budgets, seeds=1, seed=seed, folder=kept,
                         say=lambda text: say(f"settings: {text}"))
        points = _points(first, chosen_from, is_judged=False)
        names = {point.name for point in frontier(points, limits, [_name(own, chosen_from)])}
        say(f"{len(chosen_from)} settings, {len(names)} on the frontier; every attack that fits is tried on these")
        judged = [setting for setting in chosen_from if setting.name in names]
        second = _audited(subject, judged, attacks=attacks, budgets=budgets, seeds=seeds, seed=seed, folder=kept,
                          say=say)
    final = {point.name: point for point in _points(second, judged, is_judged=True)}
    inputs = second.surfaces[0].utility.inputs
    choice = choose(list(final.values()), limits, inputs)
    warnings = list(second.warnings)
    if second.surfaces[0].accuracy is None:
        warnings.append("evaluate: without true labels honest users' loss is the share of labels that changed, "
                        "and calibration isn't told")
    return Tuned(
        target=second.target, seed=seed, budgets=tuple(sorted({trial.queries for trial in second.trials})),
        points=[final.get(point.name, point) for point in points],
        chosen=None if choice.point is None else choice.point.settings, reason=choice.reason,
        control=second.control.fidelity, majority=second.majority, warnings=warnings,
        seconds=round(time.monotonic() - started, 1))


def _audited(subject: Subject, tried: Sequence[Setting], *, attacks: Sequence[str | Spec], budgets: Sequence[int],
             seeds: int, seed: int, folder: Path, say: Callable[[str], None]) -> Audit:
    surfaces = [_surface(setting) for setting in tried]
    if not surfaces:
        raise ConfigError("there is no setting to try; leave them out to try the usual ones")
    return audit.run(
        subject.predict, pool=subject.pool, evaluate=subject.evaluate, budgets=budgets, attacks=attacks,
        deployment=replace(subject.deployment, surface=surfaces[0]), surfaces=surfaces[1:], seeds=seeds, seed=seed,
        returns=subject.returns, seconds=subject.seconds, pool_kind=subject.pool_kind, name=subject.name,
        authorized_by=subject.authorized_by, folder=subject.folder, resume=folder, say=say)


def _surface(setting: Setting) -> Surface:
    if setting.name == LABELS:
        return SURFACES["labels"]
    return Surface(name=setting.name, policies=setting.policies, shows=frozenset({"labels", "scores"}))


def _name(own: Sequence[Mapping[str, Any]], tried: Sequence[Setting]) -> str:
    return next((setting.name for setting in tried if setting.policies == tuple(own)), "")


def _points(found: Audit, tried: Sequence[Setting], *, is_judged: bool) -> list[Point]:
    by_name = {shown.name: shown for shown in found.surfaces}
    return [_point(found, setting, by_name[setting.name].utility, is_judged=is_judged) for setting in tried]


def _point(found: Audit, setting: Setting, lost: audit.Utility, *, is_judged: bool) -> Point:
    measured = [point for point in found.points if point.surface == setting.name]
    largest = max((point.budget for point in measured), default=0)
    best = max((point for point in measured if point.budget == largest), key=lambda point: point.fidelity,
               default=None)
    reach = found.reach(LEVEL, setting.name)
    return Point(
        name=setting.name, settings=setting.policies, accuracy_loss=lost.accuracy_loss,
        calibration_error_increase=lost.calibration_error_increase,
        fidelity=best.fidelity if best else 0.0, fidelity_low=best.low if best else 0.0,
        fidelity_high=best.high if best else 0.0, attack=best.attack if best else "",
        queries_to_90=reach.queries if reach else None, usd_to_90=reach.usd if reach else None,
        is_bound=bool(reach and reach.is_bound), is_judged=is_judged, utility=lost)
