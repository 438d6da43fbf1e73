"""The laws of release policies, tried on generated rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from counterclone.answers import Context, Rows, full_bits, normalised, top_labels
from counterclone.protocols import Policy, SpeechPolicy
from counterclone.queries import Features, Query
from counterclone.randomness import Prf, generator
from counterclone.releases import for_rows, for_speech
from counterclone.testing.laws import check_spec, demand
from counterclone.testing.speech import check_speech_policy

N_CLASSES = (1, 2, 3, 10, 214)
N_ROWS = 450
N_ROWS_FOR_BITS = 3000
SUM_ERROR = 1e-9
BITS_ERROR = 1e-6
"""Logarithms of factorials are this exact."""

_NOISE = Prf.from_secret("counterclone.testing")


class Case(NamedTuple):
    """Rows, and the queries that a target answered with them, `rows_per_query` for each."""

    rows: Rows
    features: Features
    rows_per_query: int = 1

    def context(self) -> Context:
        """What a policy sees of the queries."""
        return Context(_NOISE, Query(self.features), self.rows_per_query)

    def query(self, i: int) -> Case:
        """The i-th query alone."""
        start = i * self.rows_per_query
        return Case(self.rows[start:start + self.rows_per_query], self.features[i:i + 1], self.rows_per_query)


def check_policy(policy: Policy | SpeechPolicy, *, seed: int = 0) -> None:
    """Try every law of a release policy.

    Args:
        policy: the spec, with the options to try; for rows, for speech or for both.
        seed: draws the rows.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("policies", policy)
    before = msgspec.to_builtins(policy)
    for each in for_speech([policy]):
        check_speech_policy(each, seed=seed)
    for row_policy in for_rows([policy]):
        _check_row_policy(row_policy, seed)
    demand(msgspec.to_builtins(policy) == before, policy, "a plug-in is a frozen spec without state",
           f"its options were {before} before it ran")


