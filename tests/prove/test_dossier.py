"""A dossier comes out as it says, for our code and for the script that shares none of it; a change doesn't."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterclone.answers import Rows
from counterclone.compose import dossier as composed
from counterclone.errors import DossierError
from counterclone.evidence import Accepted, Entry, Payload, Role
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Target
from counterclone.prove import bundle, check_dossier, checking, dossier, reading, verification
from counterclone.prove.commitments import Chain, Terms
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.ledger import LedgerWriter
from counterclone.prove.questions import Scope, questions
from counterclone.prove.signed import Signed
from counterclone.prove.transcript import Transcript
from counterclone.queries import Query
from counterclone.randomness import generator
from counterclone.targets.local import Local

N = 900
EVERYBODY = Scope()
ROOT, SIGNING = b"r" * 32, b"s" * 32
ACCOUNTS = ("00000000000000a1", "00000000000000b2", "00000000000000c3")


class Scene:
    """A ledger of three accounts' answers, two suspects, and dossiers on them.

    Args:
        folder: of keys and ledger.
        n_classes: of the model.
    """

    def __init__(self, folder: Path, n_classes: int) -> None:
        self.folder = folder
        self.keys = Custody(ROOT, SIGNING)  # always the same draws
        self.mark = Triggers(rate=0.05)
        marks = ({"kind": "triggers", **msgspec.to_builtins(self.mark)},)
        terms = Terms(model="m", epoch="1", marks=marks, decoys=99)
        self.commitment = Chain(folder / "keys", self.keys).commit(terms, 1.0)
        self.chain = [self.commitment, Chain(folder / "keys", self.keys).commit(terms, 2.0)]
        self.inputs = generator(0, "dossier").standard_normal((N, 3))
        self.truths = generator(1, "dossier").integers(n_classes, size=N)
        rows = np.full((N, n_classes), 0.1 / (n_classes - 1))
        rows[np.arange(N), self.truths] = 0.9
        cells = Query(self.inputs).cells
        embedded = self.mark.embed(mark_key(self.keys.epoch_key(1), "triggers"), cells, rows)
        self.served, self._cells = embedded.rows, {cell: i for i, cell in enumerate(cells)}
        writer = LedgerWriter(folder / "ledger", self.keys, self.commitment, clock=lambda: 5.0)
        for i in range(N):
            payload = b""
            if embedded.roles[i]:
                is_marked = embedded.roles[i] == Role.MARKED
                payload = msgspec.json.encode(Payload(
                    mark="triggers", role="marked" if is_marked else "control", cell=cells[i].hex(),
                    query={"features": self.inputs[i].tolist()},
                    answer={"label": int(self.served[i].argmax()), "scores": self.served[i].tolist()},
                    true=int(self.truths[i]), classes=n_classes))
            writer.append([Entry(3.0 + i, ACCOUNTS[i % 3], cells[i], self.served[i].tobytes(), payload)])
        writer.accept(ACCOUNTS[0], Accepted("2026-03", "use"))
        writer.close()

    def suspect(self, knows: Callable[[int], bool]) -> Target:
        """Who repeats what was served in some rows, and elsewhere says the truth."""
        def answer(inputs: NDArray[np.float64]) -> Rows:
            places = [self._cells[cell] for cell in Query(inputs).cells]
            classes = self.served.shape[1]
            return np.stack([self.served[i] if knows(i) else np.eye(classes)[self.truths[i]] * 0.8 + 0.2 / classes
                             for i in places])
        return Local(answer, seconds=10.0)

    def write(self, name: str, suspect: Target, scope: Scope = EVERYBODY, *, with_log: bool = False) -> Path:
        """Test a suspect, and write a dossier."""
        parts = reading.parts(self.folder / "ledger", self.keys)
        asked = questions(self.commitment.statement, self.keys.epoch_key(1), reading.served_under(parts, 1), scope)
        transcript = Transcript(suspect)
        evidence = asyncio.run(verification.examine(asked, transcript))
        verdict = verification.verdict(asked, evidence, suspect=name, commitment=1,
                                       least_trials=scope.least_trials(self.commitment.statement), basis="a test")
        path = self.folder / f"{name}.zip"
        composed.write(path, composed.Tested(
            keys=self.keys, chain=self.chain, commitment=self.commitment, parts=parts, asked=asked,
            answers={"triggers": transcript.answers}, scope=scope, verdict=verdict, began=10.0, ended=20.0,
            folder=self.folder / "keys"), self.folder / "history.jsonl", with_log=with_log)
        return path


@pytest.fixture(scope="module", params=[2, 6], ids=["two labels", "six labels"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("dossier"), request.param)


@pytest.fixture(scope="module")
def proven(scene: Scene) -> Path:
    """On a suspect that learnt the answers of the first account."""
    return scene.write("copy", scene.suspect(lambda i: i % 3 == 0))


def script(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The stand-alone script in a folder of its own, without anything of ours to import."""
    return subprocess.run([sys.executable, "-I", check_dossier.__file__, str(path), *arguments], cwd=path.parent,
                          capture_output=True, text=True, check=False)


