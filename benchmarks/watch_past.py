"""A reference from a past in which copiers were at work: what they gain by it, with trimming and without.

A poisoner sends its attack's queries as a share of the accounts, so that later copiers look usual. Judged by how
often later copiers of the same kind are caught, and honest accounts alarmed, at 1 % of an account's life.
"""

from __future__ import annotations

from scipy import stats

from benchmarks import results
from benchmarks.watch_false_alarms import fed
from counterclone.compose.watch import PAST_COPIERS
from counterclone.populations import beds, campaigns, honest, population
from counterclone.populations.beds import Bed
from counterclone.populations.population import Population
from counterclone.randomness import Prf
from counterclone.watch.engine import detectors
from counterclone.watch.reference import Reference

BEDS, ATTACKS, SEEDS = ("letter", "digits"), ("natural", "jacobian"), (0, 1, 2)
SHARES, TRIM = (0.0, 0.01, 0.03, 0.1), PAST_COPIERS
N_REFERENCE, N_JUDGED, N_COPIERS, QUERIES_EACH = 3000, 1500, 40, 100
LEVEL, CONFIDENCE = 0.01, 0.95


def run() -> results.Result:
    rows: list[dict[str, object]] = []
    for bed in map(beds.load, BEDS):
        judged = [honest.population(bed, N_JUDGED, seed=10 + seed, part="evaluation") for seed in SEEDS]
        for attack in ATTACKS:
            later = [campaigns.campaign(bed, attack, N_COPIERS, QUERIES_EACH, seed=20 + seed) for seed in SEEDS]
            for share in SHARES:
                pasts = [past(bed, attack, share, seed) for seed in SEEDS]
                rows += [row(bed, attack, share, trim, pasts, judged, later) for trim in (0.0, TRIM)]
    return results.Result("watch_past", rows)


def past(bed: Bed, attack: str, share: float, seed: int) -> Population:
    everybody = honest.population(bed, N_REFERENCE, seed=seed, part="calibration")
    if not share:
        return everybody
    poison = campaigns.campaign(bed, attack, round(share * N_REFERENCE), QUERIES_EACH, seed=30 + seed)
    return population.join(everybody, poison)


def row(bed: Bed, attack: str, share: float, trim: float, pasts: list[Population], judged: list[Population],
        later: list[Population]) -> dict[str, object]:
    alarmed, caught, out, found = 0, 0, 0, 0
    for poisoned, accounts, copiers in zip(pasts, judged, later, strict=True):
        reference = Reference.fit(poisoned.exchanges, detectors(), Prf.from_secret("benchmark"),
                                  names=poisoned.names, trim=trim)
        out += len(reference.left_out)
        copier_names = {name for name, kind in zip(poisoned.names, poisoned.kinds, strict=True)
                        if kind.startswith("campaign/")}
        found += len(copier_names & set(reference.left_out))
        alarmed += n_alarms(accounts, reference)
        caught += n_alarms(copiers, reference)
    n_judged, n_copiers = N_JUDGED * len(SEEDS), N_COPIERS * len(SEEDS)
    low, high = stats.binomtest(alarmed, n_judged).proportion_ci(CONFIDENCE, "exact")
    return {"bed": bed.name, "attack": attack, "share_of_past": share, "trim": trim, "left_out": out,
            "copiers_left_out": found, "copiers": round(share * N_REFERENCE) * len(SEEDS),
            "honest_alarmed": round(alarmed / n_judged, 4), "low": round(low, 4), "high": round(high, 4),
            "later_caught": round(caught / n_copiers, 3)}


def n_alarms(traffic: Population, reference: Reference) -> int:
    monitor = fed(traffic, reference)
    course = monitor.table.columns.course[monitor.table.admit(traffic.names)]
    return int((course[:, -1] <= LEVEL).sum())


if __name__ == "__main__":
    results.show(run())
