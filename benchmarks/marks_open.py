"""Copies of a language model whose probabilities can be read: how many contexts tell of the key.

Teacher, public model, thefts and students are those of `marks_text`. The owner has cut 4,000 of his model's texts
somewhere, and keeps what comes next by his own model, the mark off, and by the public one; the suspect says what
comes next by itself. Needs the extras `deep` and `llm`, and dict-foldoc and dict-jargon of Debian.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import corpora, marks_text, results
from benchmarks.corpora import CACHE
from benchmarks.marks_text import ANSWER, LENGTH, N_WRONG, PROMPT, SEEDS, TAIL, Theft, material
from counterclone.answers import Reply
from counterclone.attacks._transformer import Transformer
from counterclone.errors import ConfigError
from counterclone.evidence import Evidence, Served
from counterclone.marks._green import Green
from counterclone.marks._nexts import Expected, ends, read
from counterclone.marks._scores import Scoring
from counterclone.marks.greenlist import Greenlist
from counterclone.protocols import Case
from counterclone.randomness import Prf, generator

CONTEXTS, AT_ONCE = 4_000, 200
SHORTEST, LONGEST = PROMPT + 1, LENGTH - 8
"""Tokens of a context; decoded and encoded again it may have some more."""
GRID = (250, 500, 1_000, 2_000, 4_000)
SUSPECTS = ("nothing marked", "10 % marked, 90 % public text", "10 % marked, 90 % unmarked answers",
            "5 % marked, 95 % unmarked answers")
WITH = {"own and public": True, "own alone": False}
"""The models that the suspect is compared with."""

Logs = NDArray[np.float32]


def next_logs(model: Transformer, contexts: Sequence[str]) -> Logs:
    """What comes after each text: (contexts, tokens)."""
    tokens = [each.ids for each in corpora.tokenizer().encode_batch(list(contexts))]
    parts = []
    for first in range(0, len(tokens), AT_ONCE):
        batch = tokens[first:first + AT_ONCE]
        padded = np.array([each + [0] * (LENGTH - len(each)) for each in batch], dtype=np.int64)
        parts.append(model.logs(padded, 1)[np.arange(len(batch)), [len(each) - 1 for each in batch]])
    return np.concatenate(parts)


@cache
def probabilities(*, has_public: bool) -> Path:
    """The owner's file, made once."""
    path = CACHE / f"probabilities-{'both' if has_public else 'own'}.npz"
    if not path.exists():
        rng = generator(0, "contexts")
        prompts = material().public[:CONTEXTS, :PROMPT]
        written = material().teacher.write(prompts, ANSWER, rng).tokens
        whole = np.concatenate([prompts, written], axis=1)
        cuts = rng.integers(SHORTEST, LONGEST, size=len(whole))
        contexts = corpora.tokenizer().decode_batch([row[:cut].tolist() for row, cut in
                                                     zip(whole, cuts, strict=True)])
        arrays: dict[str, Any] = {"contexts": np.array(contexts),
                                  "own": next_logs(material().teacher, contexts).astype(np.float16)}
        if has_public:
            arrays["public"] = next_logs(material().base, contexts).astype(np.float16)
        np.savez(path, **arrays)
    return path


@cache
def mark(*, has_public: bool) -> Greenlist:
    """The mark of `marks_text`, its tokenizer and the owner's file fixed."""
    draft = Greenlist(test="open", tokenizer=str(corpora.tokenizer_file()),
                      probabilities=str(probabilities(has_public=has_public)))
    draft = msgspec.structs.replace(draft, digest=draft.measured())
    try:
        draft.check_files()
    except ConfigError as error:  # which tells the digest
        return msgspec.structs.replace(draft, probabilities_digest=str(error).rsplit('"', 2)[1])
    raise AssertionError("a file has no digest")


@cache
def expected() -> Expected:
    return Expected.load(mark(has_public=True).probabilities)


