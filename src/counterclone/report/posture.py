"""A posture for people: a short table in the terminal, and one page for an owner and an auditor."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from counterclone.audit.findings import COPY, dollars
from counterclone.posture import (
    Audited,
    Chosen,
    Control,
    Epoch,
    Facts,
    InPlace,
    Posture,
    Standing,
    Traffic,
    counted,
)
from counterclone.prove.outlook import DIFFERS, ENOUGH, TAKEN_UP, Outlook
from counterclone.report.page import Table, html_page, print_table
from counterclone.watch.cases import Case

CASES_SHOWN = 20
SIGNS: dict[Standing, str] = {"in place": "● in place", "partly": "◐ partly", "missing": "○ missing"}
UNBROKEN = str.maketrans(" ", "\N{NO-BREAK SPACE}")
PURPOSE = ("Usable as the record of reasonable measures that a trade-secret claim asks for: it says what the "
           "files beside the configuration say. Whether that is enough is for a lawyer; this is no legal advice.")


def show(posture: Posture, file: TextIO) -> None:
    """Print where it stands, and what to do."""
    print_table(_summary(posture), file)
    print_table(Table(
        caption="Controls", heads=("control", "stands", "to do"), is_prose=True,
        rows=tuple((each.name, SIGNS[each.standing], each.remedy) for each in posture.controls)), file)


def page(posture: Posture) -> str:
    """The page, as HTML that needs nothing from outside."""
    facts = posture.facts
    what = facts.target or facts.file
    lead = (f"Made by `counterclone report` {facts.version} on {_time(facts.time)} UTC from {facts.file}, "
            f"configuration {facts.config_digest}. {PURPOSE}")
    return html_page(f"Model stealing: the posture of {what}", lead, parts(posture))


def write(path: Path, posture: Posture) -> None:
    """Write the page to a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(posture), encoding="utf-8")


def parts(posture: Posture) -> list[Table]:
    """The tables, in the order of a page."""
    return list(_sections(posture))


def _sections(posture: Posture) -> Iterator[Table]:
    facts = posture.facts
    yield _summary(posture)
    yield _prose("What remains", [(str(number), risk) for number, risk in enumerate(posture.risks, start=1)])
    yield _revealed(facts)
    yield _prose("What is in place", [*_settings(facts.in_place), ("measured choice", _chosen(facts.chosen))])
    yield _versions(facts)
    yield _seen(facts)
    if facts.traffic is not None and facts.traffic.busiest:
        yield _busiest(facts.traffic)
    yield _cases(facts)
    yield _epochs(facts)
    if facts.outlook:
        yield _outlook(facts.outlook)
    yield _controls(posture.controls)


def _summary(posture: Posture) -> Table:
    facts, standings = posture.facts, [control.standing for control in posture.controls]
    rows = [
        ("controls", ", ".join(f"{standings.count(standing)} {SIGNS[standing]}" for standing in SIGNS)),
        ("a 90 % copy", _copy(facts.audit)),
        ("traffic", _asked(facts.traffic)),
        ("cases", f"{len(facts.cases):,}, of these {len(facts.open_cases):,} undecided"),
        ("a proof", _provable(facts.outlook))]
    return Table(caption="Where it stands", heads=("", ""), rows=tuple(rows), is_prose=True,
                 notes=tuple(f"Not read: {problem}." for problem in facts.problems))


def _copy(audit: Audited | None) -> str:
    if audit is None:
        return "unknown: no audit has run; run `counterclone audit`"
    copy = audit.copy(COPY)
    stale = "" if audit.is_current else "; stale: policies or rules have changed since"
    if copy is None:
        return f"wasn't reached; the nearest one agrees on {audit.fidelity:.1%}{stale}"
    price = f", {dollars(copy.usd)}" if copy.usd else ""
    return f"{'at most ' if copy.is_bound else ''}{copy.queries:,} queries{price} ({copy.attack}){stale}"


def _asked(traffic: Traffic | None) -> str:
    if traffic is None:
        return "nothing is journalled"
    return (f"{counted(traffic.rows, 'row')} of {counted(traffic.accounts, 'account')}; answers released "
            f"{traffic.bits:,.0f} bits at most")


