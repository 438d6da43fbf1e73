"""Cases: what an alarm becomes, and what its owner notes and decides.

A file of JSON lines beside the configuration, to which guards and the command line append and from which nothing
is ever taken away: it is the record of who decided what, and when.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import msgspec

from counterclone.errors import SourceError
from counterclone.randomness import new_id

Decision = Literal["allow", "review", "throttle", "block"]
Kind = Literal["alarm", "campaign", "review", "spending", "dispute"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
CASES_FILE = "counterclone.cases.jsonl"
ID_BYTES = 4
RELOAD_SECONDS = 1.0
_ACCOUNT = re.compile("[0-9a-f]{16}")

logger = logging.getLogger(__name__)


class Tie(msgspec.Struct, frozen=True, kw_only=True):
    """Something that accounts of a campaign share.

    Attributes:
        kind: what it is, in words.
        accounts: those who have it.
        weight: of evidence for each, in nats.
    """

    kind: str
    accounts: tuple[str, ...]
    weight: float


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why somebody should look at accounts.

    Attributes:
        kind: an account's alarm, a campaign's, a risk that the owner wants to see, what was spent, or a dispute.
        reasons: in words.
        queries: rows that the accounts asked by then.
        risk: 0 to 1, None where nothing tells it.
        p_value: likewise.
        figures: what was measured, by name.
        ties: what a campaign's accounts share, the heaviest first.
    """

    kind: Kind
    reasons: tuple[str, ...] = ()
    queries: int = 0
    risk: float | None = None
    p_value: float | None = None
    figures: dict[str, float] = {}
    ties: tuple[Tie, ...] = ()


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    time: float
    case: str


class Opened(_Event, frozen=True, kw_only=True, tag="opened"):
    """A case begins."""

    accounts: tuple[str, ...]
    evidence: Evidence


class Added(_Event, frozen=True, kw_only=True, tag="added"):
    """More evidence of the same accounts."""

    evidence: Evidence


class Noted(_Event, frozen=True, kw_only=True, tag="noted"):
    """Somebody wrote something down."""

    text: str
    by: str


class Decided(_Event, frozen=True, kw_only=True, tag="decided"):
    """Somebody decided what the accounts get."""

    decision: Decision
    by: str


class Held(_Event, frozen=True, kw_only=True, tag="held"):
    """Their exchanges are to be kept, or needn't any longer."""

    is_held: bool
    by: str


Event = Opened | Added | Noted | Decided | Held


class Case(msgspec.Struct, kw_only=True):
    """What is known about some accounts.

    Attributes:
        id: eight hexadecimal digits.
        opened: seconds since 1970.
        accounts: one, or those of a campaign.
        evidence: the first of each kind.
        notes: what was noted, in order.
        decision: the last one, None before the first.
        is_held: whether the journal keeps their exchanges whatever its retention says.
    """

    id: str
    opened: float
    accounts: tuple[str, ...]
    evidence: list[Evidence]
    notes: list[Noted] = []
    decision: Decision | None = None
    is_held: bool = False

    def has(self, accounts: Sequence[str]) -> bool:
        """Whether all of some accounts are in it."""
        return set(accounts) <= set(self.accounts)

    def take(self, event: Event) -> None:
        """Add what happened to it."""
        match event:
            case Added():
                self.evidence.append(event.evidence)
            case Noted():
                self.notes.append(event)
            case Decided():
                self.decision = event.decision
            case Held():
                self.is_held = event.is_held


