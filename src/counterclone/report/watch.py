"""A watch for people: who is suspected, and why one of them is, in words, figures and pictures."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from counterclone.report.drawing import COLOURS, INK, drawing
from counterclone.report.page import Figure, Table, print_table, write_html
from counterclone.watch.explanation import Comparison, Explanation
from counterclone.watch.figures import Figure as Spread
from counterclone.watch.odometer import Reading
from counterclone.watch.result import Account, Campaign, Watched

ACCOUNTS_SHOWN = 50
_SCALE = "0 is the honest median, 1 about one normal deviation of honest accounts."
LIMITS = (
    "An alarm says that an account isn't like the honest ones it was compared with, not that its owner copies the "
    "model; look at it before you act.",
    "Who asks what honest users ask, slowly, isn't seen. No alarm doesn't mean that nobody copies.")


def show(watched: Watched, file: TextIO) -> None:
    """Print the campaigns and the accounts, the suspected ones first."""
    if watched.campaigns:
        print_table(_campaigns(watched.campaigns), file)
    print_table(_accounts(watched), file)


def explain(explanation: Explanation, file: TextIO) -> None:
    """Print why an account is suspected, or why not."""
    for table in _tables(explanation):
        print_table(table, file)


def write(path: Path, explanation: Explanation) -> None:
    """Write it as a page with pictures.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    write_html(path, f"Account {explanation.account}", f"Made by `counterclone explain` on {today}.",
               parts(explanation))


