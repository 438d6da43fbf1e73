"""The verbs that copy the owner's own model: `audit` and `tune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from counterclone.cli._common import EXIT_FINDING, Command, common, print_json


class Budgets(click.ParamType[tuple[int, ...]]):
    """Numbers of queries, with commas between them."""

    name = "n,n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers of `65,130,1000`."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip().replace("_", "") for part in value.split(",")]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} isn't a list of numbers of queries such as 65,130,1000", param, ctx)
        return tuple(map(int, parts))


INPUTS = click.Path(path_type=Path)


def copying(command: Command) -> Command:
    """The options of verbs that copy the model: what is copied, with which inputs, and how often."""
    command = common(command)
    for option in reversed((
            click.option("--returns", type=click.Choice(["scores", "logits"]), default="scores", show_default=True,
                         help="What a callable returns."),
            click.option("--pool", type=INPUTS, metavar="FILE",
                         help="Inputs that a copier may have: npy, csv, parquet, jsonl. Without: drawn evenly."),
            click.option("--pool-kind", type=click.Choice(["own", "out-of-domain"]), default="own",
                         show_default=True, help="Whether they are like what users send."),
            click.option("--eval", "evaluate", type=INPUTS, metavar="FILE",
                         help="Inputs that users send, to tell fidelity by. Without: a third of the pool."),
            click.option("--label", metavar="COLUMN", help="The column of true labels in both files."),
            click.option("--budgets", type=Budgets(), default=(), metavar="N,N",
                         help="Numbers of queries, such as 65,130,1000."),
            click.option("--attack", "attacks", multiple=True, metavar="KIND",
                         help="Try this one (repeatable) [all that fit]."),
            click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True,
                         help="Trials of each."),
            click.option("--report", "page", type=click.Path(path_type=Path), metavar="FILE",
                         help="Write an HTML page."),
            click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER",
                         help="Keep answers there, and ask none twice after an interruption."),
            click.option("--authorized-by", metavar="WHO", help="Who allows it [[target] authorized_by]."))):
        command = option(command)
    return command


@click.command()
@click.option("--target", metavar="NAME", help="pkg.mod:function, or a URL [[target] url].")
@click.option("--task", type=click.Choice(["classifier", "llm", "encoder"]),
              help="What the target does [[target] task].")
@click.option("--ids", metavar="NAME", help="pkg.mod:function: the ids that answers show, as of leaves.")
@click.option("--surface", "surfaces", multiple=True, metavar="NAME",
              help="Compare what callers see with this surface (repeatable).")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the queries as exchanges in JSON lines.")
@click.option("--fail-under-usd", type=float, metavar="USD", help="Exit 1 where a 90 % copy costs less.")
@click.option("--fail-over-fidelity", type=float, metavar="SHARE", help="Exit 1 where a copy agrees on more.")
@copying
def audit(*, page: Path | None, fail_under_usd: float | None, fail_over_fidelity: float | None,
          config_file: str | None, as_json: bool, **options: Any) -> None:
    """Copy your own model as others could, and tell what that costs."""
    from counterclone.compose import audit as composed
    from counterclone.report import audit as report

    found = composed.audit(composed.Options(**options), config_file, lambda text: click.echo(text, err=True))
    if page is not None:
        report.write(page, found)
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)
    failures = found.failures(under_usd=fail_under_usd, over_fidelity=fail_over_fidelity)
    for failure in failures:
        click.echo(f"counterclone: {failure}", err=True)
    if failures:
        sys.exit(EXIT_FINDING)


@click.command()
@click.option("--target", metavar="NAME", help="pkg.mod:function, or a URL without a guard [[target] url].")
@click.option("--benign", metavar="SOURCE",
              help="Honest traffic, to choose a limit and see alarms: a folder or a file [[watch] benign].")
@click.option("--write", "writes", is_flag=True, help="Put the chosen setting into the file, comments kept.")
@copying
def tune(*, page: Path | None, writes: bool, benign: str | None, config_file: str | None, as_json: bool,
         **options: Any) -> None:
    """Choose policies and a limit: what honest users lose by each, against what a copy costs through it."""
    from counterclone.compose import audit
    from counterclone.compose import tune as composed
    from counterclone.report import tune as report

    chosen = audit.Options(**options, surfaces=(), ids=None, trace=None)
    found = composed.tune(chosen, config_file, lambda text: click.echo(text, err=True), benign)
    if page is not None:
        report.write(page, found)
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)
    if writes:
        click.echo(f"{composed.write(found, config_file)}: the chosen setting is in the file", err=True)
    if found.chosen is None:
        sys.exit(EXIT_FINDING)
