"""Contract checks for plug-ins: one call in a plug-in's own test runs every law of its family.

Each check raises AssertionError with the plug-in, the law that it breaks and how.
"""

from __future__ import annotations

from counterclone.testing.attacks import check_attack, example_targets
from counterclone.testing.detectors import alien_exchanges, check_detector, honest_exchanges
from counterclone.testing.dialects import check_dialect
from counterclone.testing.marks import MarkBed, check_mark, check_watermark, example_bed
from counterclone.testing.policies import check_policy, example_context, example_rows, release
from counterclone.testing.rules import check_rule

__all__ = ["MarkBed", "alien_exchanges", "check_attack", "check_detector", "check_dialect", "check_mark",
           "check_policy", "check_rule", "check_watermark", "example_bed", "example_context", "example_rows",
           "example_targets", "honest_exchanges", "release"]
