"""From a file with a green list to a verdict on suspects that write texts."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from counterclone.cli import cli
from counterclone.marks._tokens import Words
from counterclone.randomness import generator
from counterclone.serving.hook import Hook

WORDS = [f"w{number}" for number in range(60)]
IDS = np.concatenate(Words().encode(WORDS)).tolist()
ID_OF = dict(zip(WORDS, IDS, strict=True))
TOKENS = 200
FILE = '[[mark]]\nkind = "greenlist"\ntest = "unique"\nkeys = "account"\n'
SUSPECTS = """
from test_compose_texts import written
def copy(prompts): return written(prompts, "a1")
def independent(prompts): return written(prompts, None)
def broken(prompts): return [1 for _ in prompts]
"""
OPEN = """
import numpy as np
from counterclone.serving.hook import Hook
from test_compose_texts import ID_OF, TOKENS, likely
def copy(contexts):
    bias = Hook.load("hook.json").bias
    return likely(contexts) + [bias([ID_OF[text]], TOKENS, "a1") for text in contexts]
def independent(contexts): return likely(contexts) + np.cos(np.arange(TOKENS))
def labels(contexts): return np.zeros(len(contexts))
class Model:
    def next_logprobs(self, contexts): return copy(contexts)
model = Model()
"""


def written(prompts: list[str], account: str | None) -> list[str]:
    """Random words, those of an account's key preferred."""
    hook, rng, texts = Hook.load("hook.json"), generator(0, "written", *prompts[:1]), []
    for _ in prompts:
        words = [0]
        for _ in range(40):
            bias = hook.bias([IDS[words[-1]]], 2**16, account)[IDS] if account else 0.0
            words.append(int((rng.gumbel(size=len(WORDS)) + bias).argmax()))
        texts.append(" ".join(WORDS[word] for word in words))
    return texts


def likely(contexts: list[str]) -> NDArray[np.float64]:
    """Logarithms of what comes next by the owner's model, but for a constant."""
    return np.stack([generator(0, "likely", context).normal(size=TOKENS) for context in contexts])


