"""What the console may read and do: the whole of its way to the engines."""

from __future__ import annotations

from typing import Protocol

from counterclone.console.sheets import (
    AccountSheet,
    AccountsPage,
    CaseRow,
    CaseSheet,
    Configuration,
    Marks,
    Overview,
    Study,
)
from counterclone.errors import SourceError

DECISIONS = {
    "allow": "served as everybody, whatever its risk",
    "review": "served as everybody while you look",
    "throttle": "the lower limit of the tier that throttles",
    "block": "no more answers"}
"""What an account may get by its owner's word, and what that means."""


class Unknown(SourceError):
    """There is no such account or case."""


class Desk(Protocol):
    """Asked from several threads at once; every method raises a `CountercloneError` that says what to do."""

    def overview(self) -> Overview:
        """How things stand."""
        ...

    def accounts(self, containing: str, *, suspected: bool, page: int) -> AccountsPage:
        """A page of accounts, the riskiest first.

        Args:
            containing: what their names contain.
            suspected: whether only those whose risk has reasons.
            page: 1 for the first; beyond the last, the last.
        """
        ...

    def account(self, name: str) -> AccountSheet:
        """An account.

        Raises:
            Unknown: nothing is known of it.
        """
        ...

    def decision(self, account: str) -> str | None:
        """What was decided of an account, None before the first time.

        Raises:
            Unknown: nothing is known of it.
        """
        ...

    def cases(self) -> list[CaseRow]:
        """All cases, the newest first."""
        ...

    def case(self, name: str) -> CaseSheet:
        """A case by its id.

        Raises:
            Unknown: there is none.
        """
        ...

    def take_up(self, account: str, *, by: str) -> str:
        """The id of the case of an account alone, opened where there is none."""
        ...

    def decide(self, case: str, decision: str, *, by: str) -> None:
        """Decide what the accounts of a case get."""
        ...

    def note(self, case: str, text: str, *, by: str) -> None:
        """Write something down."""
        ...

    def hold(self, case: str, *, is_held: bool, by: str) -> None:
        """Keep what the accounts of a case asked, whatever the journal's retention says, or no longer."""
        ...

    def export(self, case: str) -> bytes:
        """A case and what was journalled of its accounts, as a ZIP file."""
        ...

    def audit(self) -> Study | None:
        """The last audit."""
        ...

    def tune(self) -> Study | None:
        """The last sweep of settings."""
        ...

    def posture(self) -> Study:
        """What is done about model stealing, and what is left, as it is now."""
        ...

    def marks(self) -> Marks:
        """What could be proven."""
        ...

    def configuration(self) -> Configuration:
        """The file and those before it."""
        ...

    def restore(self, digest: str, *, seen: str) -> None:
        """Put an earlier file in the place of the present one.

        Args:
            digest: of the settings of the earlier one.
            seen: the digest of the present file, as it was shown.

        Raises:
            Conflict: somebody changed the file since.
        """
        ...
