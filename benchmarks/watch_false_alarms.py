"""Honest accounts that raise an alarm in a simulated year, for five rates that were asked for.

Reference and judged accounts share no data and no seed; all kinds of honest accounts are in both. What is seen
must lie where exact theory has it (the threshold is a draw, too: a beta-binomial count for each seed). Power is
measured at one and the same level, .1 % of an account's life.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import results
from counterclone.populations import beds, campaigns, honest
from counterclone.populations.beds import Bed
from counterclone.populations.population import Population
from counterclone.randomness import Prf
from counterclone.watch.calibration import CHECKPOINTS
from counterclone.watch.engine import detectors
from counterclone.watch.levels import account_level
from counterclone.watch.monitor import Monitor
from counterclone.watch.reference import Reference

BEDS, SEEDS = ("digits", "letter", "mnist"), (0, 1, 2)
N_REFERENCE, N_ACCOUNTS, DAYS = 12_000, 3000, 365.0
RATES = (4.0, 12.0, 40.0, 120.0, 400.0)
"""False alarms a year of the whole fleet; half of them are the accounts'."""
CONFIDENCE, SIGNIFICANCE = 0.95, 0.001
LIFE_LEVEL = 0.001
ATTACKS = ("noise", "natural", "near", "strongaug", "mixup", "jacobian", "active", "random")
N_COPIERS, N_QUERIES, WITHIN = 40, 300, 50
BATCH = 8192
FALSE_ALARMS = "false alarms a year"
PICTURE = Path(__file__).parents[1] / "docs" / "explanation" / "false-alarms.svg"


class Year(NamedTuple):
    """What one seed's honest accounts did.

    Attributes:
        p_values: theirs, (accounts,).
        kinds: theirs, (accounts,).
        days: that the watch saw.
        n_calibration: honest accounts that they were ranked among.
    """

    p_values: NDArray[np.float64]
    kinds: NDArray[np.str_]
    days: float
    n_calibration: int


def run() -> results.Result:
    rows: list[dict[str, object]] = []
    for name in BEDS:
        bed = beds.load(name)
        references = [reference_of(bed, seed) for seed in SEEDS]
        years = [year(bed, seed, reference) for seed, reference in zip(SEEDS, references, strict=True)]
        rows += [rate_row(name, rate, years) for rate in RATES]
        rows += [power_row(bed, attack, references) for attack in ATTACKS]
        rows += [kind_row(name, kind, years) for kind in sorted(set(years[0].kinds.tolist()))]
    return results.Result("watch_false_alarms", rows)


def reference_of(bed: Bed, seed: int) -> Reference:
    population = honest.population(bed, N_REFERENCE, DAYS, seed, "calibration")
    return Reference.fit(population.exchanges, detectors(), Prf.from_secret(f"benchmark {seed}"),
                         names=population.names)


def year(bed: Bed, seed: int, reference: Reference) -> Year:
    population = honest.population(bed, N_ACCOUNTS, DAYS, 100 + seed, "evaluation")
    monitor = fed(population, reference)
    rows = monitor.table.admit(population.names)
    if monitor.n_held:
        raise RuntimeError(f"{monitor.n_held} scorings of honest accounts were held for a drift that there isn't")
    return Year(monitor.table.columns.course[rows, -1], np.array(population.kinds),
                float(np.ptp(population.exchanges.times)) / 86_400.0, reference.n_calibration)


def fed(traffic: Population, reference: Reference) -> Monitor:
    monitor = Monitor(reference, false_alarms_per_year=RATES[1], ttl_days=2 * DAYS)
    for start in range(0, len(traffic.exchanges), BATCH):
        monitor.feed(traffic.names, traffic.exchanges.select(slice(start, start + BATCH)))
    return monitor


