from __future__ import annotations

import html.parser
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from counterclone.report import Table, print_table, write_html

TABLE = Table(
    caption="Guard: a model bare and guarded, 450 queries", heads=("", "bare", "guarded"),
    rows=(("honest: accuracy", "97.1%", "97.1%"), ("leak: bits an answer, at most", "576", "15.5")),
    notes=("20 clients asked 450 queries.", "It can't show that nobody copies."))
HOSTILE = ("<script>alert(1)</script>", "\"onload='x'", "&amp;", "</table></section>", "$title ${body} $$",
           "[red]x[/red]", "[/]", ":warning:", "a\nb", "\x1b[31mred", "\u202eright to left", "é 中文")
LEAD = "Made by `counterclone demo --seed 0` on 2025-11-26 in 95 seconds."


def printed(table: Table) -> str:
    file = io.StringIO()
    print_table(table, file)
    return file.getvalue()


# In the terminal

def test_a_table_is_printed(golden: Callable[[str, str], None]) -> None:
    golden("report.txt", printed(TABLE))


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[bold", ":warning:", "$title", "<b>", "é 中文"])
def test_names_are_printed_as_they_are(name: str) -> None:
    text = printed(Table(caption=f"of {name}", heads=(f"head {name}", "n"), rows=((name, f"{name}!"),),
                         notes=(f"note {name}",)))
    for expected in (f"of {name}", f"head {name}", f"{name}!", f"note {name}"):
        assert expected in text


@pytest.mark.parametrize("name", ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\nb", "\u202ea", "\x9b31m", "\x00"],
                         ids=["colour", "title", "return", "line", "right to left", "C1", "zero"])
def test_no_name_steers_the_terminal(name: str) -> None:
    text = printed(Table(caption=name, heads=(name,), rows=((name,),), notes=(name,)))
    assert all(char.isprintable() or char == "\n" for char in text)
    escaped = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
    assert text.count(escaped) == 4


def test_a_table_without_rows_is_printed() -> None:
    assert "nothing" in printed(Table(caption="nothing", heads=("account",), rows=()))


def test_nothing_is_coloured_outside_a_terminal() -> None:
    assert "\x1b" not in printed(TABLE)


# As a page

def page(tmp_path: Path, *tables: Table, title: str = "counterclone: the demo", lead: str = LEAD) -> str:
    path = tmp_path / "new" / "folder" / "report.html"
    write_html(path, title, lead, tables)
    return path.read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """What a browser sees of a page: tags with their attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_is_written(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    golden("report.html", page(tmp_path, TABLE, TABLE))


def test_a_page_holds_the_tables(tmp_path: Path) -> None:
    seen = Elements(page(tmp_path, TABLE)).text
    for text in (TABLE.caption, LEAD, *TABLE.heads[1:], *TABLE.rows[0], *TABLE.rows[1], *TABLE.notes):
        assert text in seen


@pytest.mark.parametrize("text", HOSTILE)
def test_everything_on_a_page_is_escaped(tmp_path: Path, text: str) -> None:
    hostile = Table(caption=text, heads=(text, text), rows=((text, text),), notes=(text,))
    found, plain = (Elements(page(tmp_path, table, title=title, lead=title))
                    for table, title in [(hostile, text), (Table(caption="x", heads=("x", "x"), rows=(("x", "x"),),
                                                                 notes=("x",)), "x")])
    assert found.tags == plain.tags
    assert found.attributes == plain.attributes
    assert found.text.count(text) == plain.text.count("x") == 9


def test_a_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    text = page(tmp_path, TABLE)
    assert not re.search(r"https?:|//|url\(|@import|<(script|img|link|iframe|object|embed)|src=|href=", text)
    assert "default-src 'none'" in text


def test_a_page_is_written_over(tmp_path: Path) -> None:
    page(tmp_path, TABLE, TABLE)
    assert page(tmp_path).count("<table>") == 0
