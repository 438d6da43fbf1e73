from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.guard.conftest import SECRET

from counterclone.compose.watching import Watching
from counterclone.guard import asgi
from counterclone.guard.identity import account_id
from counterclone.randomness import Prf
from counterclone.testing.llm_server import LlmServer
from counterclone.watch.cases import CASES_FILE, CaseFile, Decision, Evidence
from counterclone.watch.sources import Traffic

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model

ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]]}'
PREDICT, INFER = "/predict", "/v2/models/m/infer"
ONE = {"instances": [[0.5, 1.0]]}
TENSOR = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.0]}]}
TIERS = """
[guard]
tier_step_seconds = 0.02
[[guard.policy]]
kind = "noise"
scale = 0.5
[[guard.policy]]
kind = "rounding"
decimals = 2
[[guard.tier]]
risk = 0.3
action = "review"
[[guard.tier]]
risk = 0.5
[[guard.tier.policy]]
kind = "labels"
[[guard.tier]]
risk = 0.7
action = "throttle"
limit_queries_per_minute = 2
[[guard.tier]]
risk = 0.9
action = "block"
"""


@pytest.fixture(autouse=True)
def fixture_impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterclone.watch.cases.RELOAD_SECONDS", 0.0)


def account(key: str) -> str:
    return account_id(Prf.from_secret(SECRET).subkey("accounts"), f"key:{key}")


def cases(guard: Guarded) -> CaseFile:
    return CaseFile(guard.folder / CASES_FILE)


def decide(guard: Guarded, decision: Decision, key: str = "ann") -> None:
    cases(guard).open([account(key)], Evidence(kind="alarm"))
    cases(guard).decide(account(key), decision, by="jo")


class Knowing:
    """What watches, and is told the risks."""

    problems: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.risks: dict[str, float] = {}
        self.fed: list[str] = []

    @property
    def monitor(self) -> Knowing:
        return self

    def take(self, traffic: Traffic) -> None:
        self.fed += traffic.names

    def risk(self, account: str) -> float:
        return self.risks.get(account, 0.0)

    def search(self) -> None:
        pass

    def save(self, path: Path) -> None:
        pass

    load = save


@pytest.fixture(name="knowing")
def fixture_knowing(monkeypatch: pytest.MonkeyPatch) -> Knowing:
    """What every guard of the test learns risks from."""
    knowing = Knowing()
    build = Watching.__init__

    def init(self: Watching, *arguments: Any) -> None:
        build(self, *arguments)
        self.resume(knowing)

    monkeypatch.setattr(Watching, "__init__", init)
    return knowing


def risky(guard: Guarded, knowing: Knowing, risk: float, key: str = "ann", body: object = ONE) -> None:
    """Give an account a risk, and let the guard look at it."""
    knowing.risks[account(key)] = risk
    guard.ask(body, key=key)
    time.sleep(0.05)
    guard.ask(body, key=key)


# What a caller gets

@pytest.mark.parametrize(("path", "body", "shape"), [
    (PREDICT, ONE, {"error", "code"}), (INFER, TENSOR, {"error"})], ids=["predict", "oip"])
def test_a_blocked_account_is_refused_in_its_formats_shape(
        guarded: Build, answering: Model, path: str, body: object, shape: set[str]) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen))
    decide(guard, "block")
    reply = guard.ask(body, path=path)
    assert reply.status == 403
    assert reply.headers[b"content-type"] == b"application/json"
    assert set(reply.json) == shape
    assert "this account is blocked; ask the API's owner" in reply.json["error"]
    assert seen == []
    assert guard.ask(body, path=path, key="bob").status != 403
    assert guard.decisions()[0] == "blocked"


def test_a_blocked_account_is_served_again_once_it_is_allowed(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), TIERS)
    decide(guard, "block")
    assert guard.ask(ONE).status == 403
    decide(guard, "allow")
    assert guard.ask(ONE).status == 200


def test_a_throttled_account_has_a_lower_limit(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), TIERS)
    decide(guard, "throttle")
    assert [guard.ask(ONE).status for _ in range(4)] == [200, 200, 429, 429]
    assert guard.ask(ONE).headers[b"ratelimit-policy"] == b'"limit_queries_per_minute";q=2;w=60'
    assert [guard.ask(ONE, key="bob").status for _ in range(4)] == [200] * 4


def test_a_risk_makes_answers_coarser_and_no_label_changes(
        guarded: Build, classifier: asgi.App, knowing: Knowing) -> None:
    guard = guarded(classifier, TIERS)
    asked = {"instances": np.linspace(-1, 1, 40).reshape(10, 4).tolist()}
    before = guard.ask(asked).rows
    risky(guard, knowing, 0.6, body=asked)
    after = guard.ask(asked).rows
    assert set(after.ravel()) == {0.0, 1.0}
    assert set(before.ravel()) != {0.0, 1.0}
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()


def test_a_risk_takes_log_probabilities_away(guarded: Build, knowing: Knowing) -> None:
    policy = '[guard]\ntier_step_seconds = 0.02\n[[guard.policy]]\nkind = "logprobs"\n'
    guard = guarded(LlmServer(), policy + TIERS.partition("decimals = 2\n")[2])
    asked = {"model": "toy", "prompt": "a", "logprobs": 2}

    def told(key: str) -> object:
        return guard.ask(asked, key=key, path="/v1/completions").json["choices"][0]["logprobs"]

    assert told("ann")
    knowing.risks[account("ann")] = 0.6
    told("ann")
    time.sleep(0.05)
    assert [told("ann"), bool(told("bob"))] == [None, True]