def rate_row(bed: str, rate: float, years: list[Year]) -> dict[str, object]:
    """Alarms at one asked rate, all seeds together."""
    levels = [account_level(rate, year.days, N_ACCOUNTS) for year in years]
    seen = sum(int((year.p_values <= level).sum()) for year, level in zip(years, levels, strict=True))
    theory = np.ones(1)
    for year, level in zip(years, levels, strict=True):
        rank = int(np.floor(level * (year.n_calibration + 1)))
        counts = np.arange(N_ACCOUNTS + 1)
        own = (stats.betabinom.pmf(counts, N_ACCOUNTS, rank, year.n_calibration + 1 - rank) if rank
               else (counts == 0).astype(float))
        theory = np.convolve(theory, own)
    below, above = theory[:seen + 1].sum(), theory[seen:].sum()
    interval = stats.binomtest(seen, N_ACCOUNTS * len(years)).proportion_ci(CONFIDENCE, "exact")
    in_a_year = N_ACCOUNTS / float(np.mean([year.days for year in years])) * 365.0
    return base(bed, FALSE_ALARMS) | {
        "asked": rate / 2, "seen": round(seen / len(years), 2), "low": round(interval.low * in_a_year, 2),
        "high": round(interval.high * in_a_year, 2), "p_value": round(float(min(2 * min(below, above), 1.0)), 4),
        "holds": bool(min(below, above) >= SIGNIFICANCE / 2)}


def kind_row(bed: str, kind: str, years: list[Year]) -> dict[str, object]:
    """How the alarms are shared among kinds of honest accounts, at 1 % of an account's life."""
    own = np.concatenate([year.p_values[year.kinds == kind] for year in years])
    interval = stats.binomtest(int((own <= 0.01).sum()), len(own)).proportion_ci(CONFIDENCE, "exact")
    return base(bed, f"{kind}: share alarmed at 1 %") | {
        "asked": 0.01, "seen": round(float((own <= 0.01).mean()), 4), "low": round(interval.low, 4),
        "high": round(interval.high, 4)}


def power_row(bed: Bed, attack: str, references: list[Reference]) -> dict[str, object]:
    """Copiers with one account each: how many of them are caught within 50 queries, and when half of them are."""
    delays = np.concatenate([delays_of(bed, attack, seed, reference)
                             for seed, reference in zip(SEEDS, references, strict=True)])
    caught = int((delays <= WITHIN).sum())
    interval = stats.binomtest(caught, len(delays)).proportion_ci(CONFIDENCE, "exact")
    median = float(np.median(delays))
    return base(bed.name, f"{attack}: caught within {WITHIN} queries at .1 %") | {
        "seen": round(caught / len(delays), 3), "low": round(interval.low, 3), "high": round(interval.high, 3),
        "median_delay": round(median) if np.isfinite(median) else "never",
        "caught_in_all": round(float(np.isfinite(delays).mean()), 3)}


def delays_of(bed: Bed, attack: str, seed: int, reference: Reference) -> NDArray[np.float64]:
    copiers = campaigns.campaign(bed, attack, N_COPIERS, N_QUERIES, days=DAYS, seed=200 + seed)
    monitor = fed(copiers, reference)
    course = monitor.table.columns.course[monitor.table.admit(copiers.names)]
    return np.where((course <= LIFE_LEVEL).any(axis=1), CHECKPOINTS[(course <= LIFE_LEVEL).argmax(axis=1)], np.inf)


def base(bed: str, what: str) -> dict[str, object]:
    return {"bed": bed, "what": what, "asked": None, "seen": None, "low": None, "high": None, "p_value": None,
            "median_delay": None, "caught_in_all": None, "holds": None}


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Asked and seen false alarms of accounts, each bed with its exact intervals."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    asked = np.array([rate / 2 for rate in RATES])
    axes.plot(asked, asked, color="0.6", linewidth=1, label="asked")
    for shift, bed in zip((0.93, 1.0, 1.07), BEDS, strict=True):
        own = [row for row in rows if row["bed"] == bed and row["what"] == FALSE_ALARMS]
        seen, low, high = (np.array([row[key] for row in own], dtype=float) for key in ("seen", "low", "high"))
        axes.errorbar(asked * shift, seen, [seen - low, high - seen], fmt="o", markersize=4, capsize=2, label=bed)
    axes.set(xscale="log", yscale="log", xlabel="false alarms of accounts a year, asked for", ylabel="seen")
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "counterclone", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    found = run()
    results.show(found)
    draw(found.rows, PICTURE)
    sys.exit(any(row["holds"] is False for row in found.rows))
