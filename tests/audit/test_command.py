from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from counterclone import cli, compose, config
from counterclone.audit import Audit
from counterclone.budgets import DAY
from counterclone.compose import audited, latest
from counterclone.compose.audited import AUDIT_FILE, Copied
from counterclone.errors import ConfigError
from counterclone.journal import read_lines

if TYPE_CHECKING:
    from tests.audit.conftest import World

MODEL = """\
import numpy as np

WEIGHTS = np.array([[3.0, 0.0], [-2.0, 2.0], [0.0, -3.0]])


def predict(inputs):
    powers = np.exp(inputs @ WEIGHTS.T)
    return powers / powers.sum(axis=1, keepdims=True)


class Model:
    def predict_proba(self, inputs):
        return predict(inputs)


def logits(inputs):
    return inputs @ WEIGHTS.T


def encode(inputs):
    return np.tanh(inputs @ WEIGHTS.T)


def broken(inputs):
    return predict(inputs)[:, 0]


def failing(inputs):
    raise KeyError("by hand")


model, number = Model(), 3
"""
SETTINGS = """\
[target]
price_usd_per_1000_queries = 2
training_cost_usd = 1000

[guard]
limit_queries_per_day = 10
limit_copy_share_per_day = 0.1

[[guard.policy]]
kind = "rounding"
decimals = 1
"""


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World, by_heart: str) -> Iterator[None]:
    """A folder with a model and its owner's inputs, and an attack that learns by heart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)
    Path("mymodel.py").write_text(MODEL)
    np.save("pool.npy", world.pool)
    np.save("eval.npy", world.evaluate)
    yield
    sys.modules.pop("mymodel", None)


def run(*arguments: str, target: str | None = "mymodel:predict", inputs: bool = True) -> Result:
    return CliRunner().invoke(cli.cli, [
        "audit", *(["--target", target] if target else []),
        *(["--pool", "pool.npy", "--eval", "eval.npy"] if inputs else []), "--attack", "by_heart",
        "--budgets", "20,150", *arguments], prog_name="counterclone")


def result(*arguments: str, **options: Any) -> Any:
    """The one JSON object of an audit that is fine."""
    found = run(*arguments, "--json", **options)
    assert found.exit_code == 0, found.stderr
    assert found.stdout.count("\n") == 1
    return json.loads(found.stdout)


def failure(*arguments: str, code: int = 2, **options: Any) -> str:
    """The line of an audit that ends with an error."""
    found = run(*arguments, **options)
    assert (found.exit_code, found.stdout) == (code, ""), found.stderr
    assert "Traceback" not in found.stderr
    return found.stderr.splitlines()[-1]


# What it tells

def test_a_callable_is_audited_without_a_configuration() -> None:
    found = result("--seed", "4", "--seeds", "2", "--authorized-by", "the owner")
    assert (found["target"], found["seed"], found["authorized_by"], found["config_digest"]) == (
        "mymodel:predict", 4, "the owner", "")
    assert [(trial["attack"], trial["surface"], trial["queries"], trial["seed"]) for trial in found["trials"]] == [
        ("by_heart", "full", 20, 4), ("by_heart", "full", 20, 5),
        ("by_heart", "full", 150, 4), ("by_heart", "full", 150, 5)]
    assert not Path(AUDIT_FILE).exists()
    assert not Path(latest.AUDIT_FILE).exists()


def test_progress_goes_to_standard_error() -> None:
    found = run()
    assert found.exit_code == 0
    assert "1/2 by_heart on full, 20 queries: fidelity " in found.stderr
    assert "1/2" not in found.stdout
    for text in ("What a copy of mymodel:predict costs", "Agreement with the target through 'full', by queries",
                 "findings", "Control: the most frequent label alone agrees on"):
        assert text in found.stdout


def test_a_page_and_a_trace_are_written() -> None:
    result("--report", "new/page.html", "--trace", "new/trace.jsonl")
    page = Path("new/page.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "What a copy of mymodel:predict costs" in page
    assert sum(line.n_rows for line in read_lines("new/trace.jsonl")) == 3 * 170


def test_answers_are_kept_where_it_is_asked_for() -> None:
    first = result("--resume", "kept")
    assert len(list(Path("kept").iterdir())) == 1
    second = result("--resume", "kept")
    assert second["queries_asked"] < first["queries_asked"]


@pytest.mark.parametrize(("arguments", "said"), [
    (["--fail-over-fidelity", "0.5"], "counterclone: a copy agrees on 9"),
    (["--fail-under-usd", "10"], "counterclone: a 90 % copy costs $0.00, less than $10.00"),
])
def test_a_finding_over_a_stated_limit_is_one(arguments: list[str], said: str) -> None:
    found = run(*arguments, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["trials"]
    assert found.stderr.splitlines()[-1].startswith(said)
    assert run("--fail-over-fidelity", "1.0").exit_code == 0


@pytest.mark.parametrize("target", ["mymodel:model", "mymodel:model.predict_proba"])
def test_a_model_object_is_asked_for_its_probabilities(target: str) -> None:
    assert result(target=target)["trials"][0]["fidelity"] == result()["trials"][0]["fidelity"]


def test_a_callable_may_return_logits() -> None:
    found = result("--returns", "logits", target="mymodel:logits")
    assert found["surfaces"][0]["shows"] == ["labels", "logits", "scores"]


def test_labels_come_from_a_column(world: World) -> None:
    for name, inputs in (("pool", world.pool), ("eval", world.evaluate)):
        rows = "\n".join(f"{a},{label},{b}" for (a, b), label in zip(
            inputs.tolist(), world.labels(inputs).tolist(), strict=True))
        Path(f"{name}.csv").write_text(f"a,kind,b\n{rows}\n")
    found = result("--pool", "pool.csv", "--eval", "eval.csv", "--label", "kind", inputs=False)
    assert found["trials"][0]["accuracy"] == found["trials"][0]["fidelity"]
    assert found["control"]["student"] == "knockoff"
    assert found["control"]["accuracy"] == found["control"]["fidelity"] > 0.5


def test_a_pool_of_other_data_is_told() -> None:
    assert result("--pool-kind", "out-of-domain")["trials"][0]["pool"] == "out-of-domain"


# Mistakes

@pytest.mark.parametrize(("arguments", "options", "message"), [
    ([], {"target": None}, "there is no target; name a callable with --target pkg.mod:function, or an API with"),
    ([], {"target": "mymodel"}, "--target mymodel: expected pkg.mod:function, or a URL"),
    ([], {"target": "nomodel:predict"}, "nomodel can't be imported (ModuleNotFoundError: No module named "),
    ([], {"target": "mymodel:predikt"}, "there is no 'predikt' in mymodel"),
    ([], {"target": "mymodel:number"}, "is a int; expected a function"),
    (["--ids", "mymodel"], {}, "--ids mymodel: expected pkg.mod:function"),
    (["--ids", "mymodel:leafs"], {}, "--ids mymodel:leafs: there is no 'leafs' in mymodel"),
    (["--ids", "mymodel:number"], {}, "is a int; expected a function that takes a batch and returns a whole"),
    (["--ids", "mymodel:predict"], {}, "the target's ids have shape"),
    (["--ids", "mymodel:predict"], {"target": "http://127.0.0.1:9/predict"}, "the target is a URL"),
    ([], {"target": "mymodel:broken"}, "which are labels or one class's scores"),
    ([], {"target": "mymodel:failing"}, "the target raised KeyError: 'by hand'"),
    ([], {"target": "mymodel:logits"}, "say so where they are logits"),
    (["--pool", "missing.npy"], {}, "missing.npy: not found"),
    (["--surface", "labls"], {}, "there is no surface 'labls' (did you mean 'labels'?)"),
    (["--attack", "by_hart"], {}, "there is no 'by_hart' among the attacks (did you mean 'by_heart'?)"),
    (["--config", "missing.toml"], {}, "missing.toml: No such file or directory"),
    ([], {"inputs": False}, "pool and evaluate are both missing"),
], ids=lambda value: str(value)[:30])
def test_a_mistake_is_a_line(arguments: list[str], options: Any, message: str) -> None:
    said = failure(*arguments, **options)
    assert message in said
    assert said.startswith("counterclone: ")
    assert failure(*arguments, "--json", **options) == said


@pytest.mark.parametrize(("budgets", "is_good"), [
    ("65,130,1000", True), ("65", True), ("1_000", True), (" 65 , 130 ", True), ("", False), ("65,", False),
    ("0", False), ("-5", False), ("1e3", False), ("a", False)])
def test_budgets_are_numbers(budgets: str, is_good: bool) -> None:
    if is_good:
        assert result("--seeds", "1", "--budgets", budgets)["trials"]
    else:
        assert "isn't a list of numbers of queries such as 65,130,1000" in failure("--budgets", budgets)


def test_an_api_that_nobody_answers_is_three() -> None:
    said = failure(target="http://127.0.0.1:9/predict", code=3)
    assert said.startswith("counterclone: http://127.0.0.1:9/predict: ")


def test_another_host_is_refused() -> None:
    said = failure(target="http://192.0.2.1/predict")
    assert said.endswith("so its owner must allow the audit; name who does in [target] authorized_by, or with "
                         "--authorized-by")


# The configuration

def test_the_model_is_seen_through_the_configured_policies() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    found = result("--surface", "full", "--surface", "clipped")
    assert found["config_digest"] == config.load(Path("counterclone.toml")).digest()
    assert [each["name"] for each in found["surfaces"]] == ["guarded", "full", "clipped"]
    assert found["surfaces"][0]["decimals"] == 1
    assert found["trials"][0]["usd"] == pytest.approx(0.04)
    copy = next(each for each in found["cheapest"] if each["fidelity"] == 0.9)
    assert (copy["surface"], copy["usd"]) == ("guarded", pytest.approx(copy["queries"] * 0.002, abs=0.002))
    assert copy["days"] == pytest.approx((copy["queries"] - 10) / 10)
    assert found["training_cost_usd"] == 1000


def test_the_guard_takes_its_limit_from_the_audit(caplog: pytest.LogCaptureFixture) -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    settings = config.load(Path("counterclone.toml"))
    assert "limit_copy_share_per_day" not in {limit.name for limit in compose.terms(settings)[""].limits}
    found = result()
    copy = next(each for each in found["cheapest"] if each["fidelity"] == 0.9)
    copies = audited.load(Path())
    limit, = [limit for limit in compose.terms(settings, copies)[""].limits
              if limit.name == "limit_copy_share_per_day"]
    assert (limit.unit, limit.period_seconds) == ("queries", DAY)
    assert limit.amount == pytest.approx(0.1 * copy["queries"])
    again = result()
    days = next(each for each in again["cheapest"] if each["fidelity"] == 0.9)["days"]
    assert days == pytest.approx((copy["queries"] - limit.amount) / limit.amount)


def test_the_last_audit_is_kept_whole_for_reports() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    found = result()
    kept = latest.load(Path(latest.AUDIT_FILE), Audit)
    assert kept is not None
    assert json.loads(kept.result.to_json()) == found
    assert [kept.surface] == list(audited.load(Path()))
    assert kept.time == pytest.approx(time.time(), abs=60)


def test_a_copy_that_was_not_reached_counts_from_what_was_tried() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    result("--budgets", "2,3")
    copied, = audited.load(Path()).values()
    assert copied == Copied("guarded", 3, False, "", "mymodel:predict")


def test_surfaces_that_no_guard_makes_are_not_kept() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    result("--surface", "full", "--surface", "float32", "--surface", "clipped", "--surface", "labels")
    assert {copied.surface for copied in audited.load(Path()).values()} == {"guarded", "full", "labels"}


def test_a_guarded_api_on_this_machine_is_audited_as_it_answers() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    failure(target="http://127.0.0.1:9/predict", code=3)
    assert not Path(AUDIT_FILE).exists()


@pytest.mark.parametrize(("guard", "route"), [
    ("", "http://127.0.0.1:9/base"), ('paths = ["/v1/models/m:predict"]', "http://127.0.0.1:9/base/v1/models/m:predict"),
    ('paths = ["/v1/*"]', "http://127.0.0.1:9/base"), ('paths = ["/a", "/b"]', "http://127.0.0.1:9/base"),
])
def test_the_configured_url_is_asked_at_the_guarded_path(guard: str, route: str) -> None:
    Path("counterclone.toml").write_text(f'[target]\nurl = "http://127.0.0.1:9/base"\n[guard]\n{guard}')
    assert failure(target=None, code=3).startswith(f"counterclone: {route}: ")


# What is kept beside the configuration

CLASSES = """
[[accounts.class]]
name = "open"
accounts = ["key:a"]
policies = "none"

