"""The report of a configuration's folder: what a guard, an audit, a watch and the command line left there."""

from __future__ import annotations

import base64
import contextlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.report.test_audit_page import AUDIT
from tests.report.test_tune_page import TUNED
from tests.test_compose_marks import N_FEATURES, begin, served

from counterclone import config
from counterclone.compose import audited, latest, mark_keys
from counterclone.compose.in_place import in_place, versions
from counterclone.compose.latest import Latest
from counterclone.compose.posture import posture
from counterclone.config import Config, History
from counterclone.errors import ConfigError
from counterclone.journal import Exchange, JournalWriter
from counterclone.posture import Facts
from counterclone.randomness import generator
from counterclone.tune import Tuned
from counterclone.watch.cases import CaseFile, Evidence

NOW = 1_764_158_400.0
SETTINGS = """\
[target]
url = "http://127.0.0.1:9000"
training_cost_usd = 1000

[guard]
workers = 1
limit_queries_per_minute = 0
limit_queries_per_day = 5000
limit_total_queries_per_day = 100_000
limit_copy_share_per_day = 0.05

[[guard.policy]]
kind = "rounding"
decimals = 2

[[guard.rule]]
kind = "range"
low = -inf
high = 9

[[guard.tier]]
risk = 1
action = "throttle"
limit_queries_per_minute = 2
[[guard.tier.policy]]
kind = "labels"

[[mark]]
kind = "triggers"
rate = 0.05

[[accounts.class]]
name = "evaluators"
accounts = ["key:cc_live_7f3a", "header:somebody@example.org"]

[watch]
webhook_url = "https://hooks.example.org/a-secret-path"
"""
HOOK = "whsec_" + base64.b64encode(b"0" * 32).decode()


def told(folder: Path) -> Facts:
    return posture(folder / "counterclone.toml", NOW).facts


def write(folder: Path, text: str = "") -> None:
    (folder / "counterclone.toml").write_text(text, encoding="utf-8")


# Everything is there

@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit, a guard's traffic under two configurations, marks and a case."""
    folder = tmp_path_factory.mktemp("lived-in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERCLONE_WEBHOOK_SECRET", HOOK)
        begin(folder, patch, SETTINGS.replace("decimals = 2", "decimals = 3")).close()
        guard = begin(folder, patch, SETTINGS)
        for name, n in (("busy", 700), ("quiet", 40)):
            served(guard, name, generator(1, "posture", name).normal(size=(n, N_FEATURES)))
        guard.close()
    settings = config.load(folder / "counterclone.toml")
    surface = audited.key_of(settings.guard.policy, settings.guard.rule)
    latest.save(folder / latest.AUDIT_FILE, Latest(time=NOW, surface=surface, result=AUDIT))
    cases = CaseFile(folder / "counterclone.cases.jsonl")
    cases.open(["0123456789abcdef"], Evidence(kind="alarm", reasons=("odd",)))
    return folder


def test_everything_that_is_there_is_told(lived_in: Path) -> None:
    found = told(lived_in)
    assert found.problems == ()
    assert (found.file, found.target) == ("counterclone.toml", "http://127.0.0.1:9000")
    assert found.config_digest == config.load(lived_in / "counterclone.toml").digest()
    assert found.audit is not None
    assert (found.audit.target, found.audit.surface) == ("mymodel:predict", "guarded")
    assert found.audit.is_current
    assert [copy.queries for copy in found.audit.copies] == [100, 880]
    assert (found.audit.attacks, found.audit.control) == (("knockoff",), 0.75)
    assert [case.accounts for case in found.cases] == [("0123456789abcdef",)]


def test_what_is_in_place_is_told_in_words(lived_in: Path) -> None:
    found = told(lived_in).in_place
    assert (found.enforces, found.is_open, found.is_watched, found.acts) == (True, True, False, True)
    assert found.policies == ("rounding (decimals = 2)",)
    assert found.rules == ("range (low = -inf, high = 9.0, mode = refuse)",)
    assert found.tiers == ("from risk 1: throttle, 2 queries a minute, labels",)
    assert found.classes == ("evaluators: 2 accounts",)
    assert found.limits == {"limit_queries_per_day": 5000.0}  # the file of copies for limits isn't there
    assert found.total_limits == {"limit_total_queries_per_day": 100_000.0}
    assert found.told == ("a webhook",)
    assert found.journal == "for 90 days, without queries and answers"


def test_the_history_has_each_version_with_what_changed(lived_in: Path) -> None:
    found = told(lived_in)
    assert found.n_versions == 2
    assert [version.changed for version in found.history] == [(), ("[guard] policy",)]
    assert found.history[-1].digest == found.config_digest


def test_the_journal_is_summed_up(lived_in: Path) -> None:
    traffic = told(lived_in).traffic
    assert traffic is not None
    assert (traffic.rows, traffic.answered, traffic.accounts) == (740, 740, 2)
    assert (traffic.decisions, traffic.models) == ({"served": 740}, ("m",))
    assert [each.queries for each in traffic.busiest] == [700, 40]
    assert traffic.busiest[0].copy_share == pytest.approx(700 / 880)
    assert sum(each.bits for each in traffic.busiest) == pytest.approx(traffic.bits)


