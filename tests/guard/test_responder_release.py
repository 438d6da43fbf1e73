from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from counterclone import plugins
from counterclone.answers import full_bits, top_labels
from counterclone.guard import asgi
from counterclone.randomness import generator

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Model

JSON = (b"content-type", b"application/json")
QUERY = {"instances": [[1, 2, 3, 4]]}
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
LABELS = """
[[guard.policy]]
kind = "labels"
"""
NOISE = """
[[guard.policy]]
kind = "noise"
scale = 1.0
"""
EDITED = b'{"predictions":[[0.6,0.3,0.1]],"model":"m"}'
FEATURES = generator(7, "features").uniform(-1.0, 1.0, (200, 4)).round(3)


def instances(rows: Any = FEATURES) -> dict[str, Any]:
    return {"instances": np.asarray(rows).tolist()}


# Policies

@pytest.mark.parametrize("settings", [
    pytest.param(LABELS, id="labels"),
    pytest.param(ROUNDING, id="rounding"),
    pytest.param(NOISE, id="noise"),
    pytest.param(NOISE + ROUNDING, id="noise, rounding"),
    pytest.param('[[guard.policy]]\nkind = "truncation"\ntop_k = 2\n' + ROUNDING, id="truncation, rounding"),
    pytest.param('[[guard.policy]]\nkind = "temperature"\ntemperature = 3.0', id="temperature"),
    pytest.param('[[guard.policy]]\nkind = "reverse_sigmoid"', id="reverse sigmoid"),
])
def test_answers_are_changed_and_serve_the_models_labels(guarded: Build, classifier: asgi.App,
                                                        settings: str) -> None:
    bare = guarded(classifier).ask(instances()).rows
    released = guarded(classifier, settings).ask(instances()).rows
    np.testing.assert_array_equal(top_labels(released), top_labels(bare))
    np.testing.assert_allclose(released.sum(axis=1), 1.0, atol=1e-9)
    assert (released != bare).any(axis=1).mean() > 0.9


def test_policies_are_applied_in_the_files_order(guarded: Build, answering: Model) -> None:
    temperature = '[[guard.policy]]\nkind = "temperature"\ntemperature = 20.0\n'
    app = answering(b'{"predictions": [[0.88, 0.12]]}')
    assert guarded(app, temperature + ROUNDING).ask(QUERY).rows.tolist() == [[0.5, 0.5]]
    first = guarded(app, ROUNDING + temperature).ask(QUERY).rows
    assert first[0, 0] == pytest.approx(1 / (1 + (0.1 / 0.9) ** 0.05))


def test_a_batch_is_released_as_its_rows_are(guarded: Build, classifier: asgi.App) -> None:
    guard = guarded(classifier, "guard.limit_queries_per_minute = 0" + NOISE)
    batch = guard.ask(instances(FEATURES[:40])).rows
    one_by_one = np.concatenate([guard.ask(instances([row])).rows for row in FEATURES[:40]])
    np.testing.assert_array_equal(batch, one_by_one)


def test_two_score_tensors_are_edited_alike_and_labels_and_boxes_pass(guarded: Build, answering: Model) -> None:
    head = b'{"model_name":"m","outputs":['
    scores = b'{"name":"%s","shape":[1,3],"datatype":"FP32","data":[%s]}'
    others = (b',{"name":"label","shape":[1],"datatype":"INT64","data":[ 0 ]},'
              b'{"name":"box","shape":[1,4],"datatype":"FP32","data":[1.50,2,3,4e0]}]}')
    bodies = [head + b",".join(scores % (name, data) for name in (b"a", b"b")) + others
              for data in (b"0.6251,0.2499,0.125", b"0.6,0.3,0.1")]
    query = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    reply = guarded(answering(bodies[0]), ROUNDING).ask(query, path="/v2/models/m/infer")
    assert reply.body == bodies[1]


def test_the_owner_names_the_output(guarded: Build, answering: Model) -> None:
    app = answering(b'{"risk": [0.6251], "margin": [0.3333]}')
    assert guarded(app, 'target.scores = "risk"' + ROUNDING).ask(QUERY).body == b'{"risk":[0.6],"margin":[0.3333]}'


