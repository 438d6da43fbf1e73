from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from tests.cli.running import failure, json_output, output, run, write
from tests.prove import authority

MARKED = '[[mark]]\nkind = "triggers"\n'


def test_mark_keys_are_made_once_and_for_their_owner() -> None:
    write("prove.keys = 'ours'")
    result = run("keys", "marks", "create")
    assert result.exit_code == 0
    signer = re.fullmatch("Made mark keys in ours; what they sign is checked by ([0-9a-f]{64})\n", result.stdout)
    assert signer
    assert "Keep a copy of the folder elsewhere" in result.stderr
    kept = [path for path in Path("ours").iterdir() if path.is_file()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept} == {
        "root.key": "0o600", "signing.key": "0o600"}
    assert not any(signer[1] in path.read_text() or path.read_text().strip() in result.output for path in kept)
    line, = failure("keys", "marks", "create")
    assert line.startswith("counterclone: ours/signing.key: there is a mark key already")


def test_what_is_committed_to_is_said_once_and_rotated_at_will() -> None:
    write(MARKED)
    signer = json_output("keys", "marks", "create")["signer"]
    first, again = json_output("keys", "marks", "commit"), json_output("keys", "marks", "commit")
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["commitment"] == again["commitment"]
    rotated = json_output("keys", "marks", "rotate")
    assert rotated["is_new"]
    assert json_output("keys", "marks", "commit") == {**rotated, "is_new": False}
    write(MARKED + "rate = 0.01\n")
    changed = json_output("keys", "marks", "commit")["commitment"]
    assert changed["marks"] == [{"kind": "triggers", "rate": 0.01, "exclude_classes": [], "controls": 4.0}]
    listed = json_output("keys", "marks", "list")["commitments"]
    assert listed == [first["commitment"], rotated["commitment"], changed]
    assert [each["number"] for each in listed] == [1, 2, 3]
    assert len({each["key"] for each in listed}) == len({each["digest"] for each in listed}) == 3
    for each in listed:
        signed = json.loads(Path(f"counterclone.marks/commitments/{each['number']:06}.json").read_text())
        assert hashlib.sha256(signed["statement"].encode()).hexdigest() == each["digest"]
        assert json.loads(signed["statement"])["signer"] == signer


def test_commitments_are_listed_with_what_is_published() -> None:
    write(MARKED)
    run("keys", "marks", "create")
    assert output("keys", "marks", "list") == ""
    made = run("keys", "marks", "commit")
    assert "Publish the digest now" in made.stderr
    marks = r"triggers rate=0\.002 exclude_classes=\[\] controls=4\.0"
    assert re.fullmatch(rf"1  \d{{4}}-\d\d-\d\d \d\d:\d\d UTC  {marks}\n"
                        r"   digest [0-9a-f]{64}\n   key    [0-9a-f]{64}\n", made.stdout)
    assert output("keys", "marks", "list") == made.stdout
    assert run("keys", "marks", "commit").stderr == "It was made before; nothing has changed.\n"


def test_what_a_servers_hook_needs_is_written_once_under_its_commitment(tmp_path: Path) -> None:
    write('[[mark]]\nkind = "greenlist"\ntest = "difference"\nreference = "own.jsonl"\n')
    run("keys", "marks", "create")
    assert "own.jsonl: No such file" in failure("keys", "marks", "export", "hook.json")[0]
    Path("own.jsonl").write_text('"to be or not to be"\n')
    digest = hashlib.sha256(b'"to be or not to be"\n').hexdigest()
    assert f'digest = "{digest}"' in failure("keys", "marks", "export", "hook.json")[0]
    write(f'[[mark]]\nkind = "greenlist"\ntest = "difference"\nreference = "own.jsonl"\ndigest = "{digest}"\n')
    assert output("keys", "marks", "list") == ""
    exported = json_output("keys", "marks", "export", "hook.json")
    assert exported["is_new"]
    hook = json.loads(Path("hook.json").read_text())
    assert hook["mark"] == exported["commitment"]["marks"][0]
    assert Path("hook.json").stat().st_mode & 0o777 == 0o600
    assert hook["key"] not in json.dumps(exported)
    assert failure("keys", "marks", "export", "hook.json")[0].startswith("counterclone: hook.json: File exists")
    write(MARKED)
    assert 'kind = "greenlist"' in failure("keys", "marks", "export", "other.json")[0]


@pytest.mark.parametrize("verb", ["commit", "rotate"])
def test_commitments_need_a_mark_and_its_keys(verb: str) -> None:
    write("")
    assert failure("keys", "marks", verb)[0].startswith("counterclone: [[mark]]: the file has no mark to commit")
    write(MARKED)
    assert "there is no mark key; `counterclone keys marks create` makes one" in failure("keys", "marks", verb)[0]


def test_a_commitment_that_was_changed_is_one_line() -> None:
    write(MARKED)
    run("keys", "marks", "create")
    run("keys", "marks", "commit")
    path = Path("counterclone.marks/commitments/000001.json")
    path.write_text(path.read_text().replace("0.002", "0.003"))
    for verb in ("commit", "rotate", "list"):
        line, = failure("keys", "marks", verb)
        assert "commitment 1 isn't signed by the key" in line


def test_a_commitment_is_stamped_by_the_files_authority() -> None:
    theirs = authority.Authority()
    Path("tsa.pem").write_bytes(theirs.roots)
    with authority.listening(theirs) as url:
        write(f"{MARKED}[prove]\ntimestamp_url = '{url}'\ntimestamp_roots = 'tsa.pem'\n")
        run("keys", "marks", "create")
        theirs.is_down = True
        made = run("keys", "marks", "commit")
        assert made.exit_code == 0
        assert f"counterclone: {url}: no timestamp (it answered 503)" in made.stderr
        assert "no younger than" not in made.stdout
        theirs.is_down = False
        rotated = json_output("keys", "marks", "rotate")
    stamp = {"time": theirs.now.timestamp(), "authority": "CN=test authority"}
    assert (rotated["commitment"]["timestamp"], rotated["problem"]) == (stamp, None)
    listed = json_output("keys", "marks", "list")["commitments"]
    assert [each["timestamp"] for each in listed] == [stamp, stamp]
    shown = output("keys", "marks", "list")
    assert shown.count("   no younger than 2026-03-01 12:00 UTC, says CN=test authority\n") == 2
    Path("tsa.pem").write_bytes(authority.Authority().roots)
    assert "no timestamp of this by an authority of tsa.pem" in failure("keys", "marks", "list")[0]