def test_what_could_be_proven_is_told(lived_in: Path) -> None:
    found = told(lived_in)
    epoch, = found.epochs
    assert (epoch.number, epoch.timestamp, len(epoch.digest)) == (1, None, 64)
    assert epoch.marks[0].startswith("triggers (rate = 0.05")
    outlook, = found.outlook
    assert (outlook.commitment, outlook.kind) == (1, "triggers")
    assert outlook.accounts in (1, 2)  # the key may mark nothing of the quiet one
    assert outlook.rows >= outlook.most > 10
    assert outlook.missing is not None


def test_nothing_secret_is_told(lived_in: Path) -> None:
    text = msgspec.json.encode(posture(lived_in / "counterclone.toml", NOW)).decode()
    root = (lived_in / "counterclone.marks" / "root.key").read_text().strip()
    commitment, = mark_keys.commitments(str(lived_in / "counterclone.toml"))
    for secret in ("a-secret-path", "cc_live_7f3a", "somebody@example.org", "a secret that is long", root,
                   HOOK, "busy", "quiet"):
        assert secret not in text
    assert commitment.digest in text


# Nothing is there

def test_an_empty_folder_is_told_without_an_error(tmp_path: Path) -> None:
    write(tmp_path)
    found = told(tmp_path)
    assert (found.audit, found.chosen, found.traffic) == (None, None, None)
    assert (found.cases, found.epochs, found.outlook) == ((), (), ())
    assert (found.history, found.n_versions, found.problems) == ((), 0, ())
    assert [path.name for path in tmp_path.iterdir()] == ["counterclone.toml"]


def test_marks_without_keys_are_a_problem_that_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, '[[mark]]\nkind = "triggers"\n')
    problem, = told(tmp_path).problems
    assert "there is no mark key; `counterclone keys marks create` makes one" in problem


def test_keys_without_a_ledger_are_a_problem(tmp_path: Path) -> None:
    write(tmp_path, '[[mark]]\nkind = "triggers"\n')
    file = str(tmp_path / "counterclone.toml")
    mark_keys.create(file)
    mark_keys.commit(file)
    found = told(tmp_path)
    assert len(found.epochs) == 1
    assert "there is no ledger" in found.problems[0]


# Something is wrong

@pytest.mark.parametrize(("name", "content", "problem"), [
    ("counterclone.last-audit.json", b"nonsense", "expected what the verb wrote"),
    ("counterclone.last-tune.json", b"{}", "expected what the verb wrote"),
    ("counterclone.audit.json", b"nonsense", "expected what `counterclone audit` wrote"),
    ("counterclone.cases.jsonl", b"nonsense\n", "cases: line 1: "),
    ("journal/date=2025-11-26/hour=12/w-000001.parquet", b"nonsense", "left out"),
])
def test_what_cannot_be_read_is_a_problem_and_the_rest_is_told(tmp_path: Path, name: str, content: bytes,
                                                               problem: str) -> None:
    write(tmp_path, "[guard]\nlimit_queries_per_day = 10")
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = told(tmp_path)
    assert len(found.problems) == 1
    assert problem in found.problems[0]
    assert found.in_place.limits["limit_queries_per_day"] == 10.0


def test_a_changed_ledger_is_a_problem(lived_in: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(lived_in, folder)
    log = folder / "ledger" / "0000" / "log"
    content = bytearray(log.read_bytes())
    content[200] ^= 1
    log.write_bytes(content)
    found = told(folder)
    assert found.outlook == ()
    assert "was changed after it was written" in found.problems[0]
    assert found.traffic is not None


def test_a_file_with_mistakes_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, '[guard]\nlimit_querys_per_day = 1')
    with pytest.raises(ConfigError, match="limit_queries_per_day"):
        told(tmp_path)


def test_an_audit_of_other_policies_is_stale(tmp_path: Path) -> None:
    write(tmp_path)
    latest.save(tmp_path / latest.AUDIT_FILE, Latest(time=NOW, surface=audited.key_of([], []), result=AUDIT))
    first = told(tmp_path).audit
    write(tmp_path, '[[guard.policy]]\nkind = "labels"')
    second = told(tmp_path).audit
    assert first is not None
    assert second is not None
    assert (first.is_current, second.is_current) == (True, False)


@pytest.mark.parametrize(("decimals", "tuned", "name", "is_in_place"), [
    (1, TUNED, "rounding 1", True), (2, TUNED, "rounding 1", False),
    (1, msgspec.structs.replace(TUNED, chosen=None, reason="nothing is within the limits"), "", False)])
