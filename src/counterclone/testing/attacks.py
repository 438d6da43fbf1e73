"""The laws of attacks, tried on toy targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Attack, Imitation, Prior, Surrogate
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing.imitations import check_imitation
from counterclone.testing.language_models import Api, LanguageModel
from counterclone.testing.laws import check_spec, demand

ASKS = frozenset({"numbers", "text"})
SHOWN = frozenset({"scores", "logits", "ids", "bias"})
BUDGETS = (1, 2, 60)
STOPS = (0, 1, 5)
N_POOL, N_EVALUATE = 120, 300
SUM_ERROR = 1e-6
MARGIN = 0.05
"""How much more often than the most frequent label a copy of a target that fits agrees."""


class Toy(NamedTuple):
    """A small target, and what is known of it.

    Attributes:
        name: what messages call it.
        reply: its answers to a batch, with everything that it can show.
        pool: an attacker's inputs.
        evaluate: others.
        lower: the least value of each feature, empty for texts.
        upper: the largest.
        shows: what its answers have.
        budget: queries that are plenty.
    """

    name: str
    reply: Callable[[Inputs], Reply]
    pool: Inputs
    evaluate: Inputs
    lower: Features
    upper: Features
    shows: frozenset[str]
    budget: int

    @property
    def kind(self) -> str:
        """What it takes, `numbers` or `text`."""
        return "text" if isinstance(self.pool, list) else "numbers"

    def prior(self, budget: int, shows: frozenset[str]) -> Prior:
        """What an attacker knows."""
        return Prior(budget=budget, pool=self.pool, classes=self.reply(self.evaluate).rows.shape[1],
                     lower=self.lower, upper=self.upper, shows=shows)


class Run(NamedTuple):
    """What an attack did.

    Attributes:
        batches: what was answered.
        surrogate: what it built.
    """

    batches: list[Inputs]
    surrogate: Surrogate | None


def check_attack(attack: Attack | Imitation, *, seed: int = 0) -> None:
    """Try every law of an attack.

    The toy targets are a linear model, a decision tree and a network with one hidden layer on four features, and a
    linear model of words, of three classes each, and a language model of the next of twenty tokens; those are
    attacked whose answers show what the attack needs. Those that need texts or vectors have toys of their own.

    Args:
        attack: the spec, with the options to try.
        seed: of the attack.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    if getattr(attack, "needs", frozenset()) & {"texts", "vectors"}:
        check_imitation(cast(Imitation, attack), seed=seed)
        return
    attack = cast(Attack, attack)
    check_spec("attacks", attack)
    _check_flags(attack)
    needs = attack.needs - ASKS
    for kind in sorted(attack.needs & ASKS or ASKS):
        toys = [toy for toy in example_targets() if toy.kind == kind and needs <= toy.shows]
        demand(bool(toys), attack, "an attack says what it needs",
               f"no target on {kind} shows {', '.join(sorted(needs))}")
        surrogates = [(toy, _check_on(attack, toy, needs, seed)) for toy in toys]
        _check_copies(attack, surrogates)


def _check_flags(attack: Attack) -> None:
    law = "an attack says what it needs"
    needs = getattr(attack, "needs", None)
    demand(isinstance(needs, frozenset) and needs <= ASKS | SHOWN | {"labels"}, attack, law,
           f"`needs` is {needs!r}")
    is_exact = getattr(attack, "is_exact", None)
    demand(isinstance(is_exact, bool), attack, law, f"`is_exact` is {is_exact!r}")


def _check_on(attack: Attack, toy: Toy, needs: frozenset[str], seed: int) -> Surrogate | None:
    """Everything on one target; what was built with the whole budget."""
    for budget in BUDGETS:
        _check_rows(attack, toy, _run(attack, toy, toy.prior(budget, toy.shows), budget, seed))
    for stop in STOPS:  # the budget ends before it was said to
        _check_rows(attack, toy, _run(attack, toy, toy.prior(toy.budget, toy.shows), stop, seed))
    least = needs | {"labels"}
    _check_rows(attack, toy, _run(attack, toy, toy.prior(BUDGETS[-1], least), BUDGETS[-1], seed))
    prior = toy.prior(toy.budget, toy.shows)
    run, again = (_run(attack, toy, prior, toy.budget, seed) for _ in range(2))
    _check_rows(attack, toy, run)
    _check_repeats(attack, toy, run, again)
    return run.surrogate


