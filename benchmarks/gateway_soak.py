"""The gateway between 200 clients, some of them rude, and a model server that breaks off, goes down, falls silent.

`python -m benchmarks.gateway_soak [SECONDS]`. Exits with 1 where an answer has no shape or isn't the request's, a
request hangs, or anything is left at the end.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import orjson
import prometheus_client
import psutil
import uvloop

from benchmarks import results
from counterclone.compose.gateway import Listening, gateway
from counterclone.randomness import generator
from counterclone.statistics import slope

SECONDS, N_CLIENTS = 60, 200
HUNG_SECONDS = 15.0
"""Well over all that the gateway may wait for: connection, answer, slow client."""
SETTLE_SECONDS = 30.0
GROWTH_MB = 20.0
UP_SECONDS, DOWN_SECONDS = 4.0, 0.7
CONFIG = """\
[target]
url = "http://127.0.0.1:{port}"
connect_seconds = 1
answer_seconds = 2

[guard]
request_seconds = 3
limit_queries_per_minute = 0
paths = ["/predict", "/v2/*"]

[[guard.policy]]
kind = "rounding"
decimals = 1
"""
SCORES, ROUNDED = [0.6251, 0.2499, 0.125], [0.6, 0.3, 0.1]
FROM_TARGET = b"x-from"
MISDEEDS = ("slow", "silent", "reset", "half", "cut", "error", "garbage", "close")
MISDEED_SHARES = (0.08, 0.005, 0.06, 0.06, 0.06, 0.06, 0.04, 0.04)
KINDS = ("predict", "oip", "get", "packed", "goes away", "malformed", "drips")
KIND_SHARES = (0.45, 0.2, 0.15, 0.08, 0.05, 0.05, 0.02)


class Answer(NamedTuple):
    """What a client got."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


# The model server


class Flapping:
    """Answers right in six cases of ten, and isn't there at all for a part of the time."""

    def __init__(self) -> None:
        self.is_well = True
        self.port = 0
        self._rng = generator(0, "gateway soak", "target")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, backlog=1024)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def flap(self) -> None:
        """Come and go until cancelled."""
        while True:
            await asyncio.sleep(UP_SECONDS)
            await self.close()
            await asyncio.sleep(DOWN_SECONDS)
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                line, headers = await read_head(reader)
                body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
                await self._answer(reader, writer, echoed(line, body))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        shares = [*MISDEED_SHARES, 1.0 - sum(MISDEED_SHARES)]
        misdeed = "" if self.is_well else str(self._rng.choice([*MISDEEDS, ""], p=shares))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-from: target\r\n"
        match misdeed:
            case "slow":
                await asyncio.sleep(float(self._rng.uniform(0.02, 0.5)))
            case "silent":
                await reader.read()
                raise ConnectionResetError
            case "reset":
                writer.transport.abort()
                raise ConnectionResetError
            case "half":
                writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body[:len(body) // 2])
                raise ConnectionResetError
            case "cut":
                writer.write(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body)
                raise ConnectionResetError
            case "error":
                head, body = head.replace(b"200 OK", b"500 Oops"), b"oops"
            case "garbage":
                head = b"nonsense\r\n" + head
            case "close":
                raise ConnectionResetError
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)


def echoed(line: bytes, body: bytes) -> bytes:
    """The right answer: it has the number of the request in it."""
    path = line.split()[1]
    if path.startswith(b"/v2/"):
        output = {"name": "s", "shape": [1, 3], "datatype": "FP32", "data": SCORES}
        return orjson.dumps({"model_name": "m", "id": orjson.loads(body)["id"], "outputs": [output]})
    if path.startswith(b"/predict"):
        return orjson.dumps({"predictions": [SCORES], "id": orjson.loads(body)["id"]})
    return orjson.dumps({"id": path.rpartition(b"=")[2].decode()})


async def read_head(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes]]:
    line, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    return line, {name.lower(): value.strip() for name, value in (each.split(b":", 1) for each in lines)}


