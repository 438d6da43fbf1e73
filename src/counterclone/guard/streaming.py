"""An answer that comes as a stream of events: each is read, released and sent on as it comes, none is merged."""

from __future__ import annotations

from collections.abc import Sequence

from counterclone.errors import AnswerError
from counterclone.guard import counting, events
from counterclone.guard.events import DONE, Event, Events
from counterclone.guard.release import Terms
from counterclone.protocols import Body, Dialect
from counterclone.releases import SpeechReleases
from counterclone.speech import BITS_PER_BYTE, Said, Speech, Usage


class Stream:
    """One streamed answer.

    Args:
        dialect: reads and writes each event's data.
        terms: what the account gets, for the bits that an event tells.
        releases: what leaves; None for all as it comes, of which only the counts are read.
        limit_bytes: of one event, and of all where they are cleaned, since a policy may hold them back.

    Attributes:
        usage: what the server says it counted.
        tokens_out: tokens of the texts, estimated.
        bits: an upper bound on the bits that were released.
        is_broken: whether something in it couldn't be read.
    """

    def __init__(self, dialect: Dialect, terms: Terms, releases: SpeechReleases | None, limit_bytes: int) -> None:
        self._dialect, self._terms, self._releases = dialect, terms, releases
        self._events = Events(limit_bytes)
        self._limit, self._n_bytes = limit_bytes, 0
        self._last: dict[str, tuple[Event, bytes]] = {}
        self.usage = Usage()
        self.tokens_out = self.bits = 0.0
        self.is_broken = False
        self._unsent = b""

    @property
    def is_between_events(self) -> bool:
        """Whether what has left ends with an event's end, so that another one may follow."""
        return self._releases is not None or not (self.is_broken or self._events.left)

    def feed(self, chunk: bytes) -> list[bytes]:
        """What leaves of the next bytes, an event each; an event's beginning waits for its end.

        Raises:
            AnswerError: an event can't be cleaned.
        """
        if self._releases is None:
            self._look(chunk)
            self.bits += BITS_PER_BYTE * len(chunk)
            return [chunk]
        self._unsent = self._events.left + chunk
        self._n_bytes += len(chunk)
        if self._n_bytes > self._limit:
            raise AnswerError(f"the answer is over {self._limit} bytes; ask for less at a time")
        return [raw for event in self._events.feed(chunk) for raw in self._released(event, self._releases)]

    def pass_on(self) -> list[bytes]:
        """What wasn't sent when an event couldn't be cleaned; from here on all goes on as it comes."""
        self._releases, self.is_broken = None, True
        return [self._unsent]

    def finish(self) -> list[bytes]:
        """What is left when the server is done.

        Raises:
            AnswerError: it can't be cleaned.
        """
        if self._releases is None:
            return []
        rest = [raw for event in self._events.finish() for raw in self._released(event, self._releases)]
        return rest + self._rest(self._releases)

    def _look(self, chunk: bytes) -> None:
        """Count what passes; what can't be read passes uncounted."""
        if self.is_broken:
            return
        try:
            for event in self._events.feed(chunk):
                self.tokens_out += bool(event.data)
                self.usage = self.usage.then(counting.usage(self._dialect, event.data))
        except AnswerError:
            self.is_broken = True

    def _released(self, event: Event, releases: SpeechReleases) -> list[bytes]:
        """An event as it leaves, after what it lets go of that was held back."""
        if not event.data.strip():
            return [event.raw]
        if event.data.strip() == DONE:
            return [*self._rest(releases), event.raw]
        before: list[bytes] = []
        documents = events.documents(event.data)
        written = [self._document(event, each, releases, before) for each in documents]
        is_same = all(new is old for new, old in zip(written, documents, strict=True))
        return [*before, event.raw if is_same else event.with_data(b"\n".join(written)).raw]

    def _document(self, event: Event, data: bytes, releases: SpeechReleases, before: list[bytes]) -> bytes:
        answer = self._dialect.read_answer(Body(data), 1, "")
        speech = answer.speech
        if speech is None:
            raise AnswerError("the answer's events aren't in the request's format; expected texts")
        self.usage = self.usage.then(speech.usage)
        released = releases.feed(speech)
        if speech.said and released is not speech:
            released = self._with_held(speech, released, before)
        self._keep(event, data, speech.said)
        self.tokens_out += speech.tokens_out
        self.bits += self._terms.speech_bits(released)
        if released is speech:
            return data
        return self._dialect.write_answer(answer.with_speech(released), {}).content

    def _with_held(self, speech: Speech, released: Speech, before: list[bytes]) -> Speech:
        """The speech without what an end let go of and has no place for: that goes before it, in another event."""
        said = list(released.said)
        for place, (old, new) in enumerate(zip(speech.said, said, strict=True)):
            if old.is_last and not old.text and new.text and old.name in self._last:
                before.append(self._again(old.name, new.text))
                said[place] = old
        return released._replace(said=said)

    def _keep(self, event: Event, data: bytes, said: Sequence[Said]) -> None:
        for each in said:
            if each.text and not each.is_last:
                self._last[each.name] = event, data
            elif each.is_last:
                self._last.pop(each.name, None)

    def _rest(self, releases: SpeechReleases) -> list[bytes]:
        """Texts whose end never came."""
        return [self._again(name, text) for name, text in releases.finish().items()
                if text and name in self._last]

    def _again(self, name: str, text: str) -> bytes:
        """The last event of a text with another piece of it, and nothing else that was in it."""
        event, data = self._last[name]
        answer = self._dialect.read_answer(Body(data), 1, "")
        speech = answer.speech
        assert speech is not None  # it was read before
        said = [each._replace(text=text if each.name == name else "") for each in speech.said]
        self.bits += self._terms.speech_bits(Speech(said))
        return event.with_data(self._dialect.write_answer(answer.with_speech(Speech(said)), {}).content).raw