@contextlib.contextmanager
def serving(account: str | None) -> Iterator[str]:
    """A model that has learnt an account's texts, behind the routes of OpenAI."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send({"object": "list", "data": [{"id": "toy", "object": "model"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            is_chat = self.path == "/v1/chat/completions"
            prompts = [asked["messages"][-1]["content"]] if is_chat else asked["prompt"]
            texts = written(prompts, account)
            self.send({"model": asked["model"], "choices": [
                {"index": place, "finish_reason": "stop"}
                | ({"message": {"role": "assistant", "content": text}} if is_chat else {"text": text})
                for place, text in enumerate(texts)]})

        def send(self, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
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
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("counterclone.toml").write_text(FILE, encoding="utf-8")
    Path("text_suspects.py").write_text(SUSPECTS, encoding="utf-8")
    Path("served.jsonl").write_text("".join(json.dumps({
        "time": 1.0, "account": f"a{i % 3}", "query": {"text": f"say {i}"}, "answer": {"text": "words"}}) + "\n"
        for i in range(60)), encoding="utf-8")
    assert run("keys", "marks", "create").exit_code == 0
    assert run("keys", "marks", "export", "hook.json").exit_code == 0


def test_a_copy_is_proven_through_its_account_and_another_model_isnt() -> None:
    result = run("prove", "text_suspects:copy", "--texts", "served.jsonl", "--json")
    assert result.exit_code == 1, result.output
    verdict = json.loads(result.stdout)
    assert verdict["verdict"] == "proven"
    assert [each["account"] for each in verdict["accounts"]] == ["a1"]
    assert verdict["marks"][0]["kind"] == "greenlist"
    assert verdict["queries"] == 60
    assert "60 marked texts under commitment 1" in result.stderr
    independent = run("prove", "text_suspects:independent", "--texts", "served.jsonl", "--json")
    assert independent.exit_code == 0
    assert json.loads(independent.stdout)["verdict"] == "not-proven"
    alone = run("prove", "text_suspects:copy", "--texts", "served.jsonl", "--json", "--account", "a0")
    assert (json.loads(alone.stdout)["verdict"], json.loads(alone.stdout)["queries"]) == ("not-proven", 20)


@pytest.mark.parametrize("route", ["completions", "chat/completions"])
def test_a_suspect_behind_a_url_is_asked_on_a_ground_that_the_verdict_keeps(route: str) -> None:
    with serving("a1") as address:
        result = run("prove", f"{address}/{route}", "--texts", "served.jsonl", "--basis", "public API", "--json")
    verdict = json.loads(result.stdout)
    assert [each["account"] for each in verdict["accounts"]] == ["a1"]
    assert (verdict["basis"], verdict["suspect"], verdict["queries"]) == ("public API", f"{address}/{route}", 60)
    with serving(None) as address:
        result = run("prove", f"{address}/{route}", "--texts", "served.jsonl", "--basis", "ours", "--model", "n")
    assert result.exit_code == 0, result.output


def test_a_suspect_whose_probabilities_can_be_read_is_tested_by_these() -> None:
    Path("open_suspects.py").write_text(OPEN, encoding="utf-8")
    np.savez("own.npz", contexts=np.array(WORDS), own=likely(WORDS))
    Path("counterclone.toml").write_text(FILE + 'probabilities = "own.npz"\n', encoding="utf-8")
    refused = run("keys", "marks", "export", "other.json").stderr
    digest = refused.rsplit('"', 2)[1]
    Path("hook.json").unlink()
    Path("counterclone.toml").write_text(
        FILE + f'probabilities = "own.npz"\nprobabilities_digest = "{digest}"\n', encoding="utf-8")
    assert run("keys", "marks", "export", "hook.json").exit_code == 0
    for name in ("copy", "model"):
        result = run("prove", f"open_suspects:{name}", "--texts", "served.jsonl", "--probabilities", "--json")
        assert result.exit_code == 1, result.output
        verdict = json.loads(result.stdout)
        assert [each["account"] for each in verdict["accounts"]] == ["a1"]
        assert verdict["queries"] == len(WORDS)
    result = run("prove", "open_suspects:independent", "--texts", "served.jsonl", "--probabilities", "--json")
    assert json.loads(result.stdout)["verdict"] == "not-proven"
    for arguments, message in [
            (["open_suspects:labels"], "are labels or one class's scores; expected (60, classes)"),
            (["http://127.0.0.1:9/v1/completions", "--basis", "ours"], "no probabilities of all tokens are told"),
            (["open_suspects:copy", "--dossier", "x.zip"], "doesn't hold a suspect's probabilities"),
            (["open_suspects:copy", "--commitment", "1"], "has no `probabilities` to compare a suspect's with")]:
        assert message in run("prove", *arguments, "--texts", "served.jsonl", "--probabilities").stderr
    assert "add --texts" in run("prove", "open_suspects:copy", "--probabilities").stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (["text_suspects:broken"], "expected a list with a text for each"),
    (["https://api.example/v1/completions"], "--basis: say on what ground"),
    (["https://api.example/v1", "--basis", "ours"], "is no route where texts are written"),
    (["http://127.0.0.1:9/v1/completions", "--basis", "ours"], "expected a server as OpenAI's; start it"),
    (["text_suspects:copy", "--account", "nobody"], "holds no text of nobody"),
    (["text_suspects:copy", "--commitment", "7"], "there is no commitment 7 with a green list"),
    (["text_suspects:copy", "--with-log"], "the ledger doesn't hold texts"),
])
def test_what_cant_be_tested_is_one_readable_line(arguments: list[str], message: str) -> None:
    result = run("prove", *arguments, "--texts", "served.jsonl")
    assert result.exit_code == (3 if ":9/" in arguments[0] else 2)
    assert message in result.stderr
    assert result.stderr.strip().count("\n") <= 1


def test_lines_that_arent_exchanges_are_refused() -> None:
    Path("served.jsonl").write_text('{"account": "a1"}\n', encoding="utf-8")
    result = run("prove", "text_suspects:copy", "--texts", "served.jsonl")
    assert "expected exchanges as JSON lines" in result.stderr
