from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from counterclone import plugins
from counterclone.answers import Answer, Context, PerRow, Rows, find_outputs, full_bits
from counterclone.errors import AnswerError, Refused, UnknownFormat
from counterclone.plugins import Spec
from counterclone.policies.labels import Labels
from counterclone.protocols import Body, Dialect, Policy, Rule
from counterclone.queries import Query
from counterclone.rules.range import Range
from counterclone.testing import (
    check_dialect,
    check_policy,
    check_rule,
    example_context,
    example_rows,
    release,
)

RUNS = itertools.count()


# Policies

def powered(rows: Rows, exponent: float) -> Rows:
    powers: Rows = rows**exponent
    released: Rows = powers / powers.sum(axis=1, keepdims=True)
    return released


def halved_in_place(rows: Rows, context: Context) -> Rows:
    rows *= 0.5
    return 2.0 * rows


def moved(rows: Rows, context: Context) -> Rows:
    released = rows.copy()
    released[:, 0] -= 1.0
    released[:, -1] += 1.0
    return released


MAPS: dict[str, Callable[[Rows, Context], Rows]] = {
    "": lambda rows, context: rows.copy(),
    "short": lambda rows, context: rows[:-1],
    "single": lambda rows, context: rows.astype(np.float32).astype(np.longdouble),
    "nan": lambda rows, context: rows * math.nan,
    "negative": moved,
    "sum": lambda rows, context: 0.999 * rows,
    "flip": lambda rows, context: rows[:, ::-1].copy(),
    "in place": halved_in_place,
    "draws": lambda rows, context: powered(rows, 1.0 + next(RUNS) % 2),
    "pieces": lambda rows, context: powered(rows, 1.0 + len(rows) / 1000.0),
    "batch": lambda rows, context: powered(rows, 1.0 + len(context.cells) / 1000.0),
}
BITS: dict[str, Callable[[int], float]] = {
    "full": full_bits,
    "infinite": lambda n_classes: math.inf,
    "negative": lambda n_classes: -1.0,
    "too many": lambda n_classes: 65.0 * n_classes,
    "shrinking": lambda n_classes: full_bits(n_classes) if n_classes < 10 else 64.0,
    "too few": lambda n_classes: math.log2(max(n_classes, 1)),
}


class Bent(Spec, frozen=True):
    """A policy with a fault."""

    fault: str = ""
    counted: str = "full"
    number: float = 0.0

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = False

    def start(self, context: Context) -> PerRow:
        return PerRow(lambda rows: MAPS[self.fault](rows, context))

    def bits(self, n_classes: int) -> float:
        return BITS[self.counted](n_classes)


class Thawed(Bent, frozen=False):  # type: ignore[misc]
    """A policy that can be changed."""


class Lax(Bent, frozen=True, forbid_unknown_fields=False):
    """A policy that takes unknown options."""


class Stateful(Bent, frozen=True, dict=True):
    """A policy with room for state."""


class Listed(Bent, frozen=True):
    """A policy with an option that has no hash."""

    classes: list[int] = msgspec.field(default_factory=list)


class Undocumented(Bent, frozen=True):
    pass


class Rambling(Bent, frozen=True):
    """A policy whose summary
    goes on.
    """


class Flipping(Bent, frozen=True):
    """A policy that may change the label."""

    may_flip: ClassVar[bool] = True


class Silent(Bent, frozen=True):
    """A policy that doesn't say whether it adds noise."""

    adds_noise: ClassVar[bool] = "perhaps"  # type: ignore[assignment]


class Holding:
    """Rows are held back to the end of the answer."""

    def __init__(self) -> None:
        self._held: list[Rows] = []

    def feed(self, rows: Rows) -> Rows:
        self._held.append(rows)
        return rows[:0]

    def finish(self) -> Rows | None:
        return np.concatenate(self._held)


class Delayed(Bent, frozen=True):
    """A policy that holds rows back."""

    def start(self, context: Context) -> Holding:  # type: ignore[override]
        return Holding()


