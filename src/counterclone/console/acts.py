"""The forms that do something, each once the trail has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from counterclone.console.desk import DECISIONS, Desk
from counterclone.console.sheets import CaseRow
from counterclone.console.trail import Trail
from counterclone.console.visits import Visit
from counterclone.errors import Conflict, CountercloneError

T = TypeVar("T")


class Acts:
    """Forms by their paths.

    Args:
        desk: what they do.
        trail: takes it first.
    """

    def __init__(self, desk: Desk, trail: Trail) -> None:
        self._desk, self._trail = desk, trail

    @property
    def by_path(self) -> dict[str, Callable[[Visit], Response]]:
        """What answers each path."""
        return {"/decide": self.decide, "/note": self.note, "/hold": self.hold, "/export": self.export,
                "/restore": self.restore}

    def decide(self, visit: Visit) -> Response:
        """Decide about the accounts of a case, or about one account alone, which gets a case of its own.

        Raises:
            Conflict: somebody decided since the page was shown.
        """
        decision, who, note = visit.field("decision"), visit.session.name, visit.note
        if decision not in DECISIONS:
            raise HTTPException(400, f"expected one of {', '.join(DECISIONS)}")
        account = visit.form.get("account")
        before = self._desk.decision(account) if account else self._case(visit).decision
        if (before or "") != visit.form.get("seen", ""):
            raise Conflict(f"somebody decided '{before}' since the page was shown; look again, then decide")

        def do() -> str:
            case = self._desk.take_up(account, by=who) if account else self._case(visit).id
            self._desk.decide(case, decision, by=who)
            if note:
                self._desk.note(case, note, by=who)
            return case

        subject = f"account {account}" if account else f"case {self._case(visit).id}"
        return _to_case(self._do(visit, "decide", subject, do, before=before or "", after=decision))

    def note(self, visit: Visit) -> Response:
        """Write something down in a case."""
        case = self._case(visit).id
        if not visit.note:
            raise HTTPException(400, "the note is empty")
        self._do(visit, "note", f"case {case}", lambda: self._desk.note(case, visit.note, by=visit.session.name))
        return _to_case(case)

    def hold(self, visit: Visit) -> Response:
        """Keep the exchanges of a case's accounts, or no longer."""
        row, is_held = self._case(visit), visit.field("hold") == "yes"
        words = {True: "held", False: "not held"}
        self._do(visit, "hold", f"case {row.id}",
                 lambda: self._desk.hold(row.id, is_held=is_held, by=visit.session.name),
                 before=words[row.is_held], after=words[is_held])
        return _to_case(row.id)

    def export(self, visit: Visit) -> Response:
        """Hand out a case and what was journalled of its accounts."""
        case = self._case(visit).id
        content = self._do(visit, "export", f"case {case}", lambda: self._desk.export(case))
        return Response(content, media_type="application/zip",
                        headers={"content-disposition": f'attachment; filename="case-{case}.zip"'})

    def restore(self, visit: Visit) -> Response:
        """Put an earlier configuration in the place of the present one."""
        digest, seen = visit.field("digest"), visit.field("seen")
        self._do(visit, "restore", "configuration", lambda: self._desk.restore(digest, seen=seen),
                 before=self._desk.configuration().digest, after=digest)
        return RedirectResponse("/configuration", 303)

    def _case(self, visit: Visit) -> CaseRow:
        return self._desk.case(visit.field("case")).row

    def _do(self, visit: Visit, action: str, subject: str, do: Callable[[], T], *, before: str = "",
            after: str = "") -> T:
        """Do something once the trail has it; where it fails after all, the trail gets that, too.

        Raises:
            CountercloneError: it can't be written down, or it fails.
        """
        who = visit.session.name
        self._trail.add(who, action, subject=subject, before=before, after=after, note=visit.note)
        try:
            return do()
        except CountercloneError as error:
            self._trail.add(who, action, subject=subject, failed=str(error))
            raise


def _to_case(case: str) -> Response:
    return RedirectResponse(f"/case?id={case}", 303)
