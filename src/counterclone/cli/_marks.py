"""The verbs `keys marks`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from counterclone.cli._common import common, print_json


@click.group()
def marks() -> None:
    """Create, commit to and rotate the keys that mark answers."""


@marks.command("create")
@common
def create_mark_keys(config_file: str | None, as_json: bool, seed: int) -> None:
    """Make the mark keys, in files that only their owner reads."""
    from counterclone.compose import mark_keys

    made = mark_keys.create(config_file)
    if as_json:
        print_json(made)
        return
    click.echo(f"Made mark keys in {made.folder}; what they sign is checked by {made.signer}")
    click.echo("Keep a copy of the folder elsewhere: without it nothing can be proven.", err=True)


@marks.command("commit")
@common
def commit_to_marks(config_file: str | None, as_json: bool, seed: int) -> None:
    """Commit to the marks of the file, if that isn't done."""
    from counterclone.compose import mark_keys

    _show_change(mark_keys.commit(config_file), as_json=as_json)


@marks.command("rotate")
@common
def rotate_mark_key(config_file: str | None, as_json: bool, seed: int) -> None:
    """Commit to the next key: draw the marks anew from the guard's next start on."""
    from counterclone.compose import mark_keys

    _show_change(mark_keys.rotate(config_file), as_json=as_json)


@marks.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@common
def export_mark_key(file: Path, config_file: str | None, as_json: bool, seed: int) -> None:
    """Commit to the file's green list, and write what a server's hook needs."""
    from counterclone.compose import hooks

    _show_change(hooks.export(config_file, file), as_json=as_json)


@marks.command("list")
@common
def list_commitments(config_file: str | None, as_json: bool, seed: int) -> None:
    """List the commitments, oldest first."""
    from counterclone.compose import mark_keys

    found = mark_keys.commitments(config_file)
    if as_json:
        print_json({"commitments": found})
        return
    for each in found:
        _show(each)


def _show_change(change: Any, *, as_json: bool) -> None:
    if change.problem:
        click.echo(f"counterclone: {change.problem}", err=True)
    if as_json:
        print_json(change)
        return
    _show(change.commitment)
    if change.is_new:
        click.echo("Publish the digest now: who has it from before the suspect knows that the key wasn't chosen "
                   "after it. Guards mark by this key once they are started again.", err=True)
    else:
        click.echo("It was made before; nothing has changed.", err=True)


def _show(commitment: Any) -> None:
    click.echo(f"{commitment.number}  {_time(commitment.created)}  {', '.join(map(_mark, commitment.marks))}")
    click.echo(f"   digest {commitment.digest}\n   key    {commitment.key}")
    if stamp := commitment.timestamp:
        click.echo(f"   no younger than {_time(stamp.time)}, says {stamp.authority}")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _mark(table: dict[str, Any]) -> str:
    options = " ".join(f"{name}={value}" for name, value in table.items() if name != "kind")
    return f"{table['kind']} {options}".strip()