@pytest.mark.parametrize("policy", [Labels(), Bent(), Flipping(fault="flip"), Delayed()],
                         ids=["ours", "passing", "flipping", "holding"])
def test_good_policies_pass(policy: Policy) -> None:
    check_policy(policy, seed=3)


@pytest.mark.parametrize(("policy", "law"), [
    (Bent(fault="short"), "the shape is kept"),
    (Bent(fault="single"), "the shape is kept"),
    (Bent(fault="nan"), "rows stay normalised"),
    (Bent(fault="negative"), "rows stay normalised"),
    (Bent(fault="sum"), "rows stay normalised"),
    (Bent(fault="flip"), "the top label is kept unless `may_flip`"),
    (Bent(fault="in place"), "the rows that are fed aren't changed"),
    (Bent(fault="draws"), "the same query gets the same answer"),
    (Bent(fault="pieces"), "the output doesn't depend on how the answer was cut"),
    (Bent(fault="batch"), "a batch equals its rows"),
    (Bent(counted="infinite"), "bits() is a bound"),
    (Bent(counted="negative"), "bits() is a bound"),
    (Bent(counted="too many"), "bits() is a bound"),
    (Bent(counted="shrinking"), "bits() is a bound"),
    (Bent(counted="too few"), "no more leaves than bits() says"),
    (Bent(number="x"),  # type: ignore[arg-type]
     "a spec comes back from the TOML table that it makes"),
    (Thawed(), "a plug-in is a frozen spec without state"),
    (Lax(), "a plug-in is a frozen spec without state"),
    (Stateful(), "a plug-in is a frozen spec without state"),
    (Listed(), "a plug-in is a frozen spec without state"),
    (Undocumented(), "a docstring starts with a summary of one line"),
    (Rambling(), "a docstring starts with a summary of one line"),
    (Silent(), "a policy says what it does"),
], ids=["short", "single", "nan", "negative", "sum", "flip", "in place", "draws", "pieces", "batch",
        "infinite bits", "negative bits", "too many bits", "shrinking bits", "too few bits", "round trip",
        "thawed", "lax", "stateful", "unhashable", "undocumented", "rambling", "silent"])
