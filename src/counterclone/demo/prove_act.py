"""Act `prove`: a guard marks a few answers; the copy that learnt from them is proven, another model isn't."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import numpy as np

from counterclone import config, report
from counterclone.compose import dossier
from counterclone.compose import prove as composed
from counterclone.demo import digits, serving
from counterclone.demo.asking import ANSWER_SECONDS
from counterclone.fidelity import Labels, agreement
from counterclone.prove.verification import Verdict
from counterclone.queries import Features
from counterclone.randomness import generator

SERVER = "counterclone.demo.digits_server"
N_COPIER, N_HONEST, N_CLIENTS = 6000, 400, 5
AT_ONCE = 200
NOISE = 0.1
RATE = 0.005
SETTINGS = f"""\
[guard]
limit_queries_per_minute = 0

[journal]
path = ""

[[mark]]
kind = "triggers"
rate = {RATE}
"""


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        rate: of the mark.
        queries: rows that were asked in all.
        label_unchanged: the share of the honest clients' answers with the model's own label.
        copy_fidelity: of the copier's model to the target, on unseen images.
        copied: the verdict on the copier's model.
        independent: the verdict on a model of the same kind that never saw an answer.
        is_checked: whether both came out again from their dossiers alone.
    """

    rate: float
    queries: int
    label_unchanged: float
    copy_fidelity: float
    copied: Verdict
    independent: Verdict
    is_checked: bool


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Serve the model with marks, let honest clients and a copier ask, and test two suspects."""
    from sklearn.ensemble import RandomForestClassifier

    data = digits.load(seed)
    model = digits.train(data.training, seed)
    asked = _moved(data.pool.pixels, N_COPIER, seed, "copier")
    with tempfile.TemporaryDirectory(prefix="counterclone-demo-") as folder:
        path = Path(folder) / config.DEFAULT_FILE
        path.write_text(SETTINGS, encoding="utf-8")
        say(f"prove: {N_CLIENTS} honest clients, a copier, and a guard that marks {RATE:.1%} of the answers")
        with serving.serving(SERVER, str(seed), str(path), seed=seed) as address, \
                httpx.Client(timeout=ANSWER_SECONDS) as client:
            changed = 0
            for number in range(N_CLIENTS):
                own = _moved(data.honest.pixels, N_HONEST, seed, f"honest {number}")
                changed += int((_served(client, address, f"honest-{number}", own) != model.predict(own)).sum())
            answers = _served(client, address, "copier", asked)
        say("prove: both suspects are asked the marked queries")
        copy = RandomForestClassifier(100, random_state=seed).fit(asked, answers)
        # of who has images and labels of their own, and never asked anything
        other = RandomForestClassifier(100, random_state=seed).fit(data.training.pixels, data.training.digits)
        file = Path(folder) / "evidence.zip"
        verdicts, is_checked = [], True
        for each in (copy, other):
            options = composed.Options(suspect=each.predict_proba, dossier=file)
            verdict = composed.prove(options, str(path), lambda text: None)
            is_checked &= dossier.verify(file, None).holds
            verdicts.append(msgspec.structs.replace(verdict, dossier=None))  # it goes with the folder
    return Findings(
        rate=RATE, queries=N_COPIER + N_CLIENTS * N_HONEST,
        label_unchanged=1.0 - changed / (N_CLIENTS * N_HONEST),
        copy_fidelity=agreement(copy.predict(data.honest.pixels), model.predict(data.honest.pixels)).value,
        copied=verdicts[0], independent=verdicts[1], is_checked=is_checked)


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    both = findings.copied, findings.independent
    return report.Table(
        caption=f"Prove: two suspects after {findings.queries:,} queries of which {findings.rate:.1%} were marked",
        heads=("", "the copier's model", "an independent model"),
        rows=(("verdict", *(each.verdict.replace("-", " ") for each in both)),
              ("p-value, corrected for all accounts", *(f"{each.p_value:.1g}" for each in both)),
              ("choices that meet the key",
               *(f"{each.marks[0].hits} of {each.marks[0].trials}" for each in both)),
              ("rank among 999 decoy keys",
               *("-" if each.p_decoy is None else f"{each.p_decoy:.3f}" for each in both)),
              ("accounts named", *(str(len(each.accounts)) for each in both)),
              ("queries asked", *(str(each.queries) for each in both))),
        notes=(f"Honest clients: {findings.label_unchanged:.1%} of their answers have the model's own label. The "
               f"copy agrees with the model on {findings.copy_fidelity:.1%} of unseen images.",
               findings.copied.finding,
               f"Computed again from the dossiers alone: both {'hold' if findings.is_checked else 'DO NOT hold'}.",
               "Not proven is no acquittal. A copy that doesn't memorise single answers, or was distilled again "
               "on other inputs, isn't proven."))


def _moved(pixels: Features, n: int, seed: int, whose: str) -> Features:
    """Images with noise, each drawn anew: (n, 64)."""
    rng = generator(seed, "prove", whose)
    drawn = pixels[rng.integers(len(pixels), size=n)]
    moved: Features = np.clip(drawn + NOISE * rng.standard_normal(drawn.shape), 0.0, 1.0)
    return moved


def _served(client: httpx.Client, address: str, key: str, asked: Features) -> Labels:
    """The labels that an account gets, (n,)."""
    labels = []
    for start in range(0, len(asked), AT_ONCE):
        answer = client.post(address + digits.ROUTE, json={"instances": asked[start:start + AT_ONCE].tolist()},
                             headers={"authorization": f"Bearer {key}"})
        labels.append(np.argmax(answer.raise_for_status().json()["predictions"], axis=1))
    return np.concatenate(labels)
