"""The audit of a language model or of an encoder: how near a copy of its texts, or of its vectors, comes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.answers import FLOAT_BITS, Reply
from counterclone.audit.control import Control
from counterclone.audit.curve import cheapest, points
from counterclone.audit.engine import Deployment
from counterclone.audit.findings import SEVERITIES, Evidence, Finding, Shown, findings
from counterclone.audit.plans import Skipped
from counterclone.audit.preparation import Brought, PoolKind, bring
from counterclone.audit.regions import Regions
from counterclone.audit.result import Audit
from counterclone.audit.trial import Trial, Watched
from counterclone.audit.utility import Utility
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.encoders import encode_texts
from counterclone.errors import ConfigError
from counterclone.fidelity import balanced_agreement, overlaps, probe_accuracy
from counterclone.plugins import Spec
from counterclone.protocols import Embedder, Imitation, Prior, Target, Writer
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.statistics import Interval, proportion
from counterclone.targets.counted import Counted
from counterclone.targets.local import Local, Predict

Task = Literal["llm", "encoder"]
SURFACE = "full"
SHOWS: dict[str, Literal["texts", "vectors"]] = {"llm": "texts", "encoder": "vectors"}
BUDGETS = (100, 300, 1000)
ASKED_TWICE = 20
SURE = 1.96


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be audited, and how; see `run`."""

    target: Predict
    task: Task
    name: str
    brought: Brought
    deployment: Deployment
    budgets: Sequence[int]
    attacks: Sequence[str | Spec]
    seeds: Sequence[int]
    seconds: float
    authorized_by: str
    warnings: list[str]
    say: Callable[[str], None]


class _Measured(NamedTuple):
    """How near a copy is."""

    fidelity: Interval
    balanced: float
    accuracy: float | None


def run(predict: Predict, *, task: Task, pool: Any, evaluate: Any = None, deployment: Deployment | None = None,
        budgets: Sequence[int] = (), attacks: Sequence[str | Spec] = (), seeds: int = 3, seed: int = 0,
        seconds: float = 60.0, pool_kind: PoolKind = "own", name: str = "", authorized_by: str = "",
        say: Callable[[str], None] = lambda text: None) -> Audit:
    """Copy a language model or an encoder that you own, and tell what that costs.

    Fidelity is, of a language model, that a copy's whole answer is the target's; of an encoder, the share of an
    input's ten nearest that both have in common. Accuracy, where true labels are there, is that an answer is the
    label, or that a linear classifier on half of the vectors is right on the others.

    Args:
        predict: `list[str] -> list[str]`, or `(n, d) floats or list[str] -> (n, m)`.
        task: `llm` or `encoder`.
        pool: inputs that an attacker may have.
        evaluate: inputs that the model's users send; None holds a third of the pool out.
        deployment: what callers pay, and what the model cost.
        budgets: queries.
        attacks: kinds or specs; all that fit where left out.
        seeds: trials of each attack with each budget.
        seed: of the first.
        seconds: how long a call may take.
        pool_kind: whether the pool is like what the users send, or other data.
        name: of the target in reports.
        authorized_by: who allows it.
        say: told of the progress.

    Raises:
        ConfigError: something of this doesn't fit.
        TargetError: the target doesn't keep its promises.
    """
    warnings: list[str] = []
    brought = bring(pool, evaluate, kind=pool_kind, seed=seed, n_uniform=max(BUDGETS), warn=warnings.append)
    if task == "llm" and not isinstance(brought.pool.inputs, list):
        raise ConfigError("pool: has numbers; expected texts, which a language model takes")
    for warning in warnings:
        say(f"warning: {warning}")
    request = Request(
        target=predict, task=task, name=name, brought=brought, deployment=deployment or Deployment(),
        budgets=sorted(set(budgets)) or BUDGETS, attacks=attacks, seeds=range(seed, seed + seeds), seconds=seconds,
        authorized_by=authorized_by, warnings=warnings, say=say)
    return asyncio.run(_audit(request))


