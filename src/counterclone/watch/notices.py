"""Alarms to whoever must act on them: a signed webhook, and syslog.

Nothing here holds up what raises an alarm: notices wait in a bounded line and a thread sends them. A webhook's
requests are signed as https://www.standardwebhooks.com has it: HMAC-SHA256, under the shared secret, of the
message's id, its time and its body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import logging
import logging.handlers
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from counterclone.errors import ConfigError
from counterclone.randomness import new_id
from counterclone.watch.cases import Evidence

WAITING_MAX = 1000
"""Notices that may wait; more are dropped and counted."""
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
"""Before the second attempt; four times as long before each further one."""
ANSWER_SECONDS = 10.0
SECRET_PREFIX = "whsec_"  # noqa: S105 (the start of a secret as the standard writes it)
_ACCOUNTS_TOLD = 1000
_OK = range(200, 300)
_MAY_PASS = (408, 429, *range(500, 600))
"""Statuses that another attempt may change."""

logger = logging.getLogger(__name__)


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """How much was asked.

    Attributes:
        queries: rows.
        queries_per_day: rows a day from the first exchange to the last; None where that isn't known.
        leaked_bits: upper bound on the bits that the answers released, likewise.
        first_time: of the first exchange, seconds since 1970, likewise.
        last_time: of the last, likewise.
    """

    queries: int
    queries_per_day: float | None = None
    leaked_bits: float | None = None
    first_time: float | None = None
    last_time: float | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm as it is told: who, how much, and how the inputs are spread (OWASP AISVS 11.5.2).

    Attributes:
        id: 16 hexadecimal digits; a notice that comes twice has the same.
        time: seconds since 1970.
        type: `account.alarm`, `campaign.alarm`, `account.review` or `account.spending`.
        principal: the account, or the campaign's id.
        accounts: whom it is about, the first 1,000 of them.
        n_accounts: how many they are.
        volume: how much they asked.
        risk: 0 to 1, None where nothing tells it.
        p_value: how often honest accounts go as far, likewise.
        reasons: what is unlike honest accounts.
        inputs: by detector, how the inputs and answers are spread against honest accounts': how often those go as
            far.
    """

    id: str
    time: float
    type: str
    principal: str
    accounts: list[str]
    n_accounts: int
    volume: Volume
    risk: float | None
    p_value: float | None
    reasons: list[str]
    inputs: dict[str, float]

    @classmethod
    def of(cls, accounts: Sequence[str], evidence: Evidence, time: float, principal: str = "") -> Notice:
        """The notice of some evidence."""
        figures = dict(evidence.figures)
        volume = {name: figures.pop(name) for name in ("queries_per_day", "leaked_bits", "first_time", "last_time")
                  if name in figures}
        kind = {"alarm": "account.alarm", "campaign": "campaign.alarm"}.get(
            evidence.kind, f"account.{evidence.kind}")
        return cls(id=new_id(8), time=time, type=kind, principal=principal or accounts[0],
                   accounts=list(accounts[:_ACCOUNTS_TOLD]), n_accounts=len(accounts),
                   volume=Volume(queries=evidence.queries, **volume), risk=evidence.risk, p_value=evidence.p_value,
                   reasons=list(evidence.reasons), inputs=figures)


class Sink(Protocol):
    """Where notices go."""

    name: str

    def send(self, notice: Notice) -> None:
        """Send it, once.

        Raises:
            OSError: it didn't arrive.
        """
        ...


class Refused(OSError):
    """The other side won't take it, now or later."""


