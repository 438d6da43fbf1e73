"""Which version of the terms a caller has accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping

from counterclone.evidence import Accepted

_VERSION = re.compile(rb"[A-Za-z0-9._:/-]{1,64}")


class Acceptance:
    """What a request tells of the terms: what the proxy that names accounts says, else the version in force.

    Args:
        version: that callers accept by calling, "" for none.
        header: in which the proxy says what the caller accepted, "" for none.
    """

    def __init__(self, version: str, header: str) -> None:
        self._in_force = Accepted(version, "use") if version else None
        self._header = header.lower().encode()

    def of(self, headers: Mapping[bytes, bytes]) -> Accepted | None:
        """What the caller has accepted, None where nobody says.

        Args:
            headers: of the request, names in lower case.
        """
        value = headers.get(self._header) if self._header else None
        return Accepted(value.decode(), "proxy") if value and _VERSION.fullmatch(value) else self._in_force
