"""Whom an answer is for, as the model server is told: its hook marks texts of each account by a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from counterclone.errors import AnswerError
from counterclone.guard import asgi
from counterclone.guard.dialects import _json
from counterclone.protocols import ACCOUNT_FIELD, ACCOUNT_HEADER

HEADER = ACCOUNT_HEADER.encode()
ARGUMENTS = "vllm_xargs"


class Naming:
    """Names the account in requests that go on, and takes out what callers put into its place.

    Args:
        place: a header, or a field of the body that vLLM hands to its hooks.

    Attributes:
        nobody: the headers that change in a request that names nobody.
    """

    def __init__(self, place: Literal["header", "vllm_xargs"]) -> None:
        self._is_header = place == "header"
        self.nobody: Mapping[bytes, bytes] = {HEADER: b""} if self._is_header else {}

    def names(self, account: str, content: bytes,
              changes: Mapping[bytes, bytes]) -> tuple[bytes, Mapping[bytes, bytes]]:
        """A request's body, and the headers that change, with the account in its place.

        Args:
            account: "" for nobody.
            content: as it goes on.
            changes: to the headers so far.
        """
        if self._is_header:
            return content, {**changes, HEADER: account.encode()}
        try:
            fields = _json.fields(content)
        except AnswerError:  # a binary one, which vLLM reads no arguments from
            return content, changes
        given = fields.get(ARGUMENTS)
        if given is None and not account:
            return content, changes
        others = _json.fields(given) if given is not None and _json.first(given) == b"{" else {}
        others.pop(ACCOUNT_FIELD, None)
        if account:
            others[ACCOUNT_FIELD] = msgspec.Raw(msgspec.json.encode(account))
        fields[ARGUMENTS] = msgspec.Raw(msgspec.json.encode(others))
        return msgspec.json.encode(fields), changes

    def unnamed(self, scope: asgi.Scope) -> asgi.Scope:
        """A request that isn't guarded, without the header that a caller may have set."""
        return {**scope, "headers": [header for header in scope["headers"] if header[0] not in self.nobody]}
