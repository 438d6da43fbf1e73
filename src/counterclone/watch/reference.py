"""Honest accounts: some fit the detectors, some their scales, and the others calibrate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.errors import WatchError
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.protocols import Detector, States, Tracker
from counterclone.randomness import Prf
from counterclone.watch.calibration import CHECKPOINTS, FEWEST_ACCOUNTS, Ranks, Scale, Scores, Stretches

CALIBRATION_SHARE = 1 / 2
"""Of the honest accounts; their number bounds how small a p-value can be."""
_FIT_SHARE = 1 / 3
_FEWEST_TO_FIT = 40
_EXPECTED = 0.1
"""Of honest accounts as far out by a detector: one that fewer are expected to be like isn't honest."""
_SMALLEST_THINNING = 0.1
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
        is_of_content: whether it sees what is asked and answered, not only when and how often.
        tracker: fitted on some of them.
        scale: of its scores, by some others.
        ranks: of the largest values in the calibrating accounts' whole lives, by kind of account.
        states: the calibrating accounts' summaries in the end, (accounts, width).
    """

    kind: str
    words: str
    is_of_content: bool
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
        n_fit: accounts that the detectors and their scales were fitted on.
        name: what it is a reference for, for example a release of the model.
        digest: of everything that it was made from.
        problems: detectors that couldn't be set, in words.
        ranks: of the rarest of the detectors' values in the calibrating accounts' whole lives, by kind of account.
        left_out: names of accounts that are too far out to be honest.
        names: of the accounts that calibrate.
    """

    gauges: tuple[Gauge, ...]
    counts: NDArray[np.int64]
    labels: NDArray[np.int32]
    kinds: tuple[str, ...]
    n_fit: int
    name: str
    digest: str
    problems: tuple[str, ...]
    ranks: Mapping[str, Ranks] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def fit(cls, exchanges: Exchanges, detectors: Sequence[Detector], key: Prf, *,
            names: Sequence[str] | None = None, kinds: Sequence[str] | None = None, name: str = "",
            trim: float = 0.0) -> Reference:
        """Fit detectors on a third of the accounts, by a keyed hash, their scales on a sixth; half calibrate.

        A detector that this traffic can't set is left out and named in `problems`.

        Args:
            exchanges: of honest accounts, in the order of time.
            detectors: specs.
            key: nobody without it knows which accounts do what.
            names: of the accounts, by number; without, their numbers.
            kinds: of the accounts, by number; accounts of a kind are ranked among their own.
            name: what it is a reference for.
            trim: the share of accounts that may be copiers'. So many at most are left out, and only those farther
                out than the tail of the others explains. Copiers that stay make later ones look usual.
        """
        n_accounts = exchanges.n_accounts
        names = (list(map(str, range(n_accounts))) if names is None else list(names))[:n_accounts]
        kinds = ([""] * n_accounts if kinds is None else list(kinds))[:n_accounts]
        if trim > 0.0:
            suspected = _outlying(exchanges, detectors, key, names, round(trim * n_accounts))
            kept = np.setdiff1d(np.arange(n_accounts), suspected)
            trimmed = cls.fit(exchanges.of(kept), detectors, key, names=[names[i] for i in kept.tolist()],
                              kinds=[kinds[i] for i in kept.tolist()], name=name)
            return replace(trimmed, left_out=tuple(names[i] for i in suspected.tolist()))
        fitting, scaling, calibrating = _parts(names, key)
        own_kinds = np.array([kinds[i] for i in calibrating.tolist()], dtype=np.str_)
        traffic = _Parts(exchanges.of(fitting), len(fitting), Stretches(exchanges.of(scaling), len(scaling)),
                         Stretches(exchanges.of(calibrating), len(calibrating)))
        gauges, maxima, problems = [], [], []
        for detector in detectors:
            try:
                gauge, own_maxima = _gauge(detector, traffic, own_kinds)
            except WatchError as error:
                problems.append(str(error))
            else:
                gauges.append(gauge)
                maxima.append(own_maxima)
        labels = np.unique(exchanges.labels[exchanges.labels != NO_LABEL])
        return cls(gauges=tuple(gauges), counts=traffic.calibrating.counts, labels=labels,
                   kinds=tuple(np.unique(own_kinds).tolist()), n_fit=n_accounts - len(calibrating), name=name,
                   digest=_digest(exchanges, detectors, names, kinds, key), problems=tuple(problems),
                   ranks=_ranks_of_rarest(gauges, maxima, own_kinds),
                   names=tuple(names[i] for i in calibrating.tolist()))

    @property
    def trackers(self) -> list[Tracker]:
        """The detectors' trackers."""
        return [gauge.tracker for gauge in self.gauges]

    @property
    def n_calibration(self) -> int:
        """Ordinary accounts with enough exchanges to be scored that calibrate, 0 without detectors."""
        return len(self.ranks["" if "" in self.kinds else ALL]) if self.gauges else 0

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
        """How many honest accounts of a kind go as far as these, by each detector: (n, detectors).

        Args:
            maxima: the largest values of the accounts' lives, -inf where there is none, (n, detectors).
            kind: of the accounts.
        """
        kind = self.ranked_as(kind)
        columns = [gauge.ranks[kind].p_values(maxima[:, i]) for i, gauge in enumerate(self.gauges)]
        return np.stack(columns, axis=1) if columns else np.empty((len(maxima), 0))

    def account_p_values(self, maxima: Scores, kind: str = "") -> Scores:
        """How many honest accounts of a kind go as far as these by any detector, each as far as is as rare: (n,).

        Args:
            maxima: as for `p_values`.
            kind: of the accounts.
        """
        if not self.gauges:
            return np.ones(len(maxima))
        kind = self.ranked_as(kind)
        surprises = [gauge.ranks[kind].surprises(maxima[:, i]) for i, gauge in enumerate(self.gauges)]
        return self.ranks[kind].p_values(_rarest(surprises, maxima))

    def p_value_of_union(self, states: Sequence[States], n_exchanges: int) -> float:
        """The p-value of accounts taken as one.

        Args:
            states: their merged summary, by detector, (1, width).
            n_exchanges: theirs together.
        """
        points = points_reached(np.array([n_exchanges]))
        maxima = np.full((1, len(self.gauges)), -np.inf)
        for i, (gauge, own) in enumerate(zip(self.gauges, states, strict=True)):
            # what many accounts have in common is no single account's beyond what honest ones were seen to ask
            value = gauge.scale.values(gauge.tracker.score(own), np.minimum(points, gauge.scale.last))
            maxima[:, i] = np.where(np.isnan(value), -np.inf, value)
        return float(self.account_p_values(maxima)[0])

    def maxima(self, exchanges: Exchanges) -> Scores:
        """The largest values of accounts' whole lives, -inf where there is none: (accounts, detectors)."""
        stretches = Stretches(exchanges, exchanges.n_accounts)
        columns = [gauge.scale.maxima(stretches.course(gauge.tracker).scores) for gauge in self.gauges]
        return np.stack(columns, axis=1) if columns else np.empty((exchanges.n_accounts, 0))

    def ranked_as(self, kind: str) -> str:
        """The kind that accounts of a kind are ranked among: their own, or all."""
        return kind if kind in self.kinds else ALL


