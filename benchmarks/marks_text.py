"""Copies of a language model that writes with a green list: what a suspect's own texts tell of the key.

An owner's transformer, taught half of a dictionary, answers 6,000 prompts, its mark on for a share of them. A
thief's student begins with a public model of another dictionary and learns the answers. Then it writes texts to
other prompts, which are scored with the owner's tokenizer. Needs the extras `deep` and `llm`, and dict-foldoc and
dict-jargon of Debian.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import corpora, results
from benchmarks.corpora import CACHE, VOCABULARY, Tokens
from counterclone.answers import Reply
from counterclone.attacks._transformer import Lesson, Schedule, Transformer
from counterclone.evidence import Evidence, Served
from counterclone.marks._green import Codes, Green
from counterclone.marks._pairs import Pairs, counted, scored
from counterclone.marks._scores import Scoring, Test
from counterclone.marks._tokens import tokenizer
from counterclone.marks.greenlist import Greenlist
from counterclone.protocols import Case
from counterclone.randomness import Prf, generator

SEEDS = (3, 4, 5)
"""A key each, and everything drawn anew but teacher and public model; with 0 to 2 the weights were chosen."""
PROMPT, ANSWER = 8, 40
ASKED = 6_000
LENGTH = PROMPT + ANSWER
TEACHER, PUBLIC = Schedule(4e-3, 64, 6_500_000), Schedule(4e-3, 64, 2_000_000)
STUDENT, TUNING = Schedule(most=1_200_000), Schedule(most=600_000)
REFERENCE = 10_000
"""Answers of the unmarked teacher, and of the public model, that the owner keeps."""
TUNED_ON = 3_000
REWRITTEN = 0.3
GRID = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000, 100_000, 150_000)
REMOVED_FROM = SEEDS[:1]
"""The seeds whose marks somebody tries to remove."""
BUDGETS = (500, 5_000, 50_000, 150_000)
TESTS: tuple[Test, ...] = ("unique", "difference", "mixture")
IN_FULL: dict[str, tuple[Test, int]] = {
    "nothing marked": ("mixture", 50_000), "100 % marked": ("unique", 500),
    "10 % marked, 90 % public text": ("mixture", 50_000),
    "10 % marked, 90 % unmarked answers": ("mixture", 50_000)}
WRONG_KEYS_OF = "10 % marked, 90 % public text"
LEVEL = 1e-6
N_WRONG = 999
TAIL = 2.3263478740408408
"""One standard normal value in a hundred is larger."""


class Material(NamedTuple):
    """What everybody starts from.

    Attributes:
        public: windows of the public dictionary, (n, LENGTH).
        private: of the owner's half of the other one.
        others: of the other half.
        base: the public model.
        teacher: the owner's.
    """

    public: Tokens
    private: Tokens
    others: Tokens
    base: Transformer
    teacher: Transformer


@cache
def material() -> Material:
    """Read, or made in three minutes."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    articles = corpora.articles("foldoc")
    half = len(articles) // 2
    public = corpora.windows(corpora.articles("jargon"), LENGTH)
    private, others = (corpora.windows(part, LENGTH) for part in (articles[:half], articles[half:]))
    base = corpora.kept_model("public-base", lambda: taught("public-base", public, PUBLIC))
    teacher = corpora.kept_model("teacher", lambda: taught("teacher", private, TEACHER))
    return Material(public, private, others, base, teacher)


def taught(name: str, windows: Tokens, schedule: Schedule) -> Transformer:
    """A model from nothing."""
    model = Transformer(VOCABULARY, LENGTH, generator(0, name, "start"))
    model.learn(Lesson(windows, 1), schedule, generator(0, name, "learn"))
    return model


@cache
def reference(name: str) -> Path:
    """What the unmarked teacher, or the public model, writes: a file as the mark reads it."""
    path = CACHE / f"{name}-texts.jsonl"
    if not path.exists():
        model = material().teacher if name == "teacher" else material().base
        written = model.write(material().public[:REFERENCE, :PROMPT], ANSWER, generator(0, name, "reference"))
        path.write_bytes(b"\n".join(map(msgspec.json.encode, texts(written.tokens))))
    return path


@cache
def mark(test: Test = "mixture", tokens: int = BUDGETS[-1]) -> Greenlist:
    """The mark that is tried: the defaults, half of the tokens and two nats after one token of context."""
    draft = Greenlist(test=test, tokens=tokens, tokenizer=str(corpora.tokenizer_file()),
                      reference="" if test == "unique" else str(reference("teacher")),
                      base="" if test == "unique" else str(reference("base")))
    return msgspec.structs.replace(draft, digest=draft.measured())


def texts(tokens: Tokens) -> list[str]:
    decoded: list[str] = corpora.tokenizer().decode_batch(tokens.tolist())
    return decoded


