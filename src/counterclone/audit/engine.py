"""The audit: every attack that fits, against what callers see, counted, priced and judged."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, cast

from counterclone import plugins
from counterclone.answers import top_labels
from counterclone.audit import access
from counterclone.audit.control import Control, control
from counterclone.audit.curve import cheapest, points
from counterclone.audit.findings import Evidence, Shown, findings
from counterclone.audit.introspection import Model, introspect
from counterclone.audit.plans import Skipped, budgets_for, groups
from counterclone.audit.preparation import PoolKind, bring, prepare
from counterclone.audit.result import Audit
from counterclone.audit.session import Session, bits_of
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import EVERYTHING, SURFACES, Surface, surface
from counterclone.audit.trace import Trace, Tracing
from counterclone.audit.trial import Trial, majority
from counterclone.budgets import Limit, Price
from counterclone.errors import ConfigError
from counterclone.fidelity import agreement
from counterclone.plugins import Spec
from counterclone.protocols import Attack
from counterclone.randomness import Prf
from counterclone.targets.counted import Counted
from counterclone.targets.http import Endpoint, reaching
from counterclone.targets.local import Local, Predict
from counterclone.targets.remembered import Remembered

T = TypeVar("T")

DEFAULT_SEEDS = 3
CONTROL = "knockoff"
OTHER_ANSWERS = frozenset({"texts", "vectors"})
"""Who copies these is tried by `imitation`."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """How a model is shown and sold.

    Attributes:
        surface: what callers see; the target's answers as they are where left out.
        price: what callers pay.
        training_cost_usd: what the model cost, 0 where nobody says.
        limits: of an account; None where nobody says.
        config_digest: of the configuration that says all this.
    """

    surface: Surface = field(default_factory=lambda: SURFACES["full"])
    price: Price = field(default_factory=Price)
    training_cost_usd: float = 0.0
    limits: Sequence[Limit] | None = None
    config_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be audited, and how; see `run`."""

    target: Predict | Endpoint
    name: str
    pool: Any
    pool_kind: PoolKind
    evaluate: Any
    deployment: Deployment
    budgets: Sequence[int]
    attacks: Sequence[str | Spec]
    surfaces: Sequence[str | Surface]
    seeds: Sequence[int]
    returns: Literal["scores", "logits"]
    ids: Predict | None
    seconds: float
    authorized_by: str
    folder: Path
    resume: Path | None
    trace: Path | Tracing | None
    keeps_token: bool
    say: Callable[[str], None]


def run(predict: Predict | Endpoint | str, *, pool: Any = None, evaluate: Any = None,
        deployment: Deployment | None = None, budgets: Sequence[int] = (),
        attacks: Sequence[str | Spec] = (), surfaces: Sequence[str | Surface] = (), seeds: int = DEFAULT_SEEDS,
        seed: int = 0, returns: Literal["scores", "logits"] = "scores", ids: Predict | None = None,
        seconds: float = 60.0, pool_kind: PoolKind = "own", name: str = "", authorized_by: str = "",
        folder: Path | str = ".", resume: Path | str | None = None, trace: Path | str | Tracing | None = None,
        keeps_token: bool = False, say: Callable[[str], None] = lambda text: None) -> Audit:
    """Copy a model that you own, and tell what that costs.

    Args:
        predict: takes a batch and returns scores, `(n, d) floats -> (n, classes)` or `list[str] -> (n, classes)`;
            or the URL of an API. Of a bound method such as `model.predict_proba` the model is known, too.
        pool: inputs that an attacker may have, (n, features) or texts, or a pair of these and true labels. None
            draws them evenly.
        evaluate: inputs that the model's users send, for fidelity to be told by, likewise. None holds a third of
            the pool out.
        deployment: what callers see and pay.
        budgets: queries; chosen by the number of features where left out.
        attacks: kinds or specs; all that fit where left out.
        surfaces: names or `Surface`s to compare with what callers see.
        seeds: trials of each attack with each budget.
        seed: of the first.
        returns: whether `predict` returns probabilities or logits.
        ids: gives the id that the API shows with each answer, such as a leaf's: `(n, d) -> (n,)`.
        seconds: how long a call of `predict` may take; it gets a thousand rows at most.
        pool_kind: whether the pool is like what the users send, or other data.
        name: of the target in reports.
        authorized_by: who allows it; a URL beyond the loopback needs it, and must serve the token of `folder`.
        folder: where that token is kept until the audit has ended.
        resume: a folder where answers are kept, so that none is asked twice after an interruption. It belongs to
            one state of the model.
        trace: a file for the queries as exchanges in JSON lines, or what takes them instead.
        keeps_token: whether the token of `folder` stays good, since this is one of several audits.
        say: told of the progress.

    Raises:
        ConfigError: something of this doesn't fit.
        TargetError: the target doesn't keep its promises.
        TargetUnreachable: nobody answers.
    """
    if isinstance(predict, str):
        predict = Endpoint(predict)
    if seeds < 1 or any(budget < 1 for budget in budgets):
        raise ConfigError(f"seeds = {seeds} and budgets = {list(budgets)}: expected positive numbers")
    request = Request(
        target=predict, name=name or _name(predict), pool=pool, pool_kind=pool_kind, evaluate=evaluate,
        deployment=deployment or Deployment(), budgets=sorted(set(budgets)), attacks=attacks, surfaces=surfaces,
        seeds=range(seed, seed + seeds), returns=returns, ids=ids, seconds=seconds, authorized_by=authorized_by,
        folder=Path(folder), resume=None if resume is None else Path(resume),
        trace=Path(trace) if isinstance(trace, str) else trace, keeps_token=keeps_token, say=say)
    return finished(audit(request))


