"""Small drawings as SVG without a style of their own, and large ones as pictures that the pages point to.

The pages' content policy admits no style in an element, so what is drawn here in words of the style sheet is put
into the page, and what matplotlib drew is a file of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence

from markupsafe import Markup

from counterclone.console.sheets import Tie

MOST_ACCOUNTS, MOST_TIES = 36, 12
"""In a graph; the table beside it has them all."""
MOST_PICTURES = 200
_WIDTH, _HEIGHT = 96.0, 24.0
_SIZE, _OUTER, _INNER = 520.0, 205.0, 85.0
_THEME = ("<style>svg{color:#1c2430;--line:#d5d2c8;font-family:system-ui,sans-serif}"
          "@media(prefers-color-scheme:dark){svg{color:#e8e6df;--line:#3a414b}}</style>")


def sparkline(course: Sequence[tuple[int, float]], level: float) -> Markup:
    """An account's p-value as it grew, high where it is small, and a dashed line at an alarm's.

    Args:
        course: the number of queries and the p-value, step by step.
        level: the p-value at which an account raises an alarm; 0 for none.
    """
    heights = [-math.log10(max(p_value, 1e-12)) for _, p_value in course]
    bar = -math.log10(level) if level > 0.0 else 0.0
    top = max([*heights, bar, 1.0]) * 1.1
    step = _WIDTH / max(len(heights) - 1, 1)
    points = " ".join(f"{i * step:.1f},{_HEIGHT * (1.0 - height / top):.1f}" for i, height in enumerate(heights))
    at = f"{_HEIGHT * (1.0 - bar / top):.1f}"
    least = f"{min((p_value for _, p_value in course), default=1.0):.2g}"
    return Markup('<svg class="spark" viewBox="0 0 96 24" role="img" aria-label="smallest p-value {least}">'
                  '<line class="bar" x1="0" x2="96" y1="{at}" y2="{at}"/><polyline points="{points}"/></svg>'
                  ).format(at=at, points=points, least=least)


def graph(accounts: Sequence[str], ties: Sequence[Tie]) -> Markup:
    """The accounts of a campaign around what they share; those that share nothing are led to what they ask.

    Args:
        accounts: its members.
        ties: what they share, the heaviest first.
    """
    shown, shared = accounts[:MOST_ACCOUNTS], list(ties[:MOST_TIES])
    tied = {name for tie in shared for name in tie.accounts}
    lonely = tuple(name for name in shown if name not in tied)
    if lonely:
        shared.append(Tie(kind="ask in one way", accounts=lonely, weight=0.0))
    at = dict(zip(shown, _circle(len(shown), _OUTER), strict=True))
    middles = _circle(len(shared), _INNER if len(shared) > 1 else 0.0)
    edges, nodes = Markup(), Markup()
    for tie, (x, y) in zip(shared, middles, strict=True):
        said = f"{tie.kind}: {tie.weight:.1f} nats of evidence each" if tie.weight else tie.kind
        for name in tie.accounts:
            if name in at:
                edges += Markup('<line class="{kind}" x1="{}" y1="{}" x2="{}" y2="{}"><title>{}, {}</title></line>'
                                ).format(*_places(at[name], (x, y)), name, said,
                                         kind="tie" if tie.weight else "tie weak")
        nodes += Markup('<g class="value"><circle cx="{0}" cy="{1}" r="7"><title>{2}</title></circle>'
                        '<text x="{0}" y="{3}">{4}</text></g>').format(f"{x:.1f}", f"{y:.1f}", said,
                                                                       f"{y - 12:.1f}", tie.kind)
    for name, (x, y) in at.items():
        nodes += Markup('<g class="member"><circle cx="{}" cy="{}" r="5"><title>{}</title></circle></g>').format(
            f"{x:.1f}", f"{y:.1f}", name)
    return Markup('<svg class="graph" viewBox="0 0 {s} {s}" role="img" aria-label="{n} accounts and what they '
                  'share; the tables say the same">{edges}{nodes}</svg>').format(
        s=f"{_SIZE:g}", n=len(shown), edges=edges, nodes=nodes)


class Pictures:
    """Drawings with a name each, the last ones that pages point to."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, str] = OrderedDict()

    def keep(self, svg: str) -> str:
        """Keep an `svg` element as a document in the reader's theme; its name."""
        name = hashlib.blake2b(svg.encode(), digest_size=12).hexdigest()
        if name not in self._pictures:
            head, _, rest = svg.partition(">")
            head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
            self._pictures[name] = f"{head}>{_THEME}{rest}"
        self._pictures.move_to_end(name)
        while len(self._pictures) > MOST_PICTURES:
            self._pictures.popitem(last=False)
        return name

    def find(self, name: str) -> str | None:
        """A picture by its name, None where nobody knows it any longer."""
        return self._pictures.get(name)


def _circle(n: int, radius: float) -> list[tuple[float, float]]:
    centre = _SIZE / 2.0
    angles = [2.0 * math.pi * i / max(n, 1) - math.pi / 2.0 for i in range(n)]
    return [(centre + radius * math.cos(angle), centre + radius * math.sin(angle)) for angle in angles]


def _places(one: tuple[float, float], other: tuple[float, float]) -> list[str]:
    return [f"{value:.1f}" for value in (*one, *other)]
