"""What a green list takes of a server's time: one token of one text, of a vocabulary of 128,256."""

from __future__ import annotations

import time

from benchmarks import results
from counterclone.marks.greenlist import Greenlist
from counterclone.randomness import Prf
from counterclone.serving.hook import Hook

N_TOKENS = 128_256
TIMES = 1_000


def microseconds(hook: Hook, contexts: range) -> float:
    """CPU time of the bits after each of some contexts."""
    began = time.process_time()
    for token in contexts:
        hook.green([token], N_TOKENS)
    return (time.process_time() - began) / len(contexts) * 1e6


def main() -> None:
    rows: list[dict[str, object]] = []
    for gamma in (0.5, 0.25):
        hook = Hook(Greenlist(test="unique", gamma=gamma), Prf.from_secret("key"))
        fresh = microseconds(hook, range(TIMES))
        rows.append({"gamma": gamma, "us, a new context": round(fresh, 1),
                     "us, one of the last 4,096": round(microseconds(hook, range(TIMES)), 1)})
    results.show(results.Result("marks_text_hook", rows))


if __name__ == "__main__":
    main()
