"""As much of DER as it takes to put the certificates of a timestamp in order."""

from __future__ import annotations

from collections.abc import Iterator

CERTIFICATES = 0xA0


def in_order(content: bytes) -> bytes:
    """An answer (RFC 3161) with its certificates sorted, as DER has it and many authorities don't.

    They aren't under the signature. What is no such answer stays as it is.
    """
    try:
        _, token = _parts(content, *_inside(content, 0))
        _, wrapped = _parts(content, *_inside(content, token[0]))
        signed, = _parts(content, *_inside(content, wrapped[0]))
        fields = _parts(content, *_inside(content, signed[0]))
        begin, end = next(_inside(content, place) for place, _ in fields if content[place] == CERTIFICATES)
        found = sorted(content[start:stop] for start, stop in _parts(content, begin, end))
    except (IndexError, ValueError, StopIteration):
        return content
    return content[:begin] + b"".join(found) + content[end:]


def _parts(content: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    """Where each value of a sequence begins and ends."""
    return list(_walk(content, begin, end))


def _walk(content: bytes, place: int, end: int) -> Iterator[tuple[int, int]]:
    while place < end:
        _, stop = _inside(content, place)
        if stop > end:
            raise ValueError("a value is longer than what it is in")
        yield place, stop
        place = stop


def _inside(content: bytes, place: int) -> tuple[int, int]:
    """Where the content of the value at a place begins and ends."""
    length, begin = content[place + 1], place + 2
    if length & 0x80:
        n_bytes = length & 0x7F
        if not n_bytes:
            raise ValueError("no length")
        length, begin = int.from_bytes(content[begin:begin + n_bytes]), begin + n_bytes
    return begin, begin + length