[[accounts.class]]
name = "free"
accounts = ["key:b"]
limit_copy_share_per_day = 0

[[accounts.class]]
name = "own"
accounts = ["key:c"]
policies = [{ kind = "labels" }]
"""


def amounts(text: str, copies: Any) -> dict[str, float]:
    """The limit by account class, in the classes that have one."""
    Path("counterclone.toml").write_text(text)
    return {name: limit.amount
            for name, terms in compose.terms(config.load(Path("counterclone.toml"), {}), copies).items()
            for limit in terms.limits if limit.name == "limit_copy_share_per_day"}


def copied(queries: int) -> Copied:
    return Copied("x", queries, True, "a", "m")


def test_each_class_is_limited_by_the_audit_of_its_own_policies() -> None:
    rounded = audited.key_of([{"kind": "rounding", "decimals": 1}], [])
    copies = {rounded: copied(1000), audited.key_of([], []): copied(200)}
    assert amounts(SETTINGS + CLASSES, copies) == {"": 100.0, "open": 20.0}
    copies[audited.key_of([{"kind": "labels"}], [])] = copied(5000)
    assert amounts(SETTINGS + CLASSES, copies) == {"": 100.0, "open": 20.0, "own": 500.0}
    assert amounts(SETTINGS.replace("limit_copy_share_per_day = 0.1", ""), copies) == {}
    ruled = SETTINGS + '[[guard.rule]]\nkind = "snap"\nstep = 0.5\n'
    assert amounts(ruled, copies) == {}


def test_workers_share_the_limit_and_it_admits_a_query() -> None:
    copies = {audited.key_of([{"kind": "rounding", "decimals": 1}], []): copied(1000)}
    assert amounts(SETTINGS.replace("[guard]", "[guard]\nworkers = 4"), copies) == {"": 25.0}
    few = {key: copied(3) for key in copies}
    assert amounts(SETTINGS, few) == {"": 1.0}


def test_a_surface_is_known_however_it_is_written() -> None:
    one = audited.key_of([{"kind": "noise", "scale": 1}], [{"kind": "range", "low": 0, "high": 1}])
    other = audited.key_of([{"scale": 1.0, "kind": "noise", "keep_order": 1}],
                           [{"kind": "range", "low": 0.0, "high": 1.0, "mode": "refuse"}])
    assert one == other != audited.key_of([{"kind": "noise", "scale": 2}], [])
    two: list[dict[str, Any]] = [{"kind": "labels"}, {"kind": "rounding", "decimals": 1}]
    assert audited.key_of(two, []) != audited.key_of(two[::-1], [])


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"a": 3}'], ids=str)
def test_a_file_of_audits_with_mistakes_is_told(content: str) -> None:
    Path(AUDIT_FILE).write_text(content)
    with pytest.raises(ConfigError, match="expected what `counterclone audit` wrote"):
        audited.load(Path())


def test_what_was_known_of_other_surfaces_stays() -> None:
    Path("counterclone.toml").write_text(SETTINGS)
    result()
    Path("counterclone.toml").write_text(SETTINGS.replace("decimals = 1", "decimals = 2"))
    result()
    assert len(audited.load(Path())) == 2
    assert [path.name for path in Path().iterdir() if AUDIT_FILE in path.name] == [AUDIT_FILE]


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("counterclone.toml").write_text(SETTINGS)

    def refuse(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("counterclone.compose.audited.os.replace", refuse)
    assert failure().endswith("counterclone.audit.json: Permission denied; let the audit write there, which "
                              "limit_copy_share_per_day reads")


# Language models and encoders

@pytest.mark.parametrize("by_file", [False, True], ids=["option", "file"])
def test_an_encoder_is_audited_by_its_task(by_file: bool) -> None:
    if by_file:
        Path("counterclone.toml").write_text(SETTINGS.replace("[target]", '[target]\ntask = "encoder"'))
    task = [] if by_file else ["--task", "encoder"]
    found = result("--attack", "encoder_stealing", *task, target="mymodel:encode")
    assert {trial["attack"] for trial in found["trials"]} == {"encoder_stealing"}
    assert [each["attack"] for each in found["skipped"]] == ["by_heart"]
    assert found["control"]["student"] == "inputs"
    assert found["trials"][0]["fidelity"] > found["control"]["fidelity"]
    assert found["trials"][0]["kl"] is None


@pytest.mark.parametrize(("arguments", "message"), [
    (["--task", "encoder", "--surface", "labels"], "--surface: is for classifiers"),
    (["--task", "llm"], "expected texts, which a language model takes"),
    (["--task", "encoder", "--target", "http://127.0.0.1:9/v2"], "audits callables; name one with --target"),
], ids=["surface", "numbers", "url"])
def test_what_does_not_fit_a_task_is_a_line(arguments: list[str], message: str) -> None:
    assert message in failure(*arguments, target=None if "--target" in arguments else "mymodel:encode")
