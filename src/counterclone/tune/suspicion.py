"""When a copier would have stood out among honest accounts, and what it had by then."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, full_bits, top_labels
from counterclone.audit.curve import Point
from counterclone.audit.trial import Plan
from counterclone.encoders import encode_features, encode_texts
from counterclone.exchanges import Exchanges, join
from counterclone.queries import Inputs, canonical_features
from counterclone.randomness import generator
from counterclone.tune.crowd import Crowd
from counterclone.tune.economics import Bound, reached
from counterclone.watch.calibration import CHECKPOINTS, Stretches
from counterclone.watch.engine import reference_of
from counterclone.watch.levels import DAYS_PER_YEAR, account_level, accounts_needed


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A risk from which a tier may hold, and the copier that gets furthest before.

    Attributes:
        risk: of an account.
        honest_share: of honest accounts that are expected to reach it in their whole lives.
        queries: at which the copier reaches it, None where it never does.
        fidelity: of its copy by then.
        bound: whether the fidelity is a bound, since no copy with so few queries was tried.
        attack: that it runs.
    """

    risk: float
    honest_share: float
    queries: int | None
    fidelity: float
    bound: Bound
    attack: str


class Suspicion:
    """Takes the queries of an audit's trials, and tells what a watch of one account at a time thinks of them.

    A copier paces itself here as honest accounts do: gaps are drawn from theirs. Margins aren't told by what was
    served, so that they count for nothing; where they would stand out, an alarm comes sooner. Risks are those in a
    watch that has gone on for a year with as many accounts.

    Args:
        crowd: honest accounts.
        budget: of the trials that are looked at.
        seed: of the gaps.
    """

    def __init__(self, crowd: Crowd, budget: int, seed: int) -> None:
        self._crowd = crowd
        self._budget = budget
        self._rng = generator(seed, "copiers' pace")
        self._plans: list[Plan] = []
        self._parts: list[Exchanges] = []
        self._reference = reference_of(crowd.honest, crowd.detectors, crowd.key)
        self._level = account_level(crowd.false_alarms_per_year, DAYS_PER_YEAR, len(crowd.honest))

    @property
    def problems(self) -> list[str]:
        """What keeps risks from being told, in words."""
        found, known = list(self._reference.problems), self._reference.n_calibration
        needed = accounts_needed(self._level)
        if known and needed is not None and needed > known:
            rate = self._crowd.false_alarms_per_year
            found.append(f"no alarm is foreseen: {rate:g} false ones a year need {needed:,} "
                         f"honest accounts to rank a copier among, and there are {known:,}")
        return found

    def of(self, plan: Plan) -> Callable[[Inputs, Reply], None]:
        """What takes the batches of one trial."""
        if plan.budget != self._budget:
            return lambda inputs, reply: None
        number = len(self._plans)
        self._plans.append(plan)

        def see(inputs: Inputs, reply: Reply) -> None:
            self._parts.append(self._exchanges(number, inputs, reply))

        return see

    def bars(self, points: Sequence[Point]) -> dict[str, list[Bar]]:
        """What copiers have when they reach each risk, by setting; empty where nothing tells risks.

        Args:
            points: of the audit.
        """
        if not self._reference.gauges or not self._parts:
            return {}
        p_values = self._courses()
        lines: defaultdict[str, defaultdict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
        for point in points:
            lines[point.surface][point.attack].append(point)
        return {surface: [self._bar(risk, surface, of_attack, p_values) for risk in self._crowd.risks]
                for surface, of_attack in lines.items()}

    def _bar(self, risk: float, surface: str, lines: Mapping[str, Sequence[Point]], p_values: NDArray[np.float64],
             ) -> Bar:
        most = self._level**risk
        delays = {attack: self._delay(surface, attack, p_values, most) for attack in lines}
        copies = {attack: reached(line, min(delays[attack], self._budget)) for attack, line in lines.items()}
        attack = max(copies, key=lambda attack: copies[attack].fidelity)
        return Bar(risk=risk, honest_share=most, attack=attack, fidelity=copies[attack].fidelity,
                   queries=None if math.isinf(delays[attack]) else int(delays[attack]), bound=copies[attack].bound)

    def _delay(self, surface: str, attack: str, p_values: NDArray[np.float64], most: float) -> float:
        """The queries after which a copier's p-value was so low, the median of its trials."""
        own = [number for number, plan in enumerate(self._plans)
               if (plan.surface.name, plan.kind) == (surface, attack)]
        is_there = p_values[:, own] <= most
        return float(np.median(np.where(is_there.any(axis=0), CHECKPOINTS[is_there.argmax(axis=0)], np.inf)))

    def _courses(self) -> NDArray[np.float64]:
        """The p-values of the trials as they went on: (checkpoints, trials)."""
        stretches = Stretches(self._paced(join(self._parts)), len(self._plans))
        points = np.arange(len(CHECKPOINTS))[:, np.newaxis]
        values = np.stack([gauge.scale.values(stretches.course(gauge.tracker).scores, points)
                           for gauge in self._reference.gauges], axis=2)
        maxima = np.maximum.accumulate(np.where(np.isnan(values), -np.inf, values), axis=0)
        return np.stack([self._reference.account_p_values(each) for each in maxima])

    def _paced(self, exchanges: Exchanges) -> Exchanges:
        """Exchanges of trials, which were asked at once, at honest accounts' pace."""
        honest = self._crowd.honest.exchanges
        known = honest.gaps[np.isfinite(honest.gaps)]
        gaps = self._rng.choice(known, len(exchanges)) if len(known) else np.full(len(exchanges), 60.0)
        gaps[exchanges.ranks() == 0] = np.nan
        times = np.empty(len(exchanges))
        for number in range(len(self._plans)):
            own = np.flatnonzero(exchanges.accounts == number)
            times[own] = honest.times.min() + np.nancumsum(gaps[own])
        paced = replace(exchanges, times=times, gaps=gaps.astype(np.float32))
        return paced.select(np.argsort(times, kind="stable"))

    def _exchanges(self, number: int, inputs: Inputs, reply: Reply) -> Exchanges:
        n = len(reply.rows)
        nothing = np.full(n, np.nan, dtype=np.float32)
        if isinstance(inputs, list):
            vectors, cells = encode_texts(inputs), [text.encode("utf-8", "surrogatepass") for text in inputs]
        else:
            vectors, cells = encode_features(inputs), canonical_features(inputs)
        return Exchanges(
            accounts=np.full(n, number, dtype=np.intp), times=np.zeros(n),
            vectors=vectors, labels=top_labels(reply.rows).astype(np.int32), margins=nothing, gaps=nothing,
            digests=self._crowd.key.numbers(cells), bits=np.full(n, full_bits(reply.rows.shape[1]), np.float32))
