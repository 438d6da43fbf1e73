"""The sweep: all settings against a student, those on the frontier against every attack, then limits and risks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from counterclone import audit
from counterclone.audit import Audit
from counterclone.plugins import Spec
from counterclone.tune import quotas
from counterclone.tune.choice import Choice, Limits, choose, frontier
from counterclone.tune.constancy import Constancy
from counterclone.tune.crowd import Crowd
from counterclone.tune.outcome import Outcome
from counterclone.tune.result import Point, Tuned
from counterclone.tune.settings import Setting, settings
from counterclone.tune.subject import Subject
from counterclone.tune.suspicion import Suspicion
from counterclone.tune.trying import Trying

ADAPTIVE = frozenset({"averaging", "cell_difference", "denoising", "hard_label", "range_probing"})
"""Attacks that know which policies are there, and ask or read answers accordingly."""


def tune(subject: Subject, *, own: Sequence[Mapping[str, Any]] = (), tried: Sequence[Setting] = (),
         limits: Limits | None = None, crowd: Crowd | None = None, budgets: Sequence[int] = (),
         attacks: Sequence[str | Spec] = (), seeds: int = audit.DEFAULT_SEEDS, seed: int = 0,
         resume: Path | None = None, say: Callable[[str], None] = lambda text: None) -> Tuned:
    """Try settings on a model that you own, and choose one, and a limit for it.

    Every setting is tried against a student of the answers, with one seed; those on the frontier against every
    attack that fits, those that know the defence among them, with several. The target answers each query once.
    Limits and risks need no trials of their own: what a copy takes within a limit follows from its queries.

    Args:
        subject: the model.
        own: the file's policies, which are compared with the others.
        tried: the settings; those of `settings` where left out.
        limits: what honest users may lose.
        crowd: honest traffic, which tells whom a limit would have refused, and when a copier stands out.
        budgets: queries; chosen by the number of features where left out.
        attacks: kinds or specs; all that fit where left out.
        seeds: trials of each attack with each budget, on the frontier.
        seed: of the first.
        resume: a folder where answers and the first stage are kept, so that none is asked or tried twice after an
            interruption.
        say: told of the progress.

    Raises:
        ConfigError: something of this doesn't fit.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    started = time.monotonic()
    limits = limits or Limits()
    chosen_from = list(tried) or settings(own)
    with subject.allowed(), tempfile.TemporaryDirectory(prefix="counterclone-tune-") as folder:
        constancy = Constancy(subject)
        trying = Trying(subject, resume or Path(folder), seed, say)
        first = trying.by_a_student(chosen_from, budgets, constancy.release)
        outcome = Outcome(subject, first, is_judged=False)
        points = [outcome.point(setting, constancy.classes) for setting in chosen_from]
        names = {point.name for point in frontier(points, limits, [_name(own, chosen_from)])}
        say(f"{len(chosen_from)} settings, {len(names)} on the frontier; every attack that fits is tried on these")
        judged = [setting for setting in chosen_from if setting.name in names]
        asked = tuple(sorted({trial.queries for trial in first.trials}))
        suspicion = None if crowd is None else Suspicion(crowd, asked[-1], seed)
        second = trying.by(judged, attacks=attacks, budgets=asked, seeds=seeds, trace=suspicion)
        n_changed = constancy.n_changed
    outcome = Outcome(subject, second, is_judged=True)
    bars = {} if suspicion is None else suspicion.bars(second.points)
    rungs = quotas.ladder(subject.deployment.limits or (), crowd)
    final = {setting.name: outcome.point(setting, constancy.classes, bars=bars.get(setting.name, ()), rungs=rungs)
             for setting in judged}
    n_inputs = second.surfaces[0].utility.inputs
    choice = _changed(n_changed, constancy.n_asked) or choose(list(final.values()), limits, n_inputs)
    tuned = Tuned(
        target=second.target, seed=seed, budgets=asked, points=[final.get(point.name, point) for point in points],
        chosen=None if choice.point is None else choice.point.settings, reason=choice.reason,
        control=second.control.fidelity, majority=second.majority, seconds=round(time.monotonic() - started, 1),
        warnings=[*second.warnings, *_warnings(second, list(final.values())),
                  *(suspicion.problems if suspicion is not None else ())],
        training_cost_usd=subject.deployment.training_cost_usd,
        honest_accounts=0 if crowd is None else len(crowd))
    return _within_limits(tuned, outcome, limits.honest_limited)


def _changed(n_changed: int, n_asked: int) -> Choice | None:
    """That nothing is chosen, where the target isn't what it was; None where it is."""
    if not n_changed:
        return None
    return Choice(None, f"the target changed during the sweep: {n_changed} of {n_asked} inputs have other answers "
                  "than at its beginning, so these are figures of two models; keep one release for as long as it "
                  "takes, and tune again")


def _within_limits(tuned: Tuned, outcome: Outcome, most_limited: float) -> Tuned:
    """A sweep with the limit that is chosen for its setting, and how far copiers get within it."""
    served = tuned.served
    if served is None or not outcome.measured(served.name):
        return tuned
    quota, reason = quotas.choose(served.quotas, most_limited)
    limits = outcome.limits(served.name, quota)
    return msgspec.structs.replace(
        tuned, chosen_limit=quota, limit_reason=reason, limits={limit.name: limit.amount for limit in limits},
        efforts=outcome.efforts(served.name, quota))


def _warnings(second: Audit, judged: Sequence[Point]) -> Iterator[str]:
    if second.surfaces[0].accuracy is None:
        yield ("evaluate: without true labels honest users' loss is the share of labels that changed, and "
               "calibration isn't told")
    naive = [point.name for point in judged if not ADAPTIVE.intersection(point.attacks)]
    if naive:
        yield (f"no attack that knows the defence was tried on {', '.join(naive)}, so that these look safer than "
               "they are; leave --attack out")


def _name(own: Sequence[Mapping[str, Any]], tried: Sequence[Setting]) -> str:
    return next((setting.name for setting in tried if setting.policies == tuple(own)), "")
