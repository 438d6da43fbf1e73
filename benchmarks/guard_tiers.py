"""What a request pays for tiers: to ask the risk of its account, in a loop, over finding the account itself.

The watch behind it is the real one with 100,000 accounts. The ratio to finding the account (headers to a keyed
hash, from memory as it mostly is) tells a slow machine from slow code.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from benchmarks import results
from counterclone.compose.settings import identity, options
from counterclone.compose.watching import Watching
from counterclone.config import parse
from counterclone.exchanges import Exchanges
from counterclone.guard.metrics import Metrics
from counterclone.randomness import Prf, generator
from counterclone.watch.cases import CASES_FILE, CaseFile, Evidence
from counterclone.watch.engine import Engine, detectors
from counterclone.watch.notices import Notifier
from counterclone.watch.reference import Reference

N_ACCOUNTS, N_ASKED, ROUNDS = 100_000, 100_000, 9
AT_MOST_US = 2.0
SETTINGS = {"journal": {"path": ""}, "guard": {"tier": [
    {"risk": 0.5, "policy": [{"kind": "labels"}]},
    {"risk": 0.95, "action": "throttle", "limit_queries_per_minute": 2}]}}


def traffic(n_accounts: int, seed: int, n_each: int = 10) -> Exchanges:
    """Accounts that ask points of a cloud."""
    rng = generator(seed, "tiers")
    n = n_accounts * n_each
    return Exchanges(
        accounts=np.repeat(np.arange(n_accounts), n_each), times=1.764e9 + np.sort(rng.uniform(0, 2.6e6, n)),
        vectors=rng.normal(size=(n, 64)).astype(np.float32), labels=rng.integers(0, 10, n).astype(np.int32),
        margins=rng.uniform(0, 1, n).astype(np.float32), digests=rng.integers(0, 2**63, n).astype(np.uint64),
        gaps=np.full(n, np.nan, dtype=np.float32), bits=np.ones(n, dtype=np.float32))


def microseconds(call: Callable[[str], object], names: list[str]) -> float:
    """CPU of one call."""
    begun = time.thread_time()
    for name in names:
        call(name)
    return 1e6 * (time.thread_time() - begun) / len(names)


def run() -> results.Result:
    names = [f"{number:016x}" for number in range(N_ACCOUNTS)]
    config = parse(SETTINGS, {}, "benchmark")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cases = CaseFile(folder / CASES_FILE)
        for name in names[:100]:
            cases.open([name], Evidence(kind="alarm"))
            cases.decide(name, "review", by="benchmark")
        watching = Watching(cases, Metrics(), Notifier([]), folder / "state.npz")
        key = Prf.from_secret("benchmark")
        reference = Reference.fit(traffic(3000, 1), detectors([{"kind": "typicality"}]), key)
        engine = Engine(reference, None, key,
                        false_alarms_per_year=12, max_accounts=2 * N_ACCOUNTS, tell=watching.tell)
        engine.monitor.feed(names, traffic(N_ACCOUNTS, 2))
        watching.resume(engine)
        built = options(config, folder, CollectorRegistry(), watching=watching)
        tiers = built.tiers
        assert tiers is not None
        terms, find = built.terms[""], identity(config, folder, key)
        headers = [{b"authorization": b"Bearer " + name.encode()} for name in names[:500]]
        asked = [names[i] for i in generator(3, "asked").integers(0, N_ACCOUNTS, N_ASKED)]
        few = list(map(str, generator(3, "few").integers(0, 500, N_ASKED)))
        by_number = {str(number): each for number, each in enumerate(headers)}
        rounds = [(microseconds(lambda number: find.account(by_number[number], "192.0.2.7"), few),
                   microseconds(engine.monitor.risk, asked),
                   microseconds(lambda name: tiers.terms(name, terms), asked)) for _ in range(ROUNDS)]
    account, risk, tier = (statistics.median(each[part] for each in rounds) for part in range(3))
    ratio = statistics.median(each[2] / each[0] for each in rounds)
    return results.Result("guard_tiers", [{
        "accounts": N_ACCOUNTS, "find_account_us": round(account, 2), "risk_us": round(risk, 2),
        "tier_us": round(tier, 2), "tier_us_at_most": AT_MOST_US, "tier_over_account": round(ratio, 2)}])


if __name__ == "__main__":
    results.show(run())
