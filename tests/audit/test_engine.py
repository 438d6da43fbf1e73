from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import pytest

import counterclone
from counterclone import audit
from counterclone.audit import Audit, Deployment, Surface, access
from counterclone.audit.plans import Skipped
from counterclone.budgets import DAY, Limit, Price
from counterclone.errors import ConfigError, TargetError, TargetSlow, TargetUnreachable
from counterclone.journal import read_lines
from counterclone.protocols import PROOF_PATH, TOKEN_FILE
from counterclone.targets import http
from counterclone.targets.local import softmax

if TYPE_CHECKING:
    from tests.audit.conftest import Toys, World

WEIGHTS = np.array([[3.0, 0.0], [-2.0, 2.0], [0.0, -3.0]])
TRIAL = {"attack", "surface", "queries", "queries_sent", "seed", "fidelity", "fidelity_low", "fidelity_high",
         "fidelity_uniform", "accuracy", "kl", "coverage", "parameters", "pool", "usd", "seconds"}
RESULT = {"target", "config_digest", "seed", "authorized_by", "trials", "control", "cheapest", "findings"}


def predict(inputs: Any) -> Any:
    return softmax(np.asarray(inputs) @ WEIGHTS.T)


def one_hot(inputs: Any) -> Any:
    return np.eye(3)[predict(inputs).argmax(axis=1)]


class Dying:
    """A model that dies after some rows, and counts those that it answered."""

    def __init__(self, lives: float) -> None:
        self.lives = lives
        self.answered: list[Any] = []

    def __call__(self, inputs: Any) -> Any:
        if len(self.answered) + len(inputs) > self.lives:
            raise RuntimeError("it died")
        self.answered += np.asarray(inputs).tolist()
        return predict(inputs)


def run(world: World, toys: Toys, target: Any = predict, **options: Any) -> Audit:
    return audit.run(target, **{"pool": world.pool, "evaluate": world.evaluate, "budgets": (20, 100),
                                "attacks": [toys.toy], **options})


def comparable(found: Audit) -> Any:
    """What must be the same in two runs: all but the times."""
    document = msgspec.json.decode(found.to_json())
    for each in (document, *document["trials"]):
        del each["seconds"]
    return document


# The result

def test_a_result_has_the_contracts_fields(world: World, toys: Toys) -> None:
    labels = world.labels(world.evaluate)
    found = run(world, toys, evaluate=(world.evaluate, labels), seed=5, authorized_by="the owner", name="mine",
                deployment=Deployment(price=Price(0.001), training_cost_usd=100.0, config_digest="0123"))
    document = json.loads(found.to_json())
    assert document.keys() >= RESULT
    assert (document["target"], document["config_digest"], document["seed"], document["authorized_by"]) == (
        "mine", "0123", 5, "the owner")
    assert len(document["trials"]) == 6
    for trial in document["trials"]:
        assert trial.keys() >= TRIAL
        assert trial["queries_sent"] <= trial["queries"]
        assert trial["fidelity_low"] <= trial["fidelity"] <= trial["fidelity_high"]
        assert trial["usd"] == pytest.approx(trial["queries_sent"] * 0.001)
        assert trial["accuracy"] == trial["fidelity"]
    assert {trial["seed"] for trial in document["trials"]} == {5, 6, 7}
    assert document["control"]["accuracy"] is None
    assert document["control"]["fidelity"] == np.bincount(labels).max() / 150
    assert [each["fidelity"] for each in document["cheapest"]] == [0.5, 0.9, 0.95]
    assert document["cheapest"][1].keys() >= {"fidelity", "queries", "usd", "attack"}
    for finding in document["findings"]:
        assert finding.keys() >= {"id", "severity", "text", "remedy"}


def test_a_result_is_read_in_python(world: World, toys: Toys) -> None:
    found = run(world, toys)
    copy = found.reach(0.9)
    assert copy is not None
    assert 20 < copy.queries <= 100
    assert found.reach(0.99) is None
    assert found.reach(0.9, "labels") is None
    best = max(found.points, key=lambda point: point.fidelity)
    assert found.fidelity == best.fidelity


def test_the_same_seed_gives_the_same_audit(world: World, toys: Toys) -> None:
    first, again, other = (run(world, toys, seed=seed, surfaces=["noise"]) for seed in (0, 0, 3))
    assert comparable(first) == comparable(again) != comparable(other)


