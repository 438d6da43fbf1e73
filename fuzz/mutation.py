"""Changes to bytes that keep some of their structure: JSON stays JSON, HTTP keeps its lines."""

from __future__ import annotations

import json
from typing import Any

from counterclone.randomness import Generator

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e-320, 1e308, 10**30, 2**63, 2**64, "", "x", "1.5", "\ud800", [], {}, [[]],
    [{}], [[0.6, 0.4]], [[0.6, 0.4], [0.1, 0.9]], [1.0, [2.0]], "FP32", "FP64", "FP16", "BF16", "INT64", "BYTES",
    "BOOL")
NAMES = ("instances", "inputs", "dataframe_split", "dataframe_records", "predictions", "outputs", "data", "shape",
         "datatype", "name", "parameters", "binary_data_size", "binary_data_output", "binary_data",
         "classification", "columns", "probabilities", "s", "id")
PIECES = (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b",", b":", b"chunked", b"0\r\n\r\n", b"5\r\nhello\r\n",
          b"identity", b"transfer-encoding: chunked\r\n", b"content-length: 5\r\n", b"content-length: 0\r\n",
          b"host: b\r\n", b"connection: close\r\n", b"connection: content-length\r\n",
          b"connection: upgrade\r\nupgrade: h2c\r\n", b"upgrade: websocket\r\n", b"expect: 100-continue\r\n",
          b" HTTP/1.0", b" HTTP/1.1", b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\nhost: a\r\n", b"http://b",
          b"x: y\r\n")


def changed_json(text: bytes, rng: Generator) -> bytes | None:
    """A JSON document with one value, name or twin changed; None for what is no JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    places = [([document], 0), *_places(document, [])]
    container, key = places[int(rng.integers(len(places)))]
    match int(rng.integers(5)):
        case 0 | 1:
            container[key] = STRANGE[int(rng.integers(len(STRANGE)))]
        case 2:
            other, its_key = places[int(rng.integers(len(places)))]
            container[key] = json.loads(json.dumps(other[its_key]))
        case 3 if isinstance(container, dict):
            container[NAMES[int(rng.integers(len(NAMES)))]] = container.pop(key)
        case 3:
            del container[key]
        case 4 if isinstance(container, dict):  # the same name again
            written = json.dumps(document)
            member = f"{json.dumps(key)}: {json.dumps(container[key])}"
            return written.replace(member, f"{member}, {member.replace('1', '2')}", 1).encode()
        case _:
            container.insert(key, STRANGE[int(rng.integers(len(STRANGE)))])
    return json.dumps(places[0][0][0]).encode() if places[0][0] else b""


def changed_lines(data: bytes, rng: Generator) -> bytes:
    """Bytes with a piece of HTTP put in, a line left out, doubled or moved."""
    lines = data.splitlines(keepends=True) or [b""]
    where = int(rng.integers(len(lines)))
    match int(rng.integers(5)):
        case 0:
            del lines[where]
        case 1:
            lines.insert(where, lines[where])
        case 2:
            lines.append(lines.pop(where))
        case 3:
            lines.insert(where, PIECES[int(rng.integers(len(PIECES)))])
        case _:
            cut = int(rng.integers(len(lines[where]) + 1))
            piece = PIECES[int(rng.integers(len(PIECES)))]
            lines[where] = lines[where][:cut] + piece + lines[where][cut:]
    return b"".join(lines)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container with each of its keys, up to a depth that recursion has."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else (
            enumerate(container) if isinstance(container, list) else ())
        for key, inner in items:
            found.append((container, key))
            waiting.append(inner)
    return found
