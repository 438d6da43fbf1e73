"""What servers count of what passes unread."""

from __future__ import annotations

import msgspec

from counterclone.errors import AnswerError
from counterclone.protocols import Body, Dialect
from counterclone.speech import Usage

_COUNTED = b'"usage"'
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def usage(dialect: Dialect, content: bytes) -> Usage:
    """The counts in an answer, or in an event's data, of which nothing else is read; none where it can't be."""
    if _COUNTED not in content:
        return Usage()
    try:
        fields = _fields.decode(content)
        if "usage" in fields:
            content = msgspec.json.encode({"usage": fields["usage"]})
        speech = dialect.read_answer(Body(content), 1, "").speech
    except (AnswerError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Usage()
    return Usage() if speech is None else speech.usage