async def _audit(request: Request) -> Audit:
    started = time.monotonic()
    told = request.brought.evaluate
    local = Local(request.target, returns=SHOWS[request.task], seconds=request.seconds)
    try:
        counted = Counted(local)
        served = await counted.query(told.inputs)
        again = await counted.query(told.inputs[:ASKED_TWICE]) if request.task == "llm" else served
        judge = _Judge(request, served)
        trials, skipped = await _trials(request, counted, judge)
    finally:
        local.close()
    if not trials:
        raise ConfigError("no attack fits", *(f"{each.attack}: {each.reason}" for each in skipped))
    deployment, means = request.deployment, points(trials)
    reaches = cheapest(means, [SURFACE], deployment.limits or (), lambda name: judge.bits, majority=judge.floor)
    shown = Shown(name=SURFACE, shows=(SHOWS[request.task],), decimals=None,
                  label_unchanged=1.0, accuracy=judge.own_accuracy, utility=_nothing_lost(len(told.inputs)))
    constant = Control(student="majority", rows=0, fidelity=judge.floor, accuracy=None)
    evidence = Evidence(
        surfaces=[shown], trials=trials, points=means, reaches=reaches, control=constant, majority=judge.floor,
        classes=judge.n_answers, pool=request.brought.kind, training_cost_usd=deployment.training_cost_usd,
        has_limits=None if deployment.limits is None else bool(deployment.limits))
    found = [*map(_without_policies, findings(evidence)), *_words(request.task, served, again)]
    return Audit(
        target=request.name, config_digest=deployment.config_digest, seed=request.seeds[0],
        authorized_by=request.authorized_by, trials=trials,
        control=constant if request.task == "llm" else Control(
            student="inputs", rows=0, fidelity=judge.floor, accuracy=None),
        cheapest=reaches, findings=sorted(found, key=lambda each: SEVERITIES.index(each.severity)),
        majority=judge.floor, surfaces=[shown], skipped=skipped, warnings=request.warnings,
        training_cost_usd=deployment.training_cost_usd, queries_asked=counted.queries,
        seconds=round(time.monotonic() - started, 1))


async def _trials(request: Request, target: Counted, judge: _Judge) -> tuple[list[Trial], list[Skipped]]:
    trials: list[Trial] = []
    skipped: list[Skipped] = []
    for kind in request.attacks or plugins.kinds("attacks"):
        spec = kind if isinstance(kind, Spec) else plugins.build("attacks", {"kind": kind}, "--attack")
        attack = cast(Imitation, spec)
        if reason := _misfit(attack, request):
            if request.attacks:
                skipped.append(Skipped(plugins.kind_of(spec), SURFACE, reason))
            continue
        for budget in request.budgets:
            try:
                done = [each for seed in request.seeds
                        if (each := await judge.trial(attack, budget, seed, target)) is not None]
            except ImportError as error:
                reason = f"{error.name} isn't installed; `pip install 'counterclone[deep]'`"
                skipped.append(Skipped(plugins.kind_of(spec), SURFACE, reason))
                break
            if done:
                mean = statistics.fmean(each.fidelity for each in done)
                request.say(f"{plugins.kind_of(spec)}, {budget:,} queries: fidelity {mean:.1%}")
            trials += done
    return trials, skipped


def _misfit(attack: Imitation, request: Request) -> str:
    """Why an attack doesn't fit, "" where it does."""
    asks = "text" if isinstance(request.brought.pool.inputs, list) else "numbers"
    if SHOWS[request.task] not in attack.needs:
        return f"it copies no {'language model' if request.task == 'llm' else 'encoder'}"
    return "" if asks in attack.needs else f"it doesn't ask with {asks}"