def evidence(theft: Theft, rows: NDArray[np.float64], n: int, *, has_public: bool, decoys: int = 0) -> Evidence:
    """What `counterclone prove` says of a suspect, asked `n` contexts."""
    case = Case(served=Served.of_texts(["a prompt"], ["thief"]), key=theft.key,
                order=Prf.from_secret(f"order {theft.seed}"), budget=n, decoys=decoys)
    said = dict(zip(expected().contexts, rows, strict=False))
    examination = mark(has_public=has_public).verify(case)
    try:
        asked = next(examination)
        while True:
            asked = examination.send(Reply(np.array([said[str(context)] for context in asked])))
    except StopIteration as stop:
        found: Evidence = stop.value
        return found


def wrong(theft: Theft, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations that wrong keys see in all contexts: (keys,)."""
    encoded = mark(has_public=True).encoded(expected().contexts)
    codes, surplus = read(rows, expected(), np.arange(len(rows)), ends(encoded, 1)).surplus()
    scoring = Scoring.by_surplus(mark(has_public=True).gamma, codes, surplus)
    keys = [Green(Prf.from_secret(f"wrong {theft.seed} {number}"), 0.5) for number in range(N_WRONG)]
    return np.array([scoring.z(scoring.score(key.of(codes, 1))) for key in keys])


def row(name: str, compared: str, found: Sequence[dict[int, float]]) -> dict[str, object]:
    by_number: dict[str, object] = {f"p, {n:,} contexts": " / ".join(f"{each[n]:.0e}" for each in found)
                                    for n in GRID}
    return {"suspect": name, "compared with": compared} | by_number | {
        "contexts to 1e-6": " / ".join(map(marks_text.reached, found))}


class Judged(NamedTuple):
    """A suspect under one key.

    Attributes:
        p_values: by what it is compared with, and by contexts.
        full: all contexts, with decoys.
        wrong: standard deviations that wrong keys see, (keys,).
    """

    p_values: dict[str, dict[int, float]]
    full: Evidence
    wrong: NDArray[np.float64]


def judged(theft: Theft, make: Callable[[], Transformer]) -> Judged:
    rows = np.exp(next_logs(make(), expected().contexts).astype(np.float64))
    rows /= rows.sum(axis=1, keepdims=True)
    p_values = {compared: {n: evidence(theft, rows, n, has_public=has_public).p_value for n in GRID}
                for compared, has_public in WITH.items()}
    return Judged(p_values, evidence(theft, rows, CONTEXTS, has_public=True, decoys=999), wrong(theft, rows))


def tried(seed: int) -> dict[str, Judged]:
    """Every suspect under the key of a seed."""
    theft, found = Theft(seed), {}
    for name in SUSPECTS:
        found[name] = judged(theft, marks_text.suspects(theft)[name])
        said = ", ".join(f"{compared} {each[CONTEXTS]:.0e} ({marks_text.reached(each)})"
                         for compared, each in found[name].p_values.items())
        print(f"{time.process_time():.0f} s, seed {seed}, {name}: {said}", flush=True)
    return found


def main() -> None:
    show([tried(seed) for seed in SEEDS])
    print(f"{time.process_time():.0f} s of CPU")


def show(found: Sequence[dict[str, Judged]]) -> None:
    """Write the tables; a seed each."""
    results.show(results.Result("marks_open", [
        row(name, compared, [each[name].p_values[compared] for each in found])
        for name in found[0] for compared in WITH]))
    results.show(results.Result("marks_open_prove", [
        full_row(name, seed, each[name].full)
        for seed, each in zip(SEEDS, found, strict=True) for name in each]))
    results.show(results.Result("marks_open_wrong_keys", [
        wrong_row(name, [each[name].wrong for each in found]) for name in found[0]]))


def full_row(name: str, seed: int, found: Evidence) -> dict[str, object]:
    return {"suspect": name, "seed": seed, "p": f"{found.p_value:.1e}", "e": f"{found.e_value:.1e}",
            "decoys": found.p_decoy, "likelier pairs": found.trials, "green": found.hits,
            "contexts": found.queries}


def wrong_row(name: str, values: Sequence[NDArray[np.float64]]) -> dict[str, object]:
    together = np.concatenate(values)
    return {"suspect": name, "cells": len(values), "keys each": N_WRONG,
            "sd": " / ".join(f"{each.std():.3f}" for each in values), "sd, all": f"{together.std():.3f}",
            "above the 1 % point": f"{(together > TAIL).mean():.2%}", "largest": f"{together.max():.2f}"}


if __name__ == "__main__":
    main()
