"""A help desk's model copied bare and behind the guard, with marked texts, and both copies tested by URL."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from counterclone import config
from counterclone.compose import hooks, mark_keys
from counterclone.compose import prove as composed
from counterclone.demo import help_desk, serving, small_model
from counterclone.journal import JournalFolder
from counterclone.marks.greenlist import Greenlist
from counterclone.prove.verification import Verdict
from counterclone.randomness import generator
from counterclone.serving import completions

SERVER = "counterclone.demo.desk_server"
AT_ONCE = 100
BASIS = "the demo's own copy"
PASSES, STUDENT_PASSES = 3, 12
TOKENS = 5_000
SETTINGS = """\
[target]
task = "llm"
dialect = "openai"
account_in = "header"

[guard]
limit_queries_per_minute = 1000000

[journal]
payloads = true

[[mark]]
kind = "greenlist"
keys = "account"
test = "unique"
tokens = {tokens}
tokenizer = "{tokenizer}"
digest = "{digest}"
"""


class Sizes(NamedTuple):
    """How much there is to do.

    Attributes:
        records: that the model learns from.
        honest: tickets of the desk's own users.
        copied: tickets that the copier asks.
        unseen: tickets that copies are told by.
    """

    records: int = 6_000
    honest: int = 300
    copied: int = 1_500
    unseen: int = 400


class Copied(msgspec.Struct, frozen=True):
    """One copy.

    Attributes:
        exact: the share of unseen tickets on which it has all of the model's fields.
        verdict: on it.
    """

    exact: float
    verdict: Verdict


class Findings(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        queries: of each copier.
        majority: the share of unseen tickets with the most frequent fields, which need no query.
        unchanged: the share of honest users' tickets whose fields are those of the bare model.
        bare: the copy of answers without a guard.
        guarded: of marked answers through the guard.
        is_named: whether the account that is named is the copier's and no other is.
    """

    queries: int
    majority: float
    unchanged: float
    bare: Copied
    guarded: Copied
    is_named: bool


class _Stage(NamedTuple):
    """What all copies have in common.

    Attributes:
        folder: for what is written.
        config: the guard's file.
        stolen: the tickets that the copier asks.
        served: whom texts were written for, as JSON lines.
        unseen: tickets that copies are told by.
        truth: the model's replies to these.
        seed: of everything drawn.
    """

    folder: Path
    config: Path
    stolen: list[str]
    served: Path
    unseen: list[str]
    truth: list[str]
    seed: int


Ask = Callable[[Sequence[str]], list[str]]


def run(seed: int, say: Callable[[str], None], sizes: Sizes = Sizes()) -> Findings:  # noqa: B008 (frozen)
    """Teach the model, serve it twice, copy both, and test the copies."""
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as name, ExitStack() as stack:
        folder, model = Path(name), Path(name, "model")
        say(f"llm: teaching a small model {sizes.records:,} tickets of a help desk")
        rules, rng = help_desk.desk(generator(seed, "rules")), generator(seed, "records")
        known = help_desk.tickets(sizes.records, rng)
        small_model.teach(model, known, help_desk.replies(rules, known, rng), PASSES, seed)
        path, hook = _marked(folder, model)
        bare = stack.enter_context(serving.serving(SERVER, str(model), str(seed), seed=seed))
        marked = stack.enter_context(serving.serving(SERVER, str(model), str(seed), str(hook), seed=seed))
        honest, stolen, unseen = (help_desk.tickets(n, generator(seed, whose)) for n, whose in (
            (sizes.honest, "honest"), (sizes.copied, "copier"), (sizes.unseen, "unseen")))
        truth = asking(bare, temperature=0.0)(unseen)
        with serving.guarding(marked, path, seed=seed) as guarded:
            say(f"llm: honest users, and a copier of {sizes.copied:,} tickets at temperature 1, bare and guarded")
            replies = [asking(each, "honest", temperature=0.0)(honest) for each in (bare, guarded)]
            answers = [asking(each, "copier")(stolen) for each in (bare, guarded)]
        served, copier = _served(folder, stolen)
        stage = _Stage(folder, path, stolen, served, unseen, truth, seed)
        bare_copy, marked_copy = (_copied(stage, kind, learnt, say)
                                  for kind, learnt in zip(("bare", "marked"), answers, strict=True))
    return Findings(
        queries=sizes.copied, majority=Counter(map(help_desk.fields, truth)).most_common(1)[0][1] / len(truth),
        unchanged=_alike(replies[1], replies[0]), bare=bare_copy, guarded=marked_copy,
        is_named=[each.account for each in marked_copy.verdict.accounts] == [copier])


def _copied(stage: _Stage, kind: str, answers: Sequence[str], say: Callable[[str], None]) -> Copied:
    """A model of the answers, and what its own texts tell where it is served."""
    say(f"llm: the copier's model of {kind} answers, and its test by URL")
    student = stage.folder / f"student of {kind} answers"
    small_model.teach(student, stage.stolen, answers, STUDENT_PASSES, stage.seed + 1)
    with serving.serving(SERVER, str(student), str(stage.seed), seed=stage.seed) as suspect:
        asked = composed.Options(suspect=suspect + completions.ROUTE, basis=BASIS, texts=stage.served)
        verdict = composed.prove(asked, str(stage.config), say)
        return Copied(_alike(asking(suspect, temperature=0.0)(stage.unseen), stage.truth), verdict)


def asking(address: str, key: str = "demo", *, temperature: float = 1.0) -> Ask:
    """A function of tickets that asks a server, with OpenAI's client."""
    from openai import OpenAI

    def ask(prompts: Sequence[str]) -> list[str]:
        replies = []
        with OpenAI(base_url=f"{address}/v1", api_key=key) as client:
            for start in range(0, len(prompts), AT_ONCE):
                answer = client.completions.create(
                    model="desk", prompt=list(prompts[start:start + AT_ONCE]), temperature=temperature,
                    max_tokens=help_desk.LENGTH)
                replies += [choice.text for choice in answer.choices]
        return replies

    return ask


def _marked(folder: Path, model: Path) -> tuple[Path, Path]:
    """The guard's file, and the hook of what is committed to in it."""
    tokenizer = str(model / small_model.TOKENIZER_FILE)
    digest = Greenlist(test="unique", tokenizer=tokenizer).measured()
    path, hook = folder / config.DEFAULT_FILE, folder / "hook.json"
    path.write_text(SETTINGS.format(tokens=TOKENS, tokenizer=tokenizer, digest=digest), encoding="utf-8")
    mark_keys.create(str(path))
    hooks.export(str(path), hook)
    return path, hook


def _served(folder: Path, stolen: Sequence[str]) -> tuple[Path, str]:
    """What the guard's journal knows of whom texts were for, as `prove` reads it; and the copier's account."""
    path, copier = folder / "served.jsonl", ""
    with JournalFolder(folder / "journal").connect() as connection, path.open("wb") as file:
        for account, payload in connection.execute("select account, payload from exchanges").fetchall():
            query = msgspec.json.decode(payload)["query"]
            file.write(msgspec.json.encode({"account": account, "query": query}) + b"\n")
            copier = account if query["text"] == stolen[0] else copier
    return path, copier


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of replies with the same fields."""
    same = [help_desk.fields(a) == help_desk.fields(b) for a, b in zip(one, other, strict=True)]
    return sum(same) / len(same)
