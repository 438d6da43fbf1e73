"""Who may look: a token that is known by its hash, sessions that end, and patience with wrong tokens."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from counterclone.randomness import new_secret

LASTS_SECONDS = 8 * 3600.0
IDLE_SECONDS = 1800.0
MOST_SESSIONS = 100
FREE_FAILURES = 5
LONGEST_WAIT_SECONDS = 300.0
MOST_ADDRESSES = 1000


@dataclass
class Session:
    """Somebody who showed the token.

    Attributes:
        name: as they call themselves; the trail and notes carry it.
        form_token: what their forms carry, so that no other site can send one for them.
        begun: by the clock.
        seen: likewise, of the last page.
    """

    name: str
    form_token: str
    begun: float
    seen: float


class Sessions:
    """Sessions in memory, by the hash of their cookie: a new start of the process ends them all.

    Args:
        token: that opens one.
        clock: seconds, of any beginning.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _hashed(token)
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def opens(self, token: str) -> bool:
        """Whether it is the token; takes as long for any."""
        return hmac.compare_digest(_hashed(token), self._token)

    def begin(self, name: str) -> str:
        """Open a session for somebody who showed the token; its cookie. Of too many the oldest ends."""
        cookie, now = new_secret(), self._clock()
        self._sessions[_hashed(cookie)] = Session(name, new_secret(), now, now)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, None where there is none or it has ended."""
        key, now = _hashed(cookie), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if now - session.begun >= LASTS_SECONDS or now - session.seen >= IDLE_SECONDS:
            self._sessions.pop(key, None)
            return None
        session.seen = now
        return session

    def end(self, cookie: str) -> None:
        """End a session; nothing where there is none."""
        self._sessions.pop(_hashed(cookie), None)


class Patience:
    """How long an address must wait after wrong tokens: not at all after five, then twice as long each time.

    Args:
        clock: seconds, of any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def seconds(self, address: str) -> float:
        """How long it must wait still."""
        count, last = self._failures.get(address, (0, 0.0))
        if count < FREE_FAILURES:
            return 0.0
        return max(last + min(2.0 ** (count - FREE_FAILURES), LONGEST_WAIT_SECONDS) - self._clock(), 0.0)

    def fail(self, address: str) -> None:
        """Take that it showed a wrong token; of too many addresses the one that did longest ago is forgotten."""
        count, _ = self._failures.pop(address, (0, 0.0))
        self._failures[address] = (count + 1, self._clock())
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def forget(self, address: str) -> None:
        """Take that it showed the token."""
        self._failures.pop(address, None)


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
