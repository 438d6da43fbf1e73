"""A suspect behind a URL that fails midway is asked only the rest the next time."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.test_compose_marks import N_CLASSES, N_FEATURES, N, begin, served, truth

from counterclone.compose.prove import Options, prove
from counterclone.errors import TargetError
from counterclone.randomness import generator


class Suspect:
    """An independent model over HTTP that refuses for good after some rows."""

    def __init__(self) -> None:
        self.n_asked = 0
        self.gives_up_after = 10**9

    def answer(self, instances: list[list[float]]) -> list[list[float]] | None:
        if self.n_asked + len(instances) > self.gives_up_after:
            return None
        self.n_asked += len(instances)
        rows: list[list[float]] = np.eye(N_CLASSES)[truth(np.array(instances))].tolist()
        return rows


@contextlib.contextmanager
def serving(suspect: Suspect) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            rows = suspect.answer(json.loads(body)["instances"])
            content = json.dumps({"error": "enough"} if rows is None else {"predictions": rows}).encode()
            self.send_response(403 if rows is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/models/m:predict"
        finally:
            server.shutdown()
            thread.join()


def test_a_test_that_ended_midway_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    served(guard, "copier", generator(1, "asked").normal(size=(N, N_FEATURES)))
    guard.close()
    suspect, said, config = Suspect(), list[str](), str(tmp_path / "counterclone.toml")
    with serving(suspect) as url:
        options = Options(suspect=url, basis="our own server", stops_early=True)
        suspect.gives_up_after = 3
        with pytest.raises(TargetError):
            prove(options, config, said.append)
        kept, = tmp_path.glob("counterclone.suspect-*")
        assert said[-1] == f"prove: 3 answers are kept in {kept}; run it again to go on"
        suspect.gives_up_after = 10**9
        verdict = prove(options, config, said.append)
        assert any(f"goes on after 3 answers of a test that ended midway, from {kept}" in text for text in said)
        assert suspect.n_asked == verdict.queries > 3
        assert not kept.exists()
        assert prove(options, config, said.append) == verdict
        assert suspect.n_asked == 2 * verdict.queries  # what has ended is forgotten
