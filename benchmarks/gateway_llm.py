"""The gateway against LiteLLM's proxy, before the same server: a chat answer of 1 KB, everything of the guard on.

One worker each, in turns, under wrk; the upstream is nginx with a constant answer. Needs nginx and wrk. LiteLLM
has an environment of its own, which is made once:

    python -m venv benchmarks/.cache/litellm
    benchmarks/.cache/litellm/bin/pip install 'litellm[proxy]==1.108.7'
    python -m benchmarks.gateway_llm
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson

from benchmarks import results
from benchmarks.gateway import UPSTREAM, Round, System, _held, free_port, load, nginx, python

ROUNDS, SECONDS, CONNECTIONS = 5, 4, 8
LITELLM = Path(__file__).parent / ".cache" / "litellm" / "bin" / "litellm"
START_SECONDS = 180.0
KEY = "sk-" + "0123456789abcdef" * 4
"""LiteLLM doesn't start without one."""
AT_LEAST_TIMES, AT_MOST_P50_MS, AT_MOST_SHARE = 20.0, 2.0, 0.1
SETTINGS = """\
[target]
url = "http://127.0.0.1:{upstream}"
task = "llm"
dialect = "openai"

[guard]
limit_queries_per_minute = 1000000000
limit_tokens_per_minute = 1000000000000

[[guard.rule]]
kind = "logprob_bias"

[[guard.rule]]
kind = "sampling"

[[guard.rule]]
kind = "elicitation"

[[guard.policy]]
kind = "logprobs"
top = 5
decimals = 2
"""
LITELLM_SETTINGS = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""
ASKED = {"model": "m", "messages": [{"role": "system", "content": "You are helpful."},
                                    {"role": "user", "content": "Where is the cat? " * 10}]}
ANSWER = orjson.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1764000000, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "word " * 150}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 50, "completion_tokens": 150, "total_tokens": 200}}).decode()
SCRIPT = """\
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = '%s'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %s"
"""


def run() -> results.Result:
    if not LITELLM.exists():
        raise SystemExit(f"{LITELLM} is missing; the first lines of {__file__} say how it is made")
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        script = folder / "post.lua"
        script.write_text(SCRIPT % (orjson.dumps(ASKED).decode(), KEY), encoding="utf-8")
        upstream = stack.enter_context(nginx(folder / "upstream", UPSTREAM, core=1, answer=ANSWER))
        systems = {"upstream": upstream,
                   "gateway": stack.enter_context(python("gateway", settings(folder, upstream.port))),
                   "litellm": stack.enter_context(litellm(folder, upstream.port))}
        for system in systems.values():
            load(system, script, 2, 1)
        many: dict[str, list[Round]] = {name: [] for name in systems}
        one: dict[str, list[Round]] = {name: [] for name in systems}
        for number in range(ROUNDS):
            for each in list(systems) if number % 2 == 0 else list(reversed(systems)):
                many[each].append(load(systems[each], script, SECONDS, CONNECTIONS))
                one[each].append(load(systems[each], script, 2, 1))
    return results.Result("gateway_llm", [row(name, many, one) for name in ("gateway", "litellm")])


def row(name: str, many: dict[str, list[Round]], one: dict[str, list[Round]]) -> dict[str, object]:
    """Medians over rounds, and the ratio's least and largest; the CPU an answer is steadier than the rate."""
    times = [own.requests_per_second / other.requests_per_second
             for own, other in zip(many[name], many["litellm"], strict=True)]
    added, others = (statistics.median(own.p50_ms - bare.p50_ms
                                       for own, bare in zip(one[each], one["upstream"], strict=True))
                     for each in (name, "litellm"))
    cpu, others_cpu = (statistics.median(each.cpu_microseconds for each in many[of]) for of in (name, "litellm"))
    is_ours = name == "gateway"
    return {"system": name,
            "requests_a_second": round(statistics.median(each.requests_per_second for each in many[name])),
            "to_litellm": round(statistics.median(times), 1), "low": round(min(times), 1),
            "high": round(max(times), 1), "at_least": AT_LEAST_TIMES if is_ours else None,
            "cpu_us": round(cpu), "cpu_to_litellm": round(others_cpu / cpu, 1),
            "p50_added_ms": round(added, 2), "at_most_p50": AT_MOST_P50_MS if is_ours else None,
            "p50_to_litellm": round(added / others, 3), "at_most_share": AT_MOST_SHARE if is_ours else None}


def settings(folder: Path, upstream: int) -> str:
    """The gateway's file, with journal and metrics."""
    path = folder / "gateway" / "counterclone.toml"
    path.parent.mkdir()
    path.write_text(SETTINGS.format(upstream=upstream), encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def litellm(folder: Path, upstream: int) -> Iterator[System]:
    """LiteLLM's proxy with one model and no database."""
    path, port = folder / "litellm.yaml", free_port()
    path.write_text(LITELLM_SETTINGS.format(upstream=upstream), encoding="utf-8")
    process = subprocess.Popen(
        [LITELLM, "--config", path, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"], cwd=folder,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR",
             "LITELLM_MASTER_KEY": KEY},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    for system in _held(process, port, 0):
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("LiteLLM's proxy didn't start")
            time.sleep(1.0)
        yield system


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ASKED, timeout=20.0,
                            headers={"authorization": f"Bearer {KEY}"})
        return answer.status_code == 200
    return False


if __name__ == "__main__":
    results.show(run())
