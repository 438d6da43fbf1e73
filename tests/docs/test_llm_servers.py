"""The page's files are ones that we take, and the middleware runs as a server adds it that gets its name."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from counterclone import config

PAGE = (Path(__file__).parents[2] / "docs/how-to/llm-servers.md").read_text(encoding="utf-8")
FILES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("text", FILES)
def test_each_file_is_one_that_we_take(text: str) -> None:
    assert config.parse(tomllib.loads(text), {}, "counterclone.toml").target.task == "llm"


def test_vllms_middleware_is_found_by_its_name_and_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counterclone.toml"
    path.write_text(FILES[0] + "limit_queries_per_minute = 1\n")
    monkeypatch.setenv("COUNTERCLONE_CONFIG", str(path))
    monkeypatch.setenv("COUNTERCLONE_SECRET", "0123456789abcdef")
    name, = re.findall(r"--middleware (\S+)", PAGE)
    module, _, attribute = name.rpartition(".")
    app = FastAPI()
    app.add_middleware(getattr(importlib.import_module(module), attribute))

    @app.post(CHAT)
    def chat() -> dict[str, object]:
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}

    @app.post("/tokenize")
    def tokenize() -> dict[str, object]:
        return {"count": 1}

    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    with TestClient(app) as client:
        assert client.post(CHAT, json=body).json()["choices"][0]["message"]["content"] == "Hi"
        assert client.post(CHAT, json=body).status_code == 429
        assert client.post("/tokenize", json={"prompt": "a"}).status_code == 200
