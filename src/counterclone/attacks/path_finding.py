"""Find the paths of a decision tree."""

from __future__ import annotations

import heapq
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from counterclone.attacks._borders import Borders
from counterclone.attacks._box import Box
from counterclone.attacks._evidence import Evidence
from counterclone.attacks._notebook import Asks
from counterclone.attacks._tree import Node, Tree
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

BEYOND = 2.0
"""How far outside the range of the pool splits are looked for, where such inputs are answered."""
PILOT, NEAR, NEARBY = 12, 3, 0.02
"""The first inputs, how many others are asked near each, and how near, as a share of half the range."""
POOLED = 0.2
"""How much of the budget the pool gets at first, where leaves may look alike."""
PROBES = 120
QUIET_WITH_IDS, QUIET = 1, 25
"""Batches of probes without a surprise after which it stops."""


class PathFinding(Spec, frozen=True):
    """Find the paths of a decision tree from what tells its leaves apart.

    The leaves of a tree are boxes, and a box lies in one leaf where two opposite corners of it do. So it asks two
    corners of the whole range; where their leaves differ, it turns the features of one into those of the other,
    half of them at a time, until one feature is left that changes the leaf; halves the interval of that feature
    down to the threshold; and goes on with the boxes on both sides. Thresholds are looked for where other paths
    have them, then at values of the pool and midway between them, then anywhere.

    Needs no more than labels, but what it finds depends on what answers show. Leaf ids give the tree itself, to
    `tolerance`, and it stops when queries that it held back agree. Without ids, a row of probabilities stands for
    its leaf, and leaves with the same row hide each other's borders; labels alone (taken where rows are noisy)
    tell least. Then it probes with the pool, mixtures of its inputs, even inputs and corners, and takes every
    surprise apart, until its budget is spent or surprises end, and claims nothing. It can't copy what is no tree:
    forests and networks have too many boxes. Small budgets leave the tree unfinished, and students do better.

    Tramer et al. 2016, "Stealing Machine Learning Models via Prediction APIs", section 4.2; there each feature is
    searched by itself, from one input of a leaf.

    Attributes:
        tolerance: how near to a threshold is near enough, as a share of the feature's range.
    """

    tolerance: Annotated[float, msgspec.Meta(ge=1e-12, le=0.1)] = 1e-6

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and build the tree."""
        finding = _Finding(prior, rng, self.tolerance)
        try:
            yield from finding.ask()
        except BudgetExhausted:
            return finding.surrogate(is_verified=False)
        return finding.surrogate(is_verified=finding.evidence.has_ids)


class _Finding:
    """One run: what was asked, and the tree so far."""

    def __init__(self, prior: Prior, rng: Generator, tolerance: float) -> None:
        self.evidence = Evidence(prior)
        self._rng = rng
        self._range = Box.of(prior)
        self._pool = np.asarray(prior.pool, dtype=np.float64).reshape(-1, len(prior.lower))
        self._close = 2.0 * tolerance * self._range.half
        self._borders = Borders(self.evidence, self._pool, self._close, rng)
        whole = self._range.widened(BEYOND) if prior.is_open else self._range
        self._root = Node(whole.lower, whole.upper, [], self._pool)
        self._queue: list[tuple[int, int, Node]] = []
        self._n_queued = 0

    def surrogate(self, *, is_verified: bool) -> Tree | None:
        """The tree so far; None where nothing was answered."""
        return Tree(self._root, self.evidence, is_verified=is_verified) if self._root.points else None

    def ask(self) -> Asks[None]:
        """Take the whole range apart, then probe what was found, and take surprises apart."""
        yield from self._pilot()
        self._enqueue(self._root)
        yield from self._explore()
        unasked, quiet = self._pool, 0
        while quiet < (QUIET_WITH_IDS if self.evidence.has_ids else QUIET):
            used, unasked = unasked[:PROBES // 2], unasked[PROBES // 2:]
            surprises = yield from self._probe(used)
            quiet = 0 if surprises else quiet + 1
            for node in surprises:
                self._enqueue(node)
            yield from self._explore()

    def _pilot(self) -> Asks[None]:
        """See what stands for a leaf: not rows, where an input and others near it all have different ones."""
        few = self._pool[:PILOT] if len(self._pool) else self._range.uniform(self._rng, PILOT)
        found = [(yield from self._ask(self._root, few))]
        if self.evidence.has_ids:
            return
        for _ in range(NEAR):
            steps = self._rng.uniform(-NEARBY, NEARBY, few.shape) * self._range.half
            near = np.clip(few + steps, self._root.lower, self._root.upper)
            found.append((yield from self._ask(self._root, near)))
        leaves = np.array(self.evidence.leaves)[np.array(found)]
        if any(len(set(each)) == len(each) for each in leaves.T.tolist()):
            self.evidence.trust_labels_only()
        yield from self._ask(self._root, self._pool[:int(POOLED * self.evidence.left)])

    def _ask(self, node: Node, inputs: Features) -> Asks[list[int]]:
        """Ask inputs inside a box; their places in the evidence."""
        before = len(self.evidence)
        try:
            return (yield from self.evidence.ask(inputs))
        finally:
            node.points += range(before, len(self.evidence))

    def _enqueue(self, node: Node) -> None:
        self._n_queued += 1  # so that no two are equal
        heapq.heappush(self._queue, (-len(node.pool), self._n_queued, node))

    def _explore(self) -> Asks[None]:
        """Take boxes apart until each lies in one leaf as far as is known, those with most of the pool first."""
        while self._queue:
            node = heapq.heappop(self._queue)[2]
            lower, upper = yield from self._ask(node, np.array([node.lower, node.upper]))
            pair = self._differing(node, lower, upper)
            if pair is None:
                continue
            before = len(self.evidence)
            try:
                border = yield from self._borders.between(*pair)
            finally:
                node.points += range(before, len(self.evidence))
            node.divide(border, self.evidence)
            for child in node.children:
                self._enqueue(child)

    def _differing(self, node: Node, lower: int, upper: int) -> tuple[Features, Features] | None:
        """Two queries in a box whose leaves differ; None where there are none.

        They are its corners where answers tell leaves apart, so that the first split of the box is found first.
        Where many leaves look alike they are near each other, and one of them is of the pool if it can be.
        """
        inputs, leaves = self.evidence.inputs, self.evidence.leaves
        if leaves[lower] != leaves[upper] and self.evidence.tells_apart:
            return inputs[lower], inputs[upper]
        other = next((i for i in node.points if leaves[i] != leaves[lower]), None)
        if other is None:
            return None
        same = [i for i in node.points if leaves[i] == leaves[lower]]
        n_features = [np.count_nonzero(inputs[i] != inputs[other]) for i in same]
        return inputs[same[int(np.argmin(n_features))]], inputs[other]

    def _probe(self, pooled: Features) -> Asks[list[Node]]:
        """Ask some of the pool, and as many inputs of other kinds; the leaves that were wrong on some."""
        nodes = list(self._root.nodes())
        tree = Tree(self._root, self.evidence)
        n_other = (PROBES - len(pooled)) // 3
        probes = np.concatenate([pooled, self._range.uniform(self._rng, n_other), self._mixtures(n_other),
                                 self._corners([node for node in nodes if node.border is None], n_other)])
        before = len(self.evidence)
        try:
            yield from self.evidence.ask(probes)
        finally:
            asked = self.evidence.inputs[before:]
            surprises = {}
            for i, place in enumerate(tree.places(np.array(asked)) if asked else (), before):
                node = nodes[place]
                if self.evidence.leaves[i] != self.evidence.leaves[node.points[0]]:
                    surprises[place] = node
                node.points.append(i)
        return list(surprises.values())

    def _mixtures(self, n: int) -> Features:
        """Inputs whose features are taken from two of the pool, (n, features)."""
        if not len(self._pool):
            return self._range.uniform(self._rng, n)
        one, other = self._pool[self._rng.integers(0, len(self._pool), (2, n))]
        mixed: Features = np.where(self._rng.random(one.shape) < self._rng.random((n, 1)), one, other)
        return mixed

    def _corners(self, leaves: list[Node], n: int) -> Features:
        """Corners of boxes, drawn evenly, (n, features)."""
        chosen = self._rng.integers(0, len(leaves), n)
        boxes = np.array([(leaves[i].lower, leaves[i].upper) for i in chosen])
        corners: Features = np.where(self._rng.random(boxes[:, 0].shape) < 0.5, boxes[:, 0], boxes[:, 1])
        return corners
