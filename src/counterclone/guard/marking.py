"""Marks on their way out: into the rows before any policy, and into the ledger before the answer leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Answer, Rows, label_list
from counterclone.errors import LedgerError
from counterclone.evidence import Accepted, Entry, Payload, Role
from counterclone.protocols import Ledger, TextWatermark, Watermark
from counterclone.queries import Query, canonical_value
from counterclone.randomness import Prf
from counterclone.speech import Speech

logger = logging.getLogger(__name__)

class Marked(NamedTuple):
    """An answer with marks in it.

    Attributes:
        answer: with the marked rows.
        roles: of each row, (rows,).
        truths: the label that each row had, (rows,); empty where no row has a role.
        labels: the one that it has now, likewise.
    """

    answer: Answer
    roles: NDArray[np.int8]
    truths: Sequence[int] = ()
    labels: Sequence[int] = ()

    @property
    def is_changed(self) -> bool:
        """Whether a row serves another label."""
        return self.truths != self.labels

    @property
    def n_marked(self) -> int:
        """How many rows do."""
        return int(np.count_nonzero(self.roles == Role.MARKED)) if self.truths else 0


class Counts(msgspec.Struct, weakref=True, eq=False):
    """Rows by what became of their mark.

    Attributes:
        marked: left with a mark.
        unwritten: left without one, since the ledger couldn't be written.
        unmappable: left without one, since a label beside the probabilities couldn't follow.
    """

    marked: int = 0
    unwritten: int = 0
    unmappable: int = 0


class Marking:
    """Puts one mark into answers, and writes down what was served under it.

    Args:
        kind: the mark's.
        mark: puts it into rows, or into finished texts.
        key: the mark's own, of the epoch.
        ledger: takes every row, and what opens the marked ones.
        clock: seconds since 1970.

    Attributes:
        counts: of rows so far.
        last_error: why the ledger took nothing lately, None while all is well.
    """

    def __init__(self, kind: str, mark: Watermark | TextWatermark, key: Prf, ledger: Ledger,
                 clock: Callable[[], float]) -> None:
        self.counts = Counts()
        self.last_error: str | None = None
        self._kind, self._key = kind, key
        self._for_rows = cast(Watermark, mark) if hasattr(mark, "embed") else None
        self._for_texts = cast(TextWatermark, mark) if hasattr(mark, "embed_text") else None
        self._ledger, self._clock = ledger, clock

    def embed(self, answer: Answer, query: Query) -> Marked | None:
        """The answer with marks; None where it isn't one row of probabilities for each row of numbers or texts."""
        name, output = next(iter(answer.outputs.items()), ("", None))
        if self._for_rows is None or output is None or len(answer.outputs) > 1 or output.rows_per_query != 1:
            return None
        if query.features is None and not all(isinstance(value, str) for value in query.values):
            return None  # a suspect couldn't be asked it again
        embedded = self._for_rows.embed(self._key, query.cells, output.rows)
        if not embedded.roles.any():
            return Marked(answer, embedded.roles)
        truths = label_list(output.rows)
        if embedded.rows is output.rows:
            return Marked(answer, embedded.roles, truths, truths)
        changed = Answer({name: output.with_rows(embedded.rows)}, answer.document)
        return Marked(changed, embedded.roles, truths, label_list(embedded.rows))

    def write(self, account: str, query: Query, speech: Speech) -> Speech:
        """What is said, with the mark in it and written down; as it was where it can't be.

        Only the one finished answer to one prompt is marked: a text, or a conversation of one message.

        Args:
            account: whom it is served to.
            query: what was asked.
            speech: as it leaves otherwise.
        """
        prompt, said = _prompt(query), [each for each in speech.said if not each.is_reasoning]
        if self._for_texts is None or prompt is None or len(said) != 1 or not said[0].is_last:
            return speech
        cell, own = canonical_value(prompt), said[0].text
        (text,), (role,) = self._for_texts.embed_text(self._key, [cell], [own])
        payload = b""
        if role:
            true, label = self._for_texts.read([own, text]).tolist()
            payload = msgspec.json.encode(Payload(
                mark=self._kind, role="marked", cell=cell.hex(), query={"text": prompt},
                answer={"label": label, "text": text}, true=true, classes=self._for_texts.n_variants))
        entry = Entry(self._clock(), account, cell, text.encode(errors="surrogatepass"), payload)
        if not self._append([entry], int(bool(role))):
            return speech
        served = [each._replace(text=text) if each is said[0] else each for each in speech.said]
        return speech if text == own else speech._replace(said=served)

    def note_unmappable(self, marked: Marked) -> None:
        """Count rows whose labels can't follow."""
        self.counts.unmappable += marked.n_marked

    def accept(self, account: str, accepted: Accepted) -> None:
        """Write down which terms an account has accepted; where the ledger can't take it, it is tried again."""
        try:
            self._ledger.accept(account, accepted)
        except LedgerError as error:
            self._note(error)

    def record(self, account: str, query: Query, marked: Marked, released: Rows) -> bool:
        """Write down what is served; False where it can't be, so that nothing marked may leave.

        Args:
            account: whom it is served to.
            query: what was asked.
            marked: what it got.
            released: the rows as they leave, (rows, classes).
        """
        now = self._clock()
        rows = np.ascontiguousarray(released, dtype="<f8")
        cells, roles = query.cells, marked.roles.tolist()
        entries = [Entry(now, account, cells[i], rows[i].tobytes(),
                         self._payload(query, marked, rows, i) if roles[i] else b"") for i in range(len(cells))]
        return self._append(entries, marked.n_marked)

    def _append(self, entries: Sequence[Entry], n_marked: int) -> bool:
        """Write down what is served; False where it can't be."""
        try:
            self._ledger.append(entries)
        except LedgerError as error:
            self._note(error)
            self.counts.unwritten += n_marked
            return False
        self.last_error = None
        self.counts.marked += n_marked
        return True

    def _note(self, error: LedgerError) -> None:
        if self.last_error is None:
            logger.error("%s; answers go out unmarked", error)
        self.last_error = str(error)

    def _payload(self, query: Query, marked: Marked, rows: Rows, i: int) -> bytes:
        """What opens a marked row or a control."""
        asked = {"text": query.values[i]} if query.features is None else {"features": query.features[i].tolist()}
        is_marked = marked.roles[i] == Role.MARKED
        return msgspec.json.encode(Payload(
            mark=self._kind, role="marked" if is_marked else "control", cell=query.cells[i].hex(), query=asked,
            answer={"label": marked.labels[i], "scores": rows[i].tolist()}, true=marked.truths[i],
            classes=rows.shape[1]))


def _prompt(query: Query) -> str | None:
    """The one text that is answered, which a suspect can be asked as well; None where there is more to it."""
    if query.n_rows != 1:
        return None
    asked = query.values[0]
    if isinstance(asked, dict) and isinstance(messages := asked.get("messages"), list) and len(messages) == 1:
        asked = messages[0].get("content") if messages[0].get("role") == "user" else None
    return asked if isinstance(asked, str) else None
