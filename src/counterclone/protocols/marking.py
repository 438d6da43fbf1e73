"""Marks, what they are tested by, and the record of what was served under them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows
from counterclone.evidence import Accepted, Entry, Evidence, Rank, Served
from counterclone.queries import Inputs
from counterclone.randomness import Prf

ACCOUNT_HEADER = "x-counterclone-account"
ACCOUNT_FIELD = "counterclone_account"
"""Where the guard tells a model server whom a text is for: a header, or an argument for vLLM's hooks."""


class Embedded(NamedTuple):
    """Rows with a mark in them.

    Attributes:
        rows: probabilities as they are released or handed to policies, (rows, classes).
        roles: a `Role` each, (rows,).
    """

    rows: Rows
    roles: NDArray[np.int8]


class Watermark(Protocol):
    """A mark that is put into rows of probabilities.

    Laws: the same key and canonical query, the same mark, whatever the other rows are; rows stay normalised; rows
    that aren't marked stay to the bit; of excluded classes none is marked; at most the stated rate is.
    """

    may_flip: ClassVar[bool]
    """Whether the served label changes."""

    def embed(self, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
        """Mark some of the rows.

        Args:
            key: the mark's own, of its epoch.
            cells: the canonical query of each row, (rows,).
            rows: the target's, (rows, classes).
        """
        ...


class EmbeddedTexts(NamedTuple):
    """Texts with a mark in them.

    Attributes:
        texts: as they are served, (texts,).
        roles: a `Role` each, (texts,).
    """

    texts: Sequence[str]
    roles: NDArray[np.int8]


class TextWatermark(Protocol):
    """A mark that is put into finished texts.

    Laws: the same key, prompt and text, the same mark; texts that aren't marked stay as they are, and marked ones
    say the same; at most the stated rate is marked, and whether a text can be doesn't depend on the key.
    """

    @property
    def n_variants(self) -> int:
        """The ways that a marked text could be written in."""
        ...

    def embed_text(self, key: Prf, cells: Sequence[bytes], texts: Sequence[str]) -> EmbeddedTexts:
        """Mark some of the texts.

        Args:
            key: the mark's own, of its epoch.
            cells: the canonical prompt of each, (texts,).
            texts: the target's.
        """
        ...

    def read(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """What a text chose where a mark has a choice, as a number, whoever wrote it: (texts,).

        Of the target's own text it is the truth in `Served`, of the served one the label.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is tested against a suspect, all of it fixed before the first answer.

    Attributes:
        served: what the ledger holds under this key.
        key: the mark's own, of its epoch.
        order: draws the order of the queries and the decoys; derived from the epoch's key, so that others can
            draw them again.
        budget: queries that the suspect may be asked.
        alpha: the level; 1/alpha is the e-value that a test may stop at.
        decoys: how many decoy keys are ranked.
        stops_early: whether it stops at that e-value.
        campaigns: accounts that are tested together, fixed beforehand.
    """

    served: Served
    key: Prf
    order: Prf
    budget: int
    alpha: float = 1e-6
    decoys: int = 999
    stops_early: bool = False
    campaigns: tuple[tuple[str, ...], ...] = ()


Examination = Generator[Inputs, Reply, Evidence]
"""A test under way: it yields a batch for the suspect, receives the reply, and returns the evidence."""


class Mark(Protocol):
    """What gives a copy away.

    A mark in sampled texts isn't put in by the guard: `Served.of_texts` says whom texts were written for, and the
    suspect's replies have `texts`.

    Laws: on suspects that are independent of the key, p-values are no smaller than uniform ones and e-values have
    mean 1 or less; a true copy is found; thrown BudgetExhausted, it returns what it has; the key never appears.
    """

    needs: ClassVar[frozenset[str]]
    """What the suspect must show: `label` or `scores`."""

    def verify(self, case: Case) -> Examination:
        """Ask a suspect."""
        ...


class Fingerprint(Protocol):
    """What a copy is told by that was made before anything was marked: probes, the target's answers to them, and
    those of independent models.

    Laws: the probes are chosen by the target alone, so that an independent suspect ranks like any of the others;
    thrown BudgetExhausted, it returns what it has.
    """

    needs: ClassVar[frozenset[str]]
    """What the suspect must show: `label` or `scores`."""

    def compare(self, folder: Path) -> Generator[Inputs, Reply, Rank]:
        """Ask a suspect.

        Args:
            folder: relative paths start from it.

        Raises:
            ConfigError: there are no probes, or they don't hold together.
        """
        ...


class Ledger(Protocol):
    """The record of what was served.

    Laws: what was appended is there after a restart, and on the disk before `append` returns where a payload is in
    it; nothing that was appended can change unseen.
    """

    def append(self, entries: Sequence[Entry]) -> None:
        """Take the rows of one answer, all or none.

        Raises:
            LedgerError: they can't be written.
        """
        ...

    def accept(self, account: str, accepted: Accepted) -> None:
        """Take that an account accepted terms, once for each version.

        Raises:
            LedgerError: it can't be written.
        """
        ...
