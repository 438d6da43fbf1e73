"""`triggers` on classifiers: what it costs, which copies it proves, and which false claims it lets through."""

from __future__ import annotations

from benchmarks import marks_false_claims, marks_forgetting, marks_removal, results

if __name__ == "__main__":
    for found in (*marks_removal.run(), marks_forgetting.run(), *marks_false_claims.run()):
        results.show(found)