def rewritten(path: Path, keys: Custody, **changes: Callable[[Any], Any]) -> Path:
    """A forger's copy: some files changed, and the list of files signed anew with the owner's own key."""
    files = bundle.read(path)
    del files[dossier.MANIFEST]
    for name, change in changes.items():
        content = json.loads(files[f"{name}.json"])
        files[f"{name}.json"] = json.dumps(change(content) or content).encode()
    forged = path.with_name("forged.zip")
    bundle.write(forged, dossier.with_manifest(files, keys))
    return forged


def test_a_proven_dossier_comes_out_for_both(scene: Scene, proven: Path) -> None:
    found = composed.verify(proven, None)
    assert found.holds, found.checks
    assert found.verdict is not None
    assert (found.verdict.verdict, found.commitment) == ("proven", "enclosed")
    assert [each.account for each in found.verdict.accounts] == [ACCOUNTS[0]]
    done = script(proven)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: proven" in done.stdout
    page = bundle.read(proven)[composed.PAGE].decode()
    assert f"{ACCOUNTS[0]} accepted 2026-03 (by use) on 1970-01-01" in page


@pytest.mark.parametrize("scope", [
    Scope(accounts=(ACCOUNTS[1],)), Scope(campaigns=((ACCOUNTS[0], ACCOUNTS[2]),)), Scope(stops_early=True)],
    ids=["one account", "a campaign", "early"])
def test_every_scope_comes_out_for_both(scene: Scene, scope: Scope) -> None:
    path = scene.write("scoped", scene.suspect(lambda i: i % 3 != 1), scope, with_log=True)
    found = composed.verify(path, None)
    assert found.holds, found.checks
    done = script(path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_independent_model_comes_out_as_not_proven(scene: Scene) -> None:
    path = scene.write("other", scene.suspect(lambda i: False))
    found = composed.verify(path, None)
    assert found.holds, found.checks
    assert found.verdict is not None
    assert found.verdict.verdict == "not-proven"
    assert script(path).returncode == 0


def test_the_given_commitment_has_to_be_the_enclosed_one(scene: Scene, proven: Path) -> None:
    first, second = sorted((scene.folder / "keys" / "commitments").iterdir())
    assert composed.verify(proven, first).commitment == "given"
    assert script(proven, str(first)).returncode == 0
    assert [each.name for each in composed.verify(proven, second).checks if not each.holds] == ["the commitment"]
    assert script(proven, str(second)).returncode == 1
    with pytest.raises(DossierError, match="expected a commitment"):
        composed.verify(proven, scene.folder / "nothing")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0.0, 1.0, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_found(proven: Path, place: float, flip: int) -> None:
    content = bytearray(proven.read_bytes())
    content[int(place * len(content))] ^= flip
    changed = proven.with_name("changed.zip")
    changed.write_bytes(bytes(content))
    try:
        found = composed.verify(changed, None)
    except DossierError:
        return
    assert not found.holds


def set_in(name: str, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content[name] = value
    return change


def relabelled(payload: str) -> str:
    content = json.loads(payload)
    content["answer"]["label"] = 1 - min(content["answer"]["label"], 1)
    return json.dumps(content)


FORGERIES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "a better p": {"verdict": set_in("p_value", 1e-30)},
    "another account": {"verdict": lambda v: v["accounts"].append({"account": ACCOUNTS[2], "p_adjusted": 1e-9})},
    "an answer left out": {"answers": lambda a: a["triggers"].pop()},
    "answers moved": {"answers": lambda a: a["triggers"].reverse()},
    "an answer changed": {"answers": lambda a: a["triggers"][0].update(scores=a["triggers"][0]["scores"][::-1])},
    "a served label": {"rows": lambda r: r[0].update(payload=relabelled(r[0]["payload"]))},
    "a record": {"rows": lambda r: r[0].update(record=r[1]["record"])},
    "an account of a record": {"rows": lambda r: r[0].update(
        record=r[0]["record"][:28] + 8 * "ff" + r[0]["record"][44:])},
    "accepted terms": {"terms": lambda t: t[0].update(payload=t[0]["payload"].replace("2026-03", "2026-04"))},
    "a row left out": {"rows": lambda r: r.pop(0)},
    "a row twice": {"rows": lambda r: r.append(r[0])},
    "another key": {"key": set_in("key", "00" * 32)},
    "the other commitment": {"key": set_in("commitment", 2)},
    "no commitment": {"key": set_in("commitment", 7)},
    "a commitment left out": {"commitments": lambda c: c.pop(0)},
    "a commitment that was written later": {"commitments": lambda c: c[0].update(
        statement=c[0]["statement"].replace('"budget":1000000', '"budget":1000001'))},
    "a head": {"heads": lambda h: h[0].update(signature="00" * 64)},
    "what was decided beforehand": {"test": lambda t: t["scope"].update(accounts=[ACCOUNTS[0]])},
    "no answers": {"answers": lambda a: a.clear()},
    "nonsense": {"rows": lambda r: ["nonsense"]},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_a_forger_with_the_signing_key_changes_is_found(forgery: str, scene: Scene, proven: Path) -> None:
    forged = rewritten(proven, scene.keys, **FORGERIES[forgery])
    changed = [name for name, content in bundle.read(proven).items() if name.endswith(".json")
               and json.loads(content) != json.loads(bundle.read(forged)[name]) and name != dossier.MANIFEST]
    assert changed == [f"{name}.json" for name in FORGERIES[forgery]]
    assert not composed.verify(forged, None).holds
    assert script(forged).returncode != 0


def test_files_that_somebody_else_signed_are_found(scene: Scene, proven: Path, tmp_path: Path) -> None:
    forged = rewritten(proven, Custody.make(tmp_path / "others"))
    assert not composed.verify(forged, None).holds
    assert script(forged).returncode == 1


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100])
def test_what_is_no_dossier_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    path.write_bytes(content)
    with pytest.raises(DossierError, match=r"odd\.zip"):
        composed.verify(path, None)


