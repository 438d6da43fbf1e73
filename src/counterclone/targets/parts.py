"""Batches that are asked in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from counterclone.answers import Reply
from counterclone.errors import TargetError


def joined(parts: Sequence[Reply]) -> Reply:
    """The reply to a batch from those to its parts, in order.

    Raises:
        TargetError: they differ in form.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.rows.shape[1], part.logits is None, part.ids is None) for part in parts}) > 1:
        shapes = ", ".join(str(part.rows.shape) for part in parts)
        raise TargetError(f"the parts of a batch got answers of the shapes {shapes}; expected as many classes")
    return Reply(*(_joined(pieces) for pieces in zip(*parts, strict=True)))


def _joined(pieces: Sequence[Any]) -> Any:
    if pieces[0] is None:
        return None
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return [text for piece in pieces for text in piece]
