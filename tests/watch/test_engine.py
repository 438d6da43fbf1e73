from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from tests.watch.toys import Shift, counts_of, traffic

from counterclone.detectors.repetition import Repetition
from counterclone.errors import ConfigError
from counterclone.exchanges import Exchanges, join
from counterclone.journal.lines import Meta
from counterclone.plugins import kind_of, kinds
from counterclone.randomness import Prf, generator
from counterclone.watch.cases import Evidence
from counterclone.watch.engine import DEFAULT_DETECTORS, Engine, detectors, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.sources import Traffic

KEY = Prf.from_secret("engine")
N_HONEST, N_COPIERS = 400, 60
RATE = 0.01 * 2 * 365 / 30 * (N_HONEST + N_COPIERS)

Told = list[tuple[list[str], Evidence, str]]


def honest_ones(n: int = 2000) -> Honest:
    rng = generator(0, "engine", "reference")
    names = [f"known {i}" for i in range(n)]
    exchanges = traffic(rng, counts_of(rng, n))
    addresses = {name: {"ip": f"10.1.{i // 250}.{i % 250}"} for i, name in enumerate(names)}
    return Honest(names, [""] * n, exchanges, addresses)


@pytest.fixture(scope="module")
def known() -> Honest:
    return honest_ones()


def engine_of(known: Honest | None, told: Told) -> Engine:
    def tell(accounts: Sequence[str], evidence: Evidence, campaign: str) -> None:
        told.append((list(accounts), evidence, campaign))

    specs = [Shift(column=i) for i in range(4)]
    return Engine(reference_of(known, [*specs, Repetition()], KEY), known, KEY, false_alarms_per_year=RATE,
                  max_accounts=10_000, tell=tell)


def mixed(shift: float, ip: str | None = None, seed: int = 1) -> Traffic:
    """Honest accounts and a campaign of copiers, who may share an address."""
    rng = generator(seed, "engine")
    honest = traffic(rng, counts_of(rng, N_HONEST))
    copiers = traffic(rng, np.full(N_COPIERS, 30), shift=shift)
    exchanges: Exchanges = join([honest, copiers.numbered(copiers.accounts + N_HONEST)])
    meta: list[Meta] = [{"ip": f"10.0.{i // 250}.{i % 250}"} for i in range(N_HONEST)]
    meta += [{"ip": ip} if ip else {} for _ in range(N_COPIERS)]
    names = [*(f"honest {i}" for i in range(N_HONEST)), *(f"copier {i}" for i in range(N_COPIERS))]
    return Traffic(names, exchanges, [""] * len(names), meta)


def test_an_alarm_is_told_once_with_its_figures(known: Honest) -> None:
    told: Told = []
    engine = engine_of(known, told)
    engine.take(mixed(3.0))
    engine.take(mixed(3.0, seed=2))
    copiers = [accounts[0] for accounts, _, campaign in told if accounts[0].startswith("copier") and not campaign]
    assert sorted(copiers) == sorted(f"copier {i}" for i in range(N_COPIERS))
    _, evidence, _ = next(each for each in told if each[0] == [copiers[0]])
    assert evidence.kind == "alarm"
    assert set(evidence.figures) == {
        "leaked_bits", "first_time", "last_time", "queries_per_day", "toys", "repetition"}
    assert 1.76e9 <= evidence.figures["first_time"] < evidence.figures["last_time"]
    assert 0.0 < evidence.figures["toys"] < 0.01


def test_a_campaign_is_told_once_and_its_members_have_its_risk(known: Honest) -> None:
    told: Told = []
    engine = engine_of(known, told)
    engine.take(mixed(1.5, "192.0.2.1"))
    campaign, = engine.search()
    members = {name for name in campaign.accounts if name.startswith("copier")}
    assert len(members) >= 0.9 * N_COPIERS
    assert len(members) >= 0.9 * len(campaign.accounts)
    assert any("ip" in reason or "address" in reason for reason in campaign.reasons)
    tie = next(evidence for _, evidence, name in told if name).ties[0]
    assert tie.kind == "ip"
    assert set(tie.accounts) == members
    assert tie.weight > 4.0
    found = engine.result(0, [])
    assert found.campaigns == [campaign]
    assert all(found.accounts[name].risk == pytest.approx(campaign.risk) or found.accounts[name].risk == 1.0
               for name in members)
    assert set(members) <= set(found.alarmed)
    of_campaigns = [(accounts, evidence.kind, name) for accounts, evidence, name in told if name]
    assert of_campaigns == [(campaign.accounts, "campaign", campaign.id)]


def test_one_account_is_told_as_among_all(known: Honest) -> None:
    engine = engine_of(known, [])
    engine.take(mixed(1.5, "192.0.2.1"))
    engine.search()
    for name, account in engine.result(0, []).accounts.items():
        assert engine.account(name) == account
    assert engine.account("nobody") is None


def test_honest_accounts_alone_are_no_campaign(known: Honest) -> None:
    engine = engine_of(known, [])
    engine.take(mixed(0.0))
    assert engine.search() == []


def test_without_honest_accounts_it_counts_and_says_what_it_would_take() -> None:
    engine = engine_of(None, [])
    engine.take(mixed(3.0))
    assert engine.search() == []
    found = engine.result(2, ["a file"])
    assert {account.risk for account in found.accounts.values()} == {None}
    assert found.queries == len(mixed(3.0).exchanges)
    assert found.lines_skipped == 2
    assert found.problems[0] == "a file"
    assert "honest accounts to compare with, and there are 0; " in found.problems[1]


def test_without_the_extra_campaigns_are_not_looked_for_and_that_is_said(
        known: Honest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    engine = engine_of(known, [])
    engine.take(mixed(1.5))
    assert engine.search() == []
    assert any("pip install 'counterclone[watch]'" in problem for problem in engine.problems)


def test_the_default_detectors_are_there() -> None:
    assert tuple(map(kind_of, detectors())) == DEFAULT_DETECTORS  # type: ignore[arg-type]
    assert set(DEFAULT_DETECTORS) <= set(kinds("detectors"))
    assert [kind_of(spec) for spec in detectors([{"kind": "margin"}])] == ["margin"]  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="residual"):
        detectors([{"kind": "residul"}])
