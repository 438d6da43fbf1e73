"""Tables and figures in the terminal and on HTML pages."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

HTML_TEMPLATE = "page.html"
WIDEST_NAME = 24
"""Longer names of rows are wrapped in the terminal."""


class Table(msgspec.Struct, frozen=True):
    """One result: a caption, column heads, rows of text, and what to read out of it.

    Attributes:
        caption: what the table shows, with the numbers of everything counted.
        heads: column heads, the first one for the rows' names.
        rows: cells as text.
        notes: sentences under the table; the last ones say what it can't show.
        is_prose: whether the cells are sentences rather than figures.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    is_prose: bool = False


class Figure(msgspec.Struct, frozen=True):
    """One drawing.

    Attributes:
        caption: what it shows.
        svg: an `svg` element, which is put on a page as it is.
        notes: sentences under it.
    """

    caption: str
    svg: str
    notes: tuple[str, ...] = ()


def print_table(table: Table, file: TextIO) -> None:
    """Print a table for people, plain where the output is no terminal."""
    console = Console(file=file, highlight=False, width=None if file.isatty() else 110)
    drawn = RichTable(title=_text(table.caption), title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    names = max((len(row[0]) for row in table.rows), default=0)
    for number, head in enumerate(table.heads):
        drawn.add_column(_text(head), justify="left" if table.is_prose or number == 0 else "right",
                         no_wrap=number == 0 and names <= WIDEST_NAME)
    for row in table.rows:
        drawn.add_row(*map(_text, row))
    console.print(drawn)
    for note in table.notes:
        console.print(Padding(_text(note), (0, 0, 0, 2), expand=False))
    console.print()


def html_page(title: str, lead: str, parts: Sequence[Table | Figure]) -> str:
    """Results as one self-contained page; every text is escaped.

    Args:
        title: of the page.
        lead: a sentence under the title: seed, digest, date, command.
        parts: the results, in order.
    """
    page = Template(resources.files("counterclone.report").joinpath(HTML_TEMPLATE).read_text(encoding="utf-8"))
    return page.substitute(title=html.escape(title), lead=html.escape(lead), body="\n".join(map(_section, parts)))


def write_html(path: Path, title: str, lead: str, parts: Sequence[Table | Figure]) -> None:
    """Write results as one page (see `html_page`) to a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_page(title, lead, parts), encoding="utf-8")


def _text(text: str) -> Text:
    """Text as it is: no markup, and escapes where a name would steer the terminal."""
    return Text("".join(char if char.isprintable() else repr(char)[1:-1] for char in text))


def _section(part: Table | Figure) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in part.notes)
    drawn = _table(part) if isinstance(part, Table) else part.svg
    caption = html.escape(part.caption)
    return f'<section><h2>{caption}</h2><div class="wide">{drawn}</div><ul>{notes}</ul></section>'


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in table.heads)
    head = f"<thead><tr>{heads}</tr></thead>" if any(table.heads) else ""
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in table.rows)
    kind = ' class="prose"' if table.is_prose else ""
    return f"<table{kind}>{head}<tbody>{rows}</tbody></table>"