def _run(attack: Attack, toy: Toy, prior: Prior, stop: int, seed: int) -> Run:
    """Drive an attack, and throw BudgetExhausted where it asks beyond `stop` queries."""
    asking = attack.run(prior, generator(seed, "check", toy.name))
    where = f"on the toy '{toy.name}' with {stop} of {prior.budget} queries"
    batches: list[Inputs] = []
    is_told = False
    try:
        inputs = next(asking)
        while True:
            _check_batch(attack, toy, inputs, where)
            demand(not is_told, attack, "it asks nothing after BudgetExhausted",
                   f"it asked {len(inputs)} more {where}")
            if sum(map(len, batches)) + len(inputs) > stop:
                is_told = True
                inputs = asking.throw(BudgetExhausted(f"{stop} queries were all"))
            else:
                batches.append(inputs.copy())
                inputs = asking.send(_shown(toy.reply(inputs), prior.shows))
    except StopIteration as end:
        return Run(batches, end.value)
    except BudgetExhausted:
        raise AssertionError(f"{attack!r} breaks the law 'thrown BudgetExhausted, it returns what it has': it let "
                             f"the error through {where}") from None
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{attack!r} breaks the law 'it ends with a surrogate or None': it raised "
                             f"{type(error).__name__}: {error} {where}") from error


def _check_batch(attack: Attack, toy: Toy, inputs: Inputs, where: str) -> None:
    law = "a batch is inputs as the target takes them, at least one"
    if toy.kind == "text":
        demand(isinstance(inputs, list) and bool(inputs) and all(isinstance(text, str) for text in inputs), attack,
               law, f"it yielded {str(inputs)[:60]!r} {where}")
        return
    demand(isinstance(inputs, np.ndarray), attack, law, f"it yielded a {type(inputs).__name__} {where}")
    array = np.asarray(inputs)
    demand(array.dtype.kind == "f" and array.ndim == 2 and len(array) > 0 and array.shape[1] == len(toy.lower),
           attack, law, f"it yielded shape {array.shape} of {array.dtype}, for {len(toy.lower)} features, {where}")
    demand(bool(np.isfinite(array).all()), attack, law, f"it yielded numbers that aren't finite {where}")


def _shown(reply: Reply, shows: frozenset[str]) -> Reply:
    rows = reply.rows if "scores" in shows else np.eye(reply.rows.shape[1])[top_labels(reply.rows)]
    return Reply(rows, reply.logits if "logits" in shows else None, reply.ids if "ids" in shows else None,
                 steps=reply.steps if "bias" in shows else None)


def _check_rows(attack: Attack, toy: Toy, run: Run) -> None:
    """What was built answers with probabilities, and with the same ones again."""
    if run.surrogate is None:
        return
    n_queries = sum(map(len, run.batches))
    where = f"on the toy '{toy.name}' after {n_queries} queries"
    n_classes = toy.reply(toy.evaluate).rows.shape[1]
    before = toy.evaluate.copy()
    rows = np.asarray(run.surrogate.answer(toy.evaluate))
    law = "a surrogate answers with probabilities"
    demand(rows.shape == (len(toy.evaluate), n_classes), attack, law,
           f"it answered {len(toy.evaluate)} queries of {n_classes} classes with shape {rows.shape} {where}")
    demand(bool(np.isfinite(rows).all() and (rows >= 0.0).all()
                and (np.abs(rows.sum(axis=1) - 1.0) <= SUM_ERROR).all()), attack, law,
           f"a row isn't non-negative with sum 1 {where}")
    law = "a surrogate is pure"
    demand(np.array_equal(before, toy.evaluate), attack, law, f"it changed its inputs {where}")
    demand(np.array_equal(rows, run.surrogate.answer(toy.evaluate)), attack, law,
           f"it answered the same inputs otherwise the second time {where}")
    alone = np.concatenate([run.surrogate.answer(toy.evaluate[i:i + 1]) for i in range(5)])
    demand(np.allclose(alone, rows[:5], atol=SUM_ERROR), attack, law,
           f"it answers a query by itself otherwise than among others {where}")


def _check_repeats(attack: Attack, toy: Toy, run: Run, again: Run) -> None:
    law = "the same seed asks the same queries"
    same = len(run.batches) == len(again.batches) and all(map(np.array_equal, run.batches, again.batches))
    demand(same, attack, law, f"a second run on the toy '{toy.name}' asked others")
    law = "the same seed builds the same surrogate"
    demand((run.surrogate is None) == (again.surrogate is None), attack, law,
           f"a second run on the toy '{toy.name}' built {'nothing' if again.surrogate is None else 'something'}")
    if run.surrogate is not None and again.surrogate is not None:
        demand(np.array_equal(run.surrogate.answer(toy.evaluate), again.surrogate.answer(toy.evaluate)), attack,
               law, f"a second run on the toy '{toy.name}' built another one")


