from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from tests.docs.waiting import wait

ROOT = Path(__file__).parents[2]
COMMANDS = re.compile(r"## Guard a model server\n\n```\n(.*?)```", re.DOTALL)


def test_five_commands_guard_the_example_server(tmp_path: Path) -> None:
    """As printed, but for the ports, in a folder with nothing but the examples; what is installed is ours."""
    text = COMMANDS.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    lines = [line.partition("  #")[0].strip().removesuffix("&") for line in text.splitlines()]
    assert len(lines) == 5
    target, listen, admin = free_ports(3)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "COUNTERCLONE_SECRET": "readme",
                   "COUNTERCLONE_GUARD_LISTEN": f"127.0.0.1:{listen}",
                   "COUNTERCLONE_GUARD_ADMIN": f"127.0.0.1:{admin}",
                   "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    _, serve, init, guard, ask = (
        shlex.split(line.replace("9000", str(target)).replace("8000", str(listen))) for line in lines)
    running = []
    try:
        running.append(subprocess.Popen(serve, cwd=tmp_path, env=environment))
        wait(f"http://127.0.0.1:{target}/v2")
        subprocess.run(init, cwd=tmp_path, env=environment, check=True, capture_output=True)
        assert 'scores = "scores"' in (tmp_path / "counterclone.toml").read_text(encoding="utf-8")
        running.append(subprocess.Popen(guard, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL))
        wait(f"http://127.0.0.1:{listen}/v2")
        answer = subprocess.run([*ask, "-s"], cwd=tmp_path, check=True,
                                capture_output=True)
        (output,) = json.loads(answer.stdout)["outputs"]
        assert output["data"] == [round(value, 2) for value in output["data"]]
        bare = httpx.post(f"http://127.0.0.1:{target}/v2/models/digits/infer",
                          content=(ROOT / "examples/digit.json").read_bytes()).json()
        assert bare["outputs"][0]["data"] != output["data"]
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(timeout=30)
    watched = subprocess.run(["counterclone", "watch", "--json"], cwd=tmp_path, env=environment, check=True,
                             capture_output=True)
    assert [each["queries"] for each in json.loads(watched.stdout)["accounts"].values()] == [1]


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