@pytest.mark.parametrize(("limits", "expected"), [
    ({}, []), ({"under_usd": 1.0}, ["a 90 % copy costs $0.0"]), ({"under_usd": 1e-3}, []),
    ({"over_fidelity": 0.5}, ["a copy agrees on 9"]), ({"over_fidelity": 0.99}, []),
    ({"under_usd": 1.0, "over_fidelity": 0.5}, ["a 90 % copy costs $0.0", "a copy agrees on 9"]),
], ids=str)
def test_stated_limits_are_checked(world: World, toys: Toys, limits: Any, expected: list[str]) -> None:
    failures = run(world, toys, deployment=Deployment(price=Price(0.001))).failures(**limits)
    assert [failure[:len(start)] for failure, start in zip(failures, expected, strict=True)] == expected


def test_a_constant_is_no_copy(world: World, toys: Toys) -> None:
    """Where nearly all answers are one class, agreement is balanced."""
    def lopsided(inputs: Any) -> Any:
        return softmax(np.asarray(inputs) @ np.array([[4.0], [0.0]]).T + np.array([[0.0, 3.6]]))

    found = run(world, toys, lambda inputs: lopsided(np.asarray(inputs)[:, :1]), budgets=(10, 190))
    assert found.majority > 0.9
    least = [trial for trial in found.trials if trial.queries == 10]
    assert all(trial.fidelity > 0.85 for trial in least)
    copy = found.reach(0.9)
    assert copy is None or (copy.is_balanced and copy.queries > 10)
    assert found.failures(over_fidelity=0.9) == [] or "by balanced agreement" in found.failures(
        over_fidelity=0.9)[0]
    assert "one-class" in {each.id for each in found.findings}


def test_a_copy_without_a_price_costs_nothing(world: World, toys: Toys) -> None:
    failure, = run(world, toys).failures(under_usd=5.0)
    assert failure.endswith("no price is set in [target])")


# What callers see

def test_only_what_callers_see_is_audited_unless_more_is_asked_for(world: World, toys: Toys) -> None:
    found = run(world, toys)
    assert [each.name for each in found.surfaces] == ["full"]
    assert {trial.surface for trial in found.trials} == {"full"}
    more = run(world, toys, surfaces=["labels", "decimals-1", "full", "labels"])
    assert [each.name for each in more.surfaces] == ["full", "labels", "decimals-1"]
    assert {trial.surface for trial in more.trials} == {"full", "labels", "decimals-1"}
    assert [each.label_unchanged for each in more.surfaces] == [1.0, 1.0, 1.0]
    assert more.cheapest[0].surface == "full"


def test_one_hot_rows_are_labels(world: World, toys: Toys) -> None:
    found = run(world, toys, one_hot, attacks=[toys.toy, toys.exact])
    shown, = found.surfaces
    assert (shown.name, shown.shows) == ("labels", ("labels",))
    assert {trial.attack for trial in found.trials} == {"toy"}
    assert found.skipped == [Skipped("exact", "labels", "it needs scores, which aren't shown")]


def test_callers_may_see_the_model_through_policies(world: World, toys: Toys) -> None:
    guarded = Surface(name="guarded", policies=({"kind": "labels"},))
    found = run(world, toys, deployment=Deployment(surface=guarded), surfaces=["full"],
                attacks=[toys.toy, toys.exact])
    assert [(each.name, each.shows) for each in found.surfaces] == [
        ("guarded", ("labels",)), ("full", ("labels", "scores"))]
    assert {(trial.attack, trial.surface) for trial in found.trials} == {
        ("toy", "guarded"), ("toy", "full"), ("exact", "full")}


def test_logits_and_ids_are_seen(world: World, toys: Toys) -> None:
    def logits(inputs: Any) -> Any:
        return np.asarray(inputs) @ WEIGHTS.T

    found = run(world, toys, logits, returns="logits", ids=lambda inputs: np.arange(len(inputs)))
    assert found.surfaces[0].shows == ("ids", "labels", "logits", "scores")
    assert {each.id for each in found.findings} >= {"ids-shown", "logits-shown"}
    with pytest.raises(TargetError, match="say so where they are logits"):
        run(world, toys, logits)


