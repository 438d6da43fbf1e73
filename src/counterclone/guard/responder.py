"""One request: admitted, answered by the app, and its answer released."""

from __future__ import annotations

import logging
from time import perf_counter

from counterclone.errors import Blocked, LimitExceeded, RequestError, UnknownFormat
from counterclone.guard import asgi
from counterclone.guard.admission import Admission
from counterclone.guard.outgoing import CLIENT_CLOSED_REQUEST, Outgoing

logger = logging.getLogger(__name__)

_REPLACED = frozenset({b"content-length", b"accept-encoding", b"transfer-encoding", b"x-request-id"})
_BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
"""ASGI extensions by which an app could answer past us."""


async def respond(app: asgi.App, admission: Admission, send: asgi.Send) -> None:
    """Admit a request, let the app answer, release the answer."""
    outgoing = Outgoing(admission, send)
    metrics = admission.options.metrics
    metrics.in_flight += 1
    try:
        if await _is_admitted(admission, outgoing):
            await _forward(app, admission, outgoing)
    finally:
        metrics.in_flight -= 1
        metrics.note(outgoing.note())


async def _is_admitted(admission: Admission, outgoing: Outgoing) -> bool:
    """Whether the request goes on to the app."""
    try:
        admission.identify()
    except RequestError as error:
        if await _stops(admission, outgoing, error):
            return False
    outgoing.overhead = perf_counter() - outgoing.ticked
    try:
        content = await admission.read()
    except RequestError as error:
        outgoing.ticked = perf_counter()
        await outgoing.refuse(error)  # in shadow mode too: it is the guard itself that has no room
        return False
    if content is None:
        outgoing.decision, outgoing.status = "disconnected", CLIENT_CLOSED_REQUEST
        return False
    outgoing.ticked = perf_counter()
    try:
        await admission.admit(content)
    except RequestError as error:
        return not await _stops(admission, outgoing, error)
    return True


async def _stops(admission: Admission, outgoing: Outgoing, error: RequestError) -> bool:
    """Whether a request that isn't admitted stops here; it doesn't in shadow mode."""
    options = admission.options
    if isinstance(error, UnknownFormat) and not options.blocks_unknown:
        outgoing.decision = "unscanned"
        try:
            await admission.admit_unread()
        except LimitExceeded as limit:
            error = limit
        else:
            return False
    if outgoing.decision != Blocked.decision:  # in shadow mode, who is blocked isn't limited as well
        outgoing.decision = error.decision
    if options.enforce:
        await outgoing.refuse(error)
    return options.enforce


async def _forward(app: asgi.App, admission: Admission, outgoing: Outgoing) -> None:
    """Let the app answer what was admitted."""
    scope, changes = dict(admission.scope), admission.changes
    replaced = _REPLACED | changes.keys() if changes else _REPLACED
    scope["headers"] = [
        *[header for header in scope["headers"] if header[0] not in replaced],
        *[header for header in changes.items() if header[1]],
        (b"accept-encoding", b"identity"), (b"content-length", b"%d" % len(admission.content)),
        (b"x-request-id", outgoing.request_id)]
    if scope.get("extensions"):
        scope["extensions"] = {name: value for name, value in scope["extensions"].items()
                               if name not in _BYPASSES}
    outgoing.begin()
    try:
        await app(scope, admission.replay, outgoing.send)
    except RequestError as error:
        if outgoing.is_between_events:
            await outgoing.interrupt(error)
        elif outgoing.is_begun:
            raise
        else:
            await outgoing.refuse(error)
    except Exception:
        if not outgoing.is_refused:
            raise
        logger.debug("the app ended when its answer was refused", exc_info=True)
    finally:
        outgoing.end()
