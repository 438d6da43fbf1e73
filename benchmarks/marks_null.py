"""The null of marks, part of `make calibrate`: p-values of independent models and of wrong keys.

They may not be smaller than uniform ones; exits with 1 where they are.
"""

from __future__ import annotations

import sys

from benchmarks import marks_beds, results
from benchmarks.marks_false_claims import RATE, SEED, independent, wrong_keys
from benchmarks.marks_removal import Theft


def run(beds: tuple[str, ...] = marks_beds.NAMES) -> results.Result:
    """60 models of six families, and 1,000 keys on a copy and on a poor copy, on each bed."""
    thefts = [Theft(bed, RATE, SEED) for bed in beds]
    rows = [row for theft in thefts for row in (*independent(theft), *wrong_keys(theft))]
    return results.Result("marks_null", rows)


if __name__ == "__main__":
    found = run()
    results.show(found)
    sys.exit(not all(row["holds"] for row in found.rows))