def _provable(outlook: Sequence[Outlook]) -> str:
    best = max(outlook, key=lambda each: (each.found, each.power), default=None)
    if best is None:
        return "isn't possible: no account was served a marked answer"
    if best.found:
        return (f"is likely for a copy of what {counted(best.found, 'account')} got, if it learnt {TAKEN_UP:.0%} "
                "of the marks")
    return (f"may fail: {best.power:.0%} for a copy of what the account with the most marked answers got, which "
            f"lacks {_number(best.missing)}")


def _revealed(facts: Facts) -> Table:
    audit = facts.audit
    if audit is None:
        return _prose("What the API reveals", [("audit", "none has run: run `counterclone audit`")])
    same = "the present one" if audit.config_digest == facts.config_digest else f"now {facts.config_digest}"
    rows = [
        ("audited", f"{audit.target}, through '{audit.surface}', on {_time(audit.time)} UTC"),
        ("configuration", f"{audit.config_digest} ({same}); policies and rules "
         f"{'are the same' if audit.is_current else 'have changed since, so run `counterclone audit` again'}"),
        ("attacks", ", ".join(audit.attacks)),
        ("nearest copy", f"agrees on {audit.fidelity:.1%}; without any answer {audit.control:.1%}"),
        *((f"{copy.fidelity:.0%} copy", f"{'at most ' if copy.is_bound else ''}{copy.queries:,} queries, "
           f"{dollars(copy.usd)} ({copy.attack})") for copy in audit.copies),
        *((finding.severity, f"{finding.text} {finding.remedy}") for finding in audit.findings)]
    if audit.training_cost_usd:
        rows.insert(3, ("the model cost", dollars(audit.training_cost_usd)))
    return _prose("What the API reveals", rows)


def _settings(found: InPlace) -> Iterator[tuple[str, str]]:
    yield "enforced", "yes" if found.enforces else "no: shadow mode decides, counts and changes nothing"
    yield "callers", found.callers
    yield "limits of an account", _limits(found.limits)
    yield "limits of all together", _limits(found.total_limits)
    for name, lines in (("policies", found.policies), ("rules", found.rules), ("tiers", found.tiers),
                        ("classes", found.classes), ("marks", found.marks)):
        yield name, "; ".join(lines) or "none"
    yield "journal", found.journal or "none"
    yield "watch", (f"accounts and campaigns, {found.false_alarms_per_year:g} false alarms a year"
                    if found.is_watched else "the guard doesn't: [watch] benign leads to no honest traffic")
    yield "alarms go to", ", ".join(("cases", *found.told))


def _chosen(chosen: Chosen | None) -> str:
    if chosen is None:
        return "none: run `counterclone tune`, which chooses policies on your own model"
    now = "it is in place" if chosen.is_in_place else "it isn't in place now"
    setting = f"'{chosen.name}', {now}: {chosen.reason}" if chosen.name else f"none: {chosen.reason}"
    return f"{setting} ({_time(chosen.time)} UTC)"


def _limits(limits: dict[str, float]) -> str:
    return "; ".join(f"{name.removeprefix('limit_').replace('_', ' ')}: {amount:,.0f}"
                     for name, amount in limits.items()) or "none"


def _versions(facts: Facts) -> Table:
    rows = [(_time(version.since), version.digest, ", ".join(version.changed) or "-") for version in facts.history]
    notes = []
    if facts.n_versions > len(rows):
        notes.append(f"The last {len(rows)} of {facts.n_versions:,}.")
    if not rows:
        notes.append("No guard has run with this file: run `counterclone guard`.")
    elif facts.history[-1].digest != facts.config_digest:
        notes.append(f"The file is {facts.config_digest} now; no guard has taken it yet.")
    return Table(caption="Configurations that were in force", heads=("since (UTC)", "digest", "changed"),
                 rows=tuple(rows), notes=tuple(notes), is_prose=True)