def _check_copies(attack: Attack, surrogates: Sequence[tuple[Toy, Surrogate | None]]) -> None:
    """On one of the targets at least, what was built is a copy."""
    found = []
    for toy, surrogate in surrogates:
        labels = top_labels(toy.reply(toy.evaluate).rows)
        majority = np.bincount(labels).max() / len(labels)
        agreed = 0.0 if surrogate is None else (top_labels(surrogate.answer(toy.evaluate)) == labels).mean()
        if agreed >= majority + MARGIN:
            return
        found.append(f"{agreed:.3f} on the toy '{toy.name}', whose most frequent label is {majority:.3f}")
    demand(False, attack, "it beats the majority label on a target that fits", f"it agrees on {'; '.join(found)}")


# Toy targets

_WEIGHTS = np.array([[6.0, -4.0, 0.0, 3.0], [-5.0, 1.0, 5.0, 0.0], [0.0, 3.0, -4.0, -3.0]])
_INTERCEPTS = np.array([-2.0, -0.5, 2.0])
_HIDDEN = np.array([[2.0, -1.0, 0.5, 1.0], [-1.0, 2.0, 1.0, -1.5], [1.0, 1.5, -2.0, 0.5], [0.5, -1.0, 1.5, 2.0]])
_OUTER = np.array([[4.0, -3.0, 1.0, 2.0], [-2.0, 5.0, -3.0, 1.0], [1.0, -1.0, 4.0, -4.0]])
_WORDS = ("alpha", "beta", "gamma", "delta", "omega", "the", "and", "of", "with", "very")
_WORD_WEIGHTS = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [2.0, -2.0, 0.0], [0.0, -2.0, 2.0],
                          *[[0.0, 0.0, 0.0]] * 5])


def example_targets() -> tuple[Toy, ...]:
    """The toy targets, each with its inputs: the same ones at every call."""
    rng = generator(0, "toys")
    pool, evaluate = rng.uniform(size=(N_POOL, 4)), rng.uniform(size=(N_EVALUATE, 4))
    lower, upper = np.zeros(4), np.ones(4)
    scores = frozenset({"labels", "scores"})
    texts = [" ".join(_WORDS[i] for i in rng.integers(0, len(_WORDS), 6)) for _ in range(N_POOL + N_EVALUATE)]
    return (
        Toy("linear", _linear, pool, evaluate, lower, upper, scores | {"logits"}, 600),
        Toy("tree", _tree, pool, evaluate, lower, upper, scores | {"ids"}, 600),
        Toy("network", _network, pool, evaluate, lower, upper, scores | {"logits"}, 2000),
        Toy("words", _words, texts[:N_POOL], texts[N_POOL:], np.empty(0), np.empty(0), scores, N_POOL),
        Toy("next token", Api(LanguageModel(20, 4, 10, is_scaled=False)).reply, texts[:N_POOL], texts[N_POOL:],
            np.empty(0), np.empty(0), frozenset({"labels", "logits", "bias"}), 2 * N_POOL),
    )


def _linear(inputs: Inputs) -> Reply:
    logits = np.asarray(inputs) @ _WEIGHTS.T + _INTERCEPTS
    return Reply(softmax(logits), logits)


def _network(inputs: Inputs) -> Reply:
    hidden = np.maximum((np.asarray(inputs) - 0.5) @ _HIDDEN.T + np.array([0.2, -0.1, 0.1, -0.3]), 0.0)
    logits = hidden @ _OUTER.T + np.array([0.0, 0.3, 0.5])
    return Reply(softmax(logits), logits)


def _tree(inputs: Inputs) -> Reply:
    first, second, third, _ = (np.asarray(inputs) > np.array([0.45, 0.6, 0.3, 0.5])).T
    leaves = np.where(first, np.where(second, 0, 1 + third), 3 + (third & ~second))
    rows: Rows = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.1, 0.8], [0.15, 0.8, 0.05], [0.9, 0.0, 0.1]])
    return Reply(rows[leaves], None, leaves.astype(np.int64))


def _words(inputs: Inputs) -> Reply:
    counts = np.array([[text.split().count(word) for word in _WORDS] for text in inputs], dtype=np.float64)
    return Reply(softmax(counts @ _WORD_WEIGHTS))
