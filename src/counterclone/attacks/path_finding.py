"""Find the paths of a decision tree."""

from __future__ import annotations

import heapq
import itertools
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from counterclone.attacks._borders import Border, Borders
from counterclone.attacks._box import Box
from counterclone.attacks._evidence import Evidence, Search
from counterclone.attacks._notebook import Asks
from counterclone.attacks._tree import Node, Tree
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

BEYOND = 2.0
"""How far outside the range of the pool splits are looked for, where such inputs are answered."""
AT_ONCE = 4
"""Boxes that are searched side by side: more make fewer calls, and know less of each other's borders."""
PILOT, STEPS, NEARBY = 12, 5, 0.02
"""The first inputs, how many are asked on a line through each, and how far away, as a share of half the range."""
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
    tell least. Then it probes with the pool, even inputs and corners, and takes every surprise apart, until its
    budget is spent or surprises end, and claims nothing. It can't copy what is no tree: forests and networks have
    too many boxes. Small budgets leave the tree unfinished, and students do better.

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
        self._n_queued = self._n_placed = 0

    def surrogate(self, *, is_verified: bool) -> Tree | None:
        """The tree so far; None where nothing was answered."""
        return Tree(self._root, self.evidence, is_verified=is_verified) if len(self.evidence) else None

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
        """See what stands for a leaf: not rows that come back on a short line, or all differ there.

        A line meets a box once: so rows that come back are noisy.
        """
        few = self._pool[:PILOT] if len(self._pool) else self._range.uniform(self._rng, PILOT)
        yield from self._ask(few)
        if self.evidence.has_ids:
            return
        way = self._rng.choice((-NEARBY, NEARBY), few.shape) * self._range.half
        found = []
        for share in np.linspace(-1.0, 1.0, STEPS):
            found.append((yield from self._ask(np.clip(few + share * way, self._root.lower, self._root.upper))))
        lines = np.array(self.evidence.leaves)[np.array(found).T].tolist()
        if any(len(set(line)) < len(list(itertools.groupby(line))) or len(set(line)) == STEPS for line in lines):
            self.evidence.trust_labels_only()

    def _ask(self, inputs: Features) -> Asks[list[int]]:
        """Ask inputs, and note them where they end; their places in the evidence."""
        try:
            return (yield from self.evidence.ask(inputs))
        finally:
            for i in range(self._n_placed, len(self.evidence)):
                self._root.leaf_of(self.evidence.inputs[i]).points.append(i)
            self._n_placed = len(self.evidence)

    def _enqueue(self, node: Node) -> None:
        self._n_queued += 1  # so that no two are equal
        heapq.heappush(self._queue, (-len(node.pool), self._n_queued, node))

    def _explore(self) -> Asks[None]:
        """Take boxes apart until each lies in one leaf as far as is known, those with most of the pool first.

        Several are searched side by side, so that their queries go in one batch.
        """
        searches: list[tuple[Node, Search[Border | None]]] = []
        while self._queue or searches:
            while self._queue and len(searches) < AT_ONCE:
                node = heapq.heappop(self._queue)[2]
                searches.append((node, self._search(node)))
            going, wanted = [], []
            for node, search in searches:
                try:
                    wanted.append(next(search))
                    going.append((node, search))
                except StopIteration as end:
                    self._divide(node, end.value)
            searches = going
            if wanted:
                yield from self._ask(np.array(wanted))

    def _divide(self, node: Node, border: Border | None) -> None:
        if border is not None:
            node.divide(border, self.evidence)
            for child in node.children:
                self._enqueue(child)

    def _search(self, node: Node) -> Search[Border | None]:
        """A border in a box, None where it lies in one leaf as far as is known.

        It is looked for between opposite corners if they differ: the first split of the box lies between them.
        """
        inputs, leaves = self.evidence.inputs, self.evidence.leaves
        leaf = yield from self.evidence.leaf(node.lower)
        other = yield from self.evidence.leaf(node.upper)
        if leaf != other:
            return (yield from self._borders.between(node.lower, node.upper))
        one = next((inputs[i] for i in node.points if leaves[i] != leaf), None)
        if one is None:
            return None
        same = [inputs[i] for i in node.points if leaves[i] == leaf]
        nearest = min(same, key=lambda each: np.count_nonzero(each != one))
        return (yield from self._borders.between(nearest, one))

    def _probe(self, pooled: Features) -> Asks[list[Node]]:
        """Ask some of the pool, and as many inputs of other kinds; the leaves that were wrong on some."""
        n_other = (PROBES - len(pooled)) // 2
        probes = np.concatenate([pooled, self._range.uniform(self._rng, n_other), self._corners(n_other)])
        before = len(self.evidence)
        yield from self._ask(probes)
        surprises = {}
        for i in range(before, len(self.evidence)):
            node = self._root.leaf_of(self.evidence.inputs[i])
            if self.evidence.leaves[i] != self.evidence.leaves[node.points[0]]:
                surprises[id(node)] = node
        return list(surprises.values())

    def _corners(self, n: int) -> Features:
        """Corners of boxes, drawn evenly, (n, features)."""
        leaves = [node for node in self._root.nodes() if node.border is None]
        chosen = self._rng.integers(0, len(leaves), n)
        boxes = np.array([(leaves[i].lower, leaves[i].upper) for i in chosen])
        corners: Features = np.where(self._rng.random(boxes[:, 0].shape) < 0.5, boxes[:, 0], boxes[:, 1])
        return corners