class Theft:
    """Answers of a marked teacher to a thief's prompts, under one key."""

    def __init__(self, seed: int) -> None:
        self.seed, self.key = seed, Prf.from_secret(f"benchmark text {seed}")
        public = material().public[generator(seed, "prompts").permutation(len(material().public))]
        self.prompts, self.unseen = public[:ASKED, :PROMPT], public[ASKED:, :PROMPT]
        self.read = public[:ASKED]
        self.clean = self._answers("clean", None)
        self.marked = self._answers("marked", self._adjust())

    def _answers(self, name: str, adjust: Callable[[Any, Any], Any] | None) -> Tokens:
        answers = material().teacher.write(self.prompts, ANSWER, generator(self.seed, name), adjust=adjust).tokens
        return np.concatenate([self.prompts, answers], axis=1)

    def _adjust(self) -> Callable[[Any, Any], Any]:
        """The hook, as a table: a context of one token has one row."""
        torch: Any = importlib.import_module("torch")
        green = mark("unique").green(self.key)
        table = torch.as_tensor(np.stack([green.after([token], VOCABULARY) for token in range(VOCABULARY)]))
        bias = mark("unique").delta * table.float()
        return lambda so_far, logits: logits + bias[so_far[:, -1]]

    def student(self, windows: Tokens, start: Transformer | None = None,
                schedule: Schedule = STUDENT) -> Transformer:
        """A model that learnt windows, from the public model on."""
        model = (start or material().base).copy()
        model.learn(Lesson(windows, PROMPT), schedule, generator(self.seed, "student"))
        return model

    def mixed(self, share: float, others: Tokens) -> Tokens:
        """Marked answers for a share of the prompts, something else for the rest."""
        n_marked = round(share * ASKED)
        return np.concatenate([self.marked[:n_marked], others[n_marked:]])

    def rewritten(self) -> Tokens:
        """Marked answers of which the public model has drawn three tokens in ten anew, each where it stands."""
        logs = material().base.logs(self.marked, PROMPT)
        rng = generator(self.seed, "rewritten")
        drawn = (logs - np.log(-np.log(rng.random(logs.shape, dtype=np.float32).clip(1e-12)))).argmax(axis=2)
        changed = self.marked.copy()
        is_changed = rng.random(drawn.shape) < REWRITTEN
        changed[:, PROMPT:][is_changed] = drawn[is_changed]
        return changed


def suspects(theft: Theft) -> dict[str, Callable[[], Transformer]]:
    """Students by what they learnt from."""
    full = cache(lambda: theft.student(theft.marked))
    tuned = material().others[generator(theft.seed, "tuned").permutation(len(material().others))[:TUNED_ON]]
    found: dict[str, Callable[[], Transformer]] = {
        "nothing marked": lambda: theft.student(theft.clean),
        "100 % marked": full,
        "10 % marked, 90 % public text": lambda: theft.student(theft.mixed(0.10, theft.read)),
        "10 % marked, 90 % unmarked answers": lambda: theft.student(theft.mixed(0.10, theft.clean)),
        "5 % marked, 95 % unmarked answers": lambda: theft.student(theft.mixed(0.05, theft.clean)),
    }
    if theft.seed in REMOVED_FROM:
        found["100 % marked, then 3,000 unmarked windows"] = lambda: theft.student(tuned, full(), TUNING)
        found["100 % marked, 30 % of tokens rewritten"] = lambda: theft.student(theft.rewritten())
    return found


class Written(NamedTuple):
    """A suspect's texts.

    Attributes:
        prompts: what it was asked.
        answers: what it wrote.
        codes: pairs of each answer that are scored.
    """

    prompts: list[str]
    answers: list[str]
    codes: list[Codes]


def written(theft: Theft, suspect: Transformer) -> Written:
    answers = texts(suspect.write(theft.unseen, ANSWER, generator(theft.seed, "suspect")).tokens)
    prompts = texts(theft.unseen)
    encode = tokenizer(str(corpora.tokenizer_file())).encode
    pairs = zip(encode(answers), encode(prompts), strict=True)
    return Written(prompts, answers, [scored(answer, prompt, 1) for answer, prompt in pairs])


@cache
def references() -> tuple[Pairs, Pairs]:
    found: Any = mark()._references()
    return found[0], found[1]


def scoring(test: Test, pairs: Pairs) -> Scoring:
    needed = {"unique": 0, "difference": 1}.get(test, 2)
    return Scoring(test, mark().gamma, pairs, *references()[:needed])


def p_values(theft: Theft, codes: Sequence[Codes]) -> dict[Test, dict[int, float]]:
    """By test and by tokens, as far as there are so many."""
    green, found = mark().green(theft.key), {test: dict[int, float]() for test in TESTS}
    for n in [n for n in GRID if n <= sum(map(len, codes))]:
        pairs = counted(codes, n)
        for test in TESTS:
            each = scoring(test, pairs)
            found[test][n] = each.p_value(each.score(green.of(each.codes, 1)))
    return found


