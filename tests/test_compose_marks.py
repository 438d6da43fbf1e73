"""Marks end to end in process: a copy gives itself away, an independent model doesn't."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from tests.prove import authority
from tests.prove.test_timestamps import waited_for

from counterclone import Guard
from counterclone.answers import Reply
from counterclone.compose import dossier, mark_keys
from counterclone.compose.prove import Options, prove
from counterclone.errors import ConfigError
from counterclone.evidence import Evidence, Role, Served
from counterclone.guard import asgi
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case, Examination
from counterclone.prove import bundle, reading, timestamps
from counterclone.prove import opened as records
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody, mark_key, order_key
from counterclone.queries import Features
from counterclone.randomness import generator

N, N_FEATURES, N_CLASSES = 1500, 8, 5
WEIGHTS = generator(0, "weights").normal(size=(N_FEATURES, N_CLASSES))
SETTINGS = """\
[guard]
limit_queries_per_minute = 0

[[mark]]
kind = "triggers"
rate = 0.02

[[accounts.class]]
name = "never"
accounts = ["key:careful"]
marks = false
"""

Labels = NDArray[np.int64]


async def model(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    content, is_more = b"", True
    while is_more:
        message = await receive()
        content += message.get("body", b"")
        is_more = message.get("more_body", False)
    odds = np.exp(np.array(orjson.loads(content)["instances"]) @ WEIGHTS)
    rows = odds / odds.sum(axis=1, keepdims=True)
    answer = orjson.dumps({"predictions": [{"label": int(row.argmax()), "p": row.tolist()} for row in rows]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


def truth(asked: Features) -> Labels:
    labels: Labels = (asked @ WEIGHTS).argmax(axis=1).astype(np.int64)
    return labels


def served(guard: Guard, key: str, asked: Features) -> Labels:
    """The labels that an account gets, which the probabilities must agree with."""

    async def ask() -> list[int]:
        labels: list[int] = []
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            for start in range(0, len(asked), 100):
                answer = await client.post("/v1/models/m:predict", headers={"authorization": f"Bearer {key}"},
                                           json={"instances": asked[start:start + 100].tolist()})
                for row in answer.raise_for_status().json()["predictions"]:
                    assert row["label"] == int(np.argmax(row["p"]))
                    labels.append(row["label"])
        return labels

    return np.array(asyncio.run(ask()), dtype=np.int64)


def opened(folder: Path) -> tuple[Custody, Commitment, Served]:
    keys = Custody.load(folder / "counterclone.marks")
    commitment = Chain(folder / "counterclone.marks", keys).all()[-1]
    parts = reading.parts(folder / "ledger", keys)
    rows = reading.served_under(parts, commitment.number)
    return keys, commitment, records.served(records.by_query(rows, "triggers"))


def examined(examination: Examination, suspect: Any) -> Evidence:
    asked = next(examination)
    while True:
        try:
            asked = examination.send(Reply(np.asarray(suspect.predict_proba(asked))))
        except StopIteration as stop:
            evidence: Evidence = stop.value
            return evidence


def begin(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str = SETTINGS,
          app: asgi.App = model) -> Guard:
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret that is long enough for this")
    (folder / "counterclone.toml").write_text(settings, encoding="utf-8")
    return Guard(app, folder / "counterclone.toml", registry=CollectorRegistry())


def test_a_copy_is_proven_and_an_independent_model_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import RandomForestClassifier

    guard = begin(tmp_path, monkeypatch)
    asked = [generator(1, "asked", name).normal(size=(N, N_FEATURES)) for name in ("copier", "honest")]
    answers = [served(guard, key, inputs) for key, inputs in zip(("copier", "honest"), asked, strict=True)]
    guard.close()
    n_changed = sum(int((labels != truth(inputs)).sum()) for labels, inputs in zip(answers, asked, strict=True))

    keys, commitment, rows = opened(tmp_path)
    assert n_changed == int((rows.roles == Role.MARKED).sum()) > 30
    assert (rows.truths == truth(np.asarray(rows.inputs))).all()
    epoch_key = keys.epoch_key(commitment.number)
    case = Case(served=rows, key=mark_key(epoch_key, "triggers"), order=order_key(epoch_key), budget=10_000)

    def verdict(inputs: Features, labels: Labels) -> Evidence:
        forest = RandomForestClassifier(30, random_state=0).fit(inputs, labels)
        return examined(Triggers(rate=0.02).verify(case), forest)

    copied, independent = verdict(asked[0], answers[0]), verdict(asked[0], truth(asked[0]))
    p_values = {account.account: account.p_value for account in copied.accounts}
    assert min(p_values.values()) < 1e-9 < 1e-2 < max(p_values.values())
    assert copied.p_decoy == pytest.approx(0.001)
    assert independent.p_value > 0.01
    assert all(account.p_value > 0.01 for account in independent.accounts)


async def binary_model(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """The same by the Open Inference Protocol: labels and scores as binary tensors behind the JSON."""
    content, is_more = b"", True
    while is_more:
        message = await receive()
        content += message.get("body", b"")
        is_more = message.get("more_body", False)
    asked = np.array(orjson.loads(content)["inputs"][0]["data"]).reshape(-1, N_FEATURES)
    odds = np.exp(asked @ WEIGHTS)
    tensors = [("label", "INT64", truth(asked)), ("scores", "FP64", odds / odds.sum(axis=1, keepdims=True))]
    head = orjson.dumps({"model_name": "m", "outputs": [
        {"name": name, "datatype": datatype, "shape": values.shape,
         "parameters": {"binary_data_size": values.nbytes}} for name, datatype, values in tensors]})
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/octet-stream"), (b"inference-header-content-length", b"%d" % len(head))]})
    await send({"type": "http.response.body", "body": head + b"".join(each.tobytes() for _, _, each in tensors)})


def test_binary_labels_follow_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch, app=binary_model)
    asked = generator(3, "asked").normal(size=(N, N_FEATURES))
    tensor = {"name": "x", "datatype": "FP64", "shape": asked.shape, "data": asked.ravel().tolist()}

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://model") as client:
            return await client.post("/v2/models/m/infer", json={"inputs": [tensor]})

    answer = asyncio.run(ask()).raise_for_status()
    guard.close()
    tail = answer.content[int(answer.headers["inference-header-content-length"]):]
    labels = np.frombuffer(tail[:8 * len(asked)], dtype="<i8")
    scores = np.frombuffer(tail[8 * len(asked):], dtype="<f8").reshape(len(asked), N_CLASSES)
    assert (labels == scores.argmax(axis=1)).all()
    assert (labels != truth(asked)).any()


def test_a_class_without_marks_gets_the_models_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch, SETTINGS.replace('"key:careful"', '"account:0123456789abcdef"'))
    asked = generator(2, "asked").normal(size=(N, N_FEATURES))  # of few the key may draw none
    assert (served(guard, "anybody", asked) != truth(asked)).any()
    terms = guard._options.terms["never"]
    guard.close()
    assert not terms.is_marked


def test_shadow_mode_marks_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch, SETTINGS.replace("[guard]\n", "[guard]\nenforce = false\n"))
    asked = generator(2, "asked").normal(size=(N, N_FEATURES))
    assert (served(guard, "anybody", asked) == truth(asked)).all()
    guard.close()
    assert not (tmp_path / "ledger").exists()


def test_without_a_ledger_answers_leave_unmarked_and_it_is_said(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    asked = generator(2, "asked").normal(size=(N, N_FEATURES))
    marker = guard._marker
    assert marker is not None
    marker.close()  # as where the disk is full, nothing more is taken
    assert (served(guard, "anybody", asked) == truth(asked)).all()
    assert marker.marking.counts.unwritten > 0 == marker.marking.counts.marked
    assert any("answers go out unmarked" in trouble for trouble in guard.troubles())
    guard.close()


@pytest.mark.parametrize("n_times", [1, 2])
def test_other_marks_are_another_commitment(n_times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = ("0.02", "0.01")[:n_times]
    for rate in (*rates, rates[-1]):
        begin(tmp_path, monkeypatch, SETTINGS.replace("0.02", rate)).close()
    keys = Custody.load(tmp_path / "counterclone.marks")
    chain = Chain(tmp_path / "counterclone.marks", keys).all()
    assert [each.statement.terms.marks[0]["rate"] for each in chain] == [float(rate) for rate in rates]


@pytest.mark.parametrize(("settings", "message"), [
    (SETTINGS + '\n[[mark]]\nkind = "triggers"\n', "a row carries one mark"),
    (SETTINGS.replace("0.02", "0.2"), "rate"),
    (SETTINGS + '\n[prove]\nkeys = ""\n', "keys"),
])
def test_marks_that_cannot_be(settings: str, message: str, tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=message):
        begin(tmp_path, monkeypatch, settings)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counterclone.marks").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match="mark keys and commitments can't be kept there"):
        begin(tmp_path, monkeypatch)


def test_nothing_that_is_served_tells_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path, monkeypatch).close()
    keys = Custody.load(tmp_path / "counterclone.marks")
    public = b"".join(path.read_bytes() for path in (tmp_path / "counterclone.marks" / "commitments").iterdir())
    files = ("root.key", "signing.key")
    secrets = [(tmp_path / "counterclone.marks" / name).read_text().strip() for name in files]
    for secret in (*secrets, keys.epoch_key(1).hex()):
        assert secret.encode() not in public
        assert secret not in repr(keys)
    assert all(os.stat(tmp_path / "counterclone.marks" / name).st_mode & 0o077 == 0 for name in files)


# The verb

SUSPECTS = """\
import numpy as np
from sklearn.ensemble import RandomForestClassifier