class Webhook:
    """Posts notices as JSON.

    Args:
        url: where to.
        secret: signs them; what begins with `whsec_` is base64.

    Raises:
        ConfigError: the secret is empty, or no base64.
    """

    name = "webhook"

    def __init__(self, url: str, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        self._url = urlsplit(url)
        self._secret = _decoded(secret)
        self._clock = clock

    def send(self, notice: Notice) -> None:
        """Post it; redirects aren't followed.

        Raises:
            OSError: nobody took it.
        """
        body = msgspec.json.encode(notice)
        now = str(int(self._clock()))
        signed = b".".join([notice.id.encode(), now.encode(), body])
        signature = base64.b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode()
        headers = {"content-type": "application/json", "user-agent": "counterclone", "webhook-id": notice.id,
                   "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
        connection = self._connection()
        try:
            path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__} {error}") from error
        finally:
            connection.close()
        if status not in _OK:
            kind = OSError if status in _MAY_PASS else Refused
            raise kind(f"it answered {status}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS,
                                               context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)


class Syslog:
    """Logs notices as one line of JSON each, facility auth, severity warning.

    Args:
        address: a socket's path, or host:port for UDP.
    """

    name = "syslog"

    def __init__(self, address: str) -> None:
        self._address: str | tuple[str, int] = address
        if not address.startswith("/"):
            host, _, port = address.rpartition(":")
            self._address = host.strip("[]"), int(port)

    def send(self, notice: Notice) -> None:
        """Log it, with a hundred accounts at most, since a datagram is short.

        Raises:
            OSError: nobody listens at the path.
        """
        short = msgspec.structs.replace(notice, accounts=notice.accounts[:100])
        line = msgspec.json.encode(short).decode()
        record = logging.LogRecord("counterclone", logging.WARNING, "", 0, line, None, None)
        handler = logging.handlers.SysLogHandler(self._address, facility=logging.handlers.SysLogHandler.LOG_AUTH,
                                                 socktype=socket.SOCK_DGRAM)
        handler.ident = "counterclone: "
        handler.handleError = _raise  # type: ignore[method-assign]
        try:
            handler.emit(record)
        finally:
            handler.close()


class Notifier:
    """Sends notices to all sinks in a thread of its own.

    Args:
        sinks: where they go.
        pause_seconds: before a second attempt.
        clock: seconds since 1970.

    Attributes:
        sent: notices that a sink took.
        failed: notices that a sink didn't take after all attempts.
        dropped: notices for which there was no room.
        last_error: what went wrong last, None while all is well.
    """

    def __init__(self, sinks: Iterable[Sink], *, pause_seconds: float = FIRST_PAUSE_SECONDS,
                 clock: Callable[[], float] = time.time) -> None:
        self.sent = self.failed = self.dropped = 0
        self.last_error: str | None = None
        self._sinks = list(sinks)
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._waiting: queue.Queue[Notice | None] = queue.Queue(WAITING_MAX)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def tell(self, accounts: Sequence[str], evidence: Evidence, principal: str = "") -> None:
        """Send a notice of some evidence; never waits.

        Args:
            accounts: whom it is about.
            evidence: why.
            principal: a campaign's id; without, the account.
        """
        if not self._sinks or self._stop.is_set():
            return
        self._start()
        try:
            self._waiting.put_nowait(Notice.of(accounts, evidence, self._clock(), principal))
        except queue.Full:
            self.dropped += 1

    def close(self, seconds: float = 30.0) -> None:
        """Send what waits, for so long at most, and stop."""
        self._stop.set()
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _start(self) -> None:
        """Start the thread where it doesn't run yet, as in a fork's child."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="counterclone notices", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            for sink in self._sinks:
                self._send(sink, notice)

    def _send(self, sink: Sink, notice: Notice) -> None:
        pause = self._pause_seconds
        for attempt in range(1, ATTEMPTS + 1):
            try:
                sink.send(notice)
            except Exception as error:  # whatever it is, the thread goes on
                self.last_error = f"{sink.name}: {error}"
                if attempt == ATTEMPTS or isinstance(error, Refused):
                    self.failed += 1
                    logger.error("alarm %s (%s) wasn't told: %s", notice.id, notice.principal, self.last_error)
                    return
                if not self._stop.is_set():  # at the end there is no time to wait
                    self._stop.wait(pause)
                pause *= 4
            else:
                self.sent += 1
                self.last_error = None
                return


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether a webhook's request was signed with this secret; the receiver also looks at the time.

    Raises:
        ConfigError: the secret is empty, or no base64.
    """
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.digest(_decoded(secret), signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(f"v1,{expected}", given) for given in headers["webhook-signature"].split(" "))


def _decoded(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        found = secret.encode()
    else:
        try:
            found = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ConfigError("the webhook's secret begins with whsec_ and isn't base64 after it; copy it whole, "
                              "or use any other text") from None
    if not found:
        raise ConfigError("the webhook's secret is empty; put one of 24 bytes or more into its variable")
    return found


def _raise(record: logging.LogRecord) -> None:
    raise  # noqa: PLE0704 (called where an exception is handled)
