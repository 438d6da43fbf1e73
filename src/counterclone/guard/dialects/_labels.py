"""The labels that an answer tells beside its probabilities, and how they follow a row that a mark changed."""

from __future__ import annotations

import re
from collections.abc import Sequence

LABEL_WORDS = re.compile(r"label|class|predict|categor|argmax|answer", re.IGNORECASE)
"""In the name of an output that holds labels."""
FEW = 4
"""So many whole numbers equal to the rows' labels are labels, whatever they are called."""


class Unmappable(Exception):
    """An answer tells a label that can't be made to agree with another row."""


def relabelled(name: str, values: Sequence[object], truths: Sequence[int],
               labels: Sequence[int]) -> list[int] | None:
    """Values that follow changed rows; None where they aren't labels.

    Args:
        name: of the output or field.
        values: one a row, as the model told them.
        truths: the label that each row's probabilities had, (rows,).
        labels: the one that they have now, (rows,).

    Raises:
        Unmappable: they look like labels, and nobody can say which is which.
    """
    is_named = LABEL_WORDS.search(name) is not None
    if len(values) != len(truths):
        return None
    whole = [value for value in values if type(value) is int]
    if len(whole) < len(values):
        if is_named and any(isinstance(value, str) for value in values):
            raise Unmappable(name)
        return None
    offsets = {value - truth for value, truth in zip(whole, truths, strict=True)}
    if offsets == {0} and (is_named or len(whole) >= FEW):
        return list(labels)
    if is_named and len(offsets) == 1 and len(set(truths)) > 1:  # counted from one, say
        offset = offsets.pop()
        return [label + offset for label in labels]
    if is_named and len(set(whole)) <= len(set(truths)):
        raise Unmappable(name)
    return None
