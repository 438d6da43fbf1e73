"""The laws of admission rules, tried on given inputs and on what hostile callers make of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from counterclone.errors import Refused
from counterclone.protocols import Flagging, Rule
from counterclone.queries import Features, Query, Sampling
from counterclone.testing.laws import check_spec, demand

SAMPLINGS = (
    Sampling(), Sampling(logprobs=0), Sampling(logprobs=20), Sampling(bias={"5": 100.0}), Sampling(max_tokens=0),
    Sampling(logprobs=5, bias={str(token): -1e300 for token in range(2000)}), Sampling(is_repeatable=True),
    Sampling(n=128, best_of=2**31))
TEXTS = ("", "Hello,  World", "\uff28\uff25\uff2c\uff2c\uff2f", "\u0000", "a" * 10_000)


def check_rule(rule: Rule, *, features: Features) -> None:
    """Try every law of an admission rule.

    Args:
        rule: the spec, with the options to try.
        features: inputs as the target gets them, (queries, features); they and far, missing and endless
            values made of them are put to the rule, which admits, changes or refuses each.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("rules", rule)
    for numbers in _inputs(np.asarray(features, dtype=np.float64)):
        _check_pure(rule, numbers)
        _check_query(rule, Query(numbers, model="m"))
    for values in (list(TEXTS), [{"text": "a", "number": 1.5}], [["a", 1, None, True]]):
        for sampling in (None, *SAMPLINGS):
            _check_query(rule, Query(values, model="m", sampling=sampling))
    if hasattr(rule, "start"):
        _check_memory(rule)


def _check_flags(rule: Flagging, query: Query) -> None:
    first, again = rule.flags(query), rule.flags(query)
    demand(first == again, rule, "the same query is flagged alike",
           f"{_shown(query)} was {first!r}, then {again!r}")


def _check_memory(rule: Any) -> None:
    """What runs of a rule that remembers: it has its spec, and admits first what the spec does."""
    for sampling in SAMPLINGS:
        query = Query(["a"], model="m", sampling=sampling)
        started = rule.start()
        demand(getattr(started, "spec", None) == rule, rule, "what runs has its spec", f"`spec` of {started!r}")
        admitted, message = _outcome(started, query)
        alone, message_alone = _outcome(rule, query)
        demand(message == message_alone and _is_same(admitted, alone), rule, "an empty memory changes nothing",
               f"{_shown(query)} became {_shown(admitted, message)}, by itself {_shown(alone, message_alone)}")
        for _ in range(3):
            _outcome(started, query)


def _inputs(features: Features) -> Iterator[Features]:
    yield features
    yield features[:1]
    yield features[:0]
    yield np.hstack([features, features[:, :1]])  # one feature too many
    yield features[:, :-1]
    for factor in (-1.0, 1e-300, 1e6, 1e300):
        with np.errstate(over="ignore"):
            yield features * factor
    for number in (np.nan, np.inf, -np.inf, -0.0):
        strange = features.copy()
        strange[-1:, -1:] = number
        yield strange


def _check_query(rule: Rule, query: Query) -> None:
    admitted, message = _outcome(rule, query)
    again, message_again = _outcome(rule, query)
    demand(message == message_again and _is_same(admitted, again), rule, "the same query fares the same",
           f"{_shown(query)} became {_shown(admitted, message)}, then {_shown(again, message_again)}")
    if admitted is None:
        _check_refusal(rule, query, message)
    else:
        _check_admitted(rule, query, admitted)
        if isinstance(rule, Flagging):
            _check_flags(rule, admitted)


def _check_refusal(rule: Rule, query: Query, message: str) -> None:
    expected, _, remedy = message.rpartition(";")
    demand("expected" in expected and bool(remedy.strip()), rule, "a refusal names the field and the remedy",
           f"{_shown(query)} was refused by '{message}'; say '<field> is <value>, expected <what>; <advice>'")


def _check_admitted(rule: Rule, query: Query, admitted: Query) -> None:
    demand(admitted.n_rows == query.n_rows and admitted.model == query.model, rule,
           "rows and model are kept", f"{_shown(query)} became {_shown(admitted)}")
    demand(admitted is query or not _is_same(admitted, query), rule,
           "a query that isn't changed is the same object", f"a copy of {_shown(query)} came back")
    twice, message = _outcome(rule, admitted)
    demand(_is_same(twice, admitted), rule, "admitting twice is admitting once",
           f"{_shown(admitted)} became {_shown(twice, message)}")


def _check_pure(rule: Rule, features: Features) -> None:
    given = features.copy()
    _outcome(rule, Query(given))
    demand(given.tobytes() == features.tobytes(), rule, "the query isn't changed in place",
           f"{_shown(Query(features))} was written to")


def _outcome(rule: Rule, query: Query) -> tuple[Query | None, str]:
    """The admitted query, or None and the refusal."""
    try:
        return rule.admit(query), ""
    except Refused as refusal:
        return None, str(refusal)
    except Exception as error:
        raise AssertionError(f"{rule!r} breaks the law 'a rule admits or refuses': {_shown(query)} raised "
                             f"{error!r}") from error


def _is_same(one: Query | None, other: Query | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.sampling != other.sampling:
        return False
    if one.features is None or other.features is None:
        return one.features is other.features and list(one.values) == list(other.values)
    return np.array_equal(one.features, other.features, equal_nan=True)


def _shown(query: Query | None, message: str = "") -> str:
    if query is None:
        return f"a refusal ('{message}')"
    rows = query.values if query.features is None else np.array2string(query.features, threshold=8)
    how = f", sampled {str(query.sampling)[:200]}" if query.sampling else ""
    return f"a query of {query.n_rows} rows {str(rows)[:200]}{how}"
