"""The verb `cases`."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

import click

from counterclone import config
from counterclone.cli._common import Command, common, print_json


@click.group()
def cases() -> None:
    """Look at what alarms became, and decide on it."""


def by_whom(command: Command) -> Command:
    """The option that says who notes or decides."""
    return click.option("--by", metavar="WHO", default=_me, show_default="who runs this",
                        help="Whose word it is.")(command)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in a container
        return f"user {os.getuid()}"


def _case_file(config_file: str | None) -> Any:
    from counterclone.compose.cases import case_file

    return case_file(config.find(config_file).parent)


@cases.command("list")
@common
def list_cases(config_file: str | None, as_json: bool, seed: int) -> None:
    """List the cases, oldest first."""
    from counterclone.report import cases as report

    file = _case_file(config_file)
    found = file.all()
    for problem in file.problems:
        click.echo(f"counterclone: {problem}; left out", err=True)
    if as_json:
        print_json({"cases": found, "problems": file.problems})
        return
    report.show_all(found, sys.stdout)


@cases.command("show")
@click.argument("case")
@common
def show_case(case: str, config_file: str | None, as_json: bool, seed: int) -> None:
    """Show a CASE, by its id or an account's: the evidence, the notes and the decision."""
    from counterclone.report import cases as report

    found = _case_file(config_file).find(case)
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)


@cases.command("note")
@click.argument("case")
@click.argument("text")
@by_whom
@common
def note_case(*, case: str, text: str, by: str, config_file: str | None, as_json: bool, seed: int) -> None:
    """Write TEXT down in a CASE."""
    found = _case_file(config_file).note(case, text, by=by)
    if as_json:
        print_json(found)
    else:
        click.echo(f"Case {found.id}: noted.")


@cases.command("decide")
@click.argument("case")
@click.argument("decision", type=click.Choice(["allow", "review", "throttle", "block"]))
@by_whom
@common
def decide_case(*, case: str, decision: Any, by: str, config_file: str | None, as_json: bool,
                seed: int) -> None:
    """Decide what the accounts of a CASE get; running guards follow within a second."""
    from counterclone.compose import cases as composed
    from counterclone.watch.cases import class_table

    path = config.find(config_file)
    found = composed.decide(config.load(path), composed.case_file(path.parent), case, decision, by=by)
    table = class_table(found) if decision == "allow" else None
    if as_json:
        print_json({"case": found, "class": table})
        return
    click.echo(f"Case {found.id}: {decision}.")
    if table is not None:
        click.echo(f"Add this to {path}, so that they are known as honest:\n\n{table}", nl=False)


@cases.command("hold")
@click.argument("case")
@click.option("--release", is_flag=True, help="Hold them no longer.")
@by_whom
@common
def hold_case(*, case: str, release: bool, by: str, config_file: str | None, as_json: bool, seed: int) -> None:
    """Keep the journalled exchanges of a CASE, whatever the journal's retention says."""
    found = _case_file(config_file).hold(case, is_held=not release, by=by)
    if as_json:
        print_json(found)
    else:
        click.echo(f"Case {found.id}: its exchanges are {'held' if found.is_held else 'held no longer'}.")


@cases.command("export")
@click.argument("case")
@click.argument("file", type=click.Path(path_type=Path))
@common
def export_case(case: str, file: Path, config_file: str | None, as_json: bool, seed: int) -> None:
    """Write a CASE and what was journalled of its accounts to FILE, a ZIP."""
    from counterclone.compose import cases as composed

    path = config.find(config_file)
    found = composed.case_file(path.parent).find(case)
    n_exchanges = composed.export(config.load(path), path.parent, found, file)
    if as_json:
        print_json({"case": found.id, "file": str(file), "exchanges": n_exchanges})
    else:
        click.echo(f"Wrote case {found.id} and {n_exchanges:,} exchanges to {file}")
