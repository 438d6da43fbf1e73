from __future__ import annotations

import contextlib
import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from counterclone.errors import TooLarge, UnknownFormat
from counterclone.guard import encodings
from counterclone.guard.encodings import FREE_BYTES, LARGEST_RATIO, unpacked

LIMIT = 10_000_000
PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress, b"x-gzip": gzip.compress, b"deflate": zlib.compress,
    b"br": lambda content: bytes(brotli.compress(content, quality=5))}
QUERY = b'{"instances": [[1.0, 2.0, 3.0]]}'


@pytest.mark.parametrize("encoding", PACK)
@given(content=st.binary(max_size=3000))
@example(content=b"")
def test_what_was_packed_comes_out_again(encoding: bytes, content: bytes) -> None:
    assert unpacked(PACK[encoding](content), encoding, LIMIT) == content


@pytest.mark.parametrize("encoding", PACK)
@given(content=st.binary(min_size=1, max_size=3000), limit=st.integers(0, 3000))
def test_nothing_comes_out_beyond_the_limit(encoding: bytes, content: bytes, limit: int) -> None:
    packed = PACK[encoding](content)
    if len(content) <= limit:
        assert unpacked(packed, encoding, limit) == content
    else:
        with pytest.raises(TooLarge, match=f"unpacks to more than {limit} bytes"):
            unpacked(packed, encoding, limit)


@pytest.mark.parametrize("encoding", PACK)
@given(content=st.binary(max_size=200), junk=st.binary(min_size=1, max_size=20))
def test_bytes_behind_the_end_are_no_part_of_it(encoding: bytes, content: bytes, junk: bytes) -> None:
    """Another reader might take them for more."""
    with pytest.raises(UnknownFormat, match=f"no {encoding.decode()}"):
        unpacked(PACK[encoding](content) + junk, encoding, LIMIT)


@pytest.mark.parametrize("encoding", PACK)
@given(content=st.binary(min_size=1, max_size=200), cut=st.integers(1, 200))
def test_half_of_it_is_nothing(encoding: bytes, content: bytes, cut: int) -> None:
    packed = PACK[encoding](content)
    with pytest.raises(UnknownFormat):
        unpacked(packed[:-min(cut, len(packed))], encoding, LIMIT)


@pytest.mark.parametrize("encoding", PACK)
@given(body=st.binary(max_size=300), limit=st.integers(0, 300))
def test_any_bytes_come_out_or_are_refused(encoding: bytes, body: bytes, limit: int) -> None:
    with contextlib.suppress(TooLarge, UnknownFormat):
        assert len(unpacked(body, encoding, limit)) <= limit


@pytest.mark.parametrize("encoding", PACK)
@given(content=st.binary(max_size=200), where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_no_crash(encoding: bytes, content: bytes, where: int, bit: int) -> None:
    packed = bytearray(PACK[encoding](content))
    packed[where % len(packed)] ^= 1 << bit
    with contextlib.suppress(TooLarge, UnknownFormat):
        unpacked(bytes(packed), encoding, LIMIT)


BOMBS: dict[bytes, Callable[[int], bytes]] = {
    b"gzip": lambda size: gzip.compress(bytes(size), 6), b"deflate": lambda size: zlib.compress(bytes(size), 6),
    b"br": lambda size: bytes(brotli.compress(bytes(size), quality=5))}


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_goes_off_in_a_small_room(encoding: bytes) -> None:
    bomb = BOMBS[encoding](40_000_000)
    for limit in (1 << 30, LIMIT, 1000):
        tracemalloc.start()
        with pytest.raises(TooLarge):
            unpacked(bomb, encoding, limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * max(FREE_BYTES, min(limit, LARGEST_RATIO * len(bomb))) + (1 << 20)


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_megabyte_is_free_and_many_rows_alike_are_no_bomb(encoding: bytes) -> None:
    assert unpacked(BOMBS[encoding](FREE_BYTES), encoding, LIMIT) == bytes(FREE_BYTES)
    rows = b"".join(b"[%d.0, %d.0]," % (number, number % 7) for number in range(100_000))
    assert unpacked(PACK[encoding](rows), encoding, LIMIT) == rows


@pytest.mark.parametrize(("body", "encoding"), [
    (gzip.compress(gzip.compress(QUERY)), b"gzip, gzip"), (gzip.compress(brotli.compress(QUERY)), b"br, gzip"),
    (QUERY, b"identity, identity"), (QUERY, b""), (QUERY, b"zstd"), (QUERY, b"compress"), (QUERY, b"gzip\0"),
    (zlib.compress(QUERY)[2:-4], b"deflate"), (gzip.compress(QUERY) * 2, b"gzip"), (QUERY, b"gzip"),
    (QUERY, b"br"), (b"", b"gzip"), (b"", b"br"), (gzip.compress(QUERY)[:-8] + bytes(8), b"gzip"),
], ids=["twice", "nested", "list", "empty", "zstd", "compress", "null", "raw deflate", "two members",
        "plain as gzip", "plain as br", "nothing as gzip", "nothing as br", "wrong checksum"])
def test_what_others_may_read_otherwise_is_refused(body: bytes, encoding: bytes) -> None:
    with pytest.raises(UnknownFormat):
        unpacked(body, encoding, LIMIT)


def test_nested_compression_is_unpacked_once() -> None:
    """What is in it is then no query."""
    inner = gzip.compress(QUERY)
    assert unpacked(gzip.compress(inner), b"gzip", LIMIT) == inner


def test_brotli_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(UnknownFormat, match="br isn't read here"):
        encodings.unpacked(brotli.compress(QUERY), b"br", LIMIT)
