"""How many triggers a fine-tuned copy takes: measured on seeds that no other table uses.

Each trigger of such a copy is a hit, a miss or tells nothing; with the measured shares, the least number of
triggers for which the test comes below the level in nine of ten draws.
"""

from __future__ import annotations

import numpy as np

from benchmarks import marks_beds, results
from benchmarks.marks_removal import Theft, fine_tuned, outcome, pruned
from counterclone import statistics
from counterclone.evidence import Evidence
from counterclone.randomness import generator

SEEDS, RATE = (100, 101, 102), 0.005
LEVEL, POWER, DRAWS, MOST = 1e-4, 0.9, 2_000, 1_000


def run() -> results.Result:
    rows: list[dict[str, object]] = []
    for bed in marks_beds.NAMES:
        thefts = [Theft(bed, RATE, seed) for seed in SEEDS]
        for text, train in (("fine-tuned 10 epochs", lambda theft: fine_tuned(10, theft)),
                            ("fine-tuned 50 epochs", lambda theft: fine_tuned(50, theft)),
                            ("80 % pruned", lambda theft: pruned(0.8, theft))):
            found = [outcome(theft, train) for theft in thefts]
            n = sum(each.triggers for each in found)
            for shown, evidence in (("labels", [each.from_labels for each in found]),
                                    ("scores", [each.from_scores for each in found])):
                rows.append(row(bed, text, shown, n, evidence))
    return results.Result("marks_forgetting", rows)


def row(bed: str, student: str, shown: str, n: int, found: list[Evidence]) -> dict[str, object]:
    hits, trials = sum(each.hits for each in found), sum(each.trials for each in found)
    return {"bed": bed, "student": student, "from": shown, "triggers": n, "hits": hits, "misses": trials - hits,
            "level": LEVEL, "power": POWER, "triggers_needed": needed(hits / n, (trials - hits) / n,
                                                                      found[0].null_rate)}


def needed(hits: float, misses: float, null_rate: float) -> int | None:
    """The least number of triggers, None beyond a thousand; shares are of the triggers."""
    rng = generator(0, "needed")
    kinds = rng.choice(3, (DRAWS, MOST), p=[hits, misses, max(1.0 - hits - misses, 0.0)])
    n_hits, n_trials = (kinds == 0).cumsum(axis=1), (kinds < 2).cumsum(axis=1)
    for n in range(1, MOST + 1):
        p_values = statistics.binomial_tails(n_hits[:, n - 1], n_trials[:, n - 1], null_rate)
        if np.mean(p_values < LEVEL) >= POWER:
            return n
    return None


if __name__ == "__main__":
    results.show(run())
