"""Honest accounts: some fit the detectors, the others calibrate them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.errors import WatchError
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.protocols import Detector, States, Tracker
from counterclone.randomness import Prf
from counterclone.watch.calibration import CHECKPOINTS, FEWEST_ACCOUNTS, Ranks, Scale, Scores, Stretches, shared

FIT_SHARE = 1 / 3
"""Of the honest accounts; the others calibrate, and their number bounds how small a p-value can be."""
_DIGEST_BYTES = 16

_HAS: Mapping[str, Callable[[Exchanges], bool]] = {
    "vectors": lambda exchanges: bool(np.isfinite(exchanges.vectors[:, 0]).any()),
    "labels": lambda exchanges: bool((exchanges.labels != NO_LABEL).any()),
    "margins": lambda exchanges: bool(np.isfinite(exchanges.margins).any()),
}


@dataclass(frozen=True)
class Gauge:
    """One detector as honest accounts have set it.

    Attributes:
        kind: the detector's.
        words: what a high score says of an account.
        tracker: fitted on some of them.
        scale: of its scores, by the same.
        ranks: the largest values of the others' whole lives, by kind of account.
        states: the others' summaries in the end, (accounts, width).
    """

    kind: str
    words: str
    tracker: Tracker
    scale: Scale
    ranks: Mapping[str, Ranks]
    states: States


@dataclass(frozen=True)
class Reference:
    """What honest accounts look like to each detector.

    Attributes:
        gauges: the detectors that this traffic can set.
        counts: exchanges of the accounts that calibrate, (accounts,).
        labels: that the target gave, sorted.
        kinds: of accounts that calibrate, sorted; an account of another kind is ranked among all of them.
        n_fit: accounts that the detectors were fitted on.
        name: what it is a reference for, for example a release of the model.
        digest: of everything that it was made from.
        problems: detectors that couldn't be set, in words.
    """

    gauges: tuple[Gauge, ...]
    counts: NDArray[np.int64]
    labels: NDArray[np.int32]
    kinds: tuple[str, ...]
    n_fit: int
    name: str
    digest: str
    problems: tuple[str, ...]

    @classmethod
    def fit(cls, exchanges: Exchanges, detectors: Sequence[Detector], key: Prf, *,
            names: Sequence[str] | None = None, kinds: Sequence[str] | None = None, name: str = "") -> Reference:
        """Fit detectors on a third of the accounts, by a keyed hash of their names, calibrate them on the others.

        A detector that this traffic can't set is left out and named in `problems`.

        Args:
            exchanges: of honest accounts, in the order of time.
            detectors: specs.
            key: nobody without it knows which accounts do what.
            names: of the accounts, by number; without, their numbers.
            kinds: of the accounts, by number; accounts of a kind are ranked among their own.
            name: what it is a reference for.
        """
        n_accounts = exchanges.n_accounts
        names = list(map(str, range(n_accounts))) if names is None else names
        kinds = [""] * n_accounts if kinds is None else kinds
        calibrating, fitting = _parts(names[:n_accounts], key)
        fit_on, calibrate_on = exchanges.of(fitting), exchanges.of(calibrating)
        own_kinds = np.array([kinds[i] for i in calibrating.tolist()], dtype=np.str_)
        gauges, problems = [], []
        fit_courses, own_courses = Stretches(fit_on, len(fitting)), Stretches(calibrate_on, len(calibrating))
        for detector in detectors:
            try:
                gauges.append(_gauge(detector, fit_on, fit_courses, own_courses, own_kinds))
            except WatchError as error:
                problems.append(str(error))
        labels = np.unique(exchanges.labels[exchanges.labels != NO_LABEL])
        return cls(gauges=tuple(gauges), counts=own_courses.counts, labels=labels,
                   kinds=tuple(np.unique(own_kinds).tolist()), n_fit=len(fitting), name=name,
                   digest=_digest(exchanges, detectors, names, kinds, key), problems=tuple(problems))

    @property
    def trackers(self) -> list[Tracker]:
        """The detectors' trackers."""
        return [gauge.tracker for gauge in self.gauges]

    @property
    def n_calibration(self) -> int:
        """Ordinary accounts that calibrate the detector that has the fewest, 0 without detectors."""
        kind = "" if "" in self.kinds else ALL
        return min((len(gauge.ranks[kind]) for gauge in self.gauges), default=0)

    @property
    def profiles(self) -> NDArray[np.float64]:
        """The accounts that calibrate as points, by all detectors: (accounts, dimensions)."""
        return self.profile([gauge.states for gauge in self.gauges], len(self.counts))

    def profile(self, states: Sequence[States], n: int) -> NDArray[np.float64]:
        """Summaries of `n` accounts, by detector, as points: (n, dimensions)."""
        parts = [gauge.tracker.profile(own) for gauge, own in zip(self.gauges, states, strict=True)]
        return np.concatenate([np.empty((n, 0)), *parts], axis=1)

    def values(self, states: Sequence[States], points: NDArray[np.intp]) -> Scores:
        """Summaries' scores on the honest accounts' scale, NaN for too few exchanges: (n, detectors).

        Args:
            states: by detector, (n, width).
            points: the last checkpoint that each account reached, (n,).
        """
        values = [gauge.scale.values(gauge.tracker.score(own), points)
                  for gauge, own in zip(self.gauges, states, strict=True)]
        return np.stack(values, axis=1) if values else np.empty((len(points), 0))

    def p_values(self, maxima: Scores, kind: str = "") -> Scores:
        """How many of the honest accounts of a kind went as far in their lives, by detector: (n, detectors)."""
        kind = kind if kind in self.kinds else ALL
        columns = [gauge.ranks[kind].p_values(maxima[:, i]) for i, gauge in enumerate(self.gauges)]
        return np.stack(columns, axis=1) if columns else np.empty((len(maxima), 0))

    def p_value_of_union(self, states: Sequence[States], n_exchanges: int) -> float:
        """The p-value of accounts taken as one.

        Args:
            states: their merged summary, by detector, (1, width).
            n_exchanges: theirs together.
        """
        values = self.values(states, points_reached(np.array([n_exchanges])))
        p_values = self.p_values(np.where(np.isnan(values), -np.inf, values))
        return float(shared(p_values.T)[0])