def test_a_broken_policy_is_told_its_law(policy: Policy, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_policy(policy)
    assert f"{policy!r} breaks the law '{law}" in str(caught.value)


def test_what_is_no_spec_is_told() -> None:
    with pytest.raises(AssertionError, match=r"is no counterclone\.plugins\.Spec"):
        check_policy(example_context)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_classes", [1, 2, 3, 10, 214])
def test_example_rows_are_of_every_kind(n_classes: int) -> None:
    rows = example_rows(120, n_classes)
    assert rows.shape == (120, n_classes)
    assert (rows >= 0.0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_array_equal(rows, example_rows(120, n_classes))
    if n_classes > 1:
        assert (rows.max(axis=1) == 1.0).sum() >= 20
        assert (rows != example_rows(120, n_classes, seed=1)).any()
    if n_classes > 2:
        assert (rows == 0.0).any(axis=1).sum() > 20
        assert ((rows == rows.max(axis=1, keepdims=True)).sum(axis=1) > 1).any()


def test_release_feeds_in_pieces_and_gathers_what_was_held() -> None:
    rows = example_rows(9, 3)
    np.testing.assert_array_equal(release(Delayed(), rows, cuts=[0, 4, 4]), rows)
    assert release(Labels(), rows[:0]).shape == (0, 3)


# Rules

def features(query: Query) -> Rows:
    assert query.features is not None
    return query.features


def overwritten(query: Query) -> Query:
    if query.features is not None:
        query.features[:] = 0.0
    return query


def refusing(message: str) -> Callable[[Query], Query]:
    def admit(query: Query) -> Query:
        raise Refused(message)

    return admit


def on_numbers(change: Callable[[Query], Query]) -> Callable[[Query], Query]:
    return lambda query: query if query.features is None else change(query)


ADMISSIONS: dict[str, Callable[[Query], Query]] = {
    "": lambda query: query,
    "zero": on_numbers(lambda query: query if not features(query).any()
                       else query.with_features(np.zeros_like(features(query)))),
    "good refusal": refusing("feature 0 is 2, expected 0 to 1; scale it"),
    "curt": refusing("no"),
    "no remedy": refusing("feature 0 is 2, expected 0 to 1;  "),
    "crash": on_numbers(lambda query: query.with_features(features(query)[:, [2]])),
    "draws": on_numbers(lambda query: query.with_features(features(query) + next(RUNS))),
    "grows": on_numbers(lambda query: query.with_features(features(query) + 1.0)),
    "drops rows": on_numbers(lambda query: query.with_features(features(query)[:1])),
    "forgets the model": on_numbers(lambda query: Query(np.zeros_like(features(query)))),
    "copies": on_numbers(lambda query: query.with_features(features(query).copy())),
    "in place": overwritten,
    "flags by chance": lambda query: query,
}


class Admission(Spec, frozen=True):
    """A rule, with a fault or without."""

    fault: str = ""

    def admit(self, query: Query) -> Query:
        return ADMISSIONS[self.fault](query)

    def flags(self, query: Query) -> bool:
        return self.fault == "flags by chance" and next(RUNS) % 2 == 0


EXAMPLES = np.array([[0.5, 1.5, 2.5], [3.0, 4.0, 5.0]])


@pytest.mark.parametrize("rule", [Range(low=0.0, high=1.0), Admission(), Admission(fault="zero"),
                                  Admission(fault="good refusal")],
                         ids=["ours", "passing", "changing", "refusing"])
def test_good_rules_pass(rule: Rule) -> None:
    check_rule(rule, features=EXAMPLES)


@pytest.mark.parametrize(("fault", "law"), [
    ("curt", "a refusal names the field and the remedy"),
    ("no remedy", "a refusal names the field and the remedy"),
    ("crash", "a rule admits or refuses"),
    ("draws", "the same query fares the same"),
    ("grows", "admitting twice is admitting once"),
    ("drops rows", "rows and model are kept"),
    ("forgets the model", "rows and model are kept"),
    ("copies", "a query that isn't changed is the same object"),
    ("in place", "the query isn't changed in place"),
    ("flags by chance", "the same query is flagged alike"),
])
def test_a_broken_rule_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_rule(Admission(fault=fault), features=EXAMPLES)
    assert f"Admission(fault='{fault}') breaks the law '{law}'" in str(caught.value)


# Dialects

Fields = dict[str, msgspec.Raw]
REQUEST = Body(b'{"rows": [[1, 2.5], [3, 4]]}')
ANSWER = Body(b'{"model": "m", "scores": [[0.71, 0.2, 0.09], [0.12, 0.1, 0.78]]}',
              {b"content-type": b"application/json"})
DAMAGES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class Toy(Spec, frozen=True):
    """Rows in, scores out, with a fault or without."""

    fault: str = ""

    error_event: ClassVar[bytes | None] = None

    def model(self, method: str, path: str) -> str | None:
        return 3 if self.fault == "model" else ""  # type: ignore[return-value]

    def read_query(self, body: Body, model: str) -> Query:
        try:
            rows = msgspec.json.decode(body.content, type=dict[str, Any])["rows"]
        except KeyError:
            raise UnknownFormat("no `rows`") from None
        except DAMAGES as error:
            if self.fault == "query crash":
                raise
            raise UnknownFormat(f"no JSON: {error}") from None
        if self.fault == "type crash":
            return Query(np.asarray(rows, dtype=np.float64), model=model)
        if not isinstance(rows, list) or not rows:
            raise UnknownFormat("`rows` is no list of rows")
        return Query([*rows, rows[0]] if self.fault == "rows" else rows, model=model)

    def write_query(self, body: Body, query: Query) -> Body:
        assert query.features is not None
        if self.fault == "query bytes":
            document = {**msgspec.json.decode(body.content), "rows": query.features.tolist()}
            return Body(msgspec.json.encode(document))
        fields = msgspec.json.decode(body.content, type=Fields)
        features = query.features[:1] if self.fault == "write query" else query.features
        fields["rows"] = msgspec.Raw(msgspec.json.encode(
            features.reshape(np.shape(msgspec.json.decode(fields["rows"]))).tolist()
            if features.size == query.features.size else features.tolist()))
        return Body(msgspec.json.encode(fields))

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        return self.fault != "headers" and headers.get(b"content-type") == b"application/json"

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        try:
            fields = msgspec.json.decode(body.content, type=Fields)
            found = msgspec.json.decode(fields.get("scores", b"[]"), type=list[list[float]])
            array = np.array(found, dtype=np.float64)
        except DAMAGES as error:
            if self.fault == "answer crash":
                raise
            if self.fault == "answer swallowed":
                return Answer({}, {})
            raise AnswerError(f"no scores: {error}") from None
        name = "" if self.fault == "unfound" else "scores"
        outputs = {} if self.fault == "unfound" else find_outputs({name: array}, n_rows, scores)
        return Answer(outputs, body.content if self.fault == "answer bytes" else fields)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        if self.fault == "in place":
            released["scores"][:] = 0.5
        rows = answer.outputs["scores"].restored(released["scores"])
        if self.fault == "write answer":
            rows = np.round(rows, 1)
        if self.fault == "answer bytes":
            return Body(msgspec.json.encode({**msgspec.json.decode(answer.document), "scores": rows.tolist()}))
        scores = msgspec.Raw(msgspec.json.encode(rows.tolist()))
        return Body(msgspec.json.encode({**answer.document, "scores": scores}))

    def relabelled(self, body: Body, truths: Sequence[int], labels: Sequence[int]) -> Body | None:
        return Body(b'{"scores": [[1.0, 0.0]]}') if self.fault == "labels" else body

    def error(self, status: int, code: str, message: str) -> bytes:
        if self.fault == "error":
            return f'{{"error": "{message}"}}'.encode()
        if self.fault == "mute error":
            return b'{"error": ["failed"]}'
        return msgspec.json.encode({"error": {"message": message, "code": code}})


def check_toy(dialect: Dialect) -> None:
    check_dialect(dialect, request=REQUEST, answer=ANSWER, n_rows=2)


def test_a_good_dialect_passes() -> None:
    check_toy(Toy())


@pytest.mark.parametrize(("fault", "law"), [
    ("model", "model() is a name or None"),
    ("rows", "a request has as many rows as it says"),
    ("write query", "a query reads back as it was written"),
    ("query bytes", "what isn't edited stays byte for byte"),
    ("query crash", "a request that isn't one raises UnknownFormat"),
    ("type crash", "a request with strange values is read, or raises UnknownFormat"),
    ("headers", "an answer's headers announce it"),
    ("unfound", "an answer's probabilities are found"),
    ("write answer", "an answer reads back as it was written"),
    ("in place", "released rows aren't changed in place"),
    ("answer bytes", "what isn't edited stays byte for byte"),
    ("answer crash", "an answer that isn't one raises AnswerError"),
    ("answer swallowed", "an answer that isn't one raises AnswerError"),
    ("labels", "labels that follow leave the rows as they are"),
    ("error", "an error is JSON that holds the message"),
    ("mute error", "an error is JSON that holds the message"),
])
def test_a_broken_dialect_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_toy(Toy(fault=fault))
    assert f"Toy(fault='{fault}') breaks the law '{law}'" in str(caught.value)


@pytest.mark.parametrize("family", ["attacks", "detectors", "policies", "rules"])
def test_every_plugin_of_ours_calls_its_check(family: str) -> None:
    check = {"attacks": "check_attack(", "detectors": "check_detector(", "policies": "check_policy(",
             "rules": "check_rule("}[family]
    folder = __file__.replace("test_testing.py", family)
    for kind in plugins.kinds(family):
        with open(f"{folder}/test_{kind}.py", encoding="utf-8") as test:
            assert check in test.read(), kind
