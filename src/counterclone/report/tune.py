"""A sweep for people: tables in the terminal, and a page with the frontier."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from counterclone.audit.findings import dollars, duration
from counterclone.report.drawing import standalone
from counterclone.report.frontier import frontier
from counterclone.report.page import Figure, Table, print_table, write_html
from counterclone.tune import Point, Tuned
from counterclone.tune.economics import Bound, Effort
from counterclone.tune.suspicion import Bar

LIMITS = (
    "What wasn't reached isn't safe: a better attack or a larger budget may exist. Labels alone are the floor of "
    "any policy on probabilities.",
    "Agreement is that of the nearest copy with the largest budget, in brackets the least and the largest of its "
    "seeds. Differences within these may be chance.")
SIGNS: dict[Bound, str] = {"": "", "at most": "≤ ", "at least": "≥ "}
WORDS = {"limit_queries_per_minute": "a minute", "limit_queries_per_day": "a day"}
PICTURE = ".svg"


def show(tuned: Tuned, file: TextIO) -> None:
    """Print the settings that every attack was tried on, the choice, and what limits and risks mean."""
    for table in tables(tuned):
        print_table(table, file)


def write(path: Path, tuned: Tuned) -> None:
    """Write the page, or the frontier alone where the file's name ends in `.svg`.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    if path.suffix == PICTURE:
        path.write_text(standalone(frontier(tuned)), encoding="utf-8")
        return
    lead = (f"{tuned.reason}. Seed {tuned.seed}, budgets {', '.join(f'{each:,}' for each in tuned.budgets)}, "
            f"{len(tuned.points)} settings in {tuned.seconds:,.0f} s.")
    write_html(path, f"Settings for {tuned.target}", lead, parts(tuned))


