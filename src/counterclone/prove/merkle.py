"""The Merkle tree of RFC 6962 (certificate transparency): roots, proofs, and their verification.

A leaf's hash is SHA-256(0 ‖ record), a node's SHA-256(1 ‖ left ‖ right); a tree of n leaves is split at the
largest power of two below n (section 2.1). Verification is RFC 9162's, sections 2.1.3 and 2.1.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(record: bytes) -> bytes:
    """The hash of a record."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """What a growing tree must remember for its root: the hashes of its full subtrees, one a digit of its size.

    Attributes:
        size: leaves so far.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []

    def append(self, record: bytes) -> None:
        """Add a record."""
        self.append_hash(leaf_hash(record))

    def append_hash(self, carried: bytes) -> None:
        """Add a record by its leaf's hash."""
        self.size += 1
        peaks = self._peaks
        for level, peak in enumerate(peaks):
            if peak is None:
                peaks[level] = carried
                return
            carried = node_hash(peak, carried)
            peaks[level] = None
        peaks.append(carried)

    def root(self) -> bytes:
        """The root of all records so far."""
        found: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                found = peak if found is None else node_hash(peak, found)
        return EMPTY_ROOT if found is None else found


class Tree:
    """A whole tree in memory, for proofs: O(log n) each.

    Args:
        records: the leaves.
    """

    def __init__(self, records: Iterable[bytes]) -> None:
        level = [leaf_hash(record) for record in records]
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(level)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The path from a leaf to the root of the first `size` leaves (RFC 6962, section 2.1.1).

        Raises:
            ValueError: there is no such leaf.
        """
        if not 0 <= index < size <= self.size:
            raise ValueError(f"leaf {index} isn't among the first {size} of {self.size}")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._hash(middle, high))
                high = middle
            else:
                path.append(self._hash(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """That the first `old` leaves of the first `new` ones are unchanged (RFC 6962, section 2.1.2).

        Raises:
            ValueError: the sizes don't fit.
        """
        if not 0 < old <= new <= self.size:
            raise ValueError(f"sizes {old} and {new} aren't in order up to {self.size}")
        proof, low, high, is_whole = [], 0, new, True
        while high - low > 1 and old < high:
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                low, is_whole = middle, False
        return (proof if is_whole else [*proof, self._hash(low, high)])[::-1]

    def _hash(self, low: int, high: int) -> bytes:
        """The hash of a range that a split makes: full subtrees are remembered."""
        size = high - low
        level = size.bit_length() - 1
        if size == 1 << level and low % size == 0:
            return self._levels[level][low >> level]
        middle = low + _split(size)
        return node_hash(self._hash(low, middle), self._hash(middle, high))


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether a path leads from a leaf's hash to a root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(sibling, found)
            number, last = _at_its_last_right_turn(number, last)
        else:
            found = node_hash(found, sibling)
        number >>= 1
        last >>= 1
    return last == 0 and found == root


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that a tree grew from another one (RFC 9162, section 2.1.4.2)."""
    if old == new:
        return old_root == new_root and not proof
    if not 0 < old < new:
        return False
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    if not steps:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number >>= 1
        last >>= 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            before, after = node_hash(step, before), node_hash(step, after)
            number, last = _at_its_last_right_turn(number, last)
        else:
            after = node_hash(after, step)
        number >>= 1
        last >>= 1
    return last == 0 and before == old_root and after == new_root


def _at_its_last_right_turn(number: int, last: int) -> tuple[int, int]:
    """A node and the last one of its level, moved up past the levels where the node has no sibling."""
    while number and not number & 1:
        number, last = number >> 1, last >> 1
    return number, last


def _split(size: int) -> int:
    """The largest power of two below a size of 2 or more."""
    return int(1 << ((size - 1).bit_length() - 1))
