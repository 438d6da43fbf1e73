"""A whole sweep on the digits model: the settings on the frontier, and how long it takes.

Three seeds of every attack that fits, up to 300 queries, on the settings that are judged; it may take 20 minutes.
"""

from __future__ import annotations

from benchmarks import results
from counterclone import tune
from counterclone.demo import digits

SEED = 0
BUDGETS = (50, 100, 300)
MOST_SECONDS = 1200.0


def run() -> results.Result:
    data = digits.load(SEED)
    model = digits.train(data.training, SEED)
    found = tune.tune(
        tune.Subject(predict=model.predict_proba, pool=data.pool.pixels,
                     evaluate=(data.honest.pixels, data.honest.digits), name="digits"),
        budgets=BUDGETS, seed=SEED, say=print)
    rows = [line(point, is_chosen=point.settings == found.chosen)
            for point in sorted(found.frontier, key=lambda point: point.fidelity)]
    rows.append({"setting": f"seconds, {len(found.points)} settings", "chosen": None, "accuracy_loss": None,
                 "calibration_error_increase": None, "l1": None, "fidelity": found.seconds, "low": None,
                 "high": MOST_SECONDS, "attack": "", "queries_to_90": None})
    return results.Result("tune", rows)


def line(point: tune.Point, *, is_chosen: bool) -> dict[str, object]:
    return {"setting": point.name, "chosen": is_chosen, "accuracy_loss": round(point.accuracy_loss, 4),
            "calibration_error_increase": round(point.calibration_error_increase or 0.0, 3),
            "l1": round(point.utility.l1, 3), "fidelity": round(point.fidelity, 3),
            "low": round(point.fidelity_low, 3), "high": round(point.fidelity_high, 3), "attack": point.attack,
            "queries_to_90": point.queries_to_90}


if __name__ == "__main__":
    results.show(run())
