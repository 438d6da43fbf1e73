"""A request of somebody who may see pages, and what its form says."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from counterclone.console.sessions import Session

FORM_BYTES_MAX = 64_000
NOTE_LENGTH_MAX = 4_000


@dataclass(frozen=True)
class Visit:
    """A request of somebody who may see pages.

    Attributes:
        request: as it came.
        session: whose it is.
        form: the fields that were sent, empty for a page.
    """

    request: Request
    session: Session
    form: dict[str, str]

    def asked(self, name: str) -> str:
        """A part of the address, "" where it is missing."""
        return self.request.query_params.get(name, "")

    def field(self, name: str) -> str:
        """A field of the form.

        Raises:
            HTTPException: it is missing.
        """
        if not self.form.get(name):
            raise HTTPException(400, f"the form lacks `{name}`")
        return self.form[name]

    @property
    def note(self) -> str:
        """Why, in their words."""
        return self.form.get("note", "").strip()[:NOTE_LENGTH_MAX]


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name.

    Raises:
        HTTPException: it is none, too large, or another site's.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "the form was sent by another site")
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise HTTPException(415, "expected a form")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, f"the form has more than {FORM_BYTES_MAX:,} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, "the form can't be read") from None
    return {name: values[-1] for name, values in fields.items()}


def set_cookie(response: Response, request: Request, name: str, value: str, seconds: int) -> None:
    """Give a browser a cookie that no script and no other site gets."""
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict",
                        secure=request.url.scheme == "https")
