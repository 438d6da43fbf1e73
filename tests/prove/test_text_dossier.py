"""A dossier of marked texts comes out as it says, for our code and for the script; a change doesn't."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.marks.test_canaries import plain
from tests.prove.test_dossier import rewritten, script, set_in

from counterclone.cli import cli
from counterclone.compose import dossier as composed
from counterclone.compose import mark_keys, texts
from counterclone.compose.canaries import CanaryWriter
from counterclone.compose.prove import Options, prove
from counterclone.config import find, load
from counterclone.errors import ConfigError, DossierError
from counterclone.marks._green import Green
from counterclone.marks._tokens import Words
from counterclone.marks.greenlist import Greenlist
from counterclone.prove import bundle, checking, dossier
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.questions import Scope
from counterclone.prove.signed import read_signed
from counterclone.randomness import generator
from counterclone.targets.local import Local

MOST = 2_048
WORDS = [word for number in range(2_000) for word in [f"w{number}"]
         if Words().encode([word])[0][0] < MOST]  # a key's draw is as long as the largest token
IDS = np.concatenate(Words().encode(WORDS))
EVERYBODY = Scope()
FILE = """
[[mark]]
kind = "greenlist"
tokens = 1000
{options}

[prove]
decoys = 39
alpha = 1e-4
"""
Writes = Callable[[list[str]], list[str]]


class Scene:
    """A green list under which three accounts got texts, and dossiers on suspects.

    Args:
        folder: of the file, and where paths in it start from.
        options: of the mark, as TOML.
    """

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        (folder / "own.jsonl").write_text("\n".join(map(json.dumps, self.writes(None)(["x"] * 40))))
        (folder / "public.jsonl").write_text("\n".join(map(json.dumps, self.writes(None, skew=0.02)(["x"] * 40))))
        (folder / "counterclone.toml").write_text(FILE.format(options=options))
        (folder / "served.jsonl").write_text("".join(json.dumps({
            "account": f"a{i % 3}", "query": {"text": f"say {i % 80}"},
            "answer": {"text": "not to be seen"}}) + "\n" for i in range(90)))
        mark_keys.create(None)
        digest = Greenlist(reference="own.jsonl", base="public.jsonl").measured() if "reference" in options else ""
        (folder / "counterclone.toml").write_text(FILE.format(options=f'{options}\ndigest = "{digest}"'))
        mark_keys.commit(None)
        mark_keys.rotate(None)
        config = load(find(None))
        self.keys = Custody.load(folder / config.prove.keys)
        self.mark = Greenlist(**{name: value for name, value in config.mark[0].items() if name != "kind"})

    def writes(self, account: str | None, skew: float = 0.0) -> Writes:
        """Random words, those of an account's first key preferred; those of a public model are skewed."""
        green = None if account is None else self.mark.green(
            mark_key(self.keys.epoch_key(1), "greenlist"), account)

        def write(prompts: list[str]) -> list[str]:
            rng = generator(0, "written", account or "", len(prompts))
            return [" ".join(_words(rng, green, self.mark.context if green else 1, skew)) for _ in prompts]

        return write

    def prove(self, name: str, suspect: Writes, scope: Scope = EVERYBODY) -> Path:
        """Test a suspect, and write a dossier."""
        suspect.__name__ = name
        path = self.folder / f"{name}.zip"
        texts.prove(suspect, self.folder / "served.jsonl", None, lambda _: None, commitment=1, scope=scope,
                    evidence_file=path)
        return path


def _words(rng: Any, green: Green | None, context: int, skew: float) -> list[str]:
    written, before = [], [0, 0]
    for _ in range(20):
        logits = rng.gumbel(size=len(WORDS)) - skew * np.arange(len(WORDS))
        if green is not None:
            logits = logits + 4.0 * green.after(before[-context:], MOST)[IDS]
        word = int(logits.argmax())
        written.append(WORDS[word])
        before.append(int(IDS[word]))
    return written


FILES = 'reference = "own.jsonl"\nbase = "public.jsonl"\n'
KINDS = {
    "one key": 'test = "unique"', "accounts": 'test = "unique"\nkeys = "account"\ngamma = 0.25',
    "difference": f'test = "difference"\nkeys = "account"\n{FILES}', "mixture": f'test = "mixture"\n{FILES}',
    "both": f'test = "both"\nkeys = "account"\ncontext = 2\n{FILES}'}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Scene]]:
    """Each made once; paths in a file start from the folder that one is in."""
    made: dict[str, Scene] = {}
    before = Path.cwd()

    def scene(kind: str) -> Scene:
        folder = made[kind].folder if kind in made else tmp_path_factory.mktemp("texts")
        os.chdir(folder)
        if kind not in made:
            made[kind] = Scene(folder, KINDS[kind])
        return made[kind]

    yield scene
    os.chdir(before)


