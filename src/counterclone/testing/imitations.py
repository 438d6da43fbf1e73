"""The laws of attacks on language models and encoders, tried on toys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from counterclone.answers import Reply
from counterclone.errors import BudgetExhausted
from counterclone.fidelity import overlap
from counterclone.protocols import Embedder, Imitation, Prior, Writer
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.testing.laws import check_spec, demand

BUDGETS = (1, 2)
STOPS = (0, 1, 5)
MARGIN = 0.05
N_POOL, N_EVALUATE = 120, 60


class Toy(NamedTuple):
    """A small target that answers with texts or vectors.

    Attributes:
        name: what messages call it.
        reply: its answers.
        pool: an attacker's inputs.
        evaluate: others.
        shows: `texts` or `vectors`.
    """

    name: str
    reply: Callable[[Inputs], Reply]
    pool: Inputs
    evaluate: Inputs
    shows: str

    def prior(self, budget: int) -> Prior:
        """What an attacker knows."""
        lower, upper = (np.empty(0),) * 2 if isinstance(self.pool, list) else (np.zeros(4), np.ones(4))
        return Prior(budget=budget, pool=self.pool, classes=0, lower=lower, upper=upper,
                     shows=frozenset({self.shows}))


def check_imitation(attack: Imitation, *, seed: int = 0) -> None:
    """Try every law of an attack that needs texts or vectors.

    The toy language model answers a request of four words with two, by a table; the toy encoders answer four
    features, or the words of a text, with eight numbers.

    Args:
        attack: the spec, with the options to try.
        seed: of the attack.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("attacks", attack)
    law = "an attack says what it needs"
    demand(isinstance(attack.is_exact, bool), attack, law, f"`is_exact` is {attack.is_exact!r}")
    toys = [toy for toy in toy_targets() if toy.shows in attack.needs
            and ("text" if isinstance(toy.pool, list) else "numbers") in attack.needs]
    demand(bool(toys), attack, law, f"no toy shows {', '.join(sorted(attack.needs))}")
    for toy in toys:
        for budget in BUDGETS:
            _run(attack, toy, budget, budget, seed)
        for stop in STOPS:  # the budget ends before it was said to
            _run(attack, toy, N_POOL, stop, seed)
        (batches, built), (again, rebuilt) = (_run(attack, toy, N_POOL, N_POOL, seed) for _ in range(2))
        demand(len(batches) == len(again) and all(map(np.array_equal, batches, again)), attack,
               "the same seed asks the same queries", f"a second run on the toy '{toy.name}' asked others")
        _check_copy(attack, toy, built, rebuilt)


def _run(attack: Imitation, toy: Toy, budget: int, stop: int, seed: int) -> tuple[list[Any], Any]:
    """Drive an attack, and throw BudgetExhausted where it asks beyond `stop` queries."""
    asking = attack.run(toy.prior(budget), generator(seed, "check", toy.name))
    where = f"on the toy '{toy.name}' with {stop} of {budget} queries"
    batches: list[Any] = []
    is_told = False
    try:
        inputs = next(asking)
        while True:
            demand(len(inputs) > 0 and isinstance(inputs, list) == isinstance(toy.pool, list), attack,
                   "a batch is inputs as the target takes them, at least one",
                   f"it yielded {inputs!r:.50} {where}")
            demand(not is_told, attack, "it asks nothing after BudgetExhausted", f"it asked more {where}")
            if sum(map(len, batches)) + len(inputs) > stop:
                is_told = True
                inputs = asking.throw(BudgetExhausted(f"{stop} queries were all"))
            else:
                batches.append(inputs)
                inputs = asking.send(toy.reply(inputs))
    except StopIteration as end:
        if end.value is not None:
            _answers(attack, toy, end.value)
        return batches, end.value
    except BudgetExhausted:
        raise AssertionError(f"{attack!r} breaks the law 'thrown BudgetExhausted, it returns what it has': it let "
                             f"the error through {where}") from None


def _answers(attack: Imitation, toy: Toy, built: Any) -> Any:
    """A copy's answers to the toy's inputs, which are as many and of the right kind."""
    law = "a copy answers as its target does"
    if toy.shows == "texts":
        writer: Writer = built
        texts = writer.write(list(toy.evaluate))
        demand(len(texts) == len(toy.evaluate) and all(isinstance(text, str) for text in texts), attack, law,
               f"it wrote {texts!r:.60}")
        return np.array(texts, dtype=object)
    embedder: Embedder = built
    vectors = embedder.embed(toy.evaluate)
    demand(vectors.ndim == 2 and len(vectors) == len(toy.evaluate) and bool(np.isfinite(vectors).all()), attack,
           law, f"its vectors have shape {vectors.shape}, or aren't finite")
    return vectors


def _check_copy(attack: Imitation, toy: Toy, built: Any, rebuilt: Any) -> None:
    law = "it copies the toy"
    demand(built is not None and rebuilt is not None, attack, law, f"it built nothing of '{toy.name}'")
    answers = _answers(attack, toy, built)
    for other, said in ((built, "a copy is pure"), (rebuilt, "the same seed builds the same copy")):
        demand(np.array_equal(answers, _answers(attack, toy, other)), attack, said,
               f"its answers differ on the toy '{toy.name}'")
    reply = toy.reply(toy.evaluate)
    if toy.shows == "texts":
        told = reply.texts or []
        agreed = float(np.mean([one == other for one, other in zip(told, answers, strict=True)]))
        floor = Counter(told).most_common(1)[0][1] / len(told)
    else:
        agreed = overlap(_vectors(reply), answers)
        floor = 10 / len(toy.evaluate)
    demand(agreed >= floor + MARGIN, attack, law,
           f"it agrees on {agreed:.3f} of '{toy.name}', not above {floor:.3f}")


def _vectors(reply: Reply) -> Any:
    return reply.vectors


_WORDS = ("alpha", "beta", "gamma", "delta", "omega", "kappa")


def toy_targets() -> tuple[Toy, ...]:
    """The toys, the same ones at every call."""
    rng = generator(0, "imitations")
    weights, words = rng.standard_normal((4, 8)), rng.standard_normal((len(_WORDS), 8))
    n = N_POOL + N_EVALUATE
    texts = [" ".join(_WORDS[i] for i in rng.integers(0, len(_WORDS), 4)) for _ in range(3 * n)]
    texts = list(dict.fromkeys(texts))[:n]
    features = rng.random((n, 4))

    def desk(inputs: Inputs) -> Reply:
        split = [str(text).split() for text in inputs]
        told = [f"to-{text[0]} {'yes' if text[2] in _WORDS[:3] else 'no'}" for text in split]
        return Reply(np.empty((len(told), 0)), texts=told)

    def of_features(inputs: Inputs) -> Reply:
        return Reply(np.empty((len(inputs), 0)), vectors=np.tanh(np.asarray(inputs) @ weights))

    def of_texts(inputs: Inputs) -> Reply:
        counts = np.array([[str(text).split().count(word) for word in _WORDS] for text in inputs])
        return Reply(np.empty((len(inputs), 0)), vectors=np.tanh(counts @ words))

    return (Toy("desk", desk, texts[:N_POOL], texts[N_POOL:], "texts"),
            Toy("features", of_features, features[:N_POOL], features[N_POOL:], "vectors"),
            Toy("words of texts", of_texts, texts[:N_POOL], texts[N_POOL:], "vectors"))