def finished(asking: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to, waited for wherever we are."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asking)
    with ThreadPoolExecutor(1) as thread:  # as in a notebook, whose loop can't be entered again
        return thread.submit(asyncio.run, asking).result()


async def audit(request: Request) -> Audit:
    """As `run`, in a loop that runs already."""
    started = time.monotonic()
    warnings: list[str] = []
    target, seed = request.target, request.seeds[0]
    _attacks(request.attacks)  # mistakes are told before anything is asked
    _surfaces(request, EVERYTHING)
    url = target.url if isinstance(target, Endpoint) else ""
    if url:
        await access.check(url, request.authorized_by, request.folder)
    is_free = not url or access.is_loopback(url)
    brought = bring(request.pool, request.evaluate, kind=request.pool_kind, seed=seed,
                    n_uniform=max(request.budgets, default=1000), warn=warnings.append)
    async with opened(target, returns=request.returns, ids=request.ids, seconds=request.seconds,
                      say=request.say) as counted:
        asked = counted if not url else Remembered(counted, _kept(request.resume, url))
        model = Model() if isinstance(target, Endpoint) else introspect(target)
        subject, shows, own = await prepare(asked, brought, name=request.name, model=model, seed=seed,
                                            is_paid=not is_free, warn=warnings.append)
        if request.resume is not None and not url:
            # A model that has changed since then has other answers, and begins anew.
            answers = Remembered(counted, _kept(request.resume, subject.answers.tobytes().hex()))
            subject = replace(subject, target=answers)
        for warning in warnings:
            request.say(f"warning: {warning}")
        with _tracing(request.trace) as trace:
            session = Session(subject, noise=Prf.from_secret(f"audit {seed}"), price=request.deployment.price,
                              say=request.say, trace=trace)
            surfaces = [await session.show(each, shows) for each in _surfaces(request, shows)]
            tried, unfit = groups(_attacks(request.attacks), [each for each, _ in surfaces],
                                  request.budgets or budgets_for(subject),
                                  is_text=isinstance(subject.pool, list), is_free=is_free)
            if not tried:
                raise ConfigError("no attack fits", *(f"{each.attack} on {each.surface}: {each.reason}"
                                                      for each in unfit))
            trials = await session.attempt(tried, request.seeds)
        student = cast(Attack, plugins.build("attacks", {"kind": CONTROL}, "control")) if own is not None else None
        without = await control(subject, own, student, request.seeds)
    if not is_free and not request.keeps_token:
        access.spend(request.folder)
    return _judged(request, subject, surfaces, trials, without, skipped=[*unfit, *session.skipped],
                   warnings=warnings, queries_asked=counted.queries, seconds=time.monotonic() - started)


def _judged(request: Request, subject: Subject, surfaces: Sequence[tuple[Surface, Shown]], trials: list[Trial],
            without: Control, *, skipped: list[Skipped], warnings: list[str], queries_asked: int,
            seconds: float) -> Audit:
    deployment = request.deployment
    bits = {each.name: bits_of(each, subject.classes) for each, _ in surfaces}
    means = points(trials)
    constant = agreement(top_labels(subject.answers), top_labels(majority(subject))).value
    reaches = cheapest(means, list(bits), deployment.limits or (), bits.__getitem__, majority=constant)
    evidence = Evidence(
        surfaces=[shown for _, shown in surfaces], trials=trials, points=means, reaches=reaches, control=without,
        majority=constant, classes=subject.classes, pool=subject.pool_kind,
        training_cost_usd=deployment.training_cost_usd,
        has_limits=None if deployment.limits is None else bool(deployment.limits))
    return Audit(
        target=request.name, config_digest=deployment.config_digest, seed=request.seeds[0],
        authorized_by=request.authorized_by, trials=trials, control=without, cheapest=reaches,
        findings=findings(evidence), majority=constant, surfaces=[shown for _, shown in surfaces],
        skipped=skipped, warnings=warnings,
        training_cost_usd=deployment.training_cost_usd, queries_asked=queries_asked, seconds=round(seconds, 1))


def _attacks(chosen: Sequence[str | Spec]) -> list[Spec]:
    """The specs of some attacks, of all on answers with rows where none is named.

    Raises:
        ConfigError: there is no such attack.
    """
    if chosen:
        return [each if isinstance(each, Spec) else plugins.build("attacks", {"kind": each}, "--attack")
                for each in chosen]
    found = [plugins.build("attacks", {"kind": kind}, "--attack") for kind in plugins.kinds("attacks")]
    return [spec for spec in found if not cast(Attack, spec).needs & OTHER_ANSWERS]


def _surfaces(request: Request, shows: frozenset[str]) -> list[Surface]:
    """What callers see first, then what it is compared with, each name once.

    Raises:
        ConfigError: there is no such surface.
    """
    first = request.deployment.surface
    if not first.policies and "scores" not in shows:
        first = replace(first, name="labels")
    found = {first.name: first}
    for each in request.surfaces:
        other = surface(each) if isinstance(each, str) else each
        found.setdefault(other.name, other)
    return list(found.values())


@contextlib.asynccontextmanager
async def opened(target: Predict | Endpoint, *, returns: Literal["scores", "logits"], ids: Predict | None = None,
                 seconds: float = 60.0, say: Callable[[str], None] = lambda text: None) -> AsyncIterator[Counted]:
    """A target that can be asked, as `run` takes it.

    Raises:
        TargetUnreachable: nobody answers.
    """
    if isinstance(target, Endpoint):
        async with reaching(target, say) as http:
            yield Counted(http)
        return
    local = Local(target, returns=returns, ids=ids, seconds=seconds)
    try:
        yield Counted(local)
    finally:
        local.close()


@contextlib.contextmanager
def _tracing(chosen: Path | Tracing | None) -> Iterator[Tracing | None]:
    if not isinstance(chosen, Path):
        yield chosen
        return
    with contextlib.closing(Trace(chosen)) as trace:
        yield trace


def _kept(folder: Path | None, of: str) -> Path | None:
    """Where the answers of a target are kept."""
    digest = hashlib.blake2b(of.encode(), digest_size=8).hexdigest()
    return None if folder is None else folder / f"{digest}.answers"


def _name(target: Predict | Endpoint) -> str:
    if isinstance(target, Endpoint):
        return target.url
    owner = getattr(target, "__self__", None)
    name = getattr(target, "__name__", type(target).__name__)
    if owner is not None and not isinstance(owner, ModuleType):
        return f"{type(owner).__name__}.{name}"
    return f"{getattr(target, '__module__', '')}:{name}".removeprefix(":")