class CaseFile:
    """The cases of a configuration; what another process appends is known within a second.

    Args:
        path: the file, made with the first case, readable by its owner only.
        clock: seconds since 1970.

    Attributes:
        last_error: why the file couldn't be read or written lately, None while all is well.
        problems: lines that tell nothing, by number.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.last_error: str | None = None
        self.problems: list[str] = []
        self._path = path
        self._clock = clock
        self._cases: dict[str, Case] = {}
        self._decisions: dict[str, Decision] = {}
        self._signature: tuple[int, ...] | None = None
        self._checked = float("-inf")

    def all(self) -> list[Case]:
        """Every case, oldest first.

        Raises:
            SourceError: the file can't be read.
        """
        self._refresh()
        return list(self._cases.values())

    def find(self, name: str) -> Case:
        """The case with an id, or the last one of an account.

        Raises:
            SourceError: there is none, or the file can't be read.
        """
        cases = self.all()
        found = self._cases.get(name) or next((case for case in reversed(cases) if name in case.accounts), None)
        if found is None:
            raise SourceError(f"{self._path}: no case '{name}' and none of an account of that name; "
                              "`counterclone cases list` shows them")
        return found

    def decision(self, account: str) -> Decision | None:
        """What was decided of an account lately; from memory, with a look at the file once a second.

        Where the file can't be read, what was decided before stays.
        """
        now = time.monotonic()
        if now - self._checked >= RELOAD_SECONDS:
            self._checked = now
            try:
                self._refresh()
            except SourceError as error:
                self._fail(str(error))
        return self._decisions.get(account)

    def held(self) -> frozenset[str]:
        """The accounts whose exchanges are to be kept.

        Raises:
            SourceError: the file can't be read, so that nobody knows.
        """
        return frozenset(account for case in self.all() if case.is_held for account in case.accounts)

    def open(self, accounts: Sequence[str], evidence: Evidence) -> Case | None:
        """Open a case; where these accounts have one, it gets the evidence unless it had some of the kind.

        Returns:
            The case, None where nothing was new or they are allowed.

        Raises:
            SourceError: the file can't be read or written.
        """
        with self._locked() as append:
            known = next((case for case in self._cases.values() if case.has(accounts)), None)
            if known is None:
                case_id = new_id(ID_BYTES)
                append(Opened(time=self._clock(), case=case_id, accounts=tuple(accounts), evidence=evidence))
            elif known.decision == "allow" or any(each.kind == evidence.kind for each in known.evidence):
                return None
            else:
                case_id = known.id
                append(Added(time=self._clock(), case=case_id, evidence=evidence))
        return self._cases[case_id]

    def note(self, name: str, text: str, *, by: str) -> Case:
        """Write something down.

        Raises:
            SourceError: there is no such case, or the file can't be read or written.
        """
        return self._add(name, lambda now, case: Noted(time=now, case=case, text=text, by=by))

    def decide(self, name: str, decision: Decision, *, by: str) -> Case:
        """Decide what the accounts of a case get: running guards follow within a second.

        Raises:
            SourceError: there is no such case, or the file can't be read or written.
        """
        return self._add(name, lambda now, case: Decided(time=now, case=case, decision=decision, by=by))

    def hold(self, name: str, *, is_held: bool, by: str) -> Case:
        """Keep the exchanges of its accounts whatever the journal's retention says, or no longer.

        An account that nothing raised an alarm on gets a case, which is its dispute.

        Raises:
            SourceError: there is no such case, or the file can't be read or written.
        """
        with self._locked() as append:
            if is_held and _ACCOUNT.fullmatch(name) and not any(case.has([name]) for case in self._cases.values()):
                dispute = Evidence(kind="dispute", reasons=(f"held by {by}",))
                case_id = new_id(ID_BYTES)
                append(Opened(time=self._clock(), case=case_id, accounts=(name,), evidence=dispute))
                self._refresh()
            case = self.find(name)
            append(Held(time=self._clock(), case=case.id, is_held=is_held, by=by))
        return self._cases[case.id]

    def take_up(self, account: str, *, by: str) -> Case:
        """The case of an account alone, opened where there is none: what is decided of it is decided of no other.

        Raises:
            SourceError: the file can't be read or written.
        """
        with self._locked() as append:
            own = next((case for case in self._cases.values() if case.accounts == (account,)), None)
            case_id = own.id if own else new_id(ID_BYTES)
            if own is None:
                append(Opened(time=self._clock(), case=case_id, accounts=(account,),
                              evidence=Evidence(kind="review", reasons=(f"taken up by {by}",))))
        return self._cases[case_id]

    def _add(self, name: str, event: Callable[[float, str], Event]) -> Case:
        with self._locked() as append:
            case = self.find(name)
            append(event(self._clock(), case.id))
        return self._cases[case.id]

    @contextmanager
    def _locked(self) -> Iterator[Callable[[Event], None]]:
        """The file for one append, with all that others appended before.

        Raises:
            SourceError: it can't be read or written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._refresh()
                yield lambda event: _append(descriptor, event)
                self._refresh()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}; cases can't be kept there; make it "
                              "writable") from None

    def _refresh(self) -> None:
        """Read the file where it has changed."""
        signature: tuple[int, ...] = ()
        try:
            seen = os.stat(self._path)
            signature = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            if signature != self._signature:
                self._read(self._path.read_bytes())
        except FileNotFoundError:
            self._read(b"")
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}; expected the file of cases; let it be "
                              "read") from None
        self._signature, self.last_error = signature, None

    def _read(self, content: bytes) -> None:
        cases: dict[str, Case] = {}
        decisions: dict[str, Decision] = {}
        problems = []
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                event = _DECODER.decode(line)
                if isinstance(event, Opened):
                    cases[event.case] = Case(id=event.case, opened=event.time, accounts=event.accounts,
                                             evidence=[event.evidence])
                    continue
                case = cases[event.case]
            except (msgspec.DecodeError, RecursionError) as error:
                problems.append(f"line {number}: {error}")
                continue
            except KeyError:
                problems.append(f"line {number}: of a case that nobody opened")
                continue
            case.take(event)
            if isinstance(event, Decided):
                decisions.update(dict.fromkeys(case.accounts, event.decision))
        self._cases, self._decisions, self.problems = cases, decisions, problems

    def _fail(self, problem: str) -> None:
        if self.last_error is None:
            logger.error("%s; what was decided before stays in force", problem)
        self.last_error = problem


_DECODER = msgspec.json.Decoder(Event)


def _append(descriptor: int, event: Event) -> None:
    """Append a line, on the disk when this returns; half a line of somebody who died is ended first."""
    size = os.fstat(descriptor).st_size
    is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    line = (b"\n" if is_torn else b"") + msgspec.json.encode(event) + b"\n"
    if os.write(descriptor, line) < len(line):
        raise OSError("the disk took half a line")
    os.fsync(descriptor)


def class_table(case: Case) -> str:
    """The `[[accounts.class]]` table that makes the accounts of a case known as honest, as TOML."""
    accounts = ", ".join(f'"account:{account}"' for account in case.accounts)
    return f'[[accounts.class]]\nname = "case-{case.id}"\naccounts = [{accounts}]\npolicies = "base"\n'
