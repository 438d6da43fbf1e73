from __future__ import annotations

import base64
import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from counterclone.errors import ConfigError
from counterclone.watch import notices
from counterclone.watch.cases import Evidence
from counterclone.watch.notices import Notice, Notifier, Syslog, Webhook, verify

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
EVIDENCE = Evidence(
    kind="alarm", reasons=("its queries lie elsewhere",), queries=40, risk=1.0, p_value=1e-4,
    figures={"leaked_bits": 80.0, "first_time": 5.0, "last_time": 9.0, "queries_per_day": 40.0, "residual": 1e-4})


class Receiver:
    """A server that answers with the statuses it is given, 200 from then on, and keeps what it got."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=x"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@contextlib.contextmanager
def notifying(*sinks: notices.Sink) -> Iterator[Notifier]:
    notifier = Notifier(sinks, pause_seconds=0.01, clock=lambda: 1000.0)
    yield notifier
    notifier.close()


def test_a_notice_says_who_how_much_and_how_it_is_spread() -> None:
    notice = Notice.of(["a7"], EVIDENCE, 1000.0)
    assert (notice.type, notice.principal, notice.accounts, notice.time) == ("account.alarm", "a7", ["a7"], 1000.0)
    assert notice.volume == notices.Volume(queries=40, queries_per_day=40.0, leaked_bits=80.0, first_time=5.0,
                                           last_time=9.0)
    assert notice.inputs == {"residual": 1e-4}


def test_a_campaigns_notice_names_some_and_counts_all() -> None:
    notice = Notice.of([f"a{i}" for i in range(5000)], Evidence(kind="campaign", queries=9), 1.0, "c1")
    assert (notice.type, notice.principal, notice.n_accounts, len(notice.accounts)) == (
        "campaign.alarm", "c1", 5000, 1000)


def test_a_webhook_is_signed(receiver: Receiver) -> None:
    with notifying(Webhook(receiver.url, SECRET)) as notifier:
        notifier.tell(["a7"], EVIDENCE)
        path, headers, body = receiver.got.get(timeout=10)
    assert path == "/hook?token=x"
    assert headers["content-type"] == "application/json"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert json.loads(body)["id"] == headers["webhook-id"]
    assert verify(SECRET, headers, body)
    assert not verify(SECRET, headers, body + b" ")
    assert not verify(SECRET, {**headers, "webhook-timestamp": "1"}, body)
    assert not verify("another", headers, body)
    assert (notifier.sent, notifier.failed, notifier.last_error) == (1, 0, None)


def test_the_signature_is_the_standards() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks."""
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
               "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
    assert verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, b'{"test": 2432232314}')


def test_a_failure_that_may_pass_is_tried_again_with_the_same_id(receiver: Receiver) -> None:
    receiver.statuses = [503, 429]
    with notifying(Webhook(receiver.url, "any text")) as notifier:
        notifier.tell(["a7"], EVIDENCE)
        ids = [receiver.got.get(timeout=10)[1]["webhook-id"] for _ in range(3)]
    assert len(set(ids)) == 1
    assert (notifier.sent, notifier.failed) == (1, 0)


@pytest.mark.parametrize(("statuses", "tries"), [([404], 1), ([302], 1), ([500] * 9, notices.ATTEMPTS)],
                         ids=["not found", "a redirect", "down for long"])
def test_a_failure_that_stays_is_counted(receiver: Receiver, statuses: list[int], tries: int) -> None:
    receiver.statuses = list(statuses)
    with notifying(Webhook(receiver.url, "any text")) as notifier:
        notifier.tell(["a7"], EVIDENCE)
        for _ in range(tries):
            receiver.got.get(timeout=10)
    assert receiver.got.empty()
    assert (notifier.sent, notifier.failed) == (0, 1)
    assert notifier.last_error == f"webhook: it answered {statuses[0]}"


def test_nobody_there_is_counted_and_holds_nothing_up() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with notifying(Webhook(f"http://127.0.0.1:{taken.getsockname()[1]}/", "any text")) as notifier:
            began = time.monotonic()
            for _ in range(3):
                notifier.tell(["a7"], EVIDENCE)
            assert time.monotonic() - began < 0.5
    assert notifier.failed == 3


def test_what_there_is_no_room_for_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "WAITING_MAX", 2)
    go_on = threading.Event()

    class Slow:
        name = "slow"

        def send(self, notice: Notice) -> None:
            go_on.wait(10)

    with notifying(Slow()) as notifier:
        for _ in range(10):
            notifier.tell(["a7"], EVIDENCE)
        assert notifier.dropped in (7, 8)  # one may be under way
        go_on.set()
    assert notifier.sent == 10 - notifier.dropped


def test_syslog_gets_a_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(10)
        with notifying(Syslog(str(tmp_path / "log"))) as notifier:
            notifier.tell(["a7"], EVIDENCE)
            line = listening.recv(65536).decode()
    assert line.startswith("<36>counterclone: {")  # facility auth, severity warning
    assert json.loads(line[len("<36>counterclone: "):].rstrip("\0"))["principal"] == "a7"
    assert notifier.sent == 1


def test_syslog_over_the_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        with notifying(Syslog(f"127.0.0.1:{listening.getsockname()[1]}")) as notifier:
            notifier.tell([f"account {i}" for i in range(5000)], EVIDENCE)
            assert len(listening.recv(65536)) < 10_000


def test_a_missing_socket_is_counted(tmp_path: Path) -> None:
    with notifying(Syslog(str(tmp_path / "missing"))) as notifier:
        notifier.tell(["a7"], EVIDENCE)
    assert notifier.failed == 1


def test_without_a_sink_nothing_happens() -> None:
    with notifying() as notifier:
        notifier.tell(["a7"], EVIDENCE)
    assert (notifier.sent, notifier.failed, notifier.dropped) == (0, 0, 0)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_no base64"])
def test_a_secret_that_signs_nothing_is_an_error(secret: str) -> None:
    with pytest.raises(ConfigError, match="secret"):
        Webhook("http://127.0.0.1/", secret)
