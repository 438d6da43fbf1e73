from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from counterclone.testing.oip_server import Model, OipServer, Tensor


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own, with a secret, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    """A model server that calls itself Triton, with a model of three classes."""
    scores = np.array([[0.6251, 0.2499, 0.125]], dtype=np.float32)
    model = Model([Tensor("x", "FP32", (-1, 4))], [Tensor("scores", "FP32", (-1, 3))],
                  lambda arrays: {"scores": scores.repeat(len(arrays["x"]), axis=0)})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = uvicorn.Server(uvicorn.Config(OipServer({"iris": model}, name="triton"), log_level="warning",
                                                ws="none"))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving.should_exit = True
        thread.join()
