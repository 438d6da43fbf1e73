"""The page that asks for the token."""

from __future__ import annotations

import math

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from counterclone.console.pages import Pages
from counterclone.console.sessions import LASTS_SECONDS, Patience, Sessions
from counterclone.console.trail import Trail
from counterclone.console.visits import read_form, set_cookie
from counterclone.errors import CountercloneError
from counterclone.randomness import Prf, new_secret

SESSION_COOKIE, FORM_COOKIE = "counterclone_console", "counterclone_login"
FORM_SECONDS = 3600
NAME_LENGTH_MAX = 100


class Entrance:
    """Lets in whoever shows the token.

    Args:
        sessions: of those who are in.
        patience: with wrong tokens.
        trail: takes who came, and who tried to.
        pages: draw the form.
    """

    def __init__(self, sessions: Sessions, patience: Patience, trail: Trail, pages: Pages) -> None:
        self._sessions, self._patience, self._trail, self._pages = sessions, patience, trail, pages
        self._form_key = Prf.from_secret(new_secret())

    async def page(self, request: Request) -> Response:
        """The form."""
        return self._form(request)

    async def enter(self, request: Request) -> Response:
        """What follows from a form that was sent."""
        form, nonce = await read_form(request), request.cookies.get(FORM_COOKIE, "")
        if not nonce or form.get("form_token") != self._form_token(nonce):
            return self._form(request, "The page was open for too long; try again.", 403)
        address = request.client.host if request.client else ""
        if wait := math.ceil(self._patience.seconds(address)):
            refused = self._form(request, f"Too many wrong tokens; wait {wait} seconds.", 429)
            refused.headers["retry-after"] = str(wait)
            return refused
        who = form.get("who", "").strip()[:NAME_LENGTH_MAX]
        if not who:
            return self._form(request, "Say who you are: the trail and your notes carry the name.", 400)
        is_right = self._sessions.opens(form.get("token", ""))
        if not is_right:
            self._patience.fail(address)
        try:
            await run_in_threadpool(self._trail.add, who, "log in", failed="" if is_right else "wrong token")
        except CountercloneError as error:
            return self._form(request, str(error), 503)
        if not is_right:
            return self._form(request, "That isn't the token.", 403)
        self._patience.forget(address)
        response = RedirectResponse("/", 303)
        set_cookie(response, request, SESSION_COOKIE, self._sessions.begin(who), int(LASTS_SECONDS))
        return response

    def _form(self, request: Request, problem: str = "", status: int = 200) -> Response:
        nonce = new_secret()
        response = self._pages.show("login", status=status, session=None, here="/login", problem=problem,
                                    form_token=self._form_token(nonce))
        set_cookie(response, request, FORM_COOKIE, nonce, FORM_SECONDS)
        return response

    def _form_token(self, nonce: str) -> str:
        """What a form carries whose page was shown here: another site can't know it."""
        return self._form_key.digest(nonce.encode()).hex()
