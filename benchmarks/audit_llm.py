"""What the answers of two small language models teach a copier, and what those teach who never asked.

`narrow` is a help desk's model with short structured answers (help_desk), `open` writes on as a dictionary does.
All students begin with one public model, which has never seen the target, and learn to their plateau. Fidelity is,
of the narrow task, that all four fields are the greedy ones, of open text the same likeliest next token, on
prompts that nobody has asked. Controls have as many texts and no answer of the target. It needs the extra `deep`,
and for `open` the library tokenizers and the Debian packages dict-foldoc and dict-jargon:

    python -m benchmarks.audit_llm [narrow] [open]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import help_desk, results
from benchmarks.corpora import kept_model
from counterclone.attacks._transformer import Lesson, Schedule, Tokens, Transformer, Written
from counterclone.randomness import generator

SEEDS = range(3)
FULL, STUDENT = Schedule(4e-3, 64), Schedule(3e-3, 32)
TOP = 5
CORES = 2
"""Students that learn at a time, each on one thread."""


class Arm(NamedTuple):
    """One way to get a student.

    Attributes:
        name: of the row.
        n: texts that it learns from.
        seeds: of the students.
        lesson: what they learn from, of a seed.
    """

    name: str
    n: int
    lesson: Callable[[int], Lesson]
    seeds: range = SEEDS


Measure = Callable[[Transformer], dict[str, float]]


def tried(arms: list[Arm], base: Transformer, measure: Measure, schedule: Schedule) -> list[dict[str, object]]:
    """A row for each arm: means, and the least and the largest of what was measured."""
    def taught(arm: Arm, seed: int) -> dict[str, float]:
        student, started = base.copy(), time.thread_time()
        checks = student.learn(arm.lesson(seed), schedule, generator(seed, "student"))
        seconds = time.thread_time() - started
        return measure(student) | {"checks": len(checks), "cpu_seconds": seconds}

    rows = []
    with ThreadPoolExecutor(CORES) as pool:  # torch's work gives up the interpreter's lock
        begun = [[pool.submit(taught, arm, seed) for seed in arm.seeds] for arm in arms]
        for arm, students in zip(arms, begun, strict=True):
            rows.append(_row(arm, [each.result() for each in students]))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _row(arm: Arm, found: list[dict[str, float]]) -> dict[str, object]:
    row: dict[str, object] = {"arm": arm.name, "queries": arm.n, "seeds": len(found)}
    for name in found[0]:
        values = [each[name] for each in found]
        mean = float(np.mean(values))
        if name in ("checks", "cpu_seconds"):
            row[name] = round(mean, 1)
        else:
            row |= {name: round(mean, 4), f"{name}_least": round(min(values), 4),
                    f"{name}_most": round(max(values), 4)}
    return row


def answered(prompts: Tokens, written: Written, *, shows_top: bool = False) -> Lesson:
    """Prompts and what came back, with the likeliest tokens where they are shown."""
    shown = (written.top, written.shares) if shows_top else ()
    return Lesson(np.concatenate([prompts, written.tokens], axis=1), prompts.shape[1], *shown)


def divergence(logs: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """KL of the second model from the first, in nats a token."""
    return float((np.exp(logs) * (logs - others)).sum(axis=-1).mean())


# The help desk

N_RECORDS, N_PUBLIC, N_JUDGED = 30_000, 20_000, 2_000
MOST_RECORDS, MOST_PUBLIC = 3_300_000, 1_400_000


def narrow() -> results.Result:
    public = help_desk.company(generator(0, "public"))
    ours, theirs = (help_desk.company(generator(0, name), public) for name in ("ours", "theirs"))
    target = desk_model("target", ours, N_RECORDS, MOST_RECORDS)
    rival = desk_model("rival", theirs, N_RECORDS, MOST_RECORDS)
    base = desk_model("base", public, N_PUBLIC, MOST_PUBLIC)
    prompts = help_desk.prompts(N_JUDGED, generator(0, "judged"))
    served = _fields(target, prompts)
    texts = np.concatenate([prompts, served], axis=1)
    logs = target.logs(texts, help_desk.START)

    def measure(student: Transformer) -> dict[str, float]:
        return {"exact": float((_fields(student, prompts) == served).all(axis=1).mean()),
                "kl": divergence(logs, student.logs(texts, help_desk.START))}

    def lesson(asked: Transformer, n: int, *, shows_top: bool = False,
               is_greedy: bool = False) -> Callable[[int], Lesson]:
        def drawn(seed: int) -> Lesson:
            queries = help_desk.prompts(n, generator(seed, "queries"))
            written = asked.write(queries, help_desk.LENGTH - help_desk.START, generator(seed, "answers"), top=TOP,
                                  is_greedy=is_greedy)
            return answered(queries, written, shows_top=shows_top)
        return drawn

    arms = [Arm("text", n, lesson(target, n)) for n in (300, 1000, 3000)]
    arms += [Arm("text and top-5", n, lesson(target, n, shows_top=True)) for n in (300, 1000, 3000)]
    arms += [Arm("greedy text", n, lesson(target, n, is_greedy=True)) for n in (300, 3000)]
    arms.append(Arm("control: a rival's answers", 3000, lesson(rival, 3000)))
    floors = {"the public model": measure(base)["exact"], "the rival itself": measure(rival)["exact"],
              "the most frequent answer": _majority(served),
              "target against its rules": float((help_desk.truths(ours, prompts) == served).all(axis=1).mean())}
    rows: list[dict[str, object]] = [*tried(arms, base, measure, STUDENT)]
    rows += [dict.fromkeys(rows[0], "") | {"arm": name, "exact": round(value, 4)}
             for name, value in floors.items()]
    return results.Result("audit_llm_narrow", rows)


def desk_model(whose: str, rules: help_desk.Company, n: int, most: int) -> Transformer:
    """A model of a company's records, made once."""
    name = f"narrow-{whose}"

    def made() -> Transformer:
        model = Transformer(help_desk.VOCABULARY, help_desk.LENGTH, generator(0, name))
        records = help_desk.records(rules, n, generator(0, name, "records"))
        model.learn(Lesson(records, help_desk.START), FULL._replace(most=most), generator(0, name, "order"))
        return model

    return kept_model(name, made)