def test_in_a_tier_the_same_query_has_the_same_answer_whoever_asks(
        guarded: Build, classifier: asgi.App, knowing: Knowing) -> None:
    guard = guarded(classifier, TIERS.replace('kind = "labels"', 'kind = "rounding"\ndecimals = 1'))
    asked = {"instances": np.linspace(-1, 1, 40).reshape(10, 4).tolist()}
    for key in ("ann", "bob"):
        risky(guard, knowing, 0.6, key, asked)
    bodies = {guard.ask(asked, key=key).body for key in ("ann", "bob", "ann")}
    assert len(bodies) == 1
    fine = guard.ask(asked, key="cat").rows
    assert (guard.ask(asked).rows != fine).any()


@pytest.mark.parametrize("settings", ["", "tiers = true"], ids=["not asked", "asked"])
def test_a_class_stays_out_unless_it_asks(guarded: Build, answering: Model, knowing: Knowing,
                                          settings: str) -> None:
    group = f'[[accounts.class]]\nname = "a"\naccounts = ["key:ann"]\n{settings}'
    guard = guarded(answering(ANSWER), TIERS + group)
    risky(guard, knowing, 1.0)
    assert guard.ask(ONE).status == (403 if settings else 200)


def test_in_shadow_mode_tiers_change_nothing_and_are_journalled(
        guarded: Build, answering: Model, knowing: Knowing) -> None:
    guard = guarded(answering(ANSWER), TIERS.replace("[guard]", "[guard]\nenforce = false"))
    risky(guard, knowing, 1.0)
    reply = guard.ask(ONE)
    assert (reply.status, reply.body) == (200, ANSWER)
    assert guard.decisions()[-1] == "blocked"
    assert guard.metrics()["requests_total blocked predict 2xx"] >= 1


# What its owner gets

def test_what_is_journalled_is_watched(guarded: Build, answering: Model, knowing: Knowing) -> None:
    guard = guarded(answering(ANSWER))
    for key in ("ann", "bob"):
        guard.ask(ONE, key=key)
    guard.guard.close()
    assert sorted(knowing.fed) == sorted(map(account, ("ann", "bob")))


def test_a_review_opens_a_case_and_changes_nothing_for_the_caller(
        guarded: Build, answering: Model, knowing: Knowing) -> None:
    guard = guarded(answering(ANSWER), TIERS)
    before = guard.ask(ONE).body
    risky(guard, knowing, 0.4)
    assert guard.ask(ONE).body == before
    assert set(guard.decisions()) == {"served"}
    case, = cases(guard).all()
    assert case.accounts == (account("ann"),)
    assert [(each.kind, each.risk) for each in case.evidence] == [("review", 0.4)]
    counts = guard.metrics()
    assert (counts["alarms_total review"], counts["tier_steps_total 1"]) == (1, 1)


@pytest.mark.parametrize(("dollars", "told"), [(1.0, True), (10.0, False)])
def test_who_spends_more_is_told_of(guarded: Build, answering: Model, caplog: pytest.LogCaptureFixture,
                                    dollars: float, told: bool) -> None:
    guard = guarded(answering(ANSWER), f"guard.alert_usd_per_day = {dollars}\n"
                                       "target.price_usd_per_1000_queries = 500")
    for _ in range(4):
        assert guard.ask(ONE).status == 200
    guard.guard.close()
    assert [case.evidence[0].kind for case in cases(guard).all()] == ["spending"] * told
    assert guard.metrics().get("alarms_total spending", 0) == told
    assert any("it spent $" in message for message in caplog.messages) == told


def test_a_watch_that_fails_stops_nothing_and_is_a_trouble(
        guarded: Build, answering: Model, knowing: Knowing, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no detector")

    monkeypatch.setattr(knowing, "take", fail)
    guard = guarded(answering(ANSWER))
    assert guard.ask(ONE).status == 200
    guard.guard.close()
    assert guard.guard.troubles() == ["watch: ValueError: no detector; journalled and not watched"]
    assert guard.decisions() == ["served"]


def test_what_the_watch_lacks_is_a_trouble(guarded: Build, answering: Model, knowing: Knowing) -> None:
    knowing.problems = ("alarms need 1,000 honest accounts",)
    guard = guarded(answering(ANSWER))
    assert guard.guard.troubles() == ["alarms need 1,000 honest accounts"]
    assert guard.admin("/readyz").status == 200


def test_cases_that_cannot_be_kept_stop_nothing(guarded: Build, answering: Model, knowing: Knowing) -> None:
    guard = guarded(answering(ANSWER), TIERS)
    (guard.folder / CASES_FILE).mkdir()
    risky(guard, knowing, 0.4)
    guard.guard.close()
    assert any("make it writable" in trouble for trouble in guard.guard.troubles())
    assert set(guard.decisions()) == {"served"}


def test_tiers_outlive_another_file(guarded: Build, answering: Model, knowing: Knowing) -> None:
    guard = guarded(answering(ANSWER), TIERS.replace("0.02", "3600"))
    tiers = guard.guard._options.tiers
    assert tiers is not None
    knowing.risks[account("ann")] = 1.0
    guard.ask(ONE)
    tiers._places[account("ann")].level = 4
    assert guard.ask(ONE).status == 403
    (guard.folder / "counterclone.toml").write_text(TIERS.replace("0.02", "3600").replace("decimals = 2",
                                                                                          "decimals = 1"))
    guard.guard.refresh(force=True)
    assert guard.guard._options.tiers is not tiers
    assert guard.ask(ONE).status == 403
