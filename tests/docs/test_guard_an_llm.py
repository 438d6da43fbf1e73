"""The page's configuration and its programs, on a guard before a real server, up to the alarm."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.guard.conftest import SECRET, Guarded
from tests.guard.dialects.serving import twice

from counterclone.randomness import Generator, generator

PAGE = (Path(__file__).parents[2] / "docs/how-to/guard-an-llm.md").read_text(encoding="utf-8")
SETTINGS, WATCH = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CLIENT, COLLECT, FLAGGED = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OPENINGS = ("How do I fix", "Tell me about", "What is the best", "Write a note about", "Compare",
            "Plan a day of", "Explain", "Give me ideas for",
            "Who invented", "Is it safe to use", "Help me with", "What costs")
THINGS = ("bread", "soup", "a garden", "my bicycle", "a guitar", "history", "taxes", "chess", "the weather",
          "a dog", "school", "a novel", "physics", "Lisbon", "the train", "a phone", "yoga", "running",
          "paint", "the stars", "wine", "coffee", "a film", "the law")
ENDINGS = ("?", " for a beginner.", " in two sentences.", " please.", " with an example.", ", thanks!")


def run(program: str, both: Any) -> None:
    exec(compile(program.replace("http://127.0.0.1:8000", both.url), "guard-an-llm.md", "exec"), {})


def honest(rng: Generator, n_accounts: int) -> str:
    """Lines of accounts that ask about some things of their own, now and then."""
    lines = []
    for account in range(n_accounts):
        liked = rng.permutation(len(THINGS))[:6]
        now = 1.76e9 + 3 * 86400 * rng.random()
        for _ in range(5 + int(rng.lognormal(2.3, 0.6))):
            now += rng.exponential(600)
            one, other = (THINGS[i] for i in rng.choice(liked, 2))
            opening, ending = OPENINGS[rng.integers(len(OPENINGS))], ENDINGS[rng.integers(len(ENDINGS))]
            text = f"{opening} {one} and {other}{ending}"
            lines.append({"time": now, "account": f"honest-{account}", "query": {"text": text}})
    return "\n".join(map(json.dumps, sorted(lines, key=lambda line: float(str(line["time"])))))


def test_the_page_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    with twice(lambda app, text: Guarded(app, tmp_path / "guard", text, SECRET), SETTINGS) as both:
        run(CLIENT, both)
        client = openai.OpenAI(base_url=f"{both.url}/v1", api_key="ann", max_retries=0)
        with client, pytest.raises(openai.BadRequestError, match="logit_bias"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}],
                                           logit_bias={"3": 5})  # whose log-probabilities were told
        both.guarded.guard.close()


def test_who_collects_reasoning_gets_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    folder = tmp_path / "guard"
    with twice(lambda app, text: Guarded(app, folder, text, SECRET), SETTINGS) as both:
        run(COLLECT, both)
        assert both.guarded.metrics()["requests_total flagged openai 2xx"] == 100
        both.guarded.guard.close()
    (folder / "benign.jsonl").write_text(honest(generator(1, "honest"), 1000))
    watch = WATCH.replace("webhook_url", "# webhook_url")
    rehearsal, = re.findall(r"`(false_alarms_per_year = .*?)`", PAGE)
    settings = SETTINGS + re.sub(r"false_alarms_per_year = \d+", rehearsal, watch)
    (folder / "counterclone.toml").write_text(settings)
    command, = re.findall(r"^counterclone (watch .*)$", PAGE, re.MULTILINE)
    watched = subprocess.run([sys.executable, "-m", "counterclone", *command.split(), "--json"], cwd=folder,
                             check=False, capture_output=True, text=True)
    (account, found), = json.loads(watched.stdout)["accounts"].items()
    assert found["alarm_at_query"] is not None, watched.stderr
    monkeypatch.chdir(folder)
    run(FLAGGED, both)
    assert capsys.readouterr().out == f"{account}: 100 of 100 flagged\n"
