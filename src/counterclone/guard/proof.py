"""Shows an audit that this host's owner wants it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from counterclone.guard import asgi
from counterclone.protocols import PROOF_PATH, TOKEN_VARIABLE

LONGEST_TOKEN = 200


class Proof:
    """Answers `PROOF_PATH` with the token that the owner has put there, if there is one.

    Args:
        path: the file with the token; the variable `TOKEN_VARIABLE` comes before it.
        environ: variables.
    """

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._environ = environ

    async def answers(self, scope: asgi.Scope, send: asgi.Send) -> bool:
        """Whether a request was for the token, and got it."""
        if scope.get("path") != PROOF_PATH or scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return False
        token = self._token()
        if not token:
            return False
        body = token.encode() if scope["method"] == "GET" else b""
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(token.encode())),
            (b"cache-control", b"no-store")]})
        await send({"type": "http.response.body", "body": body})
        return True

    def _token(self) -> str:
        """The token, "" where there is none; it is read anew, since an audit comes while the guard runs."""
        try:
            text = self._environ.get(TOKEN_VARIABLE) or self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""
        return text.strip()[:LONGEST_TOKEN]