ALL = "\0all"
"""The kind of accounts that have no kind of their own in a reference: every one of it."""


def points_reached(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """The last checkpoint that accounts with so many exchanges reached, the first for fewer: (n,)."""
    return np.maximum(np.searchsorted(CHECKPOINTS, counts, side="right") - 1, 0)


def _parts(names: Sequence[str], key: Prf) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the accounts that calibrate and of those that fit."""
    prf = key.subkey("watch reference")
    hashes = prf.numbers([name.encode("utf-8", "surrogatepass") for name in names])
    fits = hashes < np.uint64(FIT_SHARE * 2**64)
    return np.flatnonzero(~fits), np.flatnonzero(fits)


def _gauge(detector: Detector, fit_on: Exchanges, fitting: Stretches, calibrating: Stretches,
           kinds: NDArray[np.str_]) -> Gauge:
    kind = plugins.kind_of(cast(plugins.Spec, detector))
    if len(fitting.counts) < FEWEST_ACCOUNTS:
        raise WatchError(f"detector '{kind}': {len(fitting.counts)} honest accounts are too few to set it, it takes "
                         f"{FEWEST_ACCOUNTS}, which are a third of the reference: it isn't used")
    for need in sorted(detector.needs):
        if not _HAS[need](fit_on):
            raise WatchError(f"detector '{kind}' needs {need} and the honest exchanges have none: it isn't used")
    try:
        tracker = detector.start(fit_on)
    except WatchError as error:
        raise WatchError(f"detector '{kind}': {error}: it isn't used") from error
    scale = Scale.fit(fitting.course(tracker).scores)
    if scale is None:
        raise WatchError(f"detector '{kind}': fewer than {FEWEST_ACCOUNTS} of the {len(fitting.counts)} honest "
                         "accounts that set it have enough exchanges to score: it isn't used")
    course = calibrating.course(tracker)
    maxima = scale.maxima(course.scores)
    ranks = {own: Ranks.of(maxima[kinds == own]) for own in np.unique(kinds).tolist()}
    return Gauge(kind, detector.words, tracker, scale, {**ranks, ALL: Ranks.of(maxima)}, course.states)


def _digest(exchanges: Exchanges, detectors: Sequence[Detector], names: Sequence[str], kinds: Sequence[str],
            key: Prf) -> str:
    hashed = hashlib.blake2b(key.digest(b"watch reference", _DIGEST_BYTES), digest_size=_DIGEST_BYTES)
    specs = [(plugins.kind_of(cast(plugins.Spec, spec)), msgspec.to_builtins(spec)) for spec in detectors]
    hashed.update(repr((list(names), list(kinds), specs)).encode("utf-8", "surrogatepass"))
    for field in fields(Exchanges):
        hashed.update(np.ascontiguousarray(getattr(exchanges, field.name)).data)
    return hashed.hexdigest()
