from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from counterclone import cli, demo
from counterclone.demo import Act, audit_act, magika_act, tune_act, watch_act
from counterclone.demo.magika_act import Sizes
from counterclone.errors import ConfigError

FEW = Sizes(honest=30, pool=40, budgets=(10, 30))


@pytest.fixture(autouse=True)
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acts are the demo's own; each has less to do."""
    monkeypatch.setattr(watch_act, "N_KNOWN", 2000)
    monkeypatch.setattr(watch_act, "N_HONEST", 500)
    monkeypatch.setattr(watch_act, "DAYS", 6)
    monkeypatch.setattr(audit_act, "ATTACKS", ("knockoff",))
    monkeypatch.setattr(tune_act, "ATTACKS", ("hard_label", "knockoff"))
    monkeypatch.setattr(tune_act, "BUDGETS", (30, 60))
    monkeypatch.setattr(tune_act, "N_SEEDS", 1)
    run = functools.partial(magika_act.run, sizes=FEW)
    monkeypatch.setitem(demo.ACTS, "magika", Act(run, magika_act.table))


def test_the_demo_plays_every_act_and_shows_what_it_promises(tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new folder" / "report.html"
    result = demo.run([], seed=0, report_path=path)
    found = msgspec.to_builtins(result)
    assert [*found] == ["seed", "seconds", "acts"]
    assert (found["seed"], [*found["acts"]]) == (0, ["audit", "guard", "magika", "watch", "prove", "tune"])
    for name in ("guard", "magika"):
        check_surfaces(found["acts"][name])
    check_audit(found["acts"]["audit"])
    check_digits(found["acts"]["guard"])
    check_filetypes(found["acts"]["magika"])
    check_watch(found["acts"]["watch"])
    check_prove(found["acts"]["prove"])
    check_tune(found["acts"]["tune"])

    output = io.StringIO()
    demo.show(result, output)
    page = path.read_text(encoding="utf-8")
    for text in ("copier: 90% agreement costs",
                 "honest: label unchanged", "honest: accuracy", "honest: mean error of the score",
                 "leak: bits an answer", "copier: agreement after 100 queries",
                 "copier: agreement after 30 queries", "copy held by then",
                 "trained on answers served to account", "Labels alone are the floor"):
        assert text in output.getvalue()
        assert text in page
    assert "Made by `counterclone demo --seed 0`" in page
    progress = capsys.readouterr().err
    assert progress.count("guard: ") == progress.count("magika: ") == 3
    assert "audit: 6/6 knockoff on full, 100 queries: fidelity " in progress


def check_audit(act: dict[str, Any]) -> None:
    assert (act["trials"], act["queries_sent"]) == (12, 2 * 2 * (20 + 50 + 100))
    assert act["fidelity"]["full"] > act["fidelity"]["guarded"] > 0.85
    assert act["accuracy"]["full"] == act["accuracy"]["guarded"] > 0.9
    assert 0.9 < act["control"] < 1.0
    usd = {reach["surface"]: reach["usd"] for reach in act["cheapest"] if reach["fidelity"] == 0.9}
    assert 0.0 < usd["full"] < usd["guarded"] < 0.15
    assert any("90 % copy" in text for text in act["findings"])


def check_watch(act: dict[str, Any]) -> None:
    group = act["group"]
    assert (act["known"], act["accounts"], group["accounts"], group["queries"]) == (2000, 500, 50, 1900)
    assert act["lone"]["queries"] == 400
    assert group["alarm_day"] <= 5
    assert group["named"] >= 30
    assert group["queries_before"] < group["queries"]
    assert act["control"] < group["fidelity"] <= group["fidelity_in_the_end"]
    assert act["honest_alarms"] <= 25


def check_prove(act: dict[str, Any]) -> None:
    copied, independent = act["copied"], act["independent"]
    assert (copied["verdict"], independent["verdict"]) == ("proven", "not-proven")
    assert act["is_checked"] is True
    assert copied["p_value"] < 1e-6 < 1e-3 < independent["p_value"]
    assert len(copied["accounts"]) == 1
    assert independent["accounts"] == ()
    assert 0.98 < act["label_unchanged"] < 1.0
    assert act["copy_fidelity"] > 0.85


def check_tune(act: dict[str, Any]) -> None:
    names = [point["name"] for point in act["points"]]
    assert {"as it is", "labels"} <= set(names)
    assert act["chosen"] in names
    assert all(0.5 < point["fidelity"] <= 1.0 for point in act["points"])
    assert sum(act["standings"].values()) == 12


def check_surfaces(act: dict[str, Any]) -> None:
    bare, guarded, journal = act["bare"], act["guarded"], act["journal"]
    assert [*bare] == [*guarded] == ["honest", "leak", "copies"]
    assert guarded["honest"]["label_unchanged"] == bare["honest"]["label_unchanged"] == 1.0
    assert min(bare["honest"]["latency_ms"], guarded["honest"]["latency_ms"]) > 0.0
    assert guarded["leak"]["bits_per_answer"] < bare["leak"]["bits_per_answer"] / 10
    assert guarded["leak"]["distinct_repeats"] == bare["leak"]["distinct_repeats"] == 1
    assert [copy["queries"] for copy in bare["copies"]] == [copy["queries"] for copy in guarded["copies"]]
    assert journal["accounts"] == 21
    assert journal["queries"] == act["honest_queries"] + journal["heaviest_account_queries"]


def check_digits(act: dict[str, Any]) -> None:
    bare, guarded = act["bare"], act["guarded"]
    assert guarded["honest"]["accuracy"] == bare["honest"]["accuracy"] > 0.9
    assert guarded["honest"]["calibration_error"] < 0.1
    for one, other in zip(bare["copies"], guarded["copies"], strict=True):
        assert other["fidelity"] < one["fidelity"]


def check_filetypes(act: dict[str, Any]) -> None:
    bare, guarded = act["bare"], act["guarded"]
    assert act["honest_queries"] == FEW.honest
    assert act["label_kinds"] > 5
    assert act["journal"]["heaviest_account_queries"] == FEW.pool + 20
    assert bare["honest"]["tool_unchanged"] == 1.0
    assert guarded["honest"]["tool_unchanged"] > 0.9
    assert bare["honest"]["score_error"] == 0.0 < guarded["honest"]["score_error"] <= 0.01
    assert bare["leak"]["bits_per_answer"] == 64 * 213
    assert [copy["queries"] for copy in guarded["copies"]] == [*FEW.budgets]
    assert bare["copies"][-1]["fidelity"] > act["majority"]


def test_one_act_as_json_is_the_same_again_but_for_the_times(tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    acts = []
    for _ in range(2):
        done = CliRunner().invoke(cli.cli, ["demo", "--act", "magika", "--json", "--seed", "7"])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["seed"], [*found["acts"]]) == (7, ["magika"])
        for surface in ("bare", "guarded"):
            del found["acts"]["magika"][surface]["honest"]["latency_ms"]
        acts.append(found["acts"])
    assert acts[0] == acts[1]
    assert (tmp_path / "demo" / "report.html").exists()


def test_an_unknown_act_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    message = r"no act 'gaurd' \(did you mean 'guard'\?\); expected one of audit, guard, magika, watch"
    with pytest.raises(ConfigError, match=message):
        demo.run(["gaurd"], seed=0, report_path=tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