def test_limits_make_copies_take_days(world: World, toys: Toys) -> None:
    limits = [Limit("limit_queries_per_day", "queries", 5, DAY)]
    copy = run(world, toys, deployment=Deployment(limits=limits)).reach(0.9)
    assert copy is not None
    assert copy.days == pytest.approx((copy.queries - 5) / 5)
    free = run(world, toys, deployment=Deployment(limits=[]))
    assert "no-limit" in {each.id for each in free.findings}


# Inputs

def test_what_is_wrong_with_inputs_is_said_first(world: World, toys: Toys) -> None:
    said: list[str] = []
    pool = np.concatenate([world.pool, world.pool[:3], [[np.nan, 1.0]]])
    found = run(world, toys, pool=pool, say=said.append)
    assert len(found.warnings) == 2
    assert said[:2] == [f"warning: {warning}" for warning in found.warnings]
    assert said[2].startswith("1/2 toy on full, 20 queries: fidelity ")


def test_without_a_pool_the_report_says_what_that_means(world: World, toys: Toys) -> None:
    found = run(world, toys, pool=None)
    assert {trial.pool for trial in found.trials} == {"uniform"}
    assert any("under-reports" in warning for warning in found.warnings)
    assert "no-pool" in {each.id for each in found.findings}


def test_a_pool_may_be_of_other_data(world: World, toys: Toys) -> None:
    assert {trial.pool for trial in run(world, toys, pool_kind="out-of-domain").trials} == {"out-of-domain"}


def test_budgets_are_chosen_where_none_is_named(world: World, toys: Toys) -> None:
    found = run(world, toys, budgets=(), seeds=1, attacks=[type(toys.toy)(at_once=3)])
    assert sorted({trial.queries for trial in found.trials}) == [3, 100, 300, 1000]


@pytest.mark.parametrize(("options", "message"), [
    ({"attacks": ["knockof"]}, "there is no 'knockof'"), ({"surfaces": ["label"]}, "there is no surface 'label'"),
    ({"budgets": (10, 0)}, r"budgets = \[10, 0\]: expected positive numbers"), ({"seeds": 0}, "seeds = 0"),
    ({"pool": None, "evaluate": None}, "pool and evaluate are both missing"),
], ids=str)
def test_mistakes_are_told_before_anything_is_asked(world: World, toys: Toys, options: Any, message: str) -> None:
    def unasked(inputs: Any) -> Any:
        raise AssertionError("nothing should be asked")

    with pytest.raises(ConfigError, match=message):
        run(world, toys, unasked, **options)


def test_attacks_that_do_not_fit_are_told(world: World, toys: Toys) -> None:
    with pytest.raises(ConfigError) as caught:
        run(world, toys, one_hot, attacks=[toys.texts, toys.exact])
    assert caught.value.problems == (
        "no attack fits", "texts on labels: it asks with text",
        "exact on labels: it needs scores, which aren't shown")


def test_an_attack_that_fails_is_told_and_others_go_on(world: World, toys: Toys) -> None:
    found = run(world, toys, attacks=[toys.failing, toys.toy])
    assert {trial.attack for trial in found.trials} == {"toy"}
    assert found.skipped == [
        Skipped("failing", "full", "it failed (ZeroDivisionError: by hand); report it to its author")]


def test_texts_are_audited(toys: Toys) -> None:
    class Heart(type(toys.texts)):  # type: ignore[misc]
        """Learns texts by heart."""

        def run(self, prior: Any, rng: Any) -> Any:
            asked = prior.pool[:prior.budget]
            reply = yield asked
            return Dictionary(dict(zip(asked, reply.rows, strict=True)))

    class Dictionary:
        def __init__(self, known: Any) -> None:
            self._known = known

        def answer(self, inputs: Any) -> Any:
            return np.array([self._known.get(text, np.full(2, 0.5)) for text in inputs])

    def by_length(texts: list[str]) -> Any:
        assert all(isinstance(text, str) for text in texts)
        return np.array([[0.9, 0.1] if len(text) % 2 else [0.2, 0.8] for text in texts])

    pool = ["x" * n for n in range(1, 60)]
    found = audit.run(by_length, pool=pool, evaluate=["y" * n for n in range(1, 120)], attacks=[Heart(), toys.toy],
                      budgets=(10,), deployment=Deployment(price=Price(usd_per_token_in=0.01)))
    assert len(found.trials) == 3
    assert {trial.fidelity_uniform for trial in found.trials} == {None}
    assert found.trials[0].usd > 0
    assert found.skipped[0].reason == "it asks with numbers"


