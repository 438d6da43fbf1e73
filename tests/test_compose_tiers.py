from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from counterclone import compose, config
from counterclone.answers import Context
from counterclone.compose.watching import Watching
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.guard.metrics import Metrics
from counterclone.guard.options import Options
from counterclone.guard.release import Terms
from counterclone.policies.labels import Labels
from counterclone.policies.rounding import Rounding
from counterclone.policies.truncation import Truncation
from counterclone.queries import Query
from counterclone.randomness import Prf, generator
from counterclone.releases import for_rows, released
from counterclone.watch.cases import CaseFile, Decision, Evidence
from counterclone.watch.notices import Notifier

ANN = "0123456789abcdef"
BASE = """
[guard]
limit_queries_per_minute = 60
limit_queries_per_day = 1000
[[guard.policy]]
kind = "noise"
scale = 1
[[guard.policy]]
kind = "rounding"
decimals = 2
"""
TIERS = """
[[guard.tier]]
risk = 0.3
action = "review"
[[guard.tier]]
risk = 0.5
policy = [{ kind = "truncation", top_k = 2 }]
[[guard.tier]]
risk = 0.7
action = "throttle"
limit_queries_per_minute = 6
[[guard.tier]]
risk = 0.8
limit_queries_per_minute = 2
[[guard.tier.policy]]
kind = "labels"
[[guard.tier]]
risk = 0.9
action = "block"
"""
Table = tuple[str, dict[str, float]]
TENTHS: Table = ("rounding", {"decimals": 1})
MORE = (Truncation(top_k=2), Labels())


def parse(text: str) -> Config:
    return config.parse(tomllib.loads(text), {}, "counterclone.toml")


def per_minute(terms: Terms) -> float:
    amount, = (limit.amount for limit in terms.limits if limit.name == "limit_queries_per_minute")
    return amount


# What each tier gets

def test_a_tier_has_what_those_before_it_have_and_more() -> None:
    everybody = compose.terms(parse(BASE + TIERS))[""]
    base = everybody.policies
    assert [tier.policies for tier in everybody.tiers] == [
        base, (*base, MORE[0]), (*base, MORE[0]), (*base, *MORE), (*base, *MORE), (*base, *MORE)]
    assert [per_minute(tier) for tier in everybody.tiers] == [60, 60, 6, 2, 2, 2]
    assert [tier.is_blocked for tier in everybody.tiers] == [False, False, False, False, True, True]
    assert all({limit.name for limit in tier.limits} == {limit.name for limit in everybody.limits}
               for tier in everybody.tiers)


def test_without_tiers_there_is_only_the_one_of_the_blocked() -> None:
    blocked, = compose.terms(parse(BASE))[""].tiers
    assert blocked.is_blocked


@pytest.mark.parametrize(("asks", "blocks"), [("", False), ("tiers = true", True)], ids=["not asked", "asked"])
@pytest.mark.parametrize("policies", ['"base"', '"none"', '[{ kind = "rounding", decimals = 1 }]'])
def test_a_class_is_in_tiers_where_it_asks_for_it(policies: str, asks: str, blocks: bool) -> None:
    found = compose.terms(parse(f'{BASE}{TIERS}[[accounts.class]]\nname = "a"\naccounts = []\n'
                                f'policies = {policies}\nlimit_queries_per_minute = 600\n{asks}'))["a"]
    assert len(found.tiers) == 6
    assert [tier.is_blocked for tier in found.tiers[-2:]] == [blocks, True]
    assert per_minute(found.tiers[2]) == (6 if asks else 600)
    assert found.tiers[1].policies == (*found.policies, *((Truncation(top_k=2),) if asks else ()))


def test_a_limit_of_a_tier_stands_where_there_was_none() -> None:
    found = compose.terms(parse("guard.limit_queries_per_minute = 0\n[[guard.tier]]\nrisk = 1\n"
                                'action = "throttle"\nlimit_queries_per_minute = 600'))[""]
    assert per_minute(found.tiers[0]) == 600
    assert found.limits == ()


@given(st.integers(0, 2**32))
def test_what_a_tier_answers_can_be_computed_from_what_others_see(seed: int) -> None:
    """So that two accounts in two tiers learn nothing by comparing: the noise is in what both see, once."""
    terms = compose.terms(parse(BASE + TIERS))[""]
    rng = generator(seed, "tiers")
    inputs, rows = rng.normal(size=(4, 3)), rng.dirichlet([1.0, 1.0, 1.0], 4)
    context = Context(Prf.from_secret("noise"), Query(inputs))
    seen = released(for_rows(terms.policies), context, rows)
    for before, tier in zip((terms, *terms.tiers), terms.tiers, strict=False):
        further = tier.policies[len(before.policies):]
        coarser = released(for_rows(further), context, seen)
        assert (released(for_rows(tier.policies), context, rows) == coarser).all()
        seen = coarser


SCALED = ("noise", {"scale": 0.5}), ("noise", {"scale": 1.0})


@pytest.mark.parametrize(("tier", "tells_more"), [
    ([SCALED[1]], True), ([SCALED[0], TENTHS], False), ([SCALED[0], ("temperature", {"temperature": 2.0})], False),
    ([SCALED[0], ("labels", {})], False)], ids=["other noise", "rounding", "temperature", "labels"])
