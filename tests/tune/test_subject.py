"""A sweep of a host that isn't this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterclone.audit import access
from counterclone.errors import ConfigError
from counterclone.protocols import PROOF_PATH, TOKEN_FILE
from counterclone.randomness import generator
from counterclone.targets.http import Endpoint
from counterclone.tune import Setting, Subject, tune

TRIED = [Setting("as it is", ()), Setting("labels", ({"kind": "labels"},))]


class Api(BaseHTTPRequestHandler):
    """A linear model behind HTTP, which counts its rows and serves a token."""

    n_rows = 0
    token = ""

    def do_POST(self) -> None:
        rows = np.array(json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"])
        Api.n_rows += len(rows)
        odds = np.exp(rows)
        shares = odds / odds.sum(axis=1, keepdims=True)
        self._send(json.dumps({"predictions": shares.tolist()}), "application/json")

    def do_GET(self) -> None:
        self._send(Api.token if self.path == PROOF_PATH else "", "text/plain")

    def _send(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An API of this machine, which counts as another one."""
    monkeypatch.setattr(access, "is_loopback", lambda url: False)
    Api.n_rows, Api.token = 0, ""
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()
        thread.join()


def test_one_token_is_good_for_one_sweep(elsewhere: str, tmp_path: Path) -> None:
    pool, told = (generator(seed, "elsewhere").normal(size=(150, 3)) for seed in (0, 1))
    subject = Subject(predict=Endpoint(elsewhere), pool=pool, evaluate=told, authorized_by="the owner",
                      folder=tmp_path)
    with pytest.raises(ConfigError, match="doesn't serve this audit's token"):
        tune(subject, tried=TRIED, budgets=(20,), seeds=1)
    assert Api.n_rows == 0
    Api.token = (tmp_path / TOKEN_FILE).read_text()
    found = tune(subject, tried=TRIED, budgets=(20,), seeds=1)
    assert {point.name for point in found.frontier} == {"as it is", "labels"}
    assert all("hard_label" in point.attacks for point in found.frontier)
    assert not (tmp_path / TOKEN_FILE).exists()
