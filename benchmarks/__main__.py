"""`python -m benchmarks [NAME ...]`: run all benchmarks, or those named, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("policies", "binary_tensors", "journal", "memory", "guard_overhead", "guard_tiers", "guard_llm",
         "gateway", "gateway_soak", "audit_exact", "audit_students", "audit_adaptive", "audit_trees",
         "audit_kinks", "audit_third_party", "audit", "audit_heads", "audit_encoders", "watch_cost",
         "watch_replay", "guard_marks", "marks", "marks_passive", "marks_tracing", "marks_text_hook", "tune",
         "store", "console")

for name in sys.argv[1:] or NAMES:
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