def parts(tuned: Tuned) -> list[Table | Figure]:
    """The frontier and the tables, in the order of a page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    return [
        Figure(caption="Honest users' loss against a copy's agreement", svg=frontier(tuned),
               notes=("Filled: every attack that fits was tried. Hollow: a student alone; others may beat it.",)),
        *tables(tuned), _others(tuned)]


def tables(tuned: Tuned) -> list[Table]:
    """What the terminal shows: the choice first."""
    served = tuned.served
    found = [frontier_table(tuned), _honest(tuned), _costs(tuned)]
    if served is None:
        return found
    if served.quotas:
        found.append(_quotas(tuned, served))
    if tuned.efforts:
        found.append(_efforts(tuned, served))
    if served.bars:
        found.append(_bars(served))
    return found


def frontier_table(tuned: Tuned) -> Table:
    """The settings that can be chosen, the hardest to copy first."""
    points = _judged(tuned)
    notes = [f"{_sentence(tuned.reason)}.", *tuned.warnings,
             f"A copy without any answer agrees on {tuned.control:.1%}, the most frequent label alone on "
             f"{tuned.majority:.1%}.", *LIMITS]
    return Table(
        caption=f"Settings for {tuned.target}, each against every attack that fits",
        heads=("setting", "accuracy", "calibration error", "copy agrees on", "by", "queries to 90 %", "dollars"),
        rows=tuple((_name(point, tuned), *_cells(point),
                    f"{point.fidelity:.1%} ({point.fidelity_low:.1%}-{point.fidelity_high:.1%})", point.attack,
                    *_ninety(point)) for point in points),
        notes=tuple(notes))


def _honest(tuned: Tuned) -> Table:
    return Table(
        caption="What honest users lose by each setting",
        heads=("setting", "top label", "in top 3", "ranking area", "calibration error", "Brier", "L1", "us a row"),
        rows=tuple((_name(point, tuned), _change(-point.accuracy_loss), _change(_minus(point.utility.top_3_loss)),
                    _change(_minus(point.utility.area_loss), 3), _change(point.calibration_error_increase, 3),
                    _change(point.utility.brier_increase, 3), f"{point.utility.l1:.3f}",
                    "-" if point.latency_us is None else f"{point.latency_us:.1f}") for point in _judged(tuned)),
        notes=(f"Told by {_n_inputs(tuned):,} inputs, against the answers as they are. The time is CPU of the "
               "policies alone, for batches of 32 rows.", *tuned.marks))


def _costs(tuned: Tuned) -> Table:
    has_bars = any(point.bars for point in tuned.frontier)
    return Table(
        caption="What a 90 % copy takes through each setting at the configured limits",
        heads=("setting", "queries", "dollars", "of training", "one account", "accounts in a day",
               *(("at the alarm",) if has_bars else ())),
        rows=tuple((_name(point, tuned), *_ninety(point), _of_training(point, tuned.training_cost_usd),
                    "-" if point.days_to_90 is None else duration(point.days_to_90),
                    "-" if point.accounts_to_90 is None else f"{point.accounts_to_90:,}",
                    *((_at_alarm(point),) if has_bars else ())) for point in _judged(tuned)),
        notes=("A dash: nobody says a price, a limit or what training cost, or no attack got there.",))


def _quotas(tuned: Tuned, served: Point) -> Table:
    chosen = tuned.chosen_limit
    return Table(
        caption=f"Limits for '{served.name}': honest accounts that are ever refused, and what a copy then takes",
        heads=("limit", "honest accounts refused", "one account", "accounts in a day", "of a copy in a day"),
        rows=tuple((f"{'* ' if quota == chosen else ''}{quota.amount:,} {WORDS[quota.key]}",
                    "not told" if quota.honest_limited is None else
                    f"{quota.honest_limited:.2%} (at most {quota.honest_limited_high:.2%})",
                    duration(quota.days), f"{quota.accounts:,}",
                    f"{quota.copy_share:.0%}" if quota.copy_share < 1.0 else "all")
                   for quota in served.quotas),
        notes=(f"{_sentence(tuned.limit_reason)}.",
               f"{_copy(served)}; each limit alone. The last column is what `limit_copy_share_per_day` would say.",
               *([f"Told by {tuned.honest_accounts:,} honest accounts."] if tuned.honest_accounts else [])))


def _efforts(tuned: Tuned, served: Point) -> Table:
    budgets = list(dict.fromkeys(effort.usd for effort in tuned.efforts))
    means = list(dict.fromkeys((effort.accounts, effort.days) for effort in tuned.efforts))
    cells = {(effort.accounts, effort.days, effort.usd): effort for effort in tuned.efforts}
    limits = ", ".join(f"{name} = {amount:g}" for name, amount in tuned.limits.items()) or "no limit"
    return Table(
        caption=f"What it would take through '{served.name}': agreement by accounts, days and dollars",
        heads=("a copier has", *("any queries" if usd is None else dollars(usd) for usd in budgets)),
        rows=tuple((f"{accounts:,} account{'s' * (accounts > 1)}, {days:g} day{'s' * (days > 1)}",
                    *(_agreement(cells[accounts, days, usd]) for usd in budgets)) for accounts, days in means),
        notes=(f"With {limits} for each account. Accounts are free here, and none is blocked.",
               "≤ and ≥: so few, or so many, queries weren't tried."))


def _bars(served: Point) -> Table:
    return Table(
        caption=f"Tiers for '{served.name}': what a copier with one account has when its risk gets there",
        heads=("risk", "honest accounts that get there", "copy agrees on", "by", "after queries"),
        rows=tuple((f"{bar.risk:g}{' (alarm)' if bar.risk >= 1.0 else ''}", f"{bar.honest_share:.2%}",
                    _agreement(bar), bar.attack,
                    "never" if bar.queries is None else f"{bar.queries:,}") for bar in served.bars),
        notes=("The attack that gets furthest. It asks at honest accounts' pace; what its answers' margins give "
               "away doesn't count.",
               "A tier that throttles or coarsens changes what follows, one that blocks ends it. Of several "
               "accounts each is judged for itself here; campaigns are looked for by the watch."))


def _others(tuned: Tuned) -> Table:
    others = [point for point in tuned.points if not point.is_judged]
    return Table(caption="All other settings, each against a student of the answers with one seed",
                 heads=("setting", "accuracy", "calibration error", "copy agrees on"),
                 rows=tuple((point.name, *_cells(point), f"{point.fidelity:.1%}") for point in others))


def _judged(tuned: Tuned) -> list[Point]:
    return sorted(tuned.frontier, key=lambda point: point.fidelity)


def _name(point: Point, tuned: Tuned) -> str:
    return ("* " if point.settings == tuned.chosen else "") + point.name


def _cells(point: Point) -> tuple[str, str]:
    return _change(-point.accuracy_loss), _change(point.calibration_error_increase, 3)


def _ninety(point: Point) -> tuple[str, str]:
    if point.queries_to_90 is None:
        return "not reached", "-"
    bound = "≤ " if point.is_bound else ""
    return f"{bound}{point.queries_to_90:,}", dollars(point.usd_to_90) if point.usd_to_90 else "-"


def _of_training(point: Point, cost_usd: float) -> str:
    return f"{100 * point.usd_to_90 / cost_usd:.2g} %" if point.usd_to_90 and cost_usd else "-"


def _at_alarm(point: Point) -> str:
    bar = point.at_alarm
    if bar is None:
        return "-"
    return _agreement(bar) + (", no alarm" if bar.queries is None else "")


def _agreement(found: Effort | Bar) -> str:
    return f"{SIGNS[found.bound]}{found.fidelity:.1%}"


def _n_inputs(tuned: Tuned) -> int:
    return max((point.utility.inputs for point in tuned.points), default=0)


def _copy(point: Point) -> str:
    if point.queries_to_90 is None:
        return "No attack got to 90 %: as many queries are meant as were tried"
    return f"A 90 % copy takes {point.queries_to_90:,} queries"


def _change(value: float | None, decimals: int = 0) -> str:
    """A difference: in percent, or with some decimals."""
    if value is None:
        return "not told"
    if abs(value) < 1e-9:
        return "same"
    return f"{value:+.{decimals}f}" if decimals else f"{value:+.2%}"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
