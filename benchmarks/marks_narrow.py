"""Canaries on a narrow task: the order of four fields, drawn by a key, in answers of a help desk's model.

The target and its students are those of `audit_llm`: all students begin with one public model and learn 3,000
answers to their plateau, of which about a tenth are in another order than the target's. These are a tenth of the
prompts, or of the topics; or half of the topics where only a fifth of the answers came from behind the mark, the
others from elsewhere without one. Topics are product, or product and tier, or product and issue. A suspect is
asked every marked prompt again and answers greedily, or drawn at temperature 1. "Clean" students learn unmarked
answers.
It needs the extra `deep`:

    python -m benchmarks.marks_narrow
"""

from __future__ import annotations

import time
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import help_desk, results
from benchmarks.audit_llm import MOST_PUBLIC, MOST_RECORDS, N_PUBLIC, N_RECORDS, STUDENT, desk_model
from benchmarks.help_desk import FIELDS, LENGTH, START
from counterclone.answers import Reply
from counterclone.attacks._transformer import Lesson, Tokens, Transformer
from counterclone.evidence import Evidence, Served
from counterclone.marks.canaries import Canaries
from counterclone.protocols import Case
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

SEEDS = (0, 1, 2)
N = 3_000
PROMPT_WORDS = ("product", "issue", "tier", "region", "age", "mood", "filler", "word")
BUDGET = 4_000
SIZES = (*help_desk.PROMPT, *help_desk.ANSWER)
STARTS = accumulate((size for _, size in SIZES), initial=help_desk.END + 1)
PLACES = {name: range(start, start + size) for (name, size), start in zip(SIZES, STARTS, strict=False)
          if name in FIELDS}
"""The tokens of each field."""


class Setting(NamedTuple):
    """How answers are marked, and how many of them are.

    Attributes:
        name: of the row.
        topic: the words of the prompt that are the topic; none for the whole prompt.
        rate: of the mark.
        behind: the share of answers that came from behind the mark.
    """

    name: str
    topic: tuple[str, ...]
    rate: float
    behind: float = 1.0

    def mark(self) -> Canaries:
        words = (rf"\b{word} (\d+)" for word in self.topic)
        return Canaries(rate=self.rate, fields=FIELDS, topic=".*".join(words))


SETTINGS = (
    Setting("each prompt", (), 0.1),
    Setting("topic: product and issue", ("product", "issue"), 0.1),
    Setting("topic: product and tier", ("product", "tier"), 0.1),
    Setting("topic: product", ("product",), 0.1),
    Setting("topic: product and tier, 20 % of answers marked by half", ("product", "tier"), 0.5, 0.2),
    Setting("topic: product, 20 % of answers marked by half", ("product",), 0.5, 0.2),
    Setting("topic: product and issue, half marked", ("product", "issue"), 0.5),
    Setting("topic: product and tier, half marked", ("product", "tier"), 0.5),
)


def asked_text(prompt: Tokens) -> str:
    """A prompt as a caller writes it."""
    return ", ".join(f"{word} {token}" for word, token in zip(PROMPT_WORDS, prompt[1:-1].tolist(), strict=True))


def text(answer: Tokens) -> str:
    """An answer as it is served: fields in lines, and the words."""
    lines = [f"{_field(token)}: {token}" for token in answer[:len(FIELDS)].tolist()]
    return "\n".join([*lines, " ".join(map(str, answer[len(FIELDS):].tolist()))])


def tokens(served: str) -> list[int]:
    """An answer as a student learns it."""
    *lines, words = served.split("\n")
    return [int(line.partition(": ")[2]) for line in lines] + [int(word) for word in words.split()]


def _field(token: int) -> str:
    return next((name for name, places in PLACES.items() if token in places), "none")


class Desk:
    """The target, and what a copier begins with."""

    def __init__(self) -> None:
        public = help_desk.company(generator(0, "public"))
        ours = help_desk.company(generator(0, "ours"), public)
        self.target = desk_model("target", ours, N_RECORDS, MOST_RECORDS)
        self.base = desk_model("base", public, N_PUBLIC, MOST_PUBLIC)

    def student(self, prompts: Tokens, answers: Tokens, seed: int) -> Transformer:
        student = self.base.copy()
        lesson = Lesson(np.concatenate([prompts, answers], axis=1), START)
        student.learn(lesson, STUDENT, generator(seed, "student"))
        return student