# The clients


class Clients:
    """200 of them, each on one connection after the other."""

    def __init__(self, port: int) -> None:
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._port = port
        self._sent = 0

    async def run(self, until: float) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(N_CLIENTS):
                group.create_task(self._live(number, until))

    async def _live(self, number: int, until: float) -> None:
        rng = generator(0, "gateway soak", f"client {number}")
        while time.monotonic() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.faults["no connection"] += 1
                continue
            try:
                while time.monotonic() < until:
                    kind = str(rng.choice(KINDS, p=KIND_SHARES))
                    async with asyncio.timeout(HUNG_SECONDS):
                        if not await self._ask(kind, reader, writer):
                            break
            except TimeoutError:
                self.faults["hung"] += 1
            finally:
                writer.close()

    async def _ask(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is good for another request."""
        self._sent += 1
        name = str(self._sent)
        request = written(kind, name)
        if kind == "drips":  # the gateway drops it
            writer.write(request[:-5])
            is_dropped = not await reader.read()
            self.statuses["dropped"] += is_dropped
            return False
        writer.write(request)
        if kind == "goes away":
            await writer.drain()
            self.statuses["went away"] += 1
            return False
        try:
            line, headers = await read_head(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.faults["unanswered"] += 1
            return False
        try:
            body = await read_body(reader, headers)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            # What is passed on as it comes can only be cut off.
            (self.statuses if kind == "get" else self.faults)["cut off"] += 1
            return False
        self._check(kind, name, Answer(int(line.split()[1]), headers, body))
        return headers.get(b"connection") != b"close"

    def _check(self, kind: str, name: str, answer: Answer) -> None:
        is_targets = FROM_TARGET in answer.headers
        self.statuses[f"{answer.status}{' of the target' if is_targets and answer.status >= 400 else ''}"] += 1
        if answer.status >= 400:
            self.faults["shapeless"] += not is_targets and not has_shape(kind, answer.body)
            return
        found = orjson.loads(answer.body)
        self.faults["of another request"] += found["id"] != name
        rows = found["predictions"][0] if "predictions" in found else (
            found["outputs"][0]["data"] if "outputs" in found else ROUNDED)
        self.faults["not cleaned"] += not np.allclose(rows, ROUNDED)


def written(kind: str, name: str) -> bytes:
    head = b"host: a\r\nauthorization: Bearer soak\r\ncontent-type: application/json\r\n"
    if kind == "get":
        return b"GET /health?id=" + name.encode() + b" HTTP/1.1\r\n" + head + b"\r\n"
    if kind == "malformed":
        both = b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        return b"POST /predict HTTP/1.1\r\n" + head + both + b"0\r\n\r\n"
    if kind == "oip":
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, len(name)]}
        path, body = b"/v2/models/m/infer", orjson.dumps({"id": name, "inputs": [tensor]})
    else:
        path, body = b"/predict", orjson.dumps({"id": name, "instances": [[1.0, len(name)]]})
    if kind == "packed":
        head, body = head + b"content-encoding: gzip\r\n", gzip.compress(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + head + b"content-length: %d\r\n\r\n" % len(body) + body


async def read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def has_shape(kind: str, body: bytes) -> bool:
    """Whether an error of the gateway is as the dialect has it."""
    try:
        error = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(error, dict) and set(error) == ({"error"} if kind == "oip" else {"error", "code"})


# The gateway, in a process of its own


class Guarding:
    """The gateway, that tells what it holds."""

    def __init__(self, config: Path) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.gateway_soak", str(config)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._pipe(self._process.stdout).readline())

    def state(self) -> dict[str, float]:
        pipe = self._pipe(self._process.stdin)
        pipe.write("state\n")
        pipe.flush()
        found: dict[str, float] = orjson.loads(self._pipe(self._process.stdout).readline())
        return found

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=60)

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def serve(config: str) -> None:
    with gateway(Path(config), public="127.0.0.1:0", private="127.0.0.1:0",
                 registry=prometheus_client.REGISTRY) as listening, asyncio.Runner(
                     loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(listening))


async def _serve(listening: Listening) -> None:
    loop, process = asyncio.get_running_loop(), psutil.Process()
    sample = prometheus_client.REGISTRY.get_sample_value

    def tell() -> None:
        for _ in sys.stdin:
            held = {"tasks": len(asyncio.all_tasks(loop)), "files": process.num_fds(),
                    "in flight": sample("counterclone_inflight_requests"), "threads": process.num_threads(),
                    "rss_mb": process.memory_info().rss / 1e6}
            print(orjson.dumps(held).decode(), flush=True)

    print(listening.public.getsockname()[1], flush=True)
    threading.Thread(target=tell, daemon=True).start()
    await listening.gateway.serve(listening.public, listening.private)


# The run


async def soak(seconds: float) -> results.Result:
    target = Flapping()
    await target.open()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "counterclone.toml")
        config.write_text(CONFIG.format(port=target.port), encoding="utf-8")
        guarding = Guarding(config)
        clients, sizes = Clients(guarding.port), []
        await clients.run(time.monotonic() + 1.0)  # with all well, so that everything is loaded
        before = await settled(guarding, None)
        target.is_well = False
        flapping = asyncio.create_task(target.flap())
        start = time.monotonic()
        running = asyncio.create_task(clients.run(start + seconds))
        while not running.done():
            await asyncio.wait([running], timeout=1.0)
            sizes.append((time.monotonic() - start, guarding.state()["rss_mb"]))
        await running
        flapping.cancel()
        after = await settled(guarding, before)
        status = guarding.end()
    await target.close()
    return results.Result("gateway_soak", [*counts(clients, seconds), *leftovers(before, after),
                                           *memory(sizes), row("exit status of the gateway", status, 0)])


async def settled(guarding: Guarding, before: dict[str, float] | None) -> dict[str, float]:
    """What the gateway holds once nobody asks and its idle connections are closed."""
    end = time.monotonic() + SETTLE_SECONDS
    await asyncio.sleep(8.0)
    state = guarding.state()
    while before and time.monotonic() < end and any(state[each] > before[each] for each in ("tasks", "files")):
        await asyncio.sleep(1.0)
        state = guarding.state()
    return state


def row(what: str, count: float, at_most: float | None) -> dict[str, object]:
    return {"what": what, "count": count, "at_most": at_most, "holds": at_most is None or count <= at_most}


def counts(clients: Clients, seconds: float) -> list[dict[str, object]]:
    rows = [row(f"answers: {name}", count, None) for name, count in sorted(clients.statuses.items())]
    rows.append(row("requests a second", round(sum(clients.statuses.values()) / seconds), None))
    faults = ("shapeless", "of another request", "not cleaned", "unanswered", "cut off", "hung", "no connection")
    return rows + [row(f"faults: {name}", clients.faults[name], 0) for name in faults]


def leftovers(before: dict[str, float], after: dict[str, float]) -> list[dict[str, object]]:
    return [row(f"left at the end: {what}", after[what] - before[what], 0)
            for what in ("tasks", "files", "in flight", "threads")]


def memory(sizes: list[tuple[float, float]]) -> list[dict[str, object]]:
    """The resident size over the second half: it grows in allocators' steps, so that its slope says little."""
    late = np.array(sizes[len(sizes) // 2:])
    fit = slope(late[:, 0] / 60.0, late[:, 1])
    return [row("resident size at the end, MB", round(late[-1, 1], 1), None),
            row("resident size, second half, MB more", round(late[-1, 1] - late[0, 1], 1), GROWTH_MB),
            row(f"resident size, second half, MB a minute (from {fit.low:.2f}, 95 %)", round(fit.value, 2), None)]


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].isdigit():
        serve(sys.argv[1])
        sys.exit()
    found = asyncio.run(soak(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
    results.show(found)
    sys.exit(not all(each["holds"] for each in found.rows))