# In the program

def test_it_runs_where_a_loop_runs_already(world: World, toys: Toys) -> None:
    async def notebook() -> Audit:
        return run(world, toys)

    assert comparable(asyncio.run(notebook())) == comparable(run(world, toys))


def test_it_is_reached_by_the_packages_name() -> None:
    assert counterclone.audit is audit


def test_no_thread_is_left(world: World, toys: Toys) -> None:
    before = threading.active_count()
    for _ in range(3):
        run(world, toys, seeds=1)
    for thread in threading.enumerate():
        if thread.name == "target":
            thread.join(timeout=5.0)
    assert threading.active_count() <= before


class Shop:
    """An object with a method."""

    def predict(self, inputs: Any) -> Any:
        return predict(inputs)


@pytest.mark.parametrize(("target", "name"), [
    (predict, f"{__name__}:predict"), (Shop().predict, "Shop.predict"), (Dying(np.inf), f"{__name__}:Dying")])
def test_a_target_is_called_what_it_is(world: World, toys: Toys, target: Any, name: str) -> None:
    assert run(world, toys, target, seeds=1).target == name


# Targets that break their promises

@pytest.mark.parametrize(("broken", "message"), [
    (lambda rows: rows[:-1], "for 150 queries"), (lambda rows: rows * 3, "a row that sums to 3"),
    (lambda rows: rows.argmax(axis=1), "which are labels or one class's scores"),
    (lambda rows: np.where(rows > 0.9, np.nan, rows), "NaN or infinity"),
    (lambda rows: {"scores": rows}, "no array of numbers"),
], ids=["fewer rows", "unnormalised", "labels", "NaN", "a dictionary"])
def test_a_broken_target_is_told(world: World, toys: Toys, broken: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        run(world, toys, lambda inputs: broken(predict(inputs)))


def test_a_target_that_hangs_is_given_up(world: World, toys: Toys) -> None:
    hung = threading.Event()
    with pytest.raises(TargetSlow):
        run(world, toys, lambda inputs: hung.wait(), seconds=0.2)
    hung.set()


# Interruptions

def test_an_interrupted_audit_goes_on(world: World, toys: Toys, tmp_path: Path) -> None:
    whole = comparable(run(world, toys, name="mine"))
    model = Dying(1300)
    with pytest.raises(TargetError, match="it died"):
        run(world, toys, model, name="mine", resume=tmp_path)
    model.lives = np.inf
    model.answered.clear()
    found = comparable(run(world, toys, model, name="mine", resume=tmp_path))
    n_second = len(model.answered)
    model.answered.clear()
    again = comparable(run(world, toys, model, name="mine", resume=tmp_path))
    n_third = len(model.answered)
    assert n_third == 1150  # evaluation inputs are asked anew, which tells whether the model is the same
    assert n_second < 1150 + 360
    for document in (whole, found, again):
        del document["queries_asked"]
    assert whole == found == again


def test_a_model_that_has_changed_is_asked_anew(world: World, toys: Toys, tmp_path: Path) -> None:
    run(world, toys, name="mine", resume=tmp_path)
    found = run(world, toys, lambda inputs: predict(-np.asarray(inputs)), name="mine", resume=tmp_path)
    assert found.fidelity > 0.85
    assert len(list(tmp_path.iterdir())) == 2


def test_queries_may_be_written_as_a_trace(world: World, toys: Toys, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    found = run(world, toys, trace=path, seeds=2)
    lines = list(read_lines(path))
    asked = {(line.meta["budget"], line.meta["seed"]): 0 for line in lines}
    for line in lines:
        asked[line.meta["budget"], line.meta["seed"]] += line.n_rows
    assert asked == {(trial.queries, trial.seed): trial.queries_sent for trial in found.trials}


# An API

class Api(BaseHTTPRequestHandler):
    """The model behind HTTP; dies after some rows, and serves a token."""

    lives = float("inf")
    token = ""
    answered: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        if len(Api.answered) + len(rows) > Api.lives:
            self.send_error(500)
            return
        Api.answered += rows
        self._send(json.dumps({"predictions": predict(rows).tolist()}).encode(), "application/json")

    def do_GET(self) -> None:
        self._send(Api.token.encode() if self.path == PROOF_PATH else b"", "text/plain")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


def assert_nothing_was_paid_twice() -> None:
    assert len(set(map(tuple, Api.answered))) == len(Api.answered)


@pytest.fixture
def api() -> Iterator[str]:
    Api.lives, Api.token = float("inf"), ""
    Api.answered.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()
        thread.join()


def test_an_api_on_this_machine_is_audited_as_it_is(world: World, toys: Toys, api: str) -> None:
    found = run(world, toys, api, attacks=[toys.toy, toys.exact], surfaces=["labels"])
    assert found.target == api
    assert {(trial.attack, trial.surface) for trial in found.trials} == {
        ("toy", "full"), ("exact", "full"), ("toy", "labels")}
    local = run(world, toys, attacks=[toys.toy, toys.exact], surfaces=["labels"])
    assert found.fidelity == local.fidelity
    assert len(Api.answered) == found.queries_asked
    assert_nothing_was_paid_twice()


def test_an_api_that_dies_is_paid_once(world: World, toys: Toys, api: str, tmp_path: Path) -> None:
    Api.lives = 1270
    with pytest.raises(TargetError, match="answered 500"):
        run(world, toys, api, resume=tmp_path)
    assert 1200 < len(Api.answered) <= 1270
    Api.lives = float("inf")
    found = run(world, toys, api, resume=tmp_path)
    assert_nothing_was_paid_twice()
    assert found.fidelity == run(world, toys).fidelity
    Api.lives = 0
    assert comparable(run(world, toys, api, resume=tmp_path))["trials"] == comparable(found)["trials"]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine counts as another one."""
    monkeypatch.setattr(access, "is_loopback", lambda url: False)


@pytest.mark.usefixtures("elsewhere")
def test_another_host_is_refused_without_its_owners_word(world: World, toys: Toys, api: str,
                                                         tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name who does"):
        run(world, toys, api, folder=tmp_path)
    with pytest.raises(ConfigError, match="doesn't serve this audit's token"):
        run(world, toys, api, folder=tmp_path, authorized_by="the owner")
    assert Api.answered == []


@pytest.mark.usefixtures("elsewhere")
def test_another_host_that_shows_control_is_audited_within_bounds(world: World, toys: Toys, api: str,
                                                                  tmp_path: Path) -> None:
    asked: dict[str, Any] = {"folder": tmp_path, "authorized_by": "the owner", "attacks": [toys.toy, toys.exact]}
    with pytest.raises(ConfigError):
        run(world, toys, api, **asked)
    Api.token = (tmp_path / TOKEN_FILE).read_text()
    found = run(world, toys, api, **asked)
    assert found.authorized_by == "the owner"
    assert {trial.attack for trial in found.trials} == {"toy"}
    assert found.skipped == [Skipped("exact", "full", "it recovers the model itself, or knows the defence: for "
                                     "callables and the loopback only")]
    assert not (tmp_path / TOKEN_FILE).exists()
    with pytest.raises(ConfigError, match="doesn't serve this audit's token"):  # it was good for one
        run(world, toys, api, **asked)


@pytest.mark.usefixtures("elsewhere")
def test_an_interrupted_audit_of_another_host_keeps_its_token(world: World, toys: Toys, api: str,
                                                              tmp_path: Path) -> None:
    asked: dict[str, Any] = {"folder": tmp_path, "authorized_by": "the owner", "resume": tmp_path / "kept"}
    with pytest.raises(ConfigError):
        run(world, toys, api, **asked)
    Api.token = (tmp_path / TOKEN_FILE).read_text()
    Api.lives = 400
    with pytest.raises(TargetError):
        run(world, toys, api, **asked)
    Api.lives = float("inf")
    found = run(world, toys, api, **asked)
    assert_nothing_was_paid_twice()
    assert len(Api.answered) <= 300 + 200  # fewer even inputs are asked where they cost something
    assert found.trials[0].fidelity_uniform is not None


def test_a_url_that_nobody_answers_is_unreachable(world: World, toys: Toys,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.001)
    with pytest.raises(TargetUnreachable):
        run(world, toys, "http://127.0.0.1:9/predict")
