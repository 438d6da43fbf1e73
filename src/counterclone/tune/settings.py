"""The settings that are tried."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Table = Mapping[str, Any]
AS_IT_IS = "as it is"
LABELS = "labels"
DECIMALS = (4, 3, 2, 1)
TOP = (1, 2, 3, 5)
SCALES = (0.25, 0.5, 1.0)
TEMPERATURES = (0.5, 2.0, 4.0)
FARTHEST = (0.5, 1.0, 2.0)


class Setting(NamedTuple):
    """What an answer passes on its way out.

    Attributes:
        name: its policies in short.
        policies: as tables of the file, in order.
    """

    name: str
    policies: tuple[Table, ...]


def settings(own: Iterable[Table] = ()) -> list[Setting]:
    """The settings of a sweep: nothing, the owner's, labels alone, and families of policies that coarsen.

    Noise and `deception` bring their own quantisation. `reverse_sigmoid` is there to be compared with; a rounding
    follows it, so that its rows aren't undone digit by digit.

    Args:
        own: the file's policies.
    """
    roundings = [_rounding(decimals) for decimals in DECIMALS]
    tops: list[Table] = [{"kind": "truncation", "top_k": k} for k in TOP]
    noises: list[Table] = [{"kind": "noise", "scale": scale} for scale in SCALES]
    found: list[tuple[Table, ...]] = [(), tuple(own), ({"kind": "labels"},)]
    found += [(table,) for table in (*roundings, *tops, *noises)]
    found += [(top, rounding) for top, rounding in itertools.product(tops, roundings[1:])]
    found += [({"kind": "temperature", "temperature": heat}, _rounding(decimals))
              for heat, decimals in itertools.product(TEMPERATURES, (2, 1))]
    found += [(noise, _rounding(decimals)) for noise, decimals in itertools.product(noises, (2, 1))]
    found += [({"kind": "deception", "l1_max": farthest},) for farthest in FARTHEST]
    found += [({"kind": "reverse_sigmoid", "beta": beta}, _rounding(2)) for beta in (0.2, 0.4, 0.7)]
    return [Setting(name, policies) for name, policies in {name_of(each): each for each in found}.items()]


def name_of(policies: Iterable[Table]) -> str:
    """The policies in short."""
    parts = []
    for table in policies:
        options = [f"{value:g}" if isinstance(value, int | float) else str(value)
                   for name, value in table.items() if name != "kind"]
        parts.append(" ".join([str(table["kind"]), *options]))
    return " + ".join(parts) or AS_IT_IS


def _rounding(decimals: int) -> Table:
    return {"kind": "rounding", "decimals": decimals}