def _seen(facts: Facts) -> Table:
    traffic = facts.traffic
    if traffic is None:
        return _prose("What was seen", [("traffic", "nothing is journalled: run `counterclone guard`")])
    rows = [("rows", f"{traffic.rows:,}, of these {traffic.answered:,} answered"),
            ("accounts", f"{traffic.accounts:,}"),
            ("from, to (UTC)", f"{_time(traffic.first_time)}, {_time(traffic.last_time)}"),
            ("released", f"{traffic.bits:,.0f} bits at most"),
            ("decisions", ", ".join(f"{name} {number:,}" for name, number in traffic.decisions.items()))]
    if traffic.models:
        rows.append(("models asked for", ", ".join(traffic.models)))
    return _prose("What was seen", rows)


def _busiest(traffic: Traffic) -> Table:
    return Table(
        caption="Accounts with the most different answers",
        heads=("account", "different queries", "bits, at most", "of a 90 % copy's queries"),
        rows=tuple((each.account, f"{each.queries:,}", f"{each.bits:,.0f}",
                    "unknown" if each.copy_share is None else f"{each.copy_share:.0%}")
                   for each in traffic.busiest),
        notes=("To ask much isn't to copy: `counterclone explain ACCOUNT` compares one with honest accounts.",))


def _cases(facts: Facts) -> Table:
    shown = sorted(facts.cases, key=lambda case: (case.decision is not None, -case.opened))[:CASES_SHOWN]
    more = len(facts.cases) - len(shown)
    return Table(
        caption=f"{counted(len(facts.cases), 'case')}", is_prose=True,
        heads=("case", "opened (UTC)", "accounts", "why", "decision"), rows=tuple(map(_case, shown)),
        notes=(f"{more:,} more are in --json.",) if more else ())


def _case(case: Case) -> tuple[str, ...]:
    more = len(case.accounts) - 1
    accounts = ", ".join(case.accounts[:1]) + (f" and {more:,} more" if more > 0 else "")
    why = [f"{each.kind}: {'; '.join(each.reasons)}" for each in case.evidence]
    why += [f"{note.by}: {note.text}" for note in case.notes[-1:]]
    return case.id, _time(case.opened), accounts, ". ".join(why), case.decision or "undecided"


def _epochs(facts: Facts) -> Table:
    rows = [(f"commitment {each.number}", _epoch(each)) for each in facts.epochs]
    none = ("commitments", "none: a guard with [[mark]] makes one at its start")
    return _prose("What could be proven: keys that were committed to", rows or [none])


def _epoch(epoch: Epoch) -> str:
    stamp = epoch.timestamp
    stamped = f"{stamp.authority} had it on {_time(stamp.time)} UTC" if stamp else "without a timestamp"
    return f"{epoch.digest}, made on {_time(epoch.created)} UTC, {stamped}: {'; '.join(epoch.marks)}"


def _outlook(outlook: Sequence[Outlook]) -> Table:
    return Table(
        caption="What could be proven: marked answers so far",
        heads=("commitment, mark", "marked", "accounts", "most of one", f"needed for {ENOUGH:.0%}", "missing",
               "chance now", "accounts with enough"),
        rows=tuple((f"{each.commitment}, {each.kind}", f"{each.rows:,}", f"{each.accounts:,}", f"{each.most:,}",
                    _number(each.needed), _number(each.missing), f"{each.power:.0%}", f"{each.found:,}")
                   for each in outlook),
        notes=(f"The chance that a copy of one account's answers is found, if it learnt {TAKEN_UP:.0%} of the "
               f"marks and errs by itself on {DIFFERS:.0%} of the rest. One that learns no single answers isn't "
               "found, however many there are.",))


def _number(rows: int | None) -> str:
    return "thousands" if rows is None else f"{rows:,}"


def _controls(found: Sequence[Control]) -> Table:
    return Table(
        caption="What frameworks ask for", heads=("control", "stands", "why, and what to do", "asked for by"),
        is_prose=True,
        rows=tuple((each.name, SIGNS[each.standing].translate(UNBROKEN), f"{each.why} {each.remedy}".strip(),
                    "; ".join(each.references)) for each in found),
        notes=("OWASP AISVS by the numbers of its drafts, in brackets those of the published 1.0. The controls "
               "are in our words: read the frameworks' own before you claim one.",))


def _prose(caption: str, rows: Sequence[tuple[str, str]]) -> Table:
    return Table(caption=caption, heads=("", ""), rows=tuple(rows), is_prose=True)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # a file that somebody edited
        return "no time"
