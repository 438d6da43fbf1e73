"""Server-sent events, as browsers read them: split into events as they come, and written with other data.

The one decoder of every dialect that streams (HTML Living Standard, section 9.2.6). Lines end with LF, CR LF or
CR; an event ends with an empty line. Comments, pings, names and ids stay byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from counterclone.errors import AnswerError

DONE = b"[DONE]"
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_MARK = b"\xef\xbb\xbf"
_decode = json.JSONDecoder().raw_decode
_one = msgspec.json.Decoder(msgspec.Raw)


def is_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an answer with these headers is a stream of events that nobody compressed."""
    if headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        return False
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"text/event-stream"


class Event(NamedTuple):
    """One event.

    Attributes:
        raw: all its bytes, its end included.
        data: its data; empty for an event without any, as comments and pings are.
    """

    raw: bytes
    data: bytes

    def with_data(self, data: bytes) -> Event:
        """The event with other data; its other lines stay."""
        bare = self.raw.removeprefix(_MARK)
        lines = [self.raw[:len(self.raw) - len(bare)], *_LINE.findall(bare)]
        place = next(i for i, line in enumerate(lines) if _is_data(line))
        end = lines[place][len(lines[place].rstrip(b"\r\n")):] or b"\n"
        written = b"".join(b"data: " + line + end for line in data.splitlines())
        others = [line for line in lines[place + 1:] if not _is_data(line)]
        return Event(b"".join([*lines[:place], written, *others]), data)


class Events:
    """Bytes to events.

    Args:
        limit_bytes: of one event.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._left = bytearray()
        self._searched = 0

    @property
    def left(self) -> bytes:
        """The beginning of an event that isn't whole."""
        return bytes(self._left)

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are whole now.

        Raises:
            AnswerError: one is too long to hold.
        """
        left = self._left
        left += chunk
        found, start = [], 0
        for match in _END.finditer(left, max(self._searched - 3, 0)):
            found.append(_event(bytes(left[start:match.end()])))
            start = match.end()
        del left[:start]
        self._searched = len(left)
        if len(left) > self._limit:
            raise AnswerError(f"an event of the answer is over {self._limit} bytes; ask for less at a time")
        return found

    def finish(self) -> list[Event]:
        """What was begun and never ended, which some clients read as an event all the same."""
        left, self._left = bytes(self._left), bytearray()
        return [_event(left)] if left else []


def documents(data: bytes) -> list[bytes]:
    """The JSON documents in an event's data: one, or several that a server wrote without an event's end between.

    Raises:
        AnswerError: it holds something else.
    """
    try:
        return [bytes(_one.decode(data))]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # the rare one, looked at again
    try:
        text = data.decode()
        found, start = [], 0
        while start < len(text):
            _, end = _decode(text, start)
            found.append(text[start:end].encode())
            start = end + len(text[end:]) - len(text[end:].lstrip())
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the answer has an event that is no JSON ({error}); expected a JSON object") from None
    return found


def written(name: bytes, documents: Sequence[bytes]) -> bytes:
    """An event of our own; a name of b"" leaves it out."""
    head = b"event: " + name + b"\n" if name else b""
    return head + b"".join(b"data: " + each + b"\n" for each in documents) + b"\n"


def _event(raw: bytes) -> Event:
    lines = (line.rstrip(b"\r\n") for line in _LINE.findall(raw.removeprefix(_MARK)))
    return Event(raw, b"\n".join(line[6:] if line[5:6] == b" " else line[5:] for line in lines if _is_data(line)))


def _is_data(line: bytes) -> bool:
    return line[:5] == b"data:" or line.rstrip(b"\r\n") == b"data"
