"""The verb: from files to a choice, and the choice into the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from counterclone import config
from counterclone.compose.tune import edited, marked
from counterclone.errors import ConfigError
from counterclone.randomness import generator
from counterclone.tune.quotas import Quota

MODEL = """\
import numpy as np
from sklearn.linear_model import LogisticRegression

data = np.load("data.npz")
model = LogisticRegression().fit(data["x"], data["y"])
"""
FILE = """\
# what we promised to our users
[guard]
limit_queries_per_minute = 60  # ours

[[guard.policy]]
kind = "rounding"
decimals = 6

[journal]
path = ""
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = generator(0, "tune")
    x = rng.normal(size=(700, 4))
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(700, 3))).argmax(axis=1)
    np.savez(tmp_path / "data.npz", x=x[:300], y=y[:300])
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    for name, rows in (("pool.csv", slice(300, 450)), ("eval.csv", slice(450, 700))):
        lines = [",".join([*(f"{value:.6f}" for value in row), str(label)])
                 for row, label in zip(x[rows], y[rows], strict=True)]
        (tmp_path / name).write_text("\n".join(["a,b,c,d,label", *lines]), encoding="utf-8")
    (tmp_path / "counterclone.toml").write_text(FILE, encoding="utf-8")
    honest = [{"time": 1.764e9 + 3600 * hour + account, "account": f"a{account}",
               "query": {"features": rng.normal(size=4).tolist()}, "answer": {"label": 0}}
              for hour in range(5) for account in range(400)]
    (tmp_path / "honest.jsonl").write_bytes(b"\n".join(map(orjson.dumps, honest)))
    return tmp_path


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "counterclone", "tune", "--target", "model:model", "--pool", "pool.csv", "--eval",
         "eval.csv", "--label", "label", "--budgets", "40", "--attack", "hard_label", "--seeds", "1", *more],
        cwd=folder, capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_the_verb_chooses_and_writes_with_comments_kept(folder: Path) -> None:
    done = run(folder, "--json", "--write", "--report", "page.html", "--benign", "honest.jsonl")
    assert done.returncode == 0, done.stderr.decode()
    found = orjson.loads(done.stdout)
    assert {"points", "chosen"} <= found.keys()
    assert {"settings", "accuracy_loss", "calibration_error_increase", "fidelity", "queries_to_90",
            "usd_to_90"} <= found["points"][0].keys()
    names = {point["name"] for point in found["points"] if point["is_judged"]}
    assert {"as it is", "labels", "rounding 6"} <= names
    text = (folder / "counterclone.toml").read_text(encoding="utf-8")
    assert "# what we promised to our users" in text
    assert "limit_queries_per_minute = 60  # ours" in text
    guard = config.load(folder / "counterclone.toml").guard
    assert list(guard.policy) == found["chosen"]
    assert found["honest_accounts"] == 400
    assert (found["chosen_limit"]["key"], guard.limit_queries_per_day) == ("limit_queries_per_day", 10)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "(chosen)" in page


@pytest.mark.parametrize("before", ["", "[guard]\n", FILE, "[target]\nurl = 'http://h'  # there\n"])
def test_a_file_with_other_policies_reads_as_they_are(before: str) -> None:
    policies = [{"kind": "truncation", "top_k": 2}, {"kind": "rounding", "decimals": 2}]
    import tomllib
    document = tomllib.loads(edited(before, policies))
    assert document["guard"]["policy"] == policies
    without = {**tomllib.loads(before)}
    without.setdefault("guard", {}).pop("policy", None)
    document["guard"].pop("policy")
    assert document == without
    assert "policy" not in tomllib.loads(edited(before, []))["guard"]


def test_honest_traffic_that_isnt_there_is_told(folder: Path) -> None:
    done = run(folder, "--benign", "nowhere.jsonl")
    assert done.returncode == 2
    assert b"nowhere.jsonl" in done.stderr


def test_a_limit_takes_the_place_of_the_files_own() -> None:
    quota = Quota(key="limit_queries_per_minute", amount=6, honest_limited=0.0, honest_limited_high=0.01, days=1.0,
                  accounts=1, copy_share=1.0)
    text = edited(FILE, [], quota)
    assert "limit_queries_per_minute = 6  # ours" in text


def test_what_marks_change_is_said_beside_the_table() -> None:
    assert "up to 0.20% of the answers" in marked({"kind": "triggers", "rate": 0.002})
    assert "some answers" in marked({"kind": "canaries"})


def test_a_file_that_is_no_toml_is_told() -> None:
    with pytest.raises(ConfigError, match="--write"):
        edited("[guard", [])