@pytest.fixture(scope="module")
def proven(scenes: Callable[[str], Scene]) -> Path:
    scene = scenes("difference")
    return scene.prove("copy", scene.writes("a1"))


@pytest.mark.parametrize("kind", KINDS)
def test_both_verdicts_come_out_for_both(kind: str, scenes: Callable[[str], Scene], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scenes(kind)
    paths = [scene.prove("copy", scene.writes("a1")), scene.prove("other", scene.writes(None))]
    monkeypatch.chdir(tmp_path)  # nothing but the file
    for path, verdict in zip(paths, ("proven", "not-proven"), strict=True):
        found = composed.verify(path, None)
        assert found.holds, found.checks
        assert found.verdict is not None
        assert found.verdict.verdict == verdict
        named = ["a1"] if verdict == "proven" and 'keys = "account"' in KINDS[kind] else []
        assert [each.account for each in found.verdict.accounts] == named
        done = script(path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"verdict: {verdict}" in done.stdout


@pytest.mark.parametrize("scope", [
    Scope(accounts=("a1",)), Scope(campaigns=(("a1", "a2"),)), Scope(stops_early=True)],
    ids=["one account", "a campaign", "early"])
@pytest.mark.parametrize("kind", ["accounts", "both"])
def test_every_scope_comes_out_for_both(kind: str, scope: Scope, scenes: Callable[[str], Scene]) -> None:
    scene = scenes(kind)
    path = scene.prove("scoped", scene.writes("a1"), scope)
    found = composed.verify(path, None)
    assert found.holds, found.checks
    done = script(path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_writes_one_and_checks_it(scenes: Callable[[str], Scene]) -> None:
    options = Options(suspect=scenes("one key").writes(None), texts=Path("served.jsonl"), commitment=1,
                      dossier=Path("cli.zip"))
    assert prove(options, None, lambda _: None).dossier == "cli.zip"
    result = CliRunner().invoke(cli, ["verify", "cli.zip"])
    assert result.exit_code == 0, result.output
    assert "Everything computes as the dossier says." in result.output


def test_no_more_of_the_list_than_is_tested_is_in_it(scenes: Callable[[str], Scene], proven: Path) -> None:
    scene, content = scenes("difference"), proven.read_bytes()
    assert b"not to be seen" not in content
    assert scene.keys.epoch_key(2).hex().encode() not in content
    page = bundle.read(proven)[composed.PAGE].decode()
    assert "by the owner&#x27;s own list" in page or "by the owner's own list" in page
    alone = bundle.read(scene.prove("alone", scene.writes("a1"), Scope(accounts=("a1",))))
    assert {json.loads(line)["account"] for line in alone[dossier.TEXTS].splitlines()} == {"a1"}


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


FORGERIES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "a better p": {"verdict": lambda v: set_in("p_value", v["p_value"] * 0.99)(v)},
    "one trial more": {"verdict": lambda v: v["marks"][0].update(trials=v["marks"][0]["trials"] + 1)},
    "another account": {"verdict": lambda v: v["accounts"].append({"account": "a2", "p_adjusted": 1e-9})},
    "another key": {"key": set_in("key", "00" * 32)},
    "the other commitment": {"key": set_in("commitment", 2)},
    "another test": {"commitments": lambda c: c[0].update(
        statement=c[0]["statement"].replace('"test":"difference"', '"test":"unique"'))},
    "an answer left out": {"answers": lambda a: a["greenlist"].pop()},
    "answers moved": {"answers": lambda a: a["greenlist"].reverse()},
    "tokens of an answer": {"tokens": lambda t: t["answers"][0].reverse()},
    "tokens of a prompt": {"tokens": lambda t: t["prompts"].pop()},
    "tokens of a reference": {"tokens": lambda t: t["references"].pop()},
    "what was decided beforehand": {"test": lambda t: t["scope"].update(accounts=["a1"])},
    "no answers": {"answers": lambda a: a.clear()},
    "nonsense": {"tokens": lambda t: ["nonsense"]},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_a_forger_with_the_signing_key_changes_is_found(forgery: str, scenes: Callable[[str], Scene],
                                                             proven: Path) -> None:
    forged = rewritten(proven, scenes("difference").keys, **FORGERIES[forgery])
    assert not composed.verify(forged, None).holds
    assert script(forged).returncode != 0


def test_texts_that_arent_those_of_the_tokens_are_found_with_the_tokenizer(
        scenes: Callable[[str], Scene], proven: Path) -> None:
    keys = scenes("difference").keys
    forged = rewritten(proven, keys, answers=lambda a: a["greenlist"][0].update(text="w1 w2 w3"))
    assert not composed.verify(forged, None).holds
    assert script(forged).returncode == 0  # it says so: it has the tokens only
    assert "are taken as they are" in script(forged).stdout


@pytest.mark.parametrize(("name", "change"), [
    (dossier.TEXTS, lambda content: content.replace(b'"a0"', b'"a1"')),
    (dossier.TEXTS, lambda content: content.replace(b"say 1", b"say one ")),
    (dossier.TEXTS, lambda content: b"".join(content.splitlines(keepends=True)[45:])),
    (dossier.MARK_PREFIX + "reference", lambda content: content + b'"w1 w2"\n')],
    ids=["accounts", "prompts", "half of it left out", "a reference"])
def test_another_list_or_reference_is_found(name: str, change: Callable[[bytes], bytes],
                                            scenes: Callable[[str], Scene], proven: Path) -> None:
    files = bundle.read(proven)
    del files[dossier.MANIFEST]
    files[name] = change(files[name])
    forged = proven.with_name("forged.zip")
    bundle.write(forged, dossier.with_manifest(files, scenes("difference").keys))
    assert not composed.verify(forged, None).holds
    assert script(forged).returncode != 0


@pytest.mark.parametrize("name", [dossier.TEXTS, dossier.TOKENS, dossier.MARK_PREFIX + "base"])
def test_a_missing_file_is_found(name: str, scenes: Callable[[str], Scene], proven: Path) -> None:
    files = bundle.read(proven)
    del files[dossier.MANIFEST], files[name]
    found = checking.check(dossier.with_manifest(files, scenes("difference").keys), None)
    assert not found.holds


def test_the_given_commitment_has_to_be_the_enclosed_one(scenes: Callable[[str], Scene], proven: Path) -> None:
    folder = scenes("difference").folder / load(find(None)).prove.keys / "commitments"
    first, second = sorted(folder.iterdir())
    assert composed.verify(proven, first).holds
    assert script(proven, str(first)).returncode == 0
    assert [each.name for each in composed.verify(proven, second).checks if not each.holds] == ["the commitment"]
    assert script(proven, str(second)).returncode == 1
    assert read_signed(second.read_bytes(), "").digest != read_signed(first.read_bytes(), "").digest


def test_prompts_that_independent_models_meet_the_key_at_were_chosen(scenes: Callable[[str], Scene],
                                                                     proven: Path) -> None:
    scene, files = scenes("difference"), bundle.read(proven)
    honest = [Local(scene.writes(None), returns="texts")] * 3
    assert checking.check(files, None, honest).holds
    chosen = checking.check(files, None, [*honest, Local(scene.writes("a1"), returns="texts")])
    assert [each.name for each in chosen.checks if not each.holds] == ["independent models"]


def test_a_tokenizer_that_isnt_installed_tells_nothing(scenes: Callable[[str], Scene], proven: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**bundle.read(proven), f"{dossier.MARK_PREFIX}tokenizer": b"{}"}
    other = proven.with_name("other.zip")
    bundle.write(other, files)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"install counterclone\[llm\], or run check_dossier\.py"):
        composed.verify(other, None)


def test_a_dossier_of_probabilities_is_refused_before_the_suspect_is_asked(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("next.npz", contexts=np.array(["a b"]), own=np.log([[0.5, 0.5]]))
    digest = hashlib.sha256(Path("next.npz").read_bytes()).hexdigest()
    Path("counterclone.toml").write_text("[[mark]]\nkind = 'greenlist'\ntest = 'open'\n"
                                         f"probabilities = 'next.npz'\nprobabilities_digest = '{digest}'\n")
    Path("served.jsonl").write_text('{"account": "a1", "query": {"text": "say"}}\n')
    mark_keys.create(None)
    mark_keys.commit(None)
    with pytest.raises(ConfigError, match="doesn't hold a suspect's probabilities"):
        texts.prove(lambda _: pytest.fail("asked"), Path("served.jsonl"), None, lambda _: None,
                    evidence_file=Path("copy.zip"))


def test_a_dossier_of_canaries_comes_out_and_the_script_says_that_it_cant_check_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("counterclone.toml").write_text('[[mark]]\nkind = "canaries"\nrate = 0.5\n[prove]\ndecoys = 39\n')
    mark_keys.create(None)
    writer = CanaryWriter(None, Path("canaries.jsonl"))
    known = {str(number): writer.write(f"a{number % 2}", str(number), plain(str(number))) for number in range(60)}
    writer.close()
    path = tmp_path / "copy.zip"

    def copy(prompts: list[str]) -> list[str]:
        return [known[prompt] for prompt in prompts]

    verdict = texts.prove(copy, Path("canaries.jsonl"), None, lambda _: None, evidence_file=path)
    assert verdict.verdict == "proven"
    found = composed.verify(path, None)
    assert found.holds, found.checks
    assert "that this script knows" in script(path).stdout
    forged = rewritten(path, Custody.load(tmp_path / load(find(None)).prove.keys),
                       verdict=lambda v: set_in("p_value", v["p_value"] * 0.99)(v))
    assert not composed.verify(forged, None).holds
    files = bundle.read(path)
    files[dossier.TEXTS] = files[dossier.TEXTS].replace(b"in the three pans", b"in the 3 pans")
    assert not checking.check(files, None).holds
