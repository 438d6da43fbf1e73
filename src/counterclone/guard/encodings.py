"""Compressed request bodies, unpacked within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from counterclone.errors import TooLarge, UnknownFormat

LARGEST_RATIO = 200
"""Bytes that a compressed byte may become; JSON of numbers seldom passes 20."""
FREE_BYTES = 1 << 20
"""What a body may become whatever its ratio, since a short one of equal rows packs well."""


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A body without its `content-encoding`.

    Args:
        body: as it came.
        encoding: the header, in lower case.
        limit: the most bytes that it may become.

    Raises:
        UnknownFormat: another encoding than gzip, deflate or br, or a body that isn't in it.
        TooLarge: it becomes more than the limit, or many times its size.
    """
    unpack = _ENCODINGS.get(encoding)
    if unpack is None:
        raise UnknownFormat("the body is compressed in no way that is read; send it as gzip, deflate, br or plain")
    most = min(limit, max(FREE_BYTES, LARGEST_RATIO * len(body)))
    content, is_whole = unpack(body, most)
    if len(content) > most:
        raise TooLarge(f"the body unpacks to more than {most} bytes; send fewer rows at a time, or send it plain")
    if not is_whole:
        raise UnknownFormat(f"the body is no {encoding.decode()}; send it as its content-encoding says")
    return content


def _gzip(body: bytes, most: int) -> tuple[bytes, bool]:
    """A single gzip member (RFC 1952) or zlib stream (RFC 1950), up to one byte over the most."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        content = stream.decompress(body, most + 1)
    except zlib.error:
        return b"", False
    return content, stream.eof and not stream.unused_data


def _brotli(body: bytes, most: int) -> tuple[bytes, bool]:
    """A brotli stream (RFC 7932), up to one buffer over the most."""
    try:
        import brotli
    except ImportError:
        raise UnknownFormat("br isn't read here; send the body as gzip, deflate or plain") from None
    stream = brotli.Decompressor()
    content = bytearray()
    try:
        content += stream.process(body, output_buffer_limit=most + 1)
        while len(content) <= most and not stream.is_finished() and not stream.can_accept_more_data():
            content += stream.process(b"", output_buffer_limit=most + 1)
    except brotli.error:
        return b"", False
    return bytes(content), stream.is_finished()


_ENCODINGS: dict[bytes, Callable[[bytes, int], tuple[bytes, bool]]] = {
    b"gzip": _gzip, b"x-gzip": _gzip, b"deflate": _gzip, b"br": _brotli}