def wrong(theft: Theft, codes: Sequence[Codes], n_tokens: int) -> dict[Test, NDArray[np.float64]]:
    """Standard deviations that wrong keys see, (keys,), and by test."""
    each_test: tuple[Test, ...] = ("unique", "mixture")
    scorings = {test: scoring(test, counted(codes, n_tokens)) for test in each_test}
    union = scorings["mixture"].codes
    is_own = np.isin(union, scorings["unique"].codes)
    found: dict[Test, list[float]] = {test: [] for test in each_test}
    for number in range(N_WRONG):
        bits = Green(Prf.from_secret(f"wrong {theft.seed} {number}"), mark().gamma).of(union, 1)
        for test in each_test:
            of_test = bits[is_own] if test == "unique" else bits
            found[test].append(scorings[test].z(scorings[test].score(of_test)))
    return {test: np.array(found[test]) for test in each_test}


def asked_in_full(theft: Theft, answers: Written, test: Test, tokens: int) -> Evidence:
    """What `counterclone prove` does: prompts out, texts in, decoys and all."""
    served = Served.of_texts(answers.prompts, ["thief"] * len(answers.prompts))
    case = Case(served=served, key=theft.key, order=Prf.from_secret(f"order {theft.seed}"), budget=len(served))
    said = dict(zip(answers.prompts, answers.answers, strict=True))
    examination = mark(test, tokens).verify(case)
    try:
        asked = next(examination)
        while True:
            reply = Reply(np.zeros((len(asked), 0)), texts=[said[str(prompt)] for prompt in asked])
            asked = examination.send(reply)
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return evidence


def reached(found: dict[int, float]) -> str:
    """The tokens after which the level is reached."""
    return next((f"{n:,}" for n, p in found.items() if p < LEVEL), "never")


def row(name: str, test: Test, found: Sequence[dict[Test, dict[int, float]]]) -> dict[str, object]:
    of_test = [each[test] for each in found]
    by_budget: dict[str, object] = {
        f"p, {n:,} tokens": " / ".join(f"{each[n]:.0e}" if n in each else "-" for each in of_test)
        for n in BUDGETS}
    return {"suspect": name, "test": test} | by_budget | {"tokens to 1e-6": " / ".join(map(reached, of_test))}


def main() -> None:
    began = time.process_time()
    thefts = [Theft(seed) for seed in SEEDS]
    print(f"teacher, public model and answers: {time.process_time() - began:.0f} s", flush=True)
    found: dict[str, list[dict[Test, dict[int, float]]]] = {}
    deviations: dict[Test, list[NDArray[np.float64]]] = {"unique": [], "mixture": []}
    full_rows: list[dict[str, object]] = []
    for theft in thefts:
        for name, make in suspects(theft).items():
            answers = written(theft, make())
            found.setdefault(name, []).append(p_values(theft, answers.codes))
            if name == WRONG_KEYS_OF:
                for test, values in wrong(theft, answers.codes, 50_000).items():
                    deviations[test].append(values)
            if name in IN_FULL:
                full_rows.append(in_full(theft, name, asked_in_full(theft, answers, *IN_FULL[name])))
            said = ", ".join(f"{test} {each[-1]:.0e} ({reached(by_tokens)})" for test, by_tokens in
                             found[name][-1].items() if (each := list(by_tokens.values())))
            print(f"{time.process_time() - began:.0f} s, seed {theft.seed}, {name}: {said}", flush=True)
    results.show(results.Result("marks_text", [row(name, test, each) for name, each in found.items()
                                               for test in TESTS]))
    results.show(results.Result("marks_text_prove", full_rows))
    results.show(results.Result("marks_text_wrong_keys", [wrong_row(test, values)
                                                          for test, values in deviations.items()]))
    print(f"{time.process_time() - began:.0f} s of CPU")


def in_full(theft: Theft, name: str, evidence: Evidence) -> dict[str, object]:
    return {"suspect": name, "seed": theft.seed, "p": f"{evidence.p_value:.1e}", "e": f"{evidence.e_value:.1e}",
            "decoys": evidence.p_decoy, "distinct pairs": evidence.trials, "green": evidence.hits,
            "prompts": evidence.queries}


def wrong_row(test: Test, values: Sequence[NDArray[np.float64]]) -> dict[str, object]:
    together = np.concatenate(values)
    return {"test": test, "cells": len(values), "keys each": N_WRONG,
            "sd": " / ".join(f"{each.std():.3f}" for each in values), "sd, all": f"{together.std():.3f}",
            "above the 1 % point": f"{(together > TAIL).mean():.2%}", "largest": f"{together.max():.2f}"}


if __name__ == "__main__":
    main()