def test_a_second_account_tells_more_only_where_a_tier_scales_the_noise(tier: list[Table],
                                                                        tells_more: bool) -> None:
    """Of queries that one account can't tell apart, the other has several answers, or one."""
    rng = generator(1, "tier difference")
    context = Context(Prf.from_secret("noise"), Query(rng.normal(size=(2000, 6))))
    rows = rng.dirichlet([1.0, 1.0, 1.0], 2000)
    one, other = (released(compose.policies([{"kind": kind, **options} for kind, options in tables], "x"),
                           context, rows) for tables in ([SCALED[0]], tier))
    n_seen = len(np.unique(one, axis=0))
    assert n_seen < len(rows) / 2
    n_seen_by_both = len(np.unique(np.hstack([one, other]), axis=0))
    assert (n_seen_by_both > 2 * n_seen if tells_more else n_seen_by_both == n_seen)


# Mistakes

@pytest.mark.parametrize(("tiers", "problem"), [
    ("risk = 0.5\n[[guard.tier]]\nrisk = 0.5", r"\[\[guard.tier\]\] 2: risk = 0.5 isn't above .* low risk"),
    ('risk = 0.5\naction = "throttle"', r"\[\[guard.tier\]\] 1: action = 'throttle' needs `limit_q"),
    ('risk = 0.5\naction = "review"\nlimit_queries_per_minute = 2', "'review' changes nothing for the caller"),
    ('risk = 0.5\naction = "block"\npolicy = [{ kind = "labels" }]', "'block' answers nothing"),
    ("risk = 0.5\nlimit_queries_per_minute = 60", "= 60 isn't lower than what accounts have without it"),
    ("risk = 0.5\nlimit_queries_per_minute = 9\n[[guard.tier]]\nrisk = 0.6\nlimit_queries_per_minute = 9",
     r"\[\[guard.tier\]\] 2: limit_queries_per_minute = 9 isn't lower"),
    ('risk = 0.5\npolicy = [{ kind = "noise", scale = 2 }, { kind = "rounding", decimals = 1 }]',
     "'noise' adds noise, which an account in another tier would give away"),
], ids=["order", "throttle", "review", "block", "no lower", "no lower than before", "noise"])
def test_a_tier_that_is_not_coarser_is_refused(tiers: str, problem: str) -> None:
    read = parse(f"{BASE}[[guard.tier]]\n{tiers}")
    with pytest.raises(ConfigError, match=problem) as caught:
        compose.check(read)
    assert len(caught.value.problems) == 1


def test_a_limit_must_be_split_between_the_workers() -> None:
    with pytest.raises(ConfigError, match=r"\[\[guard.tier\]\] 1 limit_queries_per_minute = 2 can't be split"):
        compose.check(parse("guard.workers = 3\n[[guard.tier]]\nrisk = 1\nlimit_queries_per_minute = 2"))


# Who decides

@pytest.fixture(name="cases")
def fixture_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaseFile:
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    monkeypatch.setattr("counterclone.watch.cases.RELOAD_SECONDS", 0.0)
    return CaseFile(tmp_path / "cases.jsonl")


def options(cases: CaseFile, text: str, folder: Path) -> Options:
    watching = Watching(cases, Metrics(), Notifier([]), folder / "state.npz")
    return compose.options(parse(text), folder, CollectorRegistry(), watching=watching)


@pytest.mark.parametrize(("decision", "level"), [("allow", 0), ("review", 0), ("throttle", 3), ("block", 6)])
def test_a_decision_is_a_tier(cases: CaseFile, tmp_path: Path, decision: Decision, level: int) -> None:
    tiers = options(cases, f"journal.path = ''\n{BASE}{TIERS}", tmp_path).tiers
    assert tiers is not None
    assert tiers.level(ANN) == 0  # as yet
    cases.open([ANN], Evidence(kind="alarm"))
    cases.decide(ANN, decision, by="jo")
    assert tiers.level(ANN) == level
    assert tiers.level("somebody else") == 0


def test_accounts_can_be_blocked_without_any_tier(cases: CaseFile, tmp_path: Path) -> None:
    built = options(cases, f"journal.path = ''\n{BASE}", tmp_path)
    cases.open([ANN], Evidence(kind="alarm"))
    cases.decide(ANN, "block", by="jo")
    assert built.tiers is not None
    assert built.tiers.terms(ANN, built.terms[""]).is_blocked
    cases.decide(ANN, "throttle", by="jo")  # which no tier says how to do
    assert built.tiers.terms(ANN, built.terms[""]) is built.terms[""]


@pytest.mark.parametrize(("text", "warning"), [
    (TIERS, "nothing tells the risk of accounts"),
    ("guard.alert_usd_per_day = 5", "alert_usd_per_day is off"),
    ("guard.alert_usd_per_day = 5\njournal.path = 'j'", "alert_usd_per_day is off"),
], ids=["no watcher", "no journal", "no price"])
def test_what_does_nothing_is_warned_of(cases: CaseFile, tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                        text: str, warning: str) -> None:
    with caplog.at_level(logging.WARNING):
        built = options(cases, text, tmp_path)
    if built.journal is not None:
        built.journal.close()
    assert [warning in message for message in caplog.messages] == [True]


def test_a_policys_order_is_that_of_the_tiers() -> None:
    found = compose.terms(parse("""
        [[guard.tier]]
        risk = 0.1
        [[guard.tier.policy]]
        kind = "rounding"
        decimals = 3
        [[guard.tier]]
        risk = 0.2
        [[guard.tier.policy]]
        kind = "rounding"
        decimals = 1
        """))[""]
    assert [tier.policies for tier in found.tiers[:2]] == [
        (Rounding(decimals=3),), (Rounding(decimals=3), Rounding(decimals=1))]