def _check_row_policy(policy: Policy, seed: int) -> None:
    _check_flags(policy)
    for n_classes in N_CLASSES:
        case = _example(N_ROWS, n_classes, seed)
        whole = _whole(policy, case)
        _check_rows(policy, case, whole)
        _check_repeats(policy, case, whole)
        _check_pieces(policy, case, whole, seed)
        _check_batch(policy, case, whole)
        several = _example(N_ROWS // 10, n_classes, seed, rows_per_query=3)
        _check_batch(policy, several, _whole(policy, several))
    _check_bits(policy)
    _check_distinct(policy, seed)


def release(policy: Policy, rows: Rows, context: Context | None = None, cuts: Sequence[int] = ()) -> Rows:
    """What leaves where an answer's rows are fed in pieces.

    Args:
        policy: the policy.
        rows: the target's rows, (rows, classes).
        context: the queries behind the rows; without it one for each row, all different.
        cuts: where pieces end, ascending; without any, all rows are fed at once.

    Returns:
        The released rows, (rows, classes).
    """
    started = policy.start(context if context is not None else example_context(len(rows)))
    pieces = [started.feed(piece) for piece in np.split(rows, list(cuts))]
    held = started.finish()
    released: Rows = np.concatenate(pieces if held is None else [*pieces, held])
    return released


def example_context(n_rows: int, *, noise: Prf = _NOISE) -> Context:
    """Queries that all differ, one for each row."""
    return Context(noise, Query(_features(n_rows, 0)))


def example_rows(n_rows: int, n_classes: int, *, seed: int = 0) -> Rows:
    """Probabilities as policies meet them: (n_rows, n_classes).

    Peaked, flat, tied, nearly tied, one-hot and zero-containing rows in turn.
    """
    rng = generator(seed, "rows", n_classes)
    rows = np.empty((n_rows, n_classes))
    for i, shape in enumerate(_SHAPES):
        rows[i::len(_SHAPES)] = shape(rng.standard_normal(rows[i::len(_SHAPES)].shape))
    return normalised(rows / rows.sum(axis=1, keepdims=True), "example")


def _peaked(normals: Rows) -> Rows:
    return np.exp(6.0 * normals)


def _flat(normals: Rows) -> Rows:
    return np.exp(0.01 * normals)


def _tied(normals: Rows) -> Rows:
    return np.rint(normals).clip(0.0, 2.0) + 1.0


def _nearly_tied(normals: Rows) -> Rows:
    return 1.0 + 1e-15 * normals


def _one_hot(normals: Rows) -> Rows:
    one_hot: Rows = (normals == normals.max(axis=1, keepdims=True)).astype(np.float64)
    return one_hot


def _sparse(normals: Rows) -> Rows:
    return np.where((normals > 0.0) | (_one_hot(normals) > 0.0), np.exp(normals), 0.0)


_SHAPES: tuple[Callable[[Rows], Rows], ...] = (_peaked, _flat, _tied, _nearly_tied, _one_hot, _sparse)


def _features(n_queries: int, seed: int) -> Features:
    return generator(seed, "features").standard_normal((n_queries, 4))


def _example(n_queries: int, n_classes: int, seed: int, rows_per_query: int = 1) -> Case:
    rows = example_rows(n_queries * rows_per_query, n_classes, seed=seed)
    return Case(rows, _features(n_queries, seed), rows_per_query)


def _check_flags(policy: Policy) -> None:
    for flag in ("may_flip", "adds_noise", "quantises"):
        value = getattr(policy, flag, None)
        demand(isinstance(value, bool), policy, "a policy says what it does", f"`{flag}` is {value!r}")


def _whole(policy: Policy, case: Case) -> Rows:
    """What leaves where all rows are fed at once."""
    fed = case.rows.copy()
    whole = release(policy, fed, case.context())
    demand(fed.tobytes() == case.rows.tobytes(), policy, "the rows that are fed aren't changed",
           f"they were written to, {case.rows.shape[1]} classes")
    return whole


def _check_rows(policy: Policy, case: Case, whole: Rows) -> None:
    shape, n_classes = case.rows.shape, case.rows.shape[1]
    demand(whole.shape == shape and whole.dtype == np.float64, policy, "the shape is kept",
           f"{shape} of float64 became {whole.shape} of {whole.dtype}")
    law = "rows stay normalised"
    demand(bool(np.isfinite(whole).all()), policy, law, f"numbers that aren't finite, {n_classes} classes")
    demand(bool((whole >= 0.0).all()), policy, law, f"{whole.min()} is negative, {n_classes} classes")
    error = np.abs(whole.sum(axis=1) - 1.0)
    demand(bool(error.max() <= SUM_ERROR), policy, law, f"the sum is off by {error.max():.3g}, "
           f"{_row(case, whole, error > SUM_ERROR)}")
    flipped = top_labels(whole) != top_labels(case.rows)
    demand(policy.may_flip or not flipped.any(), policy, "the top label is kept unless `may_flip`",
           f"it changed, {_row(case, whole, flipped)}")


def _check_repeats(policy: Policy, case: Case, whole: Rows) -> None:
    again = _whole(policy, case)
    demand(again.shape == whole.shape and again.tobytes() == whole.tobytes(), policy,
           "the same query gets the same answer", f"a second start gave another one, {case.rows.shape[1]} classes")


def _check_pieces(policy: Policy, case: Case, whole: Rows, seed: int) -> None:
    n_rows = len(case.rows)
    cuts = np.sort(generator(seed, "cuts").integers(0, n_rows + 1, size=7)).tolist()
    for places in ([1], [n_rows - 1], [n_rows // 2], cuts):
        pieced = release(policy, case.rows, case.context(), places)
        differs = pieced.tobytes() != whole.tobytes()
        demand(not differs, policy, "the output doesn't depend on how the answer was cut",
               f"cut at {places} it differs, {case.rows.shape[1]} classes")


def _check_batch(policy: Policy, case: Case, whole: Rows) -> None:
    alone = [case.query(i) for i in range(len(case.features))]
    single = np.concatenate([release(policy, one.rows, one.context()) for one in alone])
    differs = (single.shape != whole.shape) or (single != whole).any(axis=1)
    demand(not np.any(differs), policy, "a batch equals its rows",
           f"a row by itself leaves otherwise than in a batch, {case.rows.shape[1]} classes")


def _check_bits(policy: Policy) -> None:
    law = "bits() is a bound that grows with the classes and isn't above the full row's"
    sizes = sorted({*N_CLASSES, 4, 5, 100, 1000})
    bits = [policy.bits(n_classes) for n_classes in sizes]
    for n_classes, bound in zip(sizes, bits, strict=True):
        demand(math.isfinite(bound) and bound >= 0.0, policy, law, f"{bound} for {n_classes} classes")
        full = full_bits(n_classes) + math.log2(n_classes)  # which class is largest may be counted apart
        demand(bound <= full + BITS_ERROR, policy, law, f"{bound} of {full} for {n_classes} classes")
    for (smaller, less), (larger, more) in itertools.pairwise(zip(sizes, bits, strict=True)):
        demand(less <= more + BITS_ERROR, policy, law,
               f"{less} for {smaller} classes, yet {more} for {larger}")


def _check_distinct(policy: Policy, seed: int) -> None:
    for n_classes in N_CLASSES:
        bound = policy.bits(n_classes)
        case = _example(N_ROWS_FOR_BITS, n_classes, seed)
        if bound > math.log2(N_ROWS_FOR_BITS):
            continue  # so many rows couldn't show it
        whole = release(policy, case.rows, case.context())
        n_distinct = len({row.tobytes() for row in whole + 0.0})  # + 0.0 makes -0.0 plain zero
        demand(n_distinct <= 2.0**bound + BITS_ERROR, policy, "no more leaves than bits() says",
               f"{n_distinct} different rows of {n_classes} classes, yet {bound:.3f} bits")


def _row(case: Case, whole: Rows, where: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """The first row where something is wrong, cut to a readable length."""
    i = int(np.flatnonzero(where)[0]) if where.any() else 0
    few = np.array2string(case.rows[i], threshold=6), np.array2string(whole[i], threshold=6)
    return f"{case.rows.shape[1]} classes, row {i}: {few[0]} became {few[1]}"
