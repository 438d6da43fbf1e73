"""`python -m benchmarks [NAME ...]`: run all benchmarks, or those named."""

from __future__ import annotations

import sys

from benchmarks import guard_overhead, journal, memory, policies, results

BENCHMARKS = {"policies": policies.run, "journal": journal.run, "memory": memory.run,
              "guard_overhead": guard_overhead.run}

for name in sys.argv[1:] or BENCHMARKS:
    results.show(BENCHMARKS[name]())
