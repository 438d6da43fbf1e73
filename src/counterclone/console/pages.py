"""Pages from templates; whatever is put into one is escaped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from counterclone.console.desk import DECISIONS
from counterclone.console.drawings import Pictures, graph, sparkline
from counterclone.report.page import Figure

ASSETS = {"console.css": "text/css", "icon.svg": "image/svg+xml"}
"""Files that every page needs, by their media types."""
SECTIONS = (("/", "Overview"), ("/accounts", "Accounts"), ("/campaigns", "Campaigns"), ("/cases", "Cases"),
            ("/audit", "Audit"), ("/tune", "Settings"), ("/marks", "Marks"), ("/configuration", "Configuration"),
            ("/report", "Report"), ("/trail", "Trail"))


class Pages:
    """The console's templates.

    Args:
        pictures: keep what matplotlib drew.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._templates = Environment(loader=PackageLoader("counterclone.console"), autoescape=True,
                                      undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._templates.filters.update(_FILTERS)
        self._templates.globals.update(sections=SECTIONS, decisions=DECISIONS, graph=graph, sparkline=sparkline,
                                       picture=pictures.keep, is_figure=lambda part: isinstance(part, Figure))

    def show(self, name: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
        """A page.

        Args:
            name: of the template.
            status: of the answer.
            facts: what the template shows.
        """
        return HTMLResponse(self._templates.get_template(f"{name}.html").render(**facts), status)


def asset(name: str) -> bytes:
    """A file that every page needs."""
    return resources.files("counterclone.console").joinpath(name).read_bytes()


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # a caller's clock may say anything
        return "-"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:,.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.0f} ms"


def _p_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


_FILTERS: dict[str, Callable[..., str]] = {
    "count": lambda number: f"{number:,.0f}", "time": _time, "duration": _duration, "p": _p_value,
    "risk": lambda risk: "-" if risk is None else f"{risk:.2f}",
    "account_url": lambda name: f"/account?name={quote(name, safe='')}",
    "query": lambda fields: urlencode({key: value for key, value in fields.items() if value})}
