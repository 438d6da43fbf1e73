"""A small language model, with the extra `deep`: a transformer of one layer, taught by what an API shows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import Generator

Tokens = NDArray[np.int64]

WIDTH, HEADS = 64, 4
DECAY, WARM_UP, CLIP = 0.05, 50, 1.0
HELD_OUT = 10
"""One text in so many tells when to stop."""
CHECKS = 2
"""In a pass over the texts."""
LEAST_STEPS = 10
"""Between two checks, where there are few texts."""
PATIENCE, GAIN = 2, 1e-3
CUTS, CUT = 2, 4.0
FORCED = (0.8, 0.9)
"""Shares of the most steps where the rate is cut whatever the checks say."""
AT_ONCE = 512
LEAST = 1e-12


class Lesson(NamedTuple):
    """Texts to learn from, all of one length.

    Attributes:
        tokens: prompts with their answers, (n, length).
        start: where the answers begin; what is before is read and not learnt.
        top: the likeliest tokens at each place of an answer, as the API shows them, (n, length - start, k).
        shares: their probabilities, likewise; what they leave to 1 is the rest's.
    """

    tokens: Tokens
    start: int
    top: Tokens | None = None
    shares: NDArray[np.float32] | None = None

    def take(self, places: NDArray[np.intp]) -> Lesson:
        """Some of the texts."""
        return Lesson(self.tokens[places], self.start, None if self.top is None else self.top[places],
                      None if self.shares is None else self.shares[places])


class Written(NamedTuple):
    """What a model wrote.

    Attributes:
        tokens: of the answers, (n, length).
        top: the likeliest tokens at each place, the first most, (n, length, k).
        shares: their probabilities, likewise.
    """

    tokens: Tokens
    top: Tokens
    shares: NDArray[np.float32]


class Schedule(NamedTuple):
    """How long a model learns, and how fast.

    Attributes:
        rate: of AdamW.
        batch: texts a step.
        most: tokens that are read in all; less where nothing is gained any more.
    """

    rate: float = 3e-3
    batch: int = 32
    most: int = 1_600_000


class Transformer:
    """A decoder of one layer whose output weights are its tokens' own.

    Args:
        vocabulary: how many tokens there are.
        context: places that it can read.
        rng: draws its start.
    """

    def __init__(self, vocabulary: int, context: int, rng: Generator) -> None:
        torch = _torch()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            self._layers = _layers(vocabulary, context)
        self.vocabulary = vocabulary
        self.context = context

    def copy(self) -> Transformer:
        """Another one with the same parameters."""
        import copy

        return copy.deepcopy(self)

    @property
    def n_parameters(self) -> int:
        """How many numbers it has learned."""
        return sum(int(part.numel()) for part in self._layers.parameters())

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Its parameters by name."""
        return {name: part.numpy().copy() for name, part in self._layers.state_dict().items()}

    def load(self, state: dict[str, NDArray[np.float32]]) -> Transformer:
        """Itself, with other parameters."""
        torch = _torch()
        self._layers.load_state_dict({name: torch.as_tensor(part) for name, part in state.items()})
        return self

    def logs(self, tokens: Tokens, start: int) -> NDArray[np.float32]:
        """Log-probabilities of each token from `start` on, given those before: (n, length - start, vocabulary)."""
        torch = _torch()
        parts = []
        with torch.no_grad():
            for first in range(0, len(tokens), AT_ONCE):
                logits = self._logits(torch.as_tensor(tokens[first:first + AT_ONCE, :-1]), start - 1)
                parts.append(torch.log_softmax(logits, dim=-1).numpy())
        logs: NDArray[np.float32] = np.concatenate(parts)
        return logs

    def write(self, prompts: Tokens, length: int, rng: Generator, *, top: int = 1, is_greedy: bool = False,
              adjust: Callable[[Any, Any], Any] | None = None) -> Written:
        """Answers to prompts.

        Args:
            prompts: (n, prompt's length).
            length: of the answers.
            rng: draws the tokens, at temperature 1.
            top: the likeliest tokens that are shown at each place.
            is_greedy: whether the likeliest token is always the next.
            adjust: changes logits before a token is drawn, as a mark does: the texts so far, (n, so far), and
                logits, (n, vocabulary), to logits. What is shown is as it was before.
        """
        def choose(texts: Any, logits: Any) -> Any:
            adjusted = logits if adjust is None else adjust(texts, logits)
            return adjusted.argmax(dim=1) if is_greedy else _drawn(adjusted, rng)

        parts = [self._write(prompts[first:first + AT_ONCE], length, top, choose)
                 for first in range(0, len(prompts), AT_ONCE)]
        return Written(*(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))

    def _write(self, prompts: Tokens, length: int, top: int, choose: Callable[[Any, Any], Any]) -> Written:
        torch = _torch()
        found, shares = [], []
        with torch.no_grad():
            texts = torch.as_tensor(prompts)
            logits, past = self._read(texts, 0, None)
            for place in range(length):
                best = torch.softmax(logits, dim=1).topk(top, dim=1)
                found.append(best.indices.numpy())
                shares.append(best.values.numpy())
                texts = torch.cat([texts, choose(texts, logits)[:, None]], dim=1)
                if place + 1 < length:
                    logits, past = self._read(texts[:, -1:], texts.shape[1] - 1, past)
        return Written(texts[:, prompts.shape[1]:].numpy(), np.stack(found, axis=1), np.stack(shares, axis=1))

    def _read(self, tokens: Any, first: int, past: Any) -> tuple[Any, Any]:
        """Logits of the next token, (n, vocabulary), and what is to be remembered of those before."""
        torch, layers = _torch(), self._layers
        states = layers["tokens"](tokens) + layers["places"].weight[first:first + tokens.shape[1]]
        asked, keys, values = _heads(layers["attention"](layers["before"](states)))
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        seen = torch.nn.functional.scaled_dot_product_attention(asked[:, :, -1:], keys, values)
        return self._out(states[:, -1:], seen)[:, 0], (keys, values)

    def _logits(self, tokens: Any, start: int) -> Any:
        """Logits of the token after each place from `start` on: (n, places - start, vocabulary)."""
        torch, layers = _torch(), self._layers
        states = layers["tokens"](tokens) + layers["places"].weight[:tokens.shape[1]]
        asked, keys, values = _heads(layers["attention"](layers["before"](states)))
        seen = torch.nn.functional.scaled_dot_product_attention(asked, keys, values, is_causal=True)
        return self._out(states[:, start:], seen[:, :, start:])

    def _out(self, states: Any, seen: Any) -> Any:
        layers = self._layers
        states = states + layers["joined"](seen.transpose(1, 2).flatten(2))
        states = states + layers["narrow"](_torch().nn.functional.gelu(layers["wide"](layers["between"](states))))
        return layers["after"](states) @ layers["tokens"].weight.T

    def learn(self, lesson: Lesson, schedule: Schedule, rng: Generator) -> list[float]:
        """Learn until nothing more is gained on texts that are held out.

        Two checks a pass: after two without a gain it goes back to the best and on at a quarter of the rate, and
        after two cuts it ends.

        Args:
            lesson: what to learn from; a tenth of it is held out.
            schedule: how fast, and how long at most.
            rng: draws the order.

        Returns:
            The loss on held-out texts at each check.
        """
        torch = _torch()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # it is small: threads would wait for each other
        try:
            return self._learn(lesson, schedule, rng)
        finally:
            torch.set_num_threads(threads)

    def _learn(self, lesson: Lesson, schedule: Schedule, rng: Generator) -> list[float]:
        torch = _torch()
        order = rng.permutation(len(lesson.tokens))
        n_held = max(len(order) // HELD_OUT, 1)
        held, learnt = _tensors(lesson.take(order[:n_held])), _tensors(lesson.take(order[n_held:]))
        optimizer = torch.optim.AdamW(self._layers.parameters(), lr=schedule.rate, weight_decay=DECAY)
        plateau = _Plateau(schedule.rate)
        most = max(schedule.most // (schedule.batch * lesson.tokens.shape[1]), 1)
        every = max(len(learnt.tokens) // schedule.batch // CHECKS, LEAST_STEPS)
        places = np.empty(0, np.int64)
        for step in range(most):
            if len(places) < schedule.batch:
                places = np.concatenate([places, rng.permutation(len(learnt.tokens))])
            batch, places = places[:schedule.batch], places[schedule.batch:]
            for group in optimizer.param_groups:
                group["lr"] = plateau.rate * min((step + 1) / WARM_UP, 1.0)
            optimizer.zero_grad()
            self._loss(learnt.take(batch)).backward()
            torch.nn.utils.clip_grad_norm_(self._layers.parameters(), CLIP)
            optimizer.step()
            if plateau.n_cuts < len(FORCED) and step + 1 >= FORCED[plateau.n_cuts] * most:
                plateau.cut(self._layers)
            if (step + 1) % every == 0 and plateau.is_over(self._held_out(held), self._layers):
                break
        plateau.judge(self._held_out(held), self._layers)
        plateau.restore(self._layers)
        return plateau.losses

    def _held_out(self, held: Lesson) -> float:
        with _torch().no_grad():
            parts = [(len(part.tokens), float(self._loss(part))) for first in range(0, len(held.tokens), AT_ONCE)
                     for part in [held.take(np.arange(first, min(first + AT_ONCE, len(held.tokens))))]]
        return sum(n * loss for n, loss in parts) / len(held.tokens)

    def _loss(self, lesson: Lesson) -> Any:
        """The mean over the answers' tokens.

        Where the API shows the likeliest k tokens: the cross-entropy of k + 1 buckets, the last being all others,
        and the likelihood among these of a token that was drawn from them. It is an estimate of the whole
        cross-entropy without bias, and with less variance than the drawn tokens' own.
        """
        torch = _torch()
        logs = torch.log_softmax(self._logits(lesson.tokens[:, :-1], lesson.start - 1), dim=-1)
        drawn = lesson.tokens[:, lesson.start:, None]
        of_drawn = logs.gather(2, drawn)[:, :, 0]
        if lesson.top is None or lesson.shares is None:
            return -of_drawn.mean()
        of_top = logs.gather(2, lesson.top)
        shares = torch.as_tensor(lesson.shares)
        rest = (1.0 - shares.sum(dim=2)).clamp(min=0.0)
        of_rest = torch.log((1.0 - of_top.exp().sum(dim=2)).clamp(min=LEAST))
        is_rest = (lesson.top != drawn).all(dim=2)
        found = (shares * of_top).sum(dim=2) + rest * of_rest + is_rest * (of_drawn - of_rest)
        return -found.mean()


class _Plateau:
    """Whether anything is still gained, and the best parameters so far."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.losses: list[float] = []
        self.n_cuts = 0
        self._best = np.inf
        self._best_state: dict[str, Any] = {}
        self._n_idle = 0

    def is_over(self, loss: float, layers: Any) -> bool:
        """Note a check; cut the rate, or say that it is over, where nothing was gained for long."""
        self.judge(loss, layers)
        if self._n_idle < PATIENCE:
            return False
        if self.n_cuts == CUTS:
            return True
        self.cut(layers)
        return False

    def judge(self, loss: float, layers: Any) -> None:
        """Note a check."""
        self.losses.append(loss)
        if loss < self._best - GAIN:
            self._n_idle = 0
        else:
            self._n_idle += 1
        if loss < self._best:
            self._best = loss
            self._best_state = {name: part.clone() for name, part in layers.state_dict().items()}

    def cut(self, layers: Any) -> None:
        """Go back to the best, and on more slowly."""
        self.restore(layers)
        self.rate /= CUT
        self.n_cuts += 1
        self._n_idle = 0

    def restore(self, layers: Any) -> None:
        """Go back to the best."""
        if self._best_state:
            layers.load_state_dict(self._best_state)


def _layers(vocabulary: int, context: int) -> Any:
    nn = _torch().nn
    layers = nn.ModuleDict({
        "tokens": nn.Embedding(vocabulary, WIDTH), "places": nn.Embedding(context, WIDTH),
        "before": nn.LayerNorm(WIDTH), "attention": nn.Linear(WIDTH, 3 * WIDTH), "joined": nn.Linear(WIDTH, WIDTH),
        "between": nn.LayerNorm(WIDTH), "wide": nn.Linear(WIDTH, 4 * WIDTH), "narrow": nn.Linear(4 * WIDTH, WIDTH),
        "after": nn.LayerNorm(WIDTH)})
    for name in ("tokens", "places"):
        nn.init.normal_(layers[name].weight, std=WIDTH**-0.5 if name == "tokens" else 0.02)
    return layers


def _heads(mixed: Any) -> Any:
    """Queries, keys and values of each head: three of (n, heads, places, width / heads)."""
    n, places, _ = mixed.shape
    return mixed.view(n, places, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)


def _drawn(logits: Any, rng: Generator) -> Any:
    """A token of each row: the largest logit with Gumbel noise."""
    noise = rng.random(tuple(logits.shape), dtype=np.float32).clip(LEAST)
    return (logits - _torch().as_tensor(-np.log(noise)).clamp(min=LEAST).log()).argmax(dim=1)


def _tensors(lesson: Lesson) -> Any:
    torch = _torch()
    if lesson.top is None:
        return lesson._replace(tokens=torch.as_tensor(lesson.tokens))
    return Lesson(torch.as_tensor(lesson.tokens), lesson.start, torch.as_tensor(lesson.top),
                  torch.as_tensor(lesson.shares))


def _torch() -> Any:
    return importlib.import_module("torch")
