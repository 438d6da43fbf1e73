"""The laws of detectors, tried on invented traffic."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from counterclone.encoders import VECTOR_SIZE
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.protocols import Detector, States, Tracker
from counterclone.randomness import Generator, generator
from counterclone.testing.laws import check_spec, demand

N_CLASSES = 10
MOST_BYTES = 4096
"""A detector's summary of one account is at most so large."""
NEEDS = frozenset({"vectors", "labels", "margins"})

_DAY = 86400.0
_HONEST_SHARE = 0.95
_TOLERANCE = 1e-6  # of scores: a matrix product depends on its shape


def check_detector(detector: Detector, *, alien: Exchanges | None = None, seed: int = 0) -> None:
    """Try every law of a detector.

    Args:
        detector: the spec, with the options to try.
        alien: what most of whose accounts must score higher than 95 % of honest ones; without it
            `alien_exchanges`, which are strange in every way.
        seed: draws the traffic.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("detectors", detector)
    _check_flags(detector)
    reference = honest_exchanges(120, seed=seed)
    tracker = detector.start(reference)
    traffic = honest_exchanges(40, seed=seed + 1)
    _check_empty(detector, tracker)
    for case in (traffic, *_odd(traffic, seed)):
        _check_sums(detector, tracker, case, seed)
    _check_start(detector, reference, tracker, traffic)
    _check_power(detector, tracker, honest_exchanges(120, seed=seed + 2),
                 alien_exchanges(40, seed=seed) if alien is None else alien)


def honest_exchanges(n_accounts: int, *, seed: int = 0) -> Exchanges:
    """Invented traffic of accounts that each have tastes, a style, repeats, waking hours and answers' sizes."""
    rng = generator(seed, "honest")
    centres = generator(0, "classes").standard_normal((N_CLASSES, VECTOR_SIZE))
    counts = np.clip(np.exp(rng.normal(3.5, 0.8, n_accounts)), 6, 300).astype(np.intp)
    accounts = np.repeat(np.arange(n_accounts), counts)
    n = len(accounts)
    tastes = rng.dirichlet(np.full(N_CLASSES, 0.5), n_accounts)
    labels = (rng.random((n, 1)) > tastes.cumsum(axis=1)[accounts]).sum(axis=1).clip(0, N_CLASSES - 1)
    styles = rng.normal(0.0, 0.2, (n_accounts, VECTOR_SIZE))
    vectors = centres[labels] + styles[accounts] + rng.normal(0.0, 0.6, (n, VECTOR_SIZE)) * _shape()
    margins = rng.beta(5.0, 1.0 + rng.random(n_accounts)[accounts])
    repeats = rng.random(n) < 0.6 * rng.beta(0.6, 3.0, n_accounts)[accounts]
    asked = _with_repeats(accounts, repeats)
    wakings = rng.uniform(0.0, 24.0, n_accounts)[accounts]
    hours = (wakings + 8.0 * rng.beta(2.0, 2.0, n)) % 24.0
    times = 1.7e9 + _DAY * rng.integers(0, 20, n) + 3600.0 * hours
    wordy = generator(seed, "honest bits")
    bits = 1e3 * np.exp(wordy.normal(0.0, 0.4, n_accounts)[accounts] + wordy.normal(0.0, 0.8, n))
    return _exchanges(rng, asked, accounts=accounts, times=times, vectors=vectors, labels=labels, margins=margins,
                      bits=bits)


def alien_exchanges(n_accounts: int, *, seed: int = 0) -> Exchanges:
    """Invented traffic that is strange in every way: heavy, far-away noise by machine, each query five times, with
    long answers.
    """
    rng = generator(seed, "alien")
    accounts = np.repeat(np.arange(n_accounts), 400)
    n = len(accounts)
    asked = np.arange(n) // 5 * 5
    vectors = rng.uniform(-6.0, 6.0, (n, VECTOR_SIZE))
    times = 1.7e9 + np.tile(np.arange(400.0), n_accounts)
    return _exchanges(rng, asked, accounts=accounts, times=times, vectors=vectors,
                      labels=np.zeros(n, dtype=np.intp), margins=0.02 * rng.random(n), bits=np.full(n, 2e4))


def _shape() -> NDArray[np.float64]:
    """Honest queries' variation has large and small directions: (64,)."""
    return np.geomspace(2.0, 0.2, VECTOR_SIZE)