def test_what_the_last_sweep_chose_is_told(tmp_path: Path, decimals: int, tuned: Tuned, name: str,
                                           is_in_place: bool) -> None:
    write(tmp_path, f'[[guard.policy]]\nkind = "rounding"\ndecimals = {decimals}')
    latest.save(tmp_path / latest.TUNE_FILE, Latest(time=NOW, result=tuned))
    found = told(tmp_path).chosen
    assert found is not None
    assert (found.name, found.reason, found.is_in_place) == (name, tuned.reason, is_in_place)


@pytest.mark.parametrize(("name", "shown"), [
    ("http://me:secret@10.0.0.7:9000/v1?key=secret#x", "http://10.0.0.7:9000/v1"),
    ("mymodel:predict", "mymodel:predict"), ("http://[::1", "")])
def test_credentials_in_an_audited_address_are_left_out(tmp_path: Path, name: str, shown: str) -> None:
    write(tmp_path)
    audit = msgspec.structs.replace(AUDIT, target=name)
    latest.save(tmp_path / latest.AUDIT_FILE, Latest(time=NOW, result=audit))
    found = told(tmp_path).audit
    assert found is not None
    assert found.target == shown


# Settings, their history, and the journal, by themselves

def settings(**tables: Any) -> Config:
    return config.parse(tables, {}, "")


def test_limits_are_those_of_all_workers(tmp_path: Path) -> None:
    write(tmp_path)
    shared = settings(guard={"workers": 4, "limit_queries_per_day": 100})
    found = in_place(shared, tmp_path / "counterclone.toml", {})
    assert found.limits["limit_queries_per_day"] == 100.0


def test_others_that_may_write_the_file_are_seen(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "counterclone.toml"
    for mode, expected in ((0o644, False), (0o664, True), (0o646, True)):
        path.chmod(mode)
        assert in_place(Config(), path, {}).is_writable_by_others is expected


def test_honest_traffic_that_is_not_there_watches_nobody(tmp_path: Path) -> None:
    write(tmp_path)
    path, watched = tmp_path / "counterclone.toml", settings(watch={"benign": "benign.jsonl"})
    assert not in_place(watched, path, {}).is_watched
    (tmp_path / "benign.jsonl").touch()
    assert in_place(watched, path, {}).is_watched
    assert not in_place(settings(watch={"benign": "benign.jsonl"}, journal={"path": ""}), path, {}).is_watched


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    write(tmp_path)
    rule = {"kind": "range", "low": [0.0] * 784, "high": 1.0}
    text, = in_place(settings(guard={"rule": [rule]}), tmp_path / "counterclone.toml", {}).rules
    assert len(text) < 120
    assert "…" in text


@pytest.mark.parametrize(("source", "words"), [
    ({}, "Any bearer key"), ({"api_keys": "listed"}, "Keys that were handed out"),
    ({"source": "header"}, "A trusted proxy's header"), ({"source": "jwt"}, "Signed tokens"),
    ({"source": "jwt", "terms": "2026-03"}, "they accept the terms '2026-03' by calling")])
def test_callers_are_told_in_words(tmp_path: Path, source: dict[str, str], words: str) -> None:
    write(tmp_path)
    assert words in in_place(settings(accounts=source), tmp_path / "counterclone.toml", {}).callers


def test_a_version_counts_once_for_all_workers_and_starts(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    one, two = settings(), settings(guard={"enforce": False}, journal={"retention_days": 7})
    for worker, (which, time) in enumerate([(one, 1.0), (one, 1.5), (two, 2.0), (two, 3.0), (one, 4.0)]):
        History(path, worker=worker).begin(which, time)
    with path.open("a") as file:
        file.write('{"time": 5.0, "event": "live"}\nnonsense\n')
    found, n = versions(path)
    assert [(version.since, version.digest) for version in found] == [
        (1.0, one.digest()), (2.0, two.digest()), (4.0, one.digest()), (5.0, "")]
    assert n == 4
    assert found[1].changed == ("[guard] enforce", "[journal] retention_days")


def test_only_the_last_versions_are_told_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for number in range(25):
        History(path, worker=0).begin(settings(guard={"limit_queries_per_day": number}), float(number))
    found, n = versions(path)
    assert (len(found), found[-1].since, n) == (20, 24.0, 25)


def test_repeats_and_refusals_are_no_answers_to_copy(tmp_path: Path) -> None:
    write(tmp_path)
    requests = ([1, 2, 2], "served", 200), ([3], "limited", 429), ([0], "unauthenticated", 401)
    with contextlib.closing(JournalWriter(tmp_path / "journal", "w")) as journal:
        for digests, decision, status in requests:
            journal.append(Exchange(
                time=NOW, account="a" * 16 if status != 401 else "", account_class="", dialect="oip", model="<b>",
                decision=decision, status=status, digests=digests, labels=[0] * len(digests),
                margins=[0.5] * len(digests), n_classes=2, bits=2.0))
    found = told(tmp_path).traffic
    assert found is not None
    assert (found.rows, found.answered, found.accounts, found.bits) == (5, 3, 1, 6.0)
    assert found.decisions == {"served": 3, "limited": 1, "unauthenticated": 1}
    busy, = found.busiest
    assert (busy.queries, busy.copy_share) == (2, None)
