"""Act `magika`: a model that others made, behind a server that isn't ours, bare and behind the gateway."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import numpy as np

from counterclone import config, report
from counterclone.answers import Rows, top_labels
from counterclone.demo import asking, copier, python_files, serving, surface
from counterclone.demo.copier import Task
from counterclone.demo.filetypes import INPUT, ROUTE, FileTypes, Tokens
from counterclone.demo.surface import Journal, Leak, Surface
from counterclone.errors import CountercloneError
from counterclone.fidelity import agreement
from counterclone.queries import Features

SERVER = "counterclone.demo.filetypes_server"
MAGIC_BYTES = 4
MAGIC_WEIGHT = 0.3
SETTINGS = """\
[[guard.policy]]
kind = "truncation"
top_k = 1

[[guard.policy]]
kind = "rounding"
decimals = 2
"""


class Sizes(NamedTuple):
    """How much the act asks: files of the honest clients and of the copier, and the copier's budgets."""

    honest: int
    pool: int
    budgets: tuple[int, ...]


FULL = Sizes(honest=200, pool=300, budgets=(50, 200))


class Honest(msgspec.Struct, frozen=True):
    """What a server's honest users got.

    Attributes:
        label_unchanged: the share of answers that serve the bare model's label.
        tool_unchanged: the share for which magika's rules make of label and score what its own tool tells, which
            has the network beside it.
        score_error: how far the served label's score is from the bare model's, the mean.
        latency_ms: the median answer's time at one client.
    """

    label_unchanged: float
    tool_unchanged: float
    score_error: float
    latency_ms: float


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        config_digest: of the gateway's settings, but for the model server's address.
        honest_queries: files that the honest clients asked each server about.
        label_kinds: labels among the answers to them.
        majority: the share of the commonest, which a copier has for nothing.
        bare: the model server as it is.
        guarded: behind the gateway.
        journal: the gateway's.
    """

    config_digest: str
    honest_queries: int
    label_kinds: int
    majority: float
    bare: Surface[Honest]
    guarded: Surface[Honest]
    journal: Journal


def run(seed: int, say: Callable[[str], None], sizes: Sizes = FULL) -> Findings:
    """Serve the model, put the gateway before it, ask both, copy both."""
    types = FileTypes()
    say("magika: serving a packaged model of file types, and the gateway before it")
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        settings = config.load(path, {})
        with serving.serving(SERVER, seed=seed) as bare, serving.guarding(bare, path, seed=seed) as guarded:
            contents, tokens = _files(types, seed, sizes.honest + sizes.pool)
            say(f"magika: {asking.N_CLIENTS} honest clients and a copier ask both about {len(contents)} files of "
                "this Python")
            served = asking.ask((bare, guarded), _infer, *np.split(tokens, [sizes.honest]))
        journal = Journal.of(path.parent / settings.journal.path)
    say(f"magika: the copier fits its students to {' and '.join(map(str, sizes.budgets))} answers")
    told = [types.told_by_tool(content) for content in contents[:sizes.honest]]
    unseen, asked = np.split(_seen_by_copier(tokens), [sizes.honest])
    original = served[0].honest
    labels, n_classes = top_labels(original), original.shape[1]
    bare_surface, guarded_surface = (
        Surface(_honest(answers, original, types, told), Leak.of(bits, answers.repeats),
                copier.copies(copier.ridges, Task(asked, answers.pool, unseen, labels), sizes.budgets))
        for answers, bits in zip(served, surface.bits(settings, n_classes), strict=True))
    counts = np.bincount(labels)
    return Findings(
        config_digest=settings.digest(), honest_queries=len(labels), label_kinds=int(np.count_nonzero(counts)),
        majority=float(counts.max() / len(labels)), bare=bare_surface, guarded=guarded_surface, journal=journal)


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    bare, guarded = findings.bare.honest, findings.guarded.honest
    return surface.table(
        "Magika: a packaged model of file types behind an OIP server, bare and behind the gateway",
        [("label unchanged", f"{bare.label_unchanged:.1%}", f"{guarded.label_unchanged:.1%}"),
         ("same type as magika's own tool", f"{bare.tool_unchanged:.1%}", f"{guarded.tool_unchanged:.1%}"),
         ("mean error of the score", f"{bare.score_error:.4f}", f"{guarded.score_error:.4f}"),
         ("median latency, ms", f"{bare.latency_ms:.2f}", f"{guarded.latency_ms:.2f}")],
        findings.bare, findings.guarded,
        [f"{asking.N_CLIENTS} honest clients asked each about {findings.honest_queries} files of this Python, of "
         f"{findings.label_kinds} types; the gateway releases the label and its score to two decimals.",
         str(findings.journal),
         "Copier: the better of two regressions on the files' bytes, one of the probabilities, one of the labels "
         f"alone, {surface.HOW_COPIES_ARE_TOLD}; to tell the commonest type of every file agrees on "
         f"{findings.majority:.1%}. What labels alone teach, a guard on probabilities can't take away."])


def _files(types: FileTypes, seed: int, n: int) -> tuple[list[bytes], Tokens]:
    """Contents that are enough for the network, and what it sees of each: (n, tokens)."""
    found = ((content, tokens) for content in python_files.draw(seed)
             if (tokens := types.tokens(content)) is not None)
    files = list(itertools.islice(found, n))
    if len(files) < n:
        raise CountercloneError(f"the demo found {len(files)} files under this Python's folders, expected {n}; "
                                "run it with a Python that has its library and packages as files")
    return [content for content, _ in files], np.stack([tokens for _, tokens in files])


def _honest(answers: asking.Served, original: Rows, types: FileTypes, told: Sequence[str]) -> Honest:
    labels, scores = top_labels(answers.honest), answers.honest.max(axis=1)
    retold = [types.told(label, score) for label, score in zip(labels, scores, strict=True)]
    return Honest(label_unchanged=agreement(labels, top_labels(original)).value,
                  tool_unchanged=float(np.equal(retold, told).mean()),
                  score_error=float(np.abs(scores - original.max(axis=1)).mean()), latency_ms=answers.latency_ms)


def _seen_by_copier(tokens: Tokens) -> Features:
    """How often each byte is there, and the first ones, by which many formats are known: (n, features)."""
    n_values = tokens.max() + 1
    shares = np.stack([np.bincount(row, minlength=n_values) for row in tokens]) / tokens.shape[1]
    first = np.eye(n_values)[tokens[:, :MAGIC_BYTES]].reshape(len(tokens), -1)
    return np.hstack([np.sqrt(shares), MAGIC_WEIGHT * first])


def _infer(client: httpx.Client, address: str, headers: dict[str, str], tokens: asking.Inputs) -> Rows:
    tensor = {"name": INPUT, "datatype": "INT32", "shape": tokens.shape, "data": tokens.ravel().tolist()}
    answer = client.post(address + ROUTE, json={"inputs": [tensor]}, headers=headers)
    answer.raise_for_status()
    (output,) = answer.json()["outputs"]
    return np.array(output["data"]).reshape(output["shape"])
