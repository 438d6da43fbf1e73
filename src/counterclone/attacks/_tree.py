"""Decision trees as they grow, and what they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from counterclone.answers import Rows
from counterclone.attacks._borders import Border
from counterclone.attacks._evidence import Evidence
from counterclone.queries import Features, Inputs


class Node:
    """A box of a growing tree: a leaf until it is divided.

    Attributes:
        lower: its least corner, (features,).
        upper: its largest.
        points: the places of the queries inside, in the evidence.
        pool: inputs of the pool inside, (n, features).
        border: where it is divided, None in a leaf.
        children: the parts below and above the border.
    """

    def __init__(self, lower: Features, upper: Features, points: list[int], pool: Features) -> None:
        self.lower = lower
        self.upper = upper
        self.points = points
        self.pool = pool
        self.border: Border | None = None
        self.children: tuple[Node, ...] = ()

    def divide(self, border: Border, evidence: Evidence) -> None:
        """Divide it in two, with what is inside."""
        feature = border.feature
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[feature], lower[feature] = border.low, border.high
        is_below = self.pool[:, feature] <= border.low
        below = [i for i in self.points if evidence.inputs[i][feature] <= border.low]
        above = [i for i in self.points if evidence.inputs[i][feature] > border.low]
        self.border = border
        self.children = (Node(self.lower, upper, below, self.pool[is_below]),
                         Node(lower, self.upper, above, self.pool[~is_below]))

    def leaf_of(self, one: Features) -> Node:
        """Where an input, (features,), ends."""
        node = self
        while node.border is not None:
            node = node.children[int(one[node.border.feature] > node.border.low)]
        return node

    def nodes(self) -> Iterator[Node]:
        """It and all below it, parents first."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children


class Tree:
    """A decision tree.

    Args:
        root: the tree as it has grown.
        evidence: what its leaves answered.
        is_verified: whether it was found exact on queries that it wasn't built from.
    """

    def __init__(self, root: Node, evidence: Evidence, *, is_verified: bool = False) -> None:
        nodes = list(root.nodes())
        places = {id(node): i for i, node in enumerate(nodes)}
        self.is_verified = is_verified
        self._features = np.array([node.border.feature if node.border else -1 for node in nodes])
        self._thresholds = np.array([node.border.low if node.border else 0.0 for node in nodes])
        self._children = np.array([[places[id(child)] for child in node.children] or [i, i]
                                   for i, node in enumerate(nodes)])
        self._rows = np.array([_row(node, evidence) for node in nodes if not node.children])
        self._leaves = np.cumsum(self._features < 0) - 1  # a node's place among leaves

    def answer(self, inputs: Inputs) -> Rows:
        """The rows of the leaves: (queries, classes)."""
        asked = np.asarray(inputs, dtype=np.float64)
        at = np.zeros(len(asked), dtype=np.intp)
        every = np.arange(len(asked))
        while (self._features[at] >= 0).any():
            is_above = asked[every, self._features[at]] > self._thresholds[at]
            at = self._children[at, is_above.astype(np.intp)]
        rows: Rows = self._rows[self._leaves[at]]
        return rows

    def splits(self) -> list[tuple[int, float]]:
        """The feature and the threshold of each split; inputs with that value or less go below."""
        pairs = zip(self._features.tolist(), self._thresholds.tolist(), strict=True)
        return [(feature, threshold) for feature, threshold in pairs if feature >= 0]


def _row(node: Node, evidence: Evidence) -> Rows:
    """What most of the queries in a box were answered."""
    leaves = [evidence.leaves[i] for i in node.points]
    most = Counter(leaves).most_common(1)[0][0]
    return evidence.rows[node.points[leaves.index(most)]]
