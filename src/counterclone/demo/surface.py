"""What a served model gives away, bare and guarded, as acts find it and show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import numpy as np

from counterclone import compose, report
from counterclone.answers import Rows, full_bits
from counterclone.config import Config
from counterclone.demo.asking import REPEATS
from counterclone.demo.copier import N_SEEDS, Copy
from counterclone.journal import JournalFolder

Honest = TypeVar("Honest")
HOW_COPIES_ARE_TOLD = f"mean of {N_SEEDS} seeds (least-largest)"


class Leak(msgspec.Struct, frozen=True):
    """What one server's answers gave away.

    Attributes:
        bits_per_answer: upper bound on the bits released.
        distinct_repeats: answers that repeating one query gave.
    """

    bits_per_answer: float
    distinct_repeats: int

    @classmethod
    def of(cls, bits_per_answer: float, repeats: Rows) -> Leak:
        """The leak of a server that answered one query with `repeats`."""
        return cls(bits_per_answer, len(np.unique(repeats, axis=0)))


class Surface(msgspec.Struct, Generic[Honest], frozen=True):
    """One server.

    Attributes:
        honest: what its honest users got, in the act's own measures.
        leak: what it gave away.
        copies: the copier's at each budget.
    """

    honest: Honest
    leak: Leak
    copies: tuple[Copy, ...]


class Journal(msgspec.Struct, frozen=True):
    """What the guard's journal knows of the same.

    Attributes:
        queries: rows in it.
        accounts: who asked them.
        heaviest_account_queries: rows of the account with most.
    """

    queries: int
    accounts: int
    heaviest_account_queries: int

    @classmethod
    def of(cls, folder: Path) -> Journal:
        """The counts of a journal's folder."""
        queries = Counter(account for batch in JournalFolder(folder).batches()
                          for account in batch.column("account").to_pylist())
        return cls(queries.total(), len(queries), max(queries.values()))

    def __str__(self) -> str:
        return (f"The guard's journal knows {self.queries} queries of {self.accounts} accounts; the copier's "
                f"asked {self.heaviest_account_queries} of them.")


def bits(settings: Config, n_classes: int) -> tuple[float, float]:
    """The bits of an answer at the most, bare and guarded."""
    return full_bits(n_classes), compose.terms(settings)[""].row_bits(n_classes)


def table(caption: str, honest: Sequence[tuple[str, str, str]], bare: Surface[Honest], guarded: Surface[Honest],
          notes: Sequence[str]) -> report.Table:
    """Both servers for people.

    Args:
        caption: what is served, and how.
        honest: the rows of the act's own measures: name, bare, guarded.
        bare: the model as it is.
        guarded: behind the guard.
        notes: what to read out of it.
    """
    one, other = bare.leak, guarded.leak
    rows = [
        *((f"honest: {name}", *cells) for name, *cells in honest),
        ("leak: bits an answer, at most", f"{one.bits_per_answer:,.0f}", f"{other.bits_per_answer:.1f}"),
        (f"leak: answers to one query asked {REPEATS} times", f"{one.distinct_repeats}",
         f"{other.distinct_repeats}"),
        *((f"copier: agreement after {copy.queries} queries", _share(copy), _share(guarded_copy))
          for copy, guarded_copy in zip(bare.copies, guarded.copies, strict=True)),
    ]
    return report.Table(caption=caption, heads=("", "bare", "guarded"), rows=tuple(rows), notes=tuple(notes))


def _share(copy: Copy) -> str:
    return f"{copy.fidelity:.1%} ({copy.fidelity_low:.1%}-{copy.fidelity_high:.1%})"
