"""One law under libFuzzer: `python -m fuzz.harness LAW [libFuzzer's options] [folders of inputs]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["counterclone", "uvicorn"]):
    from fuzz import laws, mutation

from counterclone.randomness import generator


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own changes, and in half of the cases ours."""
    rng = generator(seed, "fuzz")
    ours = None
    if rng.integers(2):
        head, body = data[:laws.PREFIX], data[laws.PREFIX:]
        if sys.argv[1] == "heads":
            ours = mutation.changed_lines(data, rng)
        elif sys.argv[1] in ("predict", "oip", "openai", "anthropic"):
            end = int.from_bytes(head[2:], "little")
            split = end if sys.argv[1] == "oip" and end else len(body)
            changed = mutation.changed_json(body[:split], rng)
            if changed is not None:
                if split < len(body):
                    head = head[:2] + min(len(changed), 0xffff).to_bytes(2, "little")
                ours = head + changed + body[split:]
    if ours is None or len(ours) > max_size:
        return bytes(atheris.Mutate(data, max_size))
    return ours


if __name__ == "__main__":
    law = laws.LAWS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], law, custom_mutator=mutate)
    atheris.Fuzz()
