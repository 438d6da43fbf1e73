"""The console as an ASGI app: who may see a page, and what every answer carries."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from counterclone.console import pages
from counterclone.console.acts import Acts
from counterclone.console.desk import Desk, Unknown
from counterclone.console.drawings import Pictures
from counterclone.console.entrance import SESSION_COOKIE, Entrance
from counterclone.console.sessions import Patience, Session, Sessions
from counterclone.console.trail import Trail
from counterclone.console.views import Views
from counterclone.console.visits import Visit, read_form
from counterclone.errors import Conflict, CountercloneError

logger = logging.getLogger(__name__)

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                                 b"base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"), (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"cache-control", b"no-store"))
"""Of every answer that doesn't say otherwise."""

View = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Console:
    """The owner's pages.

    Args:
        desk: what they show and do.
        trail: takes who did what.
        sessions: of those who showed the token.
        patience: with those who don't.
    """

    def __init__(self, desk: Desk, trail: Trail, sessions: Sessions, patience: Patience) -> None:
        self._trail, self._sessions = trail, sessions
        pictures = Pictures()
        self._pages = pages.Pages(pictures)
        views, acts = Views(desk, trail, self._pages, pictures), Acts(desk, trail)
        entrance = Entrance(sessions, patience, trail, self._pages)
        self._app = Starlette(
            routes=[
                *(Route(f"/{name}", _asset(name)) for name in pages.ASSETS), Route("/login", entrance.page),
                Route("/login", entrance.enter, methods=["POST"]),
                Route("/logout", self._act(self._leave), methods=["POST"]),
                *(Route(path, self._view(view)) for path, view in views.by_path.items()),
                *(Route(path, self._act(act), methods=["POST"]) for path, act in acts.by_path.items())],
            exception_handlers={HTTPException: self._refused})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in HEADERS if each[0] not in given)]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _view(self, view: View) -> Endpoint:
        """A page for those who are in."""
        async def page(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            return await self._answer(view, Visit(request, session, {}))
        return page

    def _act(self, act: View) -> Endpoint:
        """A form of one of their pages."""
        async def page(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return RedirectResponse("/login", 303)
            form = await read_form(request)
            if not hmac.compare_digest(form.get("form_token", "").encode(), session.form_token.encode()):
                raise HTTPException(403, "the form isn't one of this session; load its page again")
            return await self._answer(act, Visit(request, session, form))
        return page

    async def _answer(self, view: View, visit: Visit) -> Response:
        """What a view answers, in a thread, since it may read files; or why it can't."""
        try:
            return await run_in_threadpool(view, visit)
        except Conflict as error:
            return self._problem(409, str(error), visit.session)
        except Unknown as error:
            return self._problem(404, str(error), visit.session)
        except CountercloneError as error:
            return self._problem(400, str(error), visit.session)
        except HTTPException:
            raise
        except Exception:  # the guard goes on, and so do other pages
            logger.exception("a page of the console couldn't be made")
            return self._problem(500, "something went wrong here; the guard's log has it", visit.session)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._problem(error.status_code, error.detail, self._session(request))

    def _problem(self, status: int, problem: str, session: Session | None) -> Response:
        return self._pages.show("problem", status=status, session=session, here="", problem=problem, code=status)

    def _leave(self, visit: Visit) -> Response:
        self._trail.add(visit.session.name, "log out")
        self._sessions.end(visit.request.cookies[SESSION_COOKIE])
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    def _session(self, request: Request) -> Session | None:
        return self._sessions.find(request.cookies.get(SESSION_COOKIE, ""))


def _asset(name: str) -> Endpoint:
    """A file for everybody."""
    content = pages.asset(name)

    async def page(request: Request) -> Response:
        return Response(content, media_type=pages.ASSETS[name], headers={"cache-control": "max-age=300"})
    return page