def test_a_format_that_is_named_is_the_only_one(guarded: Build, answering: Model) -> None:
    assert guarded(answering(ANSWER), 'target.dialect = "oip"' + ROUNDING).ask(QUERY).status == 400


# The same query gets the same answer

def test_whoever_asks_and_however_often(guarded: Build, classifier: asgi.App) -> None:
    one, other = (guarded(classifier, "guard.limit_queries_per_minute = 0" + NOISE) for _ in range(2))
    asked = instances(FEATURES[:5])
    bodies = {guard.ask(asked, key=key, path=path).body for guard, key, path, _ in itertools.product(
        (one, other), ("ann", "bob", None), ("/predict", "/other"), range(2))}
    assert len(bodies) == 1


@pytest.mark.parametrize("other", [
    {"inputs": FEATURES[:5].tolist()}, {"instances": (FEATURES[:5] + 1e-13).tolist()},
    {"instances": FEATURES[:5].tolist(), "signature_name": "other"},
], ids=["another form", "another last digit", "another field"])
def test_however_it_is_written(guarded: Build, answering: Model, other: dict[str, Any]) -> None:
    answer = orjson.dumps({"predictions": [[0.4, 0.3, 0.2, 0.1]] * 5})
    guard = guarded(answering(answer), NOISE)
    assert guard.ask(other).body == guard.ask(instances(FEATURES[:5])).body


@pytest.mark.parametrize(("settings", "path", "secret"), [
    ('target.epoch = "2"', "/v1/models/a:predict", "a" * 64), ("", "/v1/models/b:predict", "a" * 64),
    ("", "/v1/models/a:predict", "b" * 64),
], ids=["epoch", "model", "secret"])
def test_another_epoch_model_or_secret_draws_other_noise(guarded: Build, answering: Model, settings: str,
                                                        path: str, secret: str) -> None:
    app = answering(orjson.dumps({"predictions": [[0.1] * 10] * 50}))
    one = guarded(app, NOISE, secret="a" * 64).ask(instances(FEATURES[:50]), path="/v1/models/a:predict").rows
    other = guarded(app, settings + NOISE, secret=secret).ask(instances(FEATURES[:50]), path=path).rows
    assert (one != other).any(axis=1).mean() > 0.9


# Account classes

CLASSES = """
[[accounts.class]]
name = "evaluators"
accounts = ["key:eva"]
policies = "none"

[[accounts.class]]
name = "partners"
accounts = ["key:pat"]
limit_queries_per_minute = 2

[[accounts.class]]
name = "public"
accounts = ["key:pub"]

[[accounts.class.policies]]
kind = "labels"
"""


@pytest.mark.parametrize(("key", "body"), [
    ("ann", EDITED), ("eva", ANSWER), ("pat", EDITED), ("pub", b'{"predictions":[[1.0,0.0,0.0]],"model":"m"}'),
])
def test_a_class_has_policies_of_its_own(guarded: Build, answering: Model, key: str, body: bytes) -> None:
    guard = guarded(answering(ANSWER), ROUNDING + CLASSES)
    assert guard.ask(QUERY, key=key).body == body
    (row,) = guard.exchanges()
    assert row["account_class"] == {"ann": "", "eva": "evaluators", "pat": "partners", "pub": "public"}[key]


