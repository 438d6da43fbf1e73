from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from counterclone import demo
from counterclone.errors import ConfigError

SURFACE = {"label_unchanged", "accuracy", "calibration_error", "bits_per_answer", "distinct_repeats", "latency_ms",
           "copies"}


def test_the_demo_runs_and_shows_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new folder" / "report.html"
    result = demo.run([], seed=0, report_path=path)
    found = msgspec.to_builtins(result)
    assert [*found] == ["seed", "seconds", "acts"]
    assert (found["seed"], [*found["acts"]]) == (0, ["guard"])
    act = found["acts"]["guard"]
    assert {*act} == {"config_digest", "honest_queries", "bare", "guarded", "journal_queries", "journal_accounts",
                      "heaviest_account_queries"}
    bare, guarded = act["bare"], act["guarded"]
    assert {*bare} == {*guarded} == SURFACE
    assert guarded["label_unchanged"] == bare["label_unchanged"] == 1.0
    assert guarded["accuracy"] == bare["accuracy"] > 0.9
    assert guarded["bits_per_answer"] < bare["bits_per_answer"] / 10
    assert guarded["distinct_repeats"] == bare["distinct_repeats"] == 1
    assert guarded["calibration_error"] < 0.1
    for one, other in zip(bare["copies"], guarded["copies"], strict=True):
        assert one["queries"] == other["queries"]
        assert other["fidelity"] < one["fidelity"]
    assert act["journal_accounts"] == 21
    assert act["journal_queries"] == act["honest_queries"] + act["heaviest_account_queries"]
    assert found["seconds"] < 180.0

    output = io.StringIO()
    demo.show(result, output)
    page = path.read_text(encoding="utf-8")
    for text in ("honest: label unchanged", "leak: bits an answer", "copier: agreement after 100 queries"):
        assert text in output.getvalue()
        assert text in page
    assert "Made by `counterclone demo --seed 0`" in page
    assert capsys.readouterr().err.count("guard: ") == 3


def test_an_unknown_act_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no act 'gaurd' \(did you mean 'guard'\?\); expected one of guard"):
        demo.run(["gaurd"], seed=0, report_path=tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
