"""The verb `report`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from counterclone import config
from counterclone.cli._common import common, print_json

PAGE = Path("report.html")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help=f"Write the page there [{PAGE}; with --json nowhere].")
@click.option("--pdf", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Print the page there as well, by a Chromium that is installed.")
@common
def report(out: Path | None, pdf: Path | None, config_file: str | None, as_json: bool, seed: int) -> None:
    """Report what is done about model stealing, and what is left, for an owner and an auditor."""
    from counterclone.compose.posture import posture
    from counterclone.report import posture as pages

    found = posture(config.find(config_file), time.time())
    if out is None and not as_json:
        out = PAGE
    if out is not None:
        pages.write(out, found)
    if pdf is not None:
        from counterclone.report.chromium import write_pdf

        write_pdf(pdf, pages.page(found))
    if as_json:
        print_json(found)
        return
    pages.show(found, sys.stdout)
    click.echo(f"Report: {', '.join(str(path) for path in (out, pdf) if path)}")