data = np.load("answers.npz")
copy = RandomForestClassifier(30, random_state=0).fit(data["asked"], data["served"])
own = RandomForestClassifier(30, random_state=0).fit(data["asked"], data["truth"])
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of a copier's and an honest account's answers, and two suspects."""
    folder = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        guard = begin(folder, patch)
        asked = [generator(1, "asked", name).normal(size=(N, N_FEATURES)) for name in ("copier", "honest")]
        answers, _ = [served(guard, key, inputs) for key, inputs in zip(("copier", "honest"), asked, strict=True)]
        guard.close()
    np.savez(folder / "answers.npz", asked=asked[0], served=answers, truth=truth(asked[0]))
    (folder / "suspects.py").write_text(SUSPECTS, encoding="utf-8")
    return folder


def proved(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, result and messages of `counterclone prove` in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "counterclone", "prove", *arguments, "--json"], cwd=folder,
                          capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return done.returncode, orjson.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


def test_the_verb_proves_a_copy_and_names_the_account(scene: Path) -> None:
    code, verdict, _ = proved(scene, "suspects:copy")
    assert (code, verdict["verdict"]) == (1, "proven")
    assert verdict["p_value"] < 1e-6
    assert verdict["p_decoy"] == pytest.approx(0.001)
    account, = verdict["accounts"]
    assert account["p_adjusted"] == verdict["p_value"]
    assert f"trained on answers served to account {account['account']}" in verdict["finding"]
    assert {"verdict", "p_value", "p_decoy", "e_value", "queries", "power", "accounts", "marks",
            "dossier"} <= verdict.keys()
    assert verdict["marks"][0]["kind"] == "triggers"

    code, alone, _ = proved(scene, "suspects:copy", "--account", account["account"])
    assert code == 1
    assert alone["queries"] < verdict["queries"]
    code, early, _ = proved(scene, "suspects:copy", "--account", account["account"], "--stop-early")
    assert code == 1
    assert early["queries"] < alone["queries"]
    assert early["p_value"] == pytest.approx(1.0 / early["e_value"])


def test_an_independent_model_is_not_proven_and_not_acquitted(scene: Path) -> None:
    code, verdict, _ = proved(scene, "suspects:own")
    assert (code, verdict["verdict"], verdict["accounts"]) == (0, "not-proven", [])
    assert "no acquittal" in verdict["finding"]
    assert verdict["power"] > 0.5


def test_the_evidence_is_handed_over_and_computed_again(scene: Path) -> None:
    code, verdict, _ = proved(scene, "suspects:copy", "--dossier", "copy.zip", "--with-log")
    assert (code, verdict["dossier"]) == (1, "copy.zip")
    command = [sys.executable, "-m", "counterclone", "verify", "copy.zip"]
    done = subprocess.run([*command, "--json"], cwd=scene, capture_output=True, check=False)
    found = orjson.loads(done.stdout)
    assert (done.returncode, found["holds"], found["commitment"]) == (0, True, "enclosed")
    assert found["verdict"] == verdict
    (scene / "copy.zip").write_bytes((scene / "copy.zip").read_bytes()[:-5])
    cut = subprocess.run(command, cwd=scene, capture_output=True, check=False, text=True)
    assert cut.returncode == 1
    assert "copy.zip" in cut.stderr
    assert "get it again" in cut.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (("http://127.0.0.1:9/v1/models/m:predict",), "--basis: say on what ground"),
    (("suspects:nobody",), "there is no 'nobody'"),
    (("suspects:copy", "--commitment", "7"), "nothing marked was served under commitment 7"),
    (("suspects:copy", "--account", "0" * 16), "nothing marked was served to 0000000000000000"),
    (("suspects:copy", "--campaign", "one"), "--campaign one: expected two accounts or more"),
])
def test_what_cannot_be_proven_is_said(arguments: tuple[str, ...], message: str, scene: Path) -> None:
    code, verdict, said = proved(scene, *arguments)
    assert (code, verdict) == (2, {})
    assert message in said


def test_a_suspect_that_nobody_serves_is_unreachable(scene: Path) -> None:
    code, _, said = proved(scene, "http://127.0.0.1:9/v1/models/m:predict", "--basis", "our own server")
    assert code == 3
    assert "http://127.0.0.1:9" in said


def test_check_finds_two_marks(tmp_path: Path) -> None:
    (tmp_path / "counterclone.toml").write_text('[[mark]]\nkind = "triggers"\n' * 2, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "counterclone", "check"], cwd=tmp_path, capture_output=True,
                          check=False)
    assert done.returncode == 2
    assert "a row carries one mark" in done.stderr.decode()


def test_a_guard_goes_on_under_its_commitment_until_it_starts_again(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    keys = Custody.load(tmp_path / "counterclone.marks")

    def numbers() -> list[int]:
        return [int(number) for part in reading.parts(tmp_path / "ledger", keys)
                for number in part.records["commitment"]]

    assert mark_keys.rotate(str(tmp_path / "counterclone.toml")).commitment.number == 2
    guard.refresh(force=True)
    served(guard, "ann", generator(3, "asked").normal(size=(2, N_FEATURES)))
    guard.close()
    assert numbers() == [1, 1, 1]
    begin(tmp_path, monkeypatch).close()
    assert numbers() == [1, 1, 1, 2]


def test_an_authority_that_is_down_stops_no_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = authority.Authority()
    (tmp_path / "tsa.pem").write_bytes(theirs.roots)
    with authority.listening(theirs) as url:
        settings = f"{SETTINGS}\n[prove]\ntimestamp_url = '{url}'\ntimestamp_roots = 'tsa.pem'\n"
        monkeypatch.setattr(timestamps, "PAUSE_SECONDS", 0.01)
        theirs.is_down = True
        guard = begin(tmp_path, monkeypatch, settings)
        assert waited_for(lambda: any(f"timestamps: {url}: no timestamp" in text for text in guard.troubles()))
        assert len(served(guard, "ann", generator(3, "asked").normal(size=(2, N_FEATURES)))) == 2
        theirs.is_down = False
        assert waited_for(lambda: guard.troubles() == [])
        guard.close()
    assert (tmp_path / "counterclone.marks/commitments/000001.tsr").exists()
    assert list((tmp_path / "ledger/0000/stamps").iterdir())


@pytest.mark.parametrize(("roots", "message"), [(None, "timestamp_roots: is needed with timestamp_url"),
                                                ("none.pem", "expected the root certificates")])
def test_timestamps_need_what_checks_them(roots: str | None, message: str, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"timestamp_roots = '{roots}'" if roots else ""
    with pytest.raises(ConfigError, match=message):
        begin(tmp_path, monkeypatch, f"{SETTINGS}\n[prove]\ntimestamp_url = 'http://127.0.0.1:1/'\n{named}\n")


def test_accepted_terms_are_in_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS + """
[accounts]
source = "header"
header = "x-account"
terms = "2026-03"
terms_header = "x-terms"
"""
    guard = begin(tmp_path, monkeypatch, settings.replace("key:careful", "header:careful"))

    def ask(**headers: str) -> None:
        async def post() -> int:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://model") as client:
                sent = {name.replace("_", "-"): text for name, text in headers.items()}
                answer = await client.post("/v1/models/m:predict", json={"instances": [[0.0] * N_FEATURES]},
                                           headers=sent)
                return answer.status_code

        assert asyncio.run(post()) == 200

    ask(x_account="ann")
    ask(x_account="ann")
    ask(x_account="careful")  # whose answers are never marked, and so not in the ledger
    ask(x_account="bob", x_terms="2026-02")
    (tmp_path / "counterclone.toml").write_text(
        settings.replace("2026-03", "2026-05").replace("key:careful", "header:careful"), encoding="utf-8")
    guard.refresh(force=True)
    ask(x_account="ann")
    guard.close()
    found = reading.accepted(reading.parts(tmp_path / "ledger", Custody.load(tmp_path / "counterclone.marks")))
    ann, bob = found[0].account, found[1].account
    assert ann != bob
    assert [(each.account, each.version, each.by) for each in found] == [
        (ann, "2026-03", "use"), (bob, "2026-02", "proxy"), (ann, "2026-05", "use")]


@pytest.mark.parametrize(("settings", "message"), [
    ("terms = '1'", "nobody vouches for open keys"),
    ("terms = '1'\napi_keys = 'listed'\nterms_header = 'x-terms'", "anybody could send it")])
def test_terms_that_nobody_would_have_accepted(settings: str, message: str, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=message):
        begin(tmp_path, monkeypatch, f"{SETTINGS}\n[accounts]\n{settings}\n")


def test_commitments_are_pooled_over_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: dict[bytes, int] = {}
    for name in ("first", "second"):
        guard = begin(tmp_path, monkeypatch)
        asked = generator(5, name).normal(size=(1000, N_FEATURES))
        learnt |= {row.tobytes(): label for row, label in zip(asked, served(guard, "copier", asked), strict=True)}
        guard.close()
        mark_keys.rotate(str(tmp_path / "counterclone.toml"))

    def student(inputs: Features) -> Any:
        labels = [learnt.get(row.tobytes(), own) for row, own in zip(inputs, truth(inputs), strict=True)]
        return np.eye(N_CLASSES)[labels]

    file = str(tmp_path / "counterclone.toml")
    found = prove(Options(suspect=student, pools=True), file, lambda _: None)
    assert (found.verdict, found.pool, len(found.accounts)) == ("proven", (1, 2), 1)
    alone = prove(Options(suspect=student, commitment=1), file, lambda _: None)
    assert alone.pool == ()
    assert found.p_value < alone.p_value
    for others in ({"commitment": 1}, {"stops_early": True}, {"dossier": tmp_path / "d.zip"}):
        with pytest.raises(ConfigError, match="--pool"):
            prove(Options(suspect=student, pools=True, **others), file, lambda _: None)


def test_timestamps_go_into_the_dossier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, keys = authority.Authority(), tmp_path / "counterclone.marks"
    (tmp_path / "tsa.pem").write_bytes(theirs.roots)
    (tmp_path / "other.pem").write_bytes(authority.Authority().roots)
    roots = timestamps.Roots.load(tmp_path / "tsa.pem")
    for name in ("first", "second"):
        guard = begin(tmp_path, monkeypatch)
        served(guard, "ann", generator(6, name).normal(size=(100, N_FEATURES)))
        guard.close()
    file, path = str(tmp_path / "counterclone.toml"), tmp_path / "d.zip"
    options = Options(suspect=lambda inputs: np.eye(N_CLASSES)[truth(inputs)], dossier=path, with_log=True)

    def checked(roots: str | None) -> dict[str, tuple[bool, str]]:
        prove(options, file, lambda _: None)
        found = dossier.verify(path, None, roots=tmp_path / roots if roots else None)
        return {check.name: (check.holds, check.text) for check in found.checks if not check.holds or roots}

    assert checked(None) == {}
    assert checked("tsa.pem")["timestamps"] == (False, "none of the commitment is enclosed; ask the owner for it")
    with authority.listening(theirs) as url:
        asked = timestamps.Authority(url, roots)
        timestamps.stamp_commitments(keys, asked)
        timestamps.stamp_head(tmp_path / "ledger/0000", asked, time.time())
    said = "existed at 2026-03-01 12:00 UTC, says CN=test authority"
    part = (tmp_path / "ledger/0000/id").read_text()
    assert checked("tsa.pem")["timestamps"] == (
        True, f"the commitment {said}; the first 202 records of ledger {part} {said}")
    assert not checked("other.pem")["timestamps"][0]
    assert sorted(name for name in bundle.read(path) if name.startswith("timestamps/")) == [
        "timestamps/000001.tsr", f"timestamps/{part}-202.json", f"timestamps/{part}-202.tsr"]
    other = tmp_path / "ledger/0000/stamps/1.tsr"  # of another head of the same log
    other.write_bytes((tmp_path / "ledger/0000/stamps/202.tsr").read_bytes())
    assert not checked("tsa.pem")["timestamps"][0]
