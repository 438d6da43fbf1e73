"""The pages that show something."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.responses import Response

from counterclone.console.desk import Desk
from counterclone.console.drawings import Pictures
from counterclone.console.pages import SECTIONS, Pages
from counterclone.console.sheets import Study
from counterclone.console.trail import Trail
from counterclone.console.visits import Visit

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture is a document of its own, which styles itself."""
LONGEST_NUMBER = 9
CASES_SHOWN = 200
"""Of the newest; the command line has them all."""


class Views:
    """Pages by their paths.

    Args:
        desk: what they show.
        trail: likewise.
        pages: draw them.
        pictures: that pages point to.
    """

    def __init__(self, desk: Desk, trail: Trail, pages: Pages, pictures: Pictures) -> None:
        self._desk, self._trail, self._pages, self._pictures = desk, trail, pages, pictures

    @property
    def by_path(self) -> dict[str, Callable[[Visit], Response]]:
        """What answers each path."""
        return {"/": self.overview, "/accounts": self.accounts, "/account": self.account,
                "/campaigns": self.campaigns, "/cases": self.cases, "/case": self.case, "/audit": self.audit,
                "/tune": self.tune, "/report": self.posture, "/marks": self.marks,
                "/configuration": self.configuration, "/trail": self.trail, "/pictures/{name}.svg": self.picture}

    def overview(self, visit: Visit) -> Response:
        """How things stand, and who is suspected most."""
        return self._pages.show("overview", session=visit.session, here="/", sheet=self._desk.overview())

    def accounts(self, visit: Visit) -> Response:
        """A page of the accounts."""
        containing, suspected, page = visit.asked("containing"), visit.asked("suspected"), visit.asked("page")
        is_number = page.isascii() and page.isdecimal() and len(page) <= LONGEST_NUMBER
        sheet = self._desk.accounts(containing, suspected=bool(suspected), page=int(page) if is_number else 1)
        return self._pages.show("accounts", session=visit.session, here="/accounts", sheet=sheet,
                                containing=containing, suspected=suspected)

    def account(self, visit: Visit) -> Response:
        """An account, and what may be decided of it."""
        return self._pages.show("account", session=visit.session, here="/accounts",
                                sheet=self._desk.account(visit.asked("name")))

    def campaigns(self, visit: Visit) -> Response:
        """The cases of accounts that act as one."""
        return self._pages.show("campaigns", session=visit.session, here="/campaigns",
                                cases=[case for case in self._desk.cases() if case.is_campaign])

    def cases(self, visit: Visit) -> Response:
        """The newest cases, or the newest without a decision."""
        cases, is_open = self._desk.cases(), bool(visit.asked("open"))
        if is_open:
            cases = [case for case in cases if case.decision is None]
        return self._pages.show("cases", session=visit.session, here="/cases", cases=cases[:CASES_SHOWN],
                                n_found=len(cases), is_open=is_open)

    def case(self, visit: Visit) -> Response:
        """A case, and what may be decided of it."""
        sheet = self._desk.case(visit.asked("id"))
        here = "/campaigns" if sheet.row.is_campaign else "/cases"
        return self._pages.show("case", session=visit.session, here=here, sheet=sheet)

    def audit(self, visit: Visit) -> Response:
        """The last audit."""
        return self._study(visit, "audit", self._desk.audit())

    def tune(self, visit: Visit) -> Response:
        """The last sweep of settings."""
        return self._study(visit, "tune", self._desk.tune())

    def posture(self, visit: Visit) -> Response:
        """What is done about model stealing, and what is left."""
        return self._study(visit, "report", self._desk.posture())

    def marks(self, visit: Visit) -> Response:
        """What could be proven."""
        return self._pages.show("marks", session=visit.session, here="/marks", sheet=self._desk.marks())

    def configuration(self, visit: Visit) -> Response:
        """The file, those before it, and the way back."""
        return self._pages.show("configuration", session=visit.session, here="/configuration",
                                sheet=self._desk.configuration())

    def trail(self, visit: Visit) -> Response:
        """Who did what."""
        entries, n_unread = self._trail.last()
        return self._pages.show("trail", session=visit.session, here="/trail", entries=entries,
                                n_unread=n_unread)

    def picture(self, visit: Visit) -> Response:
        """A drawing.

        Raises:
            HTTPException: nobody knows it any longer.
        """
        found = self._pictures.find(visit.request.path_params["name"])
        if found is None:
            raise HTTPException(404, "this picture is gone; load its page again")
        return Response(found, media_type="image/svg+xml", headers={
            "content-security-policy": PICTURE_POLICY, "cache-control": "private, max-age=3600"})

    def _study(self, visit: Visit, verb: str, study: Study | None) -> Response:
        here = f"/{verb}"
        return self._pages.show("study", session=visit.session, here=here, verb=verb, study=study,
                                section=dict(SECTIONS)[here])