class _Judge:
    """Tells how near copies are, on inputs that no attack sees.

    Attributes:
        floor: what agrees without any answer: the most frequent text, or the neighbours of the inputs themselves.
        n_answers: different texts, or dimensions.
        bits: of an answer, at most.
        own_accuracy: the target's own, None without true labels.
    """

    def __init__(self, request: Request, served: Reply) -> None:
        self._request = request
        self._told, self._served = request.brought.evaluate, served
        if served.texts is not None:
            counts = Counter(served.texts)
            self.floor = counts.most_common(1)[0][1] / len(served.texts)
            self.n_answers = len(counts)
            self.bits = float(np.mean([8.0 * len(text.encode(errors="replace")) for text in served.texts]))
            self.own_accuracy = self._right(served.texts)
        else:
            vectors = _vectors(served)
            self.floor = float(overlaps(vectors, _plain(self._told.inputs)).mean())
            self.n_answers = vectors.shape[1]
            self.bits = float(FLOAT_BITS * vectors.shape[1])
            self.own_accuracy = self._probed(vectors)

    async def trial(self, attack: Imitation, budget: int, seed: int, target: Target) -> Trial | None:
        """One attack with one budget under one seed; None where it built nothing."""
        started, brought, kind = time.monotonic(), self._request.brought, plugins.kind_of(cast(Spec, attack))
        meter = Meter(budget, self._request.deployment.price)
        watched = Watched(target, Regions(brought.evaluate.inputs), lambda inputs, reply: None)
        prior = Prior(budget=budget, pool=brought.pool.inputs, classes=0, lower=brought.lower, upper=brought.upper,
                      shows=frozenset({SHOWS[self._request.task]}))
        built = await drive(attack.run(prior, generator(seed, "attack", kind)), watched, meter)
        if built is None:
            return None
        seconds, near = time.monotonic() - started, self.measure(built)
        return Trial(
            attack=kind, surface=SURFACE, queries=budget, queries_sent=meter.queries, calls=meter.calls,
            repeats=meter.repeats, seed=seed, fidelity=near.fidelity.value, fidelity_low=near.fidelity.low,
            fidelity_high=near.fidelity.high, fidelity_balanced=near.balanced, fidelity_uniform=None,
            accuracy=near.accuracy, kl=np.nan, worst_gap=np.nan, coverage=watched.regions.coverage,
            parameters=None, pool=brought.kind, usd=meter.usd, seconds=seconds)

    def measure(self, built: Writer | Embedder) -> _Measured:
        """Of one copy."""
        if self._served.texts is None:
            vectors = cast(Embedder, built).embed(self._told.inputs)
            shares = overlaps(_vectors(self._served), vectors)
            mean, wide = float(shares.mean()), SURE * float(shares.std()) / len(shares)**0.5
            interval = Interval(mean, max(mean - wide, 0.0), min(mean + wide, 1.0))
            return _Measured(interval, mean, self._probed(vectors))
        own, texts = self._served.texts, cast(Writer, built).write(list(self._told.inputs))
        numbers = {text: number for number, text in enumerate(dict.fromkeys(own))}
        labels, others = (np.array([numbers.get(text, -1) for text in each]) for each in (own, texts))
        return _Measured(proportion(int((labels == others).sum()), len(labels)),
                         balanced_agreement(labels, others), self._right(texts))

    def _right(self, texts: Sequence[str]) -> float | None:
        if self._told.labels is None:
            return None
        return float(np.mean([text == str(label) for text, label in zip(texts, self._told.labels, strict=True)]))

    def _probed(self, vectors: NDArray[np.float64]) -> float | None:
        return None if self._told.labels is None else probe_accuracy(vectors, self._told.labels)


def _nothing_lost(n_inputs: int) -> Utility:
    """What honest users lose where answers are shown as they are."""
    return Utility(label_changed=0.0, label_changed_high=0.0, accuracy_loss=0.0, calibration_error_increase=None,
                   brier_increase=None, l1=0.0, inputs=n_inputs)


def _vectors(reply: Reply) -> NDArray[np.float64]:
    assert reply.vectors is not None
    return reply.vectors


def _plain(inputs: Inputs) -> NDArray[np.float64]:
    """What anybody has: the numbers, or hashed words."""
    return encode_texts(inputs).astype(np.float64) if isinstance(inputs, list) else inputs


def _without_policies(finding: Finding) -> Finding:
    """The finding with a remedy for texts and vectors, which no policy on probabilities coarsens."""
    if finding.id != "cheap-copy":
        return finding
    return msgspec.structs.replace(
        finding, remedy="Limit what an account may ask in a day ([guard] limit_copy_share_per_day), watch "
                        "accounts, and mark answers, so that a copy can be told.")


def _words(task: Task, served: Reply, again: Reply) -> list[Finding]:
    """What holds of every audit of this kind."""
    found = [Finding(
        id="agreement-is-no-proof", severity="info",
        text="Agreement alone proves nothing: an innocent model of the same domain can agree with yours more than "
             "the best copy does.",
        remedy="Read gaps to controls of equal size, and leave proof to marks ([[mark]], `counterclone prove`).")]
    if task == "encoder":
        return found
    found.append(Finding(
        id="style-first", severity="info",
        text="Style is copied sooner than capability: a copy that answers in your model's words on a narrow task "
             "needn't know what it knows.",
        remedy="Audit with prompts of each task that you sell; knowledge and worked reasoning leak at their own "
               "price. (Gudibande et al. 2023, \"The False Promise of Imitating Proprietary LLMs\".)"))
    if again.texts is not None and list(again.texts) == list(served.texts or ())[:len(again.texts)]:
        found.append(Finding(
            id="greedy-answers", severity="medium",
            text=f"{len(again.texts)} prompts that were asked twice got the same answers: they teach a copier "
                 "about as much as drawn answers with their log-probabilities would.",
            remedy="Hiding log-probabilities doesn't stop who asks at temperature 0; limits and watching accounts "
                   "do."))
    return found
