"""What keeps a watch from raising alarms, and what it doesn't know, in words."""

from __future__ import annotations

from counterclone.watch.accounts import AccountTable
from counterclone.watch.drift import NewLabels
from counterclone.watch.levels import accounts_needed
from counterclone.watch.reference import CALIBRATION_SHARE, Reference

_NAMES_SHOWN = 10


def of_past(reference: Reference) -> list[str]:
    """Accounts that a reference leaves out."""
    left_out = reference.left_out
    if not left_out:
        return []
    shown = ", ".join(left_out[:_NAMES_SHOWN]) + (", ..." if len(left_out) > _NAMES_SHOWN else "")
    return [f"{len(left_out):,} accounts of the reference are too far out to be honest ones and are left out: "
            f"{shown}; look into them"]


def of_level(reference: Reference, level: float, false_alarms_per_year: float) -> list[str]:
    """Why a reference can't raise alarms at a level, and how many honest accounts it would take."""
    n = reference.n_calibration
    if not reference.gauges:
        return ["no detector has a reference: accounts are counted and no alarm is raised"]
    if level <= 0.0:
        return ["the traffic spans no time, so no false alarm is due: scores are shown and no alarm is raised"]
    needed = accounts_needed(level) or 0
    if n >= needed:
        return []
    total = round(needed / CALIBRATION_SHARE)
    return [f"alarms at {false_alarms_per_year:g} false ones a year need {needed:,} honest accounts to calibrate "
            f"with (a reference of some {total:,}); this one has {n:,}: scores are shown and no alarm is raised"]


def of_drift(n_held: int, new_labels: NewLabels) -> list[str]:
    """Signs that a reference doesn't fit any more.

    Args:
        n_held: scorings that didn't count, since most accounts had moved.
        new_labels: labels of the last answers.
    """
    problems = []
    if n_held:
        problems.append(f"most accounts moved away from the reference together, so {n_held:,} scorings don't "
                        "count: the model or its users changed; recalibrate with newer honest exchanges")
    if new_labels.are_many:
        problems.append(f"{new_labels.share:.0%} of the last answers have labels that the reference never saw: "
                        "the model or its classes changed; recalibrate with newer honest exchanges")
    return problems


def of_table(table: AccountTable) -> list[str]:
    """What a table forgot, and times that can't be right."""
    problems = []
    if table.n_forgotten:
        problems.append(f"{table.n_forgotten:,} of {table.n_seen:,} accounts were forgotten, those that were "
                        f"quiet longest first: there is room for {table.max_accounts:,}")
    if table.n_jumps:
        problems.append(f"{table.n_jumps:,} exchanges are earlier than the one before of their account: "
                        "their gap counts as 0")
    return problems