def _with_repeats(accounts: NDArray[np.intp], repeats: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Which row each asks: its own, or that of the last before it that wasn't a repeat: (n,)."""
    repeats = repeats & (np.diff(accounts, prepend=-1) == 0)
    return np.maximum.accumulate(np.where(repeats, 0, np.arange(len(accounts))))


def _exchanges(rng: Generator, asked: NDArray[np.intp], *, accounts: NDArray[np.intp], times: NDArray[np.float64],
               vectors: NDArray[np.float64], labels: NDArray[np.intp], margins: NDArray[np.float64],
               bits: NDArray[np.float64]) -> Exchanges:
    """Exchanges where each asks what the row `asked` has; accounts are sorted, times needn't be."""
    within = np.lexsort([times, accounts])
    gaps = np.empty(len(accounts))
    gaps[within] = np.where(np.diff(accounts, prepend=-1) == 0, np.diff(times[within], prepend=0.0), np.nan)
    digests = rng.integers(2**63, size=len(asked)).astype(np.uint64)
    exchanges = Exchanges(
        accounts=accounts, times=times, vectors=vectors[asked].astype(np.float32),
        labels=labels[asked].astype(np.int32), margins=margins[asked].astype(np.float32), digests=digests[asked],
        gaps=gaps.astype(np.float32), bits=bits[asked].astype(np.float32))
    return exchanges.select(np.argsort(times, kind="stable"))


def _odd(traffic: Exchanges, seed: int) -> list[Exchanges]:
    """The same with holes, with new classes, far out, and from accounts with one exchange each."""
    rng = generator(seed, "odd")
    n = len(traffic)
    no_vector, no_answer = rng.random(n) < 0.3, rng.random(n) < 0.3
    vectors = np.where(no_vector[:, np.newaxis], np.float32(np.nan), traffic.vectors)
    margins = np.where(no_answer, np.float32(np.nan), traffic.margins)
    labels = np.where(no_answer, NO_LABEL, traffic.labels)
    return [
        replace(traffic, vectors=vectors, margins=margins, labels=labels),
        replace(traffic, vectors=np.full_like(vectors, np.nan), margins=np.full_like(margins, np.nan),
                labels=np.full_like(labels, NO_LABEL), gaps=np.full_like(traffic.gaps, np.nan)),
        replace(traffic, labels=rng.integers(0, 2**31 - 1, n).astype(np.int32)),
        replace(traffic, vectors=traffic.vectors * np.float32(1e4), times=traffic.times[::-1].copy(),
                gaps=traffic.gaps * np.float32(1e6)),
        traffic.numbered(np.arange(n)),
        traffic.select(slice(0, 0)),
    ]


def _learnt(tracker: Tracker, exchanges: Exchanges, n_accounts: int) -> States:
    states = tracker.empty(n_accounts)
    tracker.learn(states, exchanges)
    return states


def _check_flags(detector: Detector) -> None:
    law = "a detector says what it needs and what a high score means"
    demand(detector.needs <= NEEDS, detector, law,
           f"`needs` is {detector.needs!r}, expected a frozenset of {', '.join(sorted(NEEDS))}")
    demand(bool(detector.words.strip()), detector, law, "`words` is empty")


def _check_empty(detector: Detector, tracker: Tracker) -> None:
    empty = tracker.empty(3)
    demand(empty.dtype.name == "int64" and len(empty) == 3, detector,
           "summaries are rows of 64-bit whole numbers", f"3 of them are {empty.shape} of {empty.dtype}")
    demand(empty[0].nbytes <= MOST_BYTES, detector, f"a summary has at most {MOST_BYTES} bytes",
           f"it has {empty[0].nbytes}")
    demand(bool(np.isnan(tracker.score(empty)).all()), detector, "too few exchanges have no score",
           f"accounts that did nothing score {tracker.score(empty)}")
    demand(tracker.score(empty[:0]).shape == (0,) and len(tracker.profile(empty[:0])) == 0, detector,
           "no accounts have no scores", f"they score {tracker.score(empty[:0])}")


def _check_sums(detector: Detector, tracker: Tracker, exchanges: Exchanges, seed: int) -> None:
    rng = generator(seed, "shards")
    n, n_accounts = len(exchanges), max(exchanges.n_accounts, 1)
    given = [getattr(exchanges, field.name).tobytes() for field in fields(exchanges)]
    whole = _learnt(tracker, exchanges, n_accounts)
    demand(given == [getattr(exchanges, field.name).tobytes() for field in fields(exchanges)], detector,
           "learning doesn't change the exchanges", "they were written to")
    _same(detector, "learning has no order", whole,
          _learnt(tracker, exchanges.select(rng.permutation(n)), n_accounts))
    pieces = tracker.empty(n_accounts)
    for part in np.array_split(np.arange(n), min(max(n, 1), 60)):
        tracker.learn(pieces, exchanges.select(part))
    _same(detector, "a batch equals its parts", whole, pieces)
    shard_of = rng.integers(0, 3, n)
    one, two, three = (_learnt(tracker, exchanges.select(shard_of == shard), n_accounts) for shard in range(3))
    kept = [part.copy() for part in (one, two, three)]
    _same(detector, "merged shards equal the whole", whole, tracker.merge(tracker.merge(one, two), three))
    _same(detector, "merging is associative", whole, tracker.merge(one, tracker.merge(two, three)))
    _same(detector, "merging is commutative", tracker.merge(one, two), tracker.merge(two, one))
    _same(detector, "an empty summary is neutral", whole, tracker.merge(whole, tracker.empty(n_accounts)))
    _same(detector, "an empty summary is neutral", whole, tracker.merge(tracker.empty(n_accounts), whole))
    for part, before in zip((one, two, three), kept, strict=True):
        _same(detector, "merging changes nothing it is given", before, part)
    _check_scores(detector, tracker, whole)


def _check_scores(detector: Detector, tracker: Tracker, states: States) -> None:
    before = states.copy()
    scores, profile = tracker.score(states), tracker.profile(states)
    _same(detector, "scoring changes nothing", before, states)
    demand(scores.shape == (len(states),) and not np.isinf(scores).any(), detector,
           "a score is a number, or NaN for too few exchanges", f"{scores[np.isinf(scores)]}, {scores.shape}")
    demand(profile.ndim == 2 and len(profile) == len(states) and bool(np.isfinite(profile).all()), detector,
           "a profile is a row of finite numbers for each account", f"{profile.shape} for {len(states)} accounts")
    again = tracker.score(states)
    demand(np.array_equal(scores, again, equal_nan=True), detector, "scoring is pure", f"{scores}, then {again}")
    backwards = tracker.score(states[::-1].copy())[::-1]
    demand(np.allclose(scores, backwards, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True), detector,
           "an account's score doesn't depend on the others'", f"{scores}, the other way round {backwards}")


def _check_start(detector: Detector, reference: Exchanges, tracker: Tracker, traffic: Exchanges) -> None:
    states = _learnt(tracker, traffic, traffic.n_accounts)
    other = detector.start(reference)
    _same(detector, "starting is deterministic", states, _learnt(other, traffic, traffic.n_accounts))
    scores, others = tracker.score(states), other.score(states)
    demand(np.array_equal(scores, others, equal_nan=True), detector, "starting is deterministic",
           f"one tracker scores {scores}, another {others}")
    mixed = detector.start(honest_exchanges(60, seed=99))
    _learnt(mixed, traffic, traffic.n_accounts)
    demand(np.array_equal(scores, tracker.score(states), equal_nan=True), detector,
           "trackers started apart are independent", "starting another changed the scores of the first")


def _check_power(detector: Detector, tracker: Tracker, honest: Exchanges, alien: Exchanges) -> None:
    bar = float(np.nanquantile(tracker.score(_learnt(tracker, honest, honest.n_accounts)), _HONEST_SHARE))
    scores = tracker.score(_learnt(tracker, alien, alien.n_accounts))
    demand(float(np.nanmedian(scores)) > bar, detector, "what is unlike honest accounts scores higher",
           f"the median alien account scores {np.nanmedian(scores):.3g}, 5 % of honest ones over {bar:.3g}")


def _same(detector: Detector, law: str, one: States, other: States) -> None:
    places = np.argwhere(one != other) if one.shape == other.shape else np.empty((0, 2))
    demand(one.shape == other.shape and not len(places), detector, law,
           f"{one.shape} and {other.shape}, {len(places)} numbers differ, the first at {places[:1].tolist()}")