def test_a_class_has_limits_of_its_own(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 1" + CLASSES)
    assert [guard.ask(QUERY, key=key).status for key in ("ann", "ann", "pat", "pat", "pat", "eva")] == [
        200, 429, 200, 200, 429, 200]


# What can't be cleaned

@pytest.mark.parametrize("answer", [
    pytest.param(b'{"predictions": [[NaN, 0.5, 0.5]]}', id="nan"),
    pytest.param(b'{"predictions": [[Infinity, 0.5, 0.5]]}', id="infinity"),
    pytest.param(b'{"predictions": [[null, 0.5, 0.5]]}', id="null"),
    pytest.param(b'{"predictions": [[0.9, 0.9]]}', id="no sum of 1"),
    pytest.param(b'{"predictions": [[-0.5, 1.5]]}', id="negative"),
    pytest.param(b'{"predictions": [[0.5, 0.5], [1.0]]}', id="ragged"),
    pytest.param(b'{"predictions": [[0.5, 0.5]', id="cut"),
    pytest.param(b'{"predictions": [[0.5, 0.5]], "logits": [[1.0, 1.0]]}', id="logits"),
    pytest.param(b"\xff\xfe", id="no UTF-8"),
    pytest.param(b'{"a":' * 20_000, id="nested"),
    pytest.param(b"", id="empty"),
])
@pytest.mark.parametrize(("settings", "is_served"), [
    (ROUNDING, False), ("guard.on_error = 'pass'" + ROUNDING, True), ("guard.enforce = false" + ROUNDING, True),
    ("", True),
], ids=["policies", "errors pass", "shadow", "none"])
def test_an_answer_that_cannot_be_cleaned_is_not_served(guarded: Build, answering: Model, answer: bytes,
                                                       settings: str, is_served: bool) -> None:
    guard = guarded(answering(answer), settings)
    reply = guard.ask(QUERY)
    assert reply.status == (200 if is_served else 502)
    if is_served:
        assert reply.body == answer
    else:
        assert reply.json["code"] == "answer_not_cleaned"
        assert reply.headers[b"content-length"] == b"%d" % len(reply.body)
    (row,) = guard.exchanges()
    assert (row["decision"], row["status"]) == ("failed" if settings else "served", reply.status)
    assert (row["label"], math.isnan(row["margin"]), row["bits"]) == (-1, True, 0.0)


def test_an_answer_of_another_format_is_not_served(guarded: Build, answering: Model) -> None:
    query = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    reply = guarded(answering(ANSWER), ROUNDING).ask(query, path="/v2/models/m/infer")
    assert (reply.status, [*reply.json]) == (502, ["error"])


def test_what_is_unknown_may_pass_unscanned(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(b'{"predictions": [[0.9, 0.9]]}'), "guard.unknown = 'pass'" + ROUNDING)
    assert guard.ask(QUERY).body == b'{"predictions": [[0.9, 0.9]]}'
    assert guard.decisions() == ["unscanned"]


def test_the_number_of_classes_may_change_between_answers(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": next(answers)})

    answers = iter([b'{"predictions": [[0.123, 0.877]]}', b'{"predictions": [[0.21, 0.29, 0.5]]}'])
    guard = guarded(app, ROUNDING)
    assert [guard.ask(QUERY).rows.tolist() for _ in range(2)] == [[[0.1, 0.9]], [[0.2, 0.3, 0.5]]]
    assert [row["n_classes"] for row in guard.exchanges()] == [2, 3]


# Policies of third parties

FAULTY = '''
import numpy as np
from counterclone.answers import PerRow
from counterclone.plugins import Spec

class Faulty(Spec, frozen=True):
    """A policy with a fault."""

    fault: str
    may_flip = False
    adds_noise = False
    quantises = False

    def start(self, context):
        return PerRow(getattr(self, self.fault))

    def bits(self, n_classes):
        return 1 // (self.fault != "miscounts")

    def miscounts(self, rows):
        return rows

    def raises(self, rows):
        raise ValueError(f"can't do {rows.tolist()}")

    def shortens(self, rows):
        return rows[:, :1]

    def doubles(self, rows):
        return rows * 2

    def spoils(self, rows):
        return rows * np.nan

    def forgets(self, rows):
        return None
'''


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The settings of a policy with a fault, which is found as an installed plug-in is."""
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[counterclone.policies]\nfaulty = faulty_policy:Faulty\n")
    (tmp_path / "faulty_policy.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    _forget()
    yield '[[guard.policy]]\nkind = "faulty"\nfault = '
    _forget()


def _forget() -> None:
    plugins._entry_points.cache_clear()
    plugins.load.cache_clear()
    sys.modules.pop("faulty_policy", None)


@pytest.mark.parametrize("fault", ["raises", "shortens", "doubles", "spoils", "forgets", "is_no_method",
                                   "miscounts"])
def test_a_policy_with_a_fault_serves_nothing(guarded: Build, answering: Model, faulty: str, fault: str,
                                             caplog: pytest.LogCaptureFixture) -> None:
    guard = guarded(answering(ANSWER), f"{faulty}'{fault}'")
    reply = guard.ask(QUERY)
    assert (reply.status, reply.json["code"]) == (502, "answer_not_cleaned")
    assert b"0.6251" not in reply.body  # what the policy says of the rows is for the log
    assert "answer not cleaned" in caplog.text
    (row,) = guard.exchanges()
    assert (row["decision"], row["bits"]) == ("failed", 0.0)


@pytest.mark.parametrize("settings", ["guard.on_error = 'pass'\n", "guard.enforce = false\n"])
def test_an_answer_that_passes_uncleaned_is_metered_in_full(guarded: Build, answering: Model, faulty: str,
                                                          settings: str) -> None:
    guard = guarded(answering(ANSWER), f"{settings}{faulty}'raises'")
    assert guard.ask(QUERY).body == ANSWER
    (row,) = guard.exchanges()
    assert (row["decision"], row["label"], row["bits"]) == ("failed", 0, full_bits(3))


# Rules

RANGE = """
[[guard.rule]]
kind = "range"
low = -5.0
high = 5.0
mode = "%s"
"""
SNAP = """
[[guard.rule]]
kind = "snap"
step = 0.5
"""


@pytest.mark.parametrize("body", [
    {"instances": [[1, 2, 3, 4], [1, 99, 3, 4]]}, {"inputs": {"a": [1, 1], "b": [1, 99]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1, 99]]}},
    {"dataframe_records": [{"a": 1, "b": 2}, {"a": 1, "b": 99}]},
], ids=lambda body: next(iter(body)))
def test_a_refused_query_names_the_field_in_every_form(guarded: Build, answering: Model, body: object) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), RANGE % "refuse")
    reply = guard.ask(body)
    assert (reply.status, reply.json["code"]) == (400, "query_refused")
    assert reply.json["error"].startswith("feature 1 of row 1 is 99, expected -5 to 5")
    assert seen == []
    assert guard.decisions() == ["refused", "refused"]


@pytest.mark.parametrize(("rule", "expected"), [
    (RANGE % "clip", b'{"id":1.50,"instances":[[1.2,5.0,-5.0]]}'),
    (SNAP, b'{"id":1.50,"instances":[[1.0,99.0,-99.5]]}'),
    (RANGE % "clip" + SNAP, b'{"id":1.50,"instances":[[1.0,5.0,-5.0]]}'),
], ids=["range", "snap", "both"])
def test_the_model_gets_what_the_rules_made_of_the_query(guarded: Build, answering: Model, rule: str,
                                                       expected: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), rule)
    guard.ask(b'{"id": 1.50, "instances": [[1.2, 99, -99.4]]}')
    (scope, body), = seen
    assert body == expected
    assert dict(scope["headers"])[b"content-length"] == b"%d" % len(body)


def test_queries_in_a_cell_of_snap_get_one_answer(guarded: Build, classifier: asgi.App) -> None:
    guard = guarded(classifier, SNAP + NOISE)
    near = [[0.5 + 0.01 * i, 1.0, -0.5, 2.0] for i in range(-20, 21)]
    assert len(np.unique(guard.ask(instances(near)).rows, axis=0)) == 1


def test_what_a_rule_leaves_as_it_is_reaches_the_model_byte_for_byte(guarded: Build, answering: Model) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    body = b' {"instances" : [[1.0 , 2.0]] } '
    guarded(answering(ANSWER, seen=seen), RANGE % "refuse" + SNAP).ask(body)
    assert seen[0][1] == body


# Lenient servers read numbers that are written as text

SPELLED: list[tuple[object, object]] = [
    ("0.5", 1.0), ("0.50", 1), (" 5e-1", "1"), (0.5, True), ("0.5000001", "1.0")]


def test_a_number_written_as_text_is_no_way_around_a_rule(guarded: Build, answering: Model) -> None:
    refusing = guarded(answering(ANSWER), RANGE % "refuse")
    for number in ("99", "1e9", "-99.0", "inf", "nan", "9_9"):
        assert refusing.ask({"instances": [[number, 2]]}).json["code"] == "query_refused"
    seen: list[tuple[asgi.Scope, bytes]] = []
    guarded(answering(ANSWER, seen=seen), RANGE % "clip" + SNAP).ask({"instances": [["99", "2.2"]]})
    assert seen[0][1] == b'{"instances":[[5.0,2.0]]}'


def test_a_number_written_as_text_draws_no_other_noise(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(b'{"predictions": [[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]]}'), NOISE)
    assert len({guard.ask({"instances": [list(row)]}).body for row in SPELLED}) == 1
    assert len({guard.ask({"instances": [["f", first, second]]}).body for first, second in SPELLED}) == 1


def test_a_row_gets_the_same_noise_whatever_is_asked_beside_it(guarded: Build, answering: Model) -> None:
    app = answering(b'{"predictions": [[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]}')
    guard = guarded(app, NOISE)
    others: tuple[list[object], ...] = ([2, 3], ["f", 1], [None, 0.0])
    assert len({tuple(guard.ask({"instances": [[0.5, 1.0], other]}).rows[0]) for other in others}) == 1


# Shadow mode

SHADOW = "guard.enforce = false\nguard.limit_queries_per_minute = 1\n"


@pytest.mark.parametrize("body", [
    b' {"instances" : [[1.2, 99]]} ', b'{"instances": []}', b"\x1f\x8b", b"", b'{"instances": [["a"]]}',
], ids=["query", "no rows", "binary", "empty", "text"])
def test_shadow_mode_changes_no_byte(guarded: Build, answering: Model, body: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    headers = [JSON, (b"Content-Length", b"%d" % len(ANSWER)), (b"etag", b'"1"')]
    settings = SHADOW + RANGE % "clip" + SNAP + NOISE
    guard = guarded(answering(ANSWER, headers=headers, seen=seen), settings)
    for _ in range(3):
        reply = guard.ask(body)
        assert (reply.status, reply.body, reply.messages[0]["headers"][:-1]) == (200, ANSWER, headers)
    assert [each for _, each in seen] == [body] * 3


def test_shadow_mode_decides_counts_and_journals(guarded: Build, answering: Model) -> None:
    settings = SHADOW + 'accounts.api_keys = "listed"\n' + RANGE % "refuse" + ROUNDING
    guard = guarded(answering(ANSWER), settings)
    bodies = [b'{"instances": [[1, 2]]}', b'{"instances": [[99, 2]]}', b"no JSON"]
    assert [guard.ask(body, key="unlisted").status for body in bodies] == [200, 200, 200]
    assert guard.ask(bodies[0], key=None, path="/v2/models/m/infer").status == 200
    metrics = guard.metrics()
    assert {name for name in metrics if name.startswith("requests_total")} == {
        "requests_total unauthenticated predict 2xx", "requests_total refused predict 2xx",
        "requests_total refused oip 2xx"}


def test_shadow_mode_says_what_would_have_been_limited(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), SHADOW + ROUNDING)
    assert [guard.ask(QUERY).status for _ in range(3)] == [200, 200, 200]
    rows = guard.exchanges()
    assert [row["decision"] for row in rows] == ["served", "limited", "limited"]
    assert [row["status"] for row in rows] == [200, 200, 200]


def test_shadow_mode_meters_what_leaves_and_limits_what_would_have(guarded: Build, answering: Model) -> None:
    settings = "guard.enforce = false\nguard.limit_leaked_bits_per_day = 4\n" + LABELS
    guard = guarded(answering(ANSWER), settings)  # log2(3) bits each: two answers, and then a debt
    assert [guard.ask(QUERY).body for _ in range(4)] == [ANSWER] * 4
    rows = guard.exchanges()
    assert [row["bits"] for row in rows] == [full_bits(3)] * 4
    assert [row["decision"] for row in rows] == ["served", "served", "limited", "limited"]
