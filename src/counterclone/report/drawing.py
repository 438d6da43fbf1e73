"""What all drawings have in common: colours that follow the page's, and SVG as an element of it."""

from __future__ import annotations

import html
import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from counterclone.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, LINE = "#010203", "#040506"
"""Colours that become the page's own, which change with the reader's theme."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Told apart by those who see fewer colours, too (Okabe and Ito 2008), the last for lack of an eighth."""
_THEME = ("<style>svg { color: #1b1f23; background: #fff; --line: #c9ced3 } @media (prefers-color-scheme: dark) "
          "{ svg { color: #e6e8ea; background: #14171a; --line: #444b52 } }</style>")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5, "text.color": INK, "axes.edgecolor": LINE,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "grid.color": LINE, "axes.spines.top": False,
    "axes.spines.right": False, "figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False}


_DRAWING = threading.Lock()
"""The style is the process's while something is drawn."""


@contextmanager
def drawing(width: float, height: float, salt: str) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """A figure to draw on, and what makes an `svg` element with a label of it.

    Args:
        width: in inches.
        height: likewise.
        salt: tells the ids of one drawing from those of others on a page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("matplotlib isn't installed; `pip install 'counterclone[audit]'`") from None

    with _DRAWING, rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)

        def drawn(label: str) -> str:
            file = io.StringIO()
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
            return _inlined(file.getvalue(), label)

        yield figure, drawn


def standalone(element: str) -> str:
    """An `svg` element of `drawing` as a file of its own, whose ink and paper follow the reader's theme."""
    opened = element.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return opened.replace(">", f">{_THEME}", 1) + "\n"


def _inlined(document: str, label: str) -> str:
    """An SVG document as an element of a page."""
    element = document[document.index("<svg"):]
    element = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", element, flags=re.DOTALL)
    head, _, rest = element.partition(">")
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None  # matplotlib writes one
    element = f'<svg {view[0]} role="img" aria-label="{html.escape(label)}">{rest}'
    return element.replace("xlink:href", "href").replace(INK, "currentColor").replace(LINE, "var(--line)").strip()
