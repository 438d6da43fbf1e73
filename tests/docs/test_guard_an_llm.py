"""The page's configuration and its client, on a guard before a real server."""

from __future__ import annotations

import re
from pathlib import Path

import openai
import pytest
from tests.guard.conftest import SECRET, Guarded
from tests.guard.dialects.serving import twice

PAGE = (Path(__file__).parents[2] / "docs/how-to/guard-an-llm.md").read_text(encoding="utf-8")


def test_the_page_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    settings, watch = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    program, = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with twice(lambda app, text: Guarded(app, tmp_path / "guard", text, SECRET), settings) as both:
        exec(compile(program.replace("http://127.0.0.1:8000", both.url), "guard-an-llm.md", "exec"), {})
        client = openai.OpenAI(base_url=f"{both.url}/v1", api_key="ann", max_retries=0)
        with client, pytest.raises(openai.BadRequestError, match="logit_bias"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}],
                                           logit_bias={"3": 5})  # whose log-probabilities were told
        both.guarded.guard.close()
    assert "webhook_url" in watch