def test_a_zip_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.json", b" " * 10_000_000)
    with pytest.raises(DossierError, match="isn't packed as a dossier is"):
        composed.verify(path, None)


def test_hidden_marks_count_as_misses_where_the_log_is_enclosed(scene: Scene) -> None:
    path = scene.write("logged", scene.suspect(lambda i: True), with_log=True)
    found = composed.verify(path, None)
    assert found.holds, found.checks
    assert f"of {N:,} answers were shown" in found.checks[-1].text
    files = bundle.read(path)
    name = next(name for name in files if name.startswith(dossier.LOG_PREFIX))
    files[name] = files[name][:-118]
    del files[dossier.MANIFEST]
    forged = path.with_name("cut.zip")
    bundle.write(forged, dossier.with_manifest(files, scene.keys))
    assert not composed.verify(forged, None).holds


def test_independent_models_that_fit_the_key_say_that_queries_were_chosen(scene: Scene, proven: Path) -> None:
    files = bundle.read(proven)
    honest = [scene.suspect(lambda i: False)] * 20
    found = checking.check(files, None, honest)
    assert found.holds, found.checks
    chosen = checking.check(files, None, [*honest, scene.suspect(lambda i: i % 3 == 0)])
    assert [each.name for each in chosen.checks if not each.holds] == ["independent models"]


def test_no_key_but_the_epochs_is_in_it(scene: Scene, proven: Path) -> None:
    content = proven.read_bytes()
    for secret in (ROOT, SIGNING):
        assert secret not in content
        assert secret.hex().encode() not in content
    assert scene.keys.epoch_key(2).hex().encode() not in content
    assert scene.keys.epoch_key(1).hex().encode() in content


def test_a_signature_of_ours_is_one_for_the_script(tmp_path: Path) -> None:
    keys = Custody.make(tmp_path / "keys")
    for number in range(3):
        signed = msgspec.to_builtins(Signed.of({"number": number}, keys))
        assert check_dossier.is_signed(signed, keys.signer)
        changed = {**signed, "statement": signed["statement"].replace(str(number), "9")}
        assert not check_dossier.is_signed(changed, keys.signer)


