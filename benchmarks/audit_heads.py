"""Last layers of language models: a vocabulary of 2,000 and a width of 64, by what the API shows and how exactly.

    python -m benchmarks.audit_heads
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from benchmarks import results
from counterclone.attacks._head import Head, Matrix, centred, spectrum
from counterclone.attacks.head_dimension import HeadDimension
from counterclone.attacks.head_recovery import HeadRecovery
from counterclone.attacks.logit_recovery import LIFT, LogitRecovery
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.errors import Refused
from counterclone.protocols import Attack, Prior
from counterclone.queries import Inputs, Prompt
from counterclone.randomness import generator
from counterclone.testing.language_models import Api, LanguageModel

VOCABULARY, WIDTH = 2_000, 64
SEEDS = range(3)
CALLS = 501
PROMPTS = 100


class Refusing:
    """An API that takes no bias together with log-probabilities."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def query(self, inputs: Inputs) -> object:
        if any(isinstance(text, Prompt) and text.bias and text.top for text in inputs):
            raise Refused("logit_bias: isn't taken together with log-probabilities; leave one of them out")
        return self._api.reply(inputs)


def run() -> results.Result:
    return results.Result("audit_heads", [*_by_logits(), *_by_bias()])


def _by_logits() -> list[dict[str, object]]:
    rows = []
    shown: dict[str, Callable[[LanguageModel], Api]] = {
        "float64": Api, "float32": lambda model: Api(model, float_bits=32),
        "2 decimals": lambda model: Api(model, decimals=2), "1 decimal": lambda model: Api(model, decimals=1)}
    for name, make in shown.items():
        for n in (128, 400):
            found, dimensions, seconds = [], [], []
            for seed in SEEDS:
                model = LanguageModel(VOCABULARY, WIDTH, seed)
                started = time.process_time()
                head, _ = _attacked(HeadRecovery(), make(model), n, seed, "logits")
                seconds.append(time.process_time() - started)
                dimension, _ = _attacked(HeadDimension(), make(model), n, seed, "logits")
                dimensions += [head.dimension, dimension.dimension]
                found.append((head.ratio, error(head, model)))
            rows.append(_row(f"all logits, {name}", n, n, dimensions, min(each[0] for each in found),
                             max(each[1] for each in found), "", max(seconds)))
    return rows


def _by_bias() -> list[dict[str, object]]:
    """One whole row by every way, and the dimension of a hundred rows, whose errors are as large."""
    rows = []
    model = LanguageModel(VOCABULARY, WIDTH)
    ways = [
        ("top-5 and bias", LogitRecovery(), Api(model), CALLS),
        *((f"top-5 and bias, {n} decimals", LogitRecovery(), Api(model, decimals=n), CALLS) for n in (4, 2, 1)),
        *((f"bias alone, {bits} bits", LogitRecovery(bits=bits), Api(model, top=0), 1 + bits * (VOCABULARY - 1))
          for bits in (8, 12, 16))]
    for name, attack, api, calls in ways:
        few = 1 if "alone" in name else PROMPTS
        logits, seconds = _rows(attack, api, few)
        true = model.logits(_pool(0)[:len(logits)])
        gap = float(np.abs((logits - logits.max(axis=1, keepdims=True))
                           - (true - true.max(axis=1, keepdims=True))).max())
        if few == 1:  # the other rows are off in the same way
            logits = _halved_alike(attack.bits, model)
        found = spectrum(logits)
        rows.append(_row(name, PROMPTS, calls, [found.rank if found.is_found else None], found.ratio, None, gap,
                         seconds))
    refused = "bias with log-probabilities refused"
    try:
        asyncio.run(drive(LogitRecovery().run(_prior(CALLS, 0, "bias"), generator(0, "attack")),
                          Refusing(Api(LanguageModel(VOCABULARY, WIDTH))), Meter(CALLS)))  # type: ignore[arg-type]
    except Refused:
        rows.append(_row(refused, PROMPTS, 2, [None], 0.0, None, "", 0.0))
    return rows


def _rows(attack: LogitRecovery, api: Api, n: int) -> tuple[Matrix, float]:
    """Rows as the attack reads them, (n, vocabulary), and seconds."""
    started, found = time.process_time(), []
    for text in _pool(0)[:n]:
        asking = attack._row(text, VOCABULARY)
        batch = next(asking)
        try:
            while True:
                batch = asking.send(api.reply(batch))
        except StopIteration as end:
            found.append(end.value)
    return np.array(found), time.process_time() - started


def _halved_alike(bits: int, model: LanguageModel) -> Matrix:
    """What halving leaves of a hundred rows: the middle of the last interval."""
    true = model.logits(_pool(0)[:PROMPTS])
    gaps = true.max(axis=1, keepdims=True) - true
    step = LIFT / 2**bits
    return np.where(gaps > 0.0, -(np.floor(gaps / step) + 0.5) * step, 0.0)


def _attacked(attack: Attack, api: Api, budget: int, seed: int, *shown: str) -> tuple[Head, Meter]:
    meter = Meter(budget)
    found = asyncio.run(drive(attack.run(_prior(budget, seed, *shown), generator(seed, "attack")), api, meter))
    assert isinstance(found, Head)
    return found, meter


def _prior(budget: int, seed: int, *shown: str) -> Prior:
    return Prior(budget=budget, pool=_pool(seed), classes=VOCABULARY, lower=np.empty(0), upper=np.empty(0),
                 shows=frozenset({"labels", *shown}))


def _pool(seed: int) -> list[str]:
    return [" ".join(f"w{word}" for word in generator(seed, "prompt", i).integers(0, 3000, 6)) for i in range(450)]


def error(head: Head, model: LanguageModel) -> float:
    """Relative, up to a linear map of the columns; the mean over the vocabulary doesn't show."""
    true = centred(model.head.T).T
    mapped = head.matrix @ np.linalg.lstsq(head.matrix, true, rcond=None)[0]
    return float(np.linalg.norm(mapped - true) / np.linalg.norm(true))


def _row(shown: str, prompts: int, calls: int, dimensions: list[int | None], ratio: float, head: float | None,
         gap: object, seconds: float) -> dict[str, object]:
    told = sorted({"not found" if each is None else str(each) for each in dimensions})
    return {"shown": shown, "prompts": prompts, "calls": calls,
            "dimension": ", ".join(told), "signal_over_noise": f"{ratio:.3g}",
            "head_error": "" if head is None else f"{head:.2g}",
            "logit_error": gap if isinstance(gap, str) else f"{gap:.2g}", "cpu_seconds": round(seconds, 1)}


if __name__ == "__main__":
    results.show(run())
