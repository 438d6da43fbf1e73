"""Audits of real models by the attacks that we ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from counterclone import audit, cli
from counterclone.audit import Audit, Deployment
from counterclone.budgets import Price
from counterclone.randomness import generator

PIXELS, DIGITS = load_digits(return_X_y=True)
PIXELS = PIXELS / 16.0
TRAIN, POOL, EVALUATE = slice(900), slice(900, 1347), slice(1347, None)


def run(predict: Any, **options: Any) -> Audit:
    return audit.run(predict, **{
        "pool": (PIXELS[POOL], DIGITS[POOL]), "evaluate": (PIXELS[EVALUATE], DIGITS[EVALUATE]), "seeds": 1,
        **options})


@pytest.fixture(scope="module")
def linear() -> LogisticRegression:
    return LogisticRegression(max_iter=2000).fit(PIXELS[TRAIN], DIGITS[TRAIN])


def test_a_linear_model_falls_to_as_many_queries_as_it_has_unknowns(linear: LogisticRegression) -> None:
    found = run(linear.predict_proba, budgets=(65,), deployment=Deployment(price=Price(0.0015)),
                surfaces=["float32", "labels"],
                attacks=["boundary_solving", "equation_solving", "hard_label", "knockoff"])
    exact = next(finding for finding in found.findings if finding.id == "exact-copy")
    assert exact.text.startswith("65 queries, $0.098, give an exact copy (equation_solving)")
    solved = [trial for trial in found.trials if trial.attack == "equation_solving"]
    assert [trial.surface for trial in solved] == ["full", "float32"]
    for trial in solved:
        assert (trial.fidelity, trial.queries_sent, trial.parameters) == (1.0, 65, 650)
        assert trial.parameter_error is not None
        assert trial.parameter_error < 1e-5
    by_labels = [trial for trial in found.trials if trial.surface == "labels"]
    assert {trial.attack for trial in by_labels} >= {"knockoff", "hard_label", "boundary_solving"}
    assert max(trial.fidelity for trial in by_labels) < 0.95
    assert found.surfaces[2].accuracy == found.surfaces[0].accuracy
    assert found.control.student == "knockoff"
    assert 0.85 < found.control.fidelity < 0.97


def test_a_tree_shows_its_leaves(linear: LogisticRegression) -> None:
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(PIXELS[TRAIN], DIGITS[TRAIN])
    found = run(tree.predict_proba, ids=tree.apply, attacks=["path_finding"], budgets=(1000,))
    trial, = found.trials
    assert trial.fidelity == 1.0
    assert {finding.id for finding in found.findings} >= {"ids-shown", "cheap-copy"}


def test_leaf_ids_are_shown_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)
    Path("tree_victim.py").write_text(
        "from sklearn.datasets import load_iris\nfrom sklearn.tree import DecisionTreeClassifier\n"
        "model = DecisionTreeClassifier(random_state=0).fit(*load_iris(return_X_y=True))\n")
    np.save("pool.npy", generator(0, "iris").uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (200, 4)))

    def trials(*ids: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(cli.cli, [
            "audit", "--target", "tree_victim:model", *ids, "--pool", "pool.npy", "--attack", "path_finding",
            "--budgets", "600", "--seeds", "1", "--json"])
        assert done.exit_code == 0, done.stderr
        assert ("ids-shown" in done.stdout) == bool(ids)
        found: list[dict[str, Any]] = json.loads(done.stdout)["trials"]
        return found

    (by_method,), (by_object,), (without,) = (
        trials("--ids", "tree_victim:model.apply"), trials("--ids", "tree_victim:model"), trials())
    assert by_method["fidelity"] == 1.0
    assert by_method["queries_sent"] == by_object["queries_sent"] < without["queries_sent"]


WORDS = (("goal", "match", "team", "striker", "league", "cup"),
         ("bank", "stock", "market", "bond", "rate", "trade"), ("rain", "cloud", "wind", "storm", "sun", "frost"))


def texts(n: int, seed: int) -> tuple[list[str], list[int]]:
    rng = generator(seed, "texts")
    labels = rng.integers(3, size=n).tolist()
    return [" ".join(rng.choice(WORDS[label], 4)) + f" {rng.integers(1000)}" for label in labels], labels


def test_a_text_classifier_is_copied() -> None:
    inputs, labels = texts(400, 0)
    model = make_pipeline(HashingVectorizer(n_features=2**12), LogisticRegression()).fit(inputs, labels)
    found = audit.run(model.predict_proba, pool=texts(300, 1), evaluate=texts(200, 2), budgets=(100,), seeds=1)
    assert {trial.attack for trial in found.trials} >= {"knockoff"}
    assert found.fidelity > 0.95
    assert {trial.fidelity_uniform for trial in found.trials} == {None}
    assert found.control.student == "knockoff"
    assert all(skip.reason.startswith("it asks with numbers") or skip.reason.endswith("aren't shown")
               for skip in found.skipped)
    assert not {"task_distillation", "encoder_stealing"} & {skip.attack for skip in found.skipped}


def test_the_command_audits_as_a_newcomer_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)
    Path("victim.py").write_text(
        "from sklearn.datasets import load_iris\nfrom sklearn.linear_model import LogisticRegression\n"
        "model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))\n")
    inputs = generator(0, "iris").uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (200, 4))
    np.save("pool.npy", inputs)
    done = CliRunner().invoke(cli.cli, ["audit", "--target", "victim:model", "--pool", "pool.npy", "--budgets",
                                        "5,20", "--seeds", "1", "--json", "--report", "audit.html"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert "none was given, so 66 inputs of the pool were held out" in found["warnings"][0]
    exact = [trial for trial in found["trials"] if trial["attack"] == "equation_solving"]
    assert (exact[0]["queries_sent"], exact[0]["fidelity"]) == (5, 1.0)
    assert not any("failed" in skip["reason"] for skip in found["skipped"])
    assert Path("audit.html").stat().st_size > 10_000