ALL = "\0all"
"""The kind of accounts that have no kind of their own in a reference: every one of it."""


def points_reached(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """The last checkpoint that accounts with so many exchanges reached, the first for fewer: (n,)."""
    return np.maximum(np.searchsorted(CHECKPOINTS, counts, side="right") - 1, 0)


@dataclass(frozen=True)
class _Parts:
    """A reference's traffic by what its accounts do."""

    fitting: Exchanges
    n_fitting: int
    scaling: Stretches
    calibrating: Stretches


def _parts(names: Sequence[str], key: Prf) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the accounts that fit, that scale and that calibrate; where there are few, fitting ones scale."""
    prf = key.subkey("watch reference")
    order = np.argsort(prf.numbers([name.encode("utf-8", "surrogatepass") for name in names]), kind="stable")
    n_fitting = min(max(round(_FIT_SHARE * len(names)), _FEWEST_TO_FIT), len(names))
    n_scaling = round((1.0 - CALIBRATION_SHARE - _FIT_SHARE) * len(names))
    if n_scaling < _FEWEST_TO_FIT:
        return np.sort(order[:n_fitting]), np.sort(order[:n_fitting]), np.sort(order[n_fitting:])
    fitting, scaling, calibrating = np.split(order, [n_fitting, n_fitting + n_scaling])
    return np.sort(fitting), np.sort(scaling), np.sort(calibrating)


def _gauge(detector: Detector, traffic: _Parts, kinds: NDArray[np.str_]) -> tuple[Gauge, Scores]:
    """A detector that honest accounts set, and the largest values of those that calibrate, (accounts,)."""
    kind = plugins.kind_of(cast(plugins.Spec, detector))
    if traffic.n_fitting < FEWEST_ACCOUNTS:
        raise WatchError(f"detector '{kind}': {traffic.n_fitting} honest accounts are too few to set it, it takes "
                         f"{FEWEST_ACCOUNTS}: it isn't used")
    for need in sorted(detector.needs):
        if not _HAS[need](traffic.fitting):
            raise WatchError(f"detector '{kind}' needs {need} and the honest exchanges have none: it isn't used")
    try:
        tracker = detector.start(traffic.fitting)
    except WatchError as error:
        raise WatchError(f"detector '{kind}': {error}: it isn't used") from error
    scores = traffic.scaling.course(tracker).scores
    scale = Scale.fit(scores)
    if scale is None:
        raise WatchError(f"detector '{kind}': fewer than {FEWEST_ACCOUNTS} of {len(traffic.scaling.counts)} "
                         "honest accounts have enough exchanges to scale its scores: it isn't used")
    course = traffic.calibrating.course(tracker)
    maxima = scale.maxima(course.scores)
    gauge = Gauge(kind=kind, words=detector.words, is_of_content=bool(detector.needs), tracker=tracker,
                  scale=scale, ranks=_by_kind(maxima, kinds), states=course.states)
    return gauge, maxima


def _by_kind(maxima: Scores, kinds: NDArray[np.str_]) -> dict[str, Ranks]:
    own = {kind: Ranks.of(maxima[kinds == kind]) for kind in np.unique(kinds).tolist()}
    return {**own, ALL: Ranks.of(maxima)}


def _ranks_of_rarest(gauges: Sequence[Gauge], maxima: Sequence[Scores], kinds: NDArray[np.str_],
                     ) -> dict[str, Ranks]:
    """The ranks of calibrating accounts over all detectors, by kind; each compared with the others of its kind."""
    ranks: dict[str, Ranks] = {}
    for kind in (*np.unique(kinds).tolist(), ALL) if gauges else ():
        own = [values[(kinds == kind) | (kind == ALL)] for values in maxima]
        surprises = [gauge.ranks[kind].surprises(values, are_own=True)
                     for gauge, values in zip(gauges, own, strict=True)]
        ranks[kind] = Ranks.of(_rarest(surprises, np.stack(own, axis=1)))
    return ranks


def _rarest(surprises: Sequence[Scores], maxima: Scores) -> Scores:
    """The largest surprise by any detector, -inf for accounts that none has scored, (n, detectors): (n,)."""
    return np.where(np.isfinite(maxima).any(axis=1), np.max(surprises, axis=0), -np.inf)


def _outlying(exchanges: Exchanges, detectors: Sequence[Detector], key: Prf, names: Sequence[str], most: int,
              ) -> NDArray[np.intp]:
    """Accounts farther out than the tail of the others explains, the farthest ones first: (at most `most`,).

    Copiers among the accounts that fit a detector make what they do look usual, so they are looked for by what the
    half of the accounts do that are nearest to the middle (as Rousseeuw and Van Driessen 1999 do for covariances).
    """
    every = Reference.fit(exchanges, detectors, key, names=names)
    if not every.gauges or most < 1:
        return np.empty(0, dtype=np.intp)
    core = np.sort(np.argsort(every.account_p_values(every.maxima(exchanges)), kind="stable")[len(names) // 2:])
    inner = Reference.fit(exchanges.of(core), detectors, key, names=[names[i] for i in core.tolist()])
    if not inner.gauges:
        return np.empty(0, dtype=np.intp)
    expected = np.min([_expected_beyond(values, most) for values in inner.maxima(exchanges).T], axis=0)
    order: NDArray[np.intp] = np.argsort(expected, kind="stable")[:most]
    return np.asarray(order[expected[order] < _EXPECTED], dtype=np.intp)


def _expected_beyond(maxima: Scores, n_doubtful: int) -> Scores:
    """How many honest accounts are expected as far out, whatever the `n_doubtful` farthest ones are: (n,)."""
    values = np.sort(maxima[np.isfinite(maxima)])[::-1]
    if len(values) <= 4 * n_doubtful:
        return np.full(len(maxima), np.inf)
    start, inner = values[n_doubtful], values[4 * n_doubtful]
    thinning = max((start - inner) / np.log(4.0), _SMALLEST_THINNING)
    return np.asarray(n_doubtful * np.exp(-(maxima - start) / thinning), dtype=np.float64)


def _digest(exchanges: Exchanges, detectors: Sequence[Detector], names: Sequence[str], kinds: Sequence[str],
            key: Prf) -> str:
    hashed = hashlib.blake2b(key.digest(b"watch reference", _DIGEST_BYTES), digest_size=_DIGEST_BYTES)
    specs = [(plugins.kind_of(cast(plugins.Spec, spec)), msgspec.to_builtins(spec)) for spec in detectors]
    hashed.update(repr((list(names), list(kinds), specs)).encode("utf-8", "surrogatepass"))
    for column in fields(Exchanges):
        hashed.update(np.ascontiguousarray(getattr(exchanges, column.name)).data)
    return hashed.hexdigest()