class Trial(NamedTuple):
    """One seed's.

    Attributes:
        share: of the student's answers that are written another way.
        exact: the share of the student's greedy answers whose fields are the target's, in any order.
        greedy: what its greedy answers tell.
        drawn: what answers at temperature 1 tell.
    """

    share: float
    exact: float
    greedy: Evidence
    drawn: Evidence


def trial(desk: Desk, setting: Setting, seed: int, *, is_clean: bool = False) -> Trial:
    prompts = help_desk.prompts(N, generator(seed, "queries"))
    answers = desk.target.write(prompts, LENGTH - START, generator(seed, "answers")).tokens
    asked, own = [asked_text(prompt) for prompt in prompts], [text(answer) for answer in answers]
    n_behind = round(setting.behind * N)
    mark, epoch = setting.mark(), Prf.from_secret(f"{setting.name} {seed}")
    cells = Query(asked[:n_behind]).cells
    embedded = mark.embed_text(epoch.subkey("mark/canaries"), cells, own[:n_behind])
    served = [*embedded.texts, *own[n_behind:]]
    learnt = answers if is_clean else np.array([tokens(each) for each in served])
    student = desk.student(prompts, learnt, seed)
    rows = np.flatnonzero(embedded.roles).tolist()
    held = Served(inputs=[asked[row] for row in rows], cells=[cells[row] for row in rows],
                  roles=embedded.roles[rows], truths=mark.read([own[row] for row in rows]),
                  labels=mark.read([served[row] for row in rows]), accounts=[("thief",)] * len(rows),
                  classes=mark.n_variants)
    case = Case(served=held, key=epoch.subkey("mark/canaries"), order=epoch.subkey("order"), budget=BUDGET)
    memory = dict(zip(asked, prompts, strict=True))
    found = [examined(mark, case, student, memory, seed, is_greedy=is_greedy) for is_greedy in (True, False)]
    changed = 0.0 if is_clean else float(np.mean([one != other for one, other in zip(served, own, strict=True)]))
    return Trial(changed, exactness(desk, student), *found)


def examined(mark: Canaries, case: Case, suspect: Transformer, memory: dict[str, Tokens], seed: int, *,
             is_greedy: bool) -> Evidence:
    """Ask a student the marked prompts."""
    rng = generator(seed, "suspect")
    examination = mark.verify(case)
    try:
        asked = next(examination)
        while True:
            written = suspect.write(np.stack([memory[str(prompt)] for prompt in asked]), LENGTH - START, rng,
                                    is_greedy=is_greedy).tokens
            asked = examination.send(Reply(np.empty((len(asked), 0)), texts=[text(answer) for answer in written]))
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return evidence


def exactness(desk: Desk, student: Transformer) -> float:
    prompts = help_desk.prompts(1_000, generator(0, "judged"))
    written = [model.write(prompts, len(FIELDS), generator(0, "greedy"), is_greedy=True).tokens
               for model in (student, desk.target)]
    theirs, ours = (np.sort(each, axis=1) for each in written)
    return float((theirs == ours).all(axis=1).mean())


def line(setting: Setting, suspect: str, trials: list[Trial]) -> dict[str, object]:
    return {
        "marked": setting.name, "suspect": suspect, "rate": setting.rate,
        "share_changed": round(float(np.mean([each.share for each in trials])), 3),
        "exact": round(float(np.mean([each.exact for each in trials])), 3),
        **{f"{name}_{figure}": found for name in ("greedy", "drawn") for figure, found in {
            "hits": [getattr(each, name).hits for each in trials],
            "trials": [getattr(each, name).trials for each in trials],
            "p": [float(f"{getattr(each, name).p_value:.1e}") for each in trials]}.items()},
        "queries": [each.greedy.queries for each in trials]}


def run() -> results.Result:
    desk = Desk()
    rows = []
    for setting in SETTINGS:
        rows.append(line(setting, "student", [trial(desk, setting, seed) for seed in SEEDS]))
        print(rows[-1], flush=True)
    clean = SETTINGS[-1]
    rows.append(line(clean, "clean student", [trial(desk, clean, seed, is_clean=True) for seed in SEEDS]))
    return results.Result("marks_narrow", rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    started = time.process_time()
    results.show(run())
    print(f"{time.process_time() - started:.0f} s of CPU")