def _fields(model: Transformer, prompts: Tokens) -> Tokens:
    """The fields of the greedy answer, (n, 4)."""
    return model.write(prompts, len(help_desk.FIELDS), generator(0, "greedy"), is_greedy=True).tokens


def _majority(served: Tokens) -> float:
    return float(np.unique(served, axis=0, return_counts=True)[1].max() / len(served))


# Open text

N_CONTEXTS = 1_000
RIVAL = FULL._replace(most=4_500_000)
OPEN = FULL._replace(most=9_000_000)
"""Three times what it takes to the plateau."""
FEW, MANY = 600, 6_000


def open_text() -> results.Result:
    from benchmarks.marks_text import ANSWER, PROMPT, material, taught

    public, private, others, base, target = material()
    rival = kept_model("rival", lambda: taught("rival", others, RIVAL))
    contexts = private[generator(0, "contexts").permutation(len(private))[:N_CONTEXTS], :PROMPT]
    texts = np.concatenate([contexts, target.write(contexts, ANSWER, generator(0, "judged")).tokens], axis=1)
    logs = target.logs(texts, PROMPT)
    served, of_rival = logs.argmax(axis=-1), rival.logs(texts, PROMPT).argmax(axis=-1)

    def measure(student: Transformer) -> dict[str, float]:
        told = student.logs(texts, PROMPT)
        likeliest = told.argmax(axis=-1)
        return {"agreement": float((likeliest == served).mean()), "kl": divergence(logs, told),
                "with_rival": float((likeliest == of_rival).mean())}

    def asked(model: Transformer, n: int, *, shows_top: bool = False) -> Callable[[int], Lesson]:
        def drawn(seed: int) -> Lesson:
            places = generator(seed, "queries").permutation(len(public))[:n]
            prompts = public[places, :PROMPT]
            return answered(prompts, model.write(prompts, ANSWER, generator(seed, "answers"), top=TOP),
                            shows_top=shows_top)
        return drawn

    def real(windows: Tokens) -> Callable[[int], Lesson]:
        return lambda seed: Lesson(windows[generator(seed, "texts").permutation(len(windows))[:MANY]], PROMPT)

    arms = [Arm("text", FEW, asked(target, FEW)),
            Arm("text and top-5", FEW, asked(target, FEW, shows_top=True)),
            Arm("text", MANY, asked(target, MANY)),
            Arm("control: a rival's answers", MANY, asked(rival, MANY)),
            Arm("control: real text of the domain", MANY, real(others)),
            Arm("text and top-5", MANY, asked(target, MANY, shows_top=True)),
            Arm("control: public text", MANY, real(public), range(1))]
    floors = {"the public model": measure(base), "the rival itself": measure(rival)}
    rows: list[dict[str, object]] = [*tried(arms, base, measure, OPEN)]
    rows += [dict.fromkeys(rows[0], "") | {"arm": name} | {key: round(value, 4) for key, value in found.items()}
             for name, found in floors.items()]
    return results.Result("audit_llm_open", rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for run in {"narrow": narrow, "open": open_text} if len(sys.argv) == 1 else sys.argv[1:]:
        began, used = time.perf_counter(), time.process_time()
        results.show({"narrow": narrow, "open": open_text}[run]())
        print(f"{run}: {time.perf_counter() - began:.0f} seconds, {time.process_time() - used:.0f} of CPU")