def parts(explanation: Explanation) -> list[Table | Figure]:
    """Why an account is suspected, or why not, as tables and pictures.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    first, *rest = _tables(explanation)
    pictures = []
    if any(comparison.value is not None for comparison in explanation.detectors):
        pictures.append(Figure(
            caption="Beside the honest accounts", svg=_beside(explanation.detectors),
            notes=("Each mark is an honest account's largest value in its whole life, the diamond this account's.",
                   _SCALE)))
    if len(explanation.course) > 1:
        pictures.append(Figure(caption="As it grew", svg=_course(explanation)))
    return [first, *pictures, *rest]


def _campaigns(campaigns: Sequence[Campaign]) -> Table:
    return Table(
        caption=f"{len(campaigns)} campaign{'' if len(campaigns) == 1 else 's'}: accounts that act as one",
        heads=("campaign", "accounts", "queries", "p-value", "why"), is_prose=True,
        rows=tuple((campaign.id, _some(campaign.accounts), f"{campaign.queries:,}", _share(campaign.p_value),
                    "; ".join(campaign.reasons)) for campaign in campaigns))


def _accounts(watched: Watched) -> Table:
    in_campaigns = {name for campaign in watched.campaigns for name in campaign.accounts}
    ordered = sorted(watched.accounts.items(), key=lambda item: -(item[1].risk or 0.0))  # else the busiest first
    rows = tuple((name, f"{account.queries:,}", _risk(account), _alarm(account, is_member=name in in_campaigns),
                  _share(account.p_value), f"{account.leaked_bits:,.0f}",
                  _short(account.reasons)) for name, account in ordered[:ACCOUNTS_SHOWN])
    notes = []
    if len(ordered) > ACCOUNTS_SHOWN:
        notes.append(f"{len(ordered) - ACCOUNTS_SHOWN:,} more accounts are in --json.")
    if watched.lines_skipped:
        lines = "line was" if watched.lines_skipped == 1 else "lines were"
        notes.append(f"{watched.lines_skipped:,} bad {lines} skipped.")
    is_judged = any(account.risk is not None for account in watched.accounts.values())
    notes += LIMITS if is_judged else ["Counts only: there is no honest traffic to compare with, so nothing here "
                                       "says who copies."]
    return Table(
        caption=f"{watched.queries:,} queries of {len(watched.accounts):,} accounts, at "
                f"{watched.false_alarms_per_year:g} false alarms a year",
        heads=("account", "queries", "risk", "alarm", "p-value", "leaked bits", "why"), rows=rows,
        notes=tuple(notes))


def _risk(account: Account) -> str:
    return "-" if account.risk is None else f"{account.risk:.2f}"


def _alarm(account: Account, *, is_member: bool) -> str:
    if account.alarm_at_query is not None:
        return f"at {account.alarm_at_query:,}"
    return "campaign" if is_member else ""


def _short(reasons: Sequence[str]) -> str:
    """The first reason, without its figures."""
    return reasons[0].partition(" (")[0] if reasons else ""


def _share(p_value: float | None) -> str:
    return "-" if p_value is None else f"{p_value:.2g}"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,}: {', '.join(names[:most])}{more}"


def _tables(explanation: Explanation) -> list[Table]:
    found = [_standing(explanation)]
    if explanation.detectors:
        found.append(_detectors(explanation.detectors))
    if explanation.figures:
        found.append(_figures(explanation.figures))
    return found


def _standing(explanation: Explanation) -> Table:
    account, level = explanation.standing, explanation.level
    life = f"from {_time(account.first_time)} to {_time(account.last_time)} (UTC)"
    rows = [("alarm", _verdict(explanation)),
            ("risk", _risk(account)), ("p-value", f"{_share(account.p_value)}; an alarm takes {_share(level)}"),
            ("queries", f"{account.queries:,} {life}"),
            ("leaked bits", f"at most {account.leaked_bits:,.0f}")]
    rows += [("why", reason) for reason in account.reasons]
    if explanation.odometer is not None:
        rows.append(("odometer", _learnt(explanation.odometer)))
    rows += [(f"campaign {campaign.id}", f"{_some(campaign.accounts)}; {'; '.join(campaign.reasons)}")
             for campaign in explanation.campaigns]
    return Table(caption=f"Account {explanation.account}", heads=("", ""), rows=tuple(rows), is_prose=True,
                 notes=LIMITS)


def _learnt(reading: Reading) -> str:
    return (f"a copy made of its {reading.queries:,} different queries agrees on {reading.fidelity:.1%} "
            f"({100 * reading.fidelity_low:.1f}-{100 * reading.fidelity_high:.1f}) of {reading.judged_on:,} "
            f"queries of others; the most frequent answer alone on {reading.control:.1%}")


def _verdict(explanation: Explanation) -> str:
    account = explanation.standing
    if account.alarm_at_query is not None:
        return f"yes, at query {account.alarm_at_query:,}"
    if explanation.campaigns:
        return "yes, as one of a campaign"
    return "no" if account.risk is not None else "no: there is no honest traffic to compare with"


def _detectors(comparisons: Sequence[Comparison]) -> Table:
    return Table(
        caption="By detector",
        heads=("detector", "value", "honest accounts that go as far", "a large value says that its queries"),
        rows=tuple((each.detector, "-" if each.value is None else f"{each.value:.1f}", _as_far(each), each.words)
                   for each in comparisons),
        notes=(_SCALE,), is_prose=True)


def _as_far(comparison: Comparison) -> str:
    if comparison.value is None:
        return "-"
    return f"{round(comparison.p_value * (comparison.n_honest + 1)) - 1:,} of {comparison.n_honest:,}"


def _figures(figures: Sequence[Spread]) -> Table:
    return Table(
        caption="Inputs, answers and hours",
        heads=("figure", "this account", "nine of ten honest ones", "median", ""),
        rows=tuple((figure.name, _number(figure.value), f"{_number(figure.low)} to {_number(figure.high)}",
                    _number(figure.median), "outside" if figure.is_outside else "") for figure in figures),
        notes=("Honest accounts of about as many queries, where there are enough.",))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _beside(comparisons: Sequence[Comparison]) -> str:
    """A line of marks for each detector, one an honest account, and where this account is among them."""
    known = [(each, each.value) for each in comparisons if each.value is not None][::-1]
    with drawing(8.6, 0.7 + 0.42 * len(known), "beside") as (figure, drawn):
        axes = figure.add_subplot()
        for place, (each, value) in enumerate(known):
            axes.plot(each.honest, [place] * len(each.honest), "|", color=INK, alpha=0.25, markersize=9)
            axes.plot([value], [place], "D", color=COLOURS[1], markersize=7)
        axes.set_yticks(range(len(known)), [each.detector for each, _ in known])
        axes.set_ylim(-0.6, len(known) - 0.4)
        axes.set_xlabel("largest value in the account's life")
        axes.grid(visible=True, axis="x", linewidth=0.5)
        return drawn("This account's value by each detector among those of honest accounts")


def _course(explanation: Explanation) -> str:
    """The account's p-value against its number of queries, and the level of an alarm."""
    with drawing(8.6, 3.2, "course") as (figure, drawn):
        from matplotlib.ticker import FuncFormatter, NullFormatter

        plain = FuncFormatter(lambda value, place: f"{value:,.10g}")
        axes = figure.add_subplot()
        queries = [step.queries for step in explanation.course]
        axes.step(queries, [step.p_value for step in explanation.course], where="post", color=COLOURS[0],
                  linewidth=1.6, marker="o", markersize=4)
        least = min(step.p_value for step in explanation.course)
        if explanation.level > 0.0:
            axes.axhline(explanation.level, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
            axes.annotate("alarm", (0.0, explanation.level), (4, 3), xycoords=("axes fraction", "data"),
                          textcoords="offset points", fontsize=8.5)
            least = min(least, explanation.level)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(plain)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(plain)
        axes.set_ylim(10.0 ** (math.floor(math.log10(least)) - 0.3), 1.4)
        axes.set_xlabel("queries")
        axes.set_ylabel("p-value")
        axes.grid(visible=True, linewidth=0.5)
        return drawn("The account's p-value as it grew, and the level of an alarm")
