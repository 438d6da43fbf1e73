"""A whole sweep on the digits model: the settings on the frontier, and how long it takes.

Three seeds of every attack that fits, up to 300 queries, on the settings that are judged, beside 2,000 made-up
honest accounts that ask variants of such images for a month; it may take 20 minutes. Draws the frontier, too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import results
from counterclone import tune
from counterclone.audit import Deployment
from counterclone.budgets import MINUTE, Limit, Price
from counterclone.demo import digits
from counterclone.populations import beds, honest
from counterclone.populations.honest import Volume
from counterclone.randomness import Prf
from counterclone.report import tune as report
from counterclone.tune.sweep import ADAPTIVE
from counterclone.watch.engine import detectors
from counterclone.watch.honest import Honest

SEED = 0
BUDGETS = (50, 100, 300)
MOST_SECONDS = 1200.0
N_HONEST, DAYS = 2000, 30.0
DEPLOYMENT = Deployment(price=Price(usd_per_query=1.5e-3), training_cost_usd=250.0,
                        limits=[Limit("limit_queries_per_minute", "queries", 600.0, MINUTE)])
PICTURE = Path(__file__).parents[1] / "docs" / "explanation" / "frontier.svg"


def run() -> results.Result:
    begun = time.process_time()
    found = sweep()
    cpu = time.process_time() - begun
    rows = [line(point, is_chosen=point.settings == found.chosen)
            for point in sorted(found.frontier, key=lambda point: point.fidelity)]
    for name, seconds in (("seconds", found.seconds), ("seconds of CPU", cpu)):
        rows.append({**dict.fromkeys(rows[0]), "setting": f"{name}, {len(found.points)} settings",
                     "fidelity": round(seconds), "high": MOST_SECONDS})
    report.write(PICTURE, found)
    report.show(found, sys.stdout)
    return results.Result("tune", rows)


def sweep() -> tune.Tuned:
    data = digits.load(SEED)
    model = digits.train(data.training, SEED)
    people = honest.population(beds.load("digits"), N_HONEST, DAYS, SEED, volume=Volume(median=20.0))
    known = Honest(list(people.names), [""] * len(people), people.exchanges, {})
    return tune.tune(
        tune.Subject(predict=model.predict_proba, pool=data.pool.pixels, deployment=DEPLOYMENT,
                     evaluate=(data.honest.pixels, data.honest.digits), name="digits"),
        crowd=tune.Crowd(honest=known, detectors=detectors(), false_alarms_per_year=12.0,
                         key=Prf.from_secret("benchmark")),
        budgets=BUDGETS, seed=SEED, say=print)


def line(point: tune.Point, *, is_chosen: bool) -> dict[str, object]:
    alarm = point.at_alarm
    return {"setting": point.name, "chosen": is_chosen, "accuracy_loss": round(point.accuracy_loss, 4),
            "top_3_loss": round(point.utility.top_3_loss or 0.0, 4),
            "calibration_error_increase": round(point.calibration_error_increase or 0.0, 3),
            "l1": round(point.utility.l1, 3), "latency_us": round(point.latency_us or 0.0, 1),
            "fidelity": round(point.fidelity, 3), "low": round(point.fidelity_low, 3),
            "high": round(point.fidelity_high, 3), "attack": point.attack, "queries_to_90": point.queries_to_90,
            "at_alarm": None if alarm is None else round(alarm.fidelity, 3),
            "alarm_at_query": None if alarm is None else alarm.queries,
            "attacks": len(point.attacks), "adaptive": len(ADAPTIVE.intersection(point.attacks))}


if __name__ == "__main__":
    results.show(run())
