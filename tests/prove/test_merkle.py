"""Roots and proofs against RFC 6962's definition, published vectors and another implementation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from counterclone.prove import merkle

LEAVES = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
"""The test leaves of the certificate-transparency project, with its roots of the first n."""
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
records = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots(size: int) -> None:
    frontier = merkle.Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    assert frontier.root().hex() == merkle.Tree(LEAVES).root(size).hex() == ROOTS[size - 1]


@given(records)
def test_roots_are_the_definitions(leaves: list[bytes]) -> None:
    frontier, tree = merkle.Frontier(), merkle.Tree(leaves)
    assert frontier.root() == merkle.EMPTY_ROOT == tree.root(0)
    for size, leaf in enumerate(leaves, start=1):
        frontier.append(leaf)
        assert frontier.root() == tree.root(size) == defined_root(leaves[:size])
    assert frontier.size == tree.size == len(leaves)


@given(records, st.data())
def test_a_leaf_is_included_where_it_is_and_nowhere_else(leaves: list[bytes], data: st.DataObject) -> None:
    tree = merkle.Tree(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    path, leaf, root = tree.inclusion(index, size), merkle.leaf_hash(leaves[index]), tree.root(size)
    assert merkle.includes(root, size, index, leaf, path)
    assert not merkle.includes(root, size, index, merkle.leaf_hash(leaves[index] + b"!"), path)
    assert not merkle.includes(merkle.leaf_hash(root), size, index, leaf, path)
    assert not merkle.includes(root, size, size, leaf, path)
    assert not merkle.includes(root, size, index, leaf, [*path, root])
    if path:
        assert not merkle.includes(root, size, index, leaf, path[:-1])


@given(records, st.data())
def test_a_tree_that_grew_is_consistent_and_a_changed_one_is_not(leaves: list[bytes], data: st.DataObject) -> None:
    tree = merkle.Tree(leaves)
    new = data.draw(st.integers(1, len(leaves)))
    old = data.draw(st.integers(1, new))
    proof = tree.consistency(old, new)
    assert merkle.is_consistent(old, tree.root(old), new, tree.root(new), proof)
    changed = merkle.Tree([leaves[0] + b"!", *leaves[1:]])
    assert not merkle.is_consistent(old, tree.root(old), new, changed.root(new), proof)
    assert not merkle.is_consistent(old, changed.root(old), new, tree.root(new), proof)
    assert not merkle.is_consistent(old, tree.root(old), new, tree.root(new), [*proof, proof[0] if proof else b""])
    if old < new:
        assert not merkle.is_consistent(old, tree.root(old), new, tree.root(new), [])


@given(st.lists(st.binary(max_size=8), min_size=2, max_size=40), st.data())
def test_another_implementation_makes_the_same_trees_and_proofs(leaves: list[bytes], data: st.DataObject) -> None:
    other, tree = InmemoryTree(algorithm="sha256"), merkle.Tree(leaves)
    for leaf in leaves:
        other.append_entry(leaf)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    assert other.get_root(size) == tree.root(size)
    theirs = other.prove_inclusion(index + 1, size).serialize()["path"]  # from the left, the leaf among them
    ours = [merkle.leaf_hash(leaves[index]), *tree.inclusion(index, size)]
    assert sorted(theirs) == sorted(each.hex() for each in ours)


@pytest.mark.parametrize(("index", "size"), [(-1, 2), (2, 2), (0, 4)])
def test_no_path_to_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="isn't among"):
        merkle.Tree([b"a", b"b", b"c"]).inclusion(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 2), (3, 2), (1, 4)])
def test_no_growth_between_sizes_that_do_not_fit(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="aren't in order"):
        merkle.Tree([b"a", b"b", b"c"]).consistency(old, new)
    assert not merkle.is_consistent(0, b"", 2, b"", [])
