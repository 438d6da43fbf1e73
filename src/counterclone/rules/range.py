"""Admit inputs inside the deployment's range only."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from counterclone.errors import Refused
from counterclone.plugins import Spec
from counterclone.queries import Query


class Range(Spec, frozen=True):
    """Refuse or clip numeric inputs outside [low, high].

    Copiers of linear models reach exact answers fastest far outside the deployment's inputs, and boundary
    searches need room there, so a closed domain is a real control. Inputs that aren't numbers pass.

    Attributes:
        low: the least admitted value, one for all features or one for each.
        high: the largest admitted value, likewise.
        mode: refuse the request, or clip its values to the range.
    """

    low: float | Annotated[tuple[float, ...], Meta(min_length=1)]
    high: float | Annotated[tuple[float, ...], Meta(min_length=1)]
    mode: Literal["refuse", "clip"] = "refuse"

    def __post_init__(self) -> None:
        """low <= high, feature by feature."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        if low.ndim and high.ndim and low.shape != high.shape:
            raise ValueError(f"`low` has {low.size} values and `high` {high.size}")
        if not (low <= high).all():  # nan is neither
            raise ValueError("`low` must not be above `high`, nor either be nan")

    def admit(self, query: Query) -> Query:
        """The query, clipped where `mode` says so.

        Raises:
            Refused: a value lies outside, or there are more or fewer features than bounds.
        """
        if query.features is None:
            return query
        low, high = np.asarray(self.low), np.asarray(self.high)
        for bound in (low, high):
            if bound.ndim and bound.size != query.features.shape[1]:
                raise Refused(f"the query has {query.features.shape[1]} features, expected {bound.size}; "
                              "send one value for each")
        missing = np.isnan(query.features)
        outside = (query.features < low) | (query.features > high) | missing
        if not outside.any():
            return query
        if self.mode == "clip":
            if not missing.any():
                return query.with_features(query.features.clip(low, high))
            outside = missing
        row, feature = np.argwhere(outside)[0]
        least, most = (np.broadcast_to(bound, outside.shape[1:])[feature] for bound in (low, high))
        raise Refused(f"feature {feature} of row {row} is {query.features[row, feature]:g}, expected "
                      f"{least:g} to {most:g}; scale the input as the model expects it")
