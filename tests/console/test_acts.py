from __future__ import annotations

import io
import zipfile

import orjson
import pytest
from tests.console.scene import HOSTILE, SETTINGS, Scene, Visitor, Watched, token_of

from counterclone.console.trail import Entry
from counterclone.watch.cases import CaseFile


def last(scene: Scene) -> Entry:
    """The last line of the trail."""
    return scene.trail.last()[0][0]


def decision_of(scene: Scene, account: str) -> str | None:
    """What another process that reads the cases, such as a guard, makes of it."""
    return CaseFile(scene.folder / "counterclone.cases.jsonl").decision(account)


# Deciding

@pytest.mark.parametrize("decision", ["allow", "review", "throttle", "block"])
def test_an_account_gets_what_is_decided(scene: Scene, ann: Visitor, decision: str) -> None:
    done = ann.submit("/trail", "/decide", account="copier 1", decision=decision, seen="", note="as agreed")
    assert done.status_code == 303
    assert decision_of(scene, "copier 1") == decision
    assert decision_of(scene, "copier 2") is None
    page = ann.get(done.headers["location"])
    assert "as agreed" in page.text
    assert "note by ann" in page.text
    entry = last(scene)
    assert (entry.who, entry.action, entry.subject) == ("ann", "decide", "account copier 1")
    assert (entry.before, entry.after, entry.note, entry.failed) == ("", decision, "as agreed", "")


def test_an_account_of_a_campaign_is_decided_by_itself(scene: Scene, ann: Visitor) -> None:
    alone = next(name for name in scene.desk.case(scene.campaign).row.accounts
                 if not any(case.accounts == (name,) for case in scene.desk.cases()))
    done = ann.submit("/trail", "/decide", account=alone, decision="allow", seen="")
    assert done.status_code == 303
    assert [decision_of(scene, name) for name in (alone, "copier 1")] == ["allow", None]


def test_all_accounts_of_a_campaign_get_what_is_decided(scene: Scene, ann: Visitor) -> None:
    assert ann.submit("/trail", "/decide", case=scene.campaign, decision="block", seen="").status_code == 303
    assert {decision_of(scene, name) for name in scene.desk.case(scene.campaign).row.accounts} == {"block"}
    assert last(scene).subject == f"case {scene.campaign}"


def test_who_decides_on_an_old_page_is_told_of_the_other_decision(scene: Scene, ann: Visitor) -> None:
    token = token_of(ann.get("/trail"))
    bob = Visitor(scene)
    bob.log_in(who="bob")
    bob.submit("/trail", "/decide", account="copier 1", decision="block", seen="")
    late = ann.send("/decide", form_token=token, account="copier 1", decision="allow", seen="")
    assert late.status_code == 409
    assert "somebody decided &#39;block&#39; since" in late.text
    assert decision_of(scene, "copier 1") == "block"


def test_throttling_without_a_tier_is_refused_and_the_trail_says_so(watched: Watched, tmp_path: object) -> None:
    scene = Scene(tmp_path, watched, "")  # type: ignore[arg-type]
    ann = Visitor(scene)
    ann.log_in()
    page = ann.submit("/trail", "/decide", account="copier 1", decision="throttle", seen="")
    assert page.status_code == 400
    assert "no [[guard.tier]] has action" in page.text
    assert decision_of(scene, "copier 1") is None
    assert "no [[guard.tier]]" in last(scene).failed
    scene.close()


@pytest.mark.parametrize("fields", [
    {"account": "copier 1", "decision": "delete"}, {"account": "copier 1"}, {"decision": "block"},
    {"account": "nobody", "decision": "block"}, {"case": "00000000", "decision": "block"},
    {"case": "../../x", "decision": "block"}, {}])
def test_what_isnt_a_decision_is_refused(scene: Scene, ann: Visitor, fields: dict[str, str]) -> None:
    before = scene.desk.cases()
    page = ann.submit("/trail", "/decide", seen="", **fields)
    assert page.status_code in (400, 404)
    assert scene.desk.cases() == before
    assert last(scene).action == "log in"


# Notes, holds, exports

def test_a_note_is_kept(scene: Scene, ann: Visitor) -> None:
    page = f"/case?id={scene.campaign}"
    assert ann.submit(page, "/note", case=scene.campaign, note=f" asked sales {HOSTILE}").status_code == 303
    assert ann.submit(page, "/note", case=scene.campaign, note="  ").status_code == 400
    text = ann.get(page).text
    assert "asked sales &lt;script&gt;" in text
    assert last(scene).note == f"asked sales {HOSTILE}"


def test_a_case_is_held_and_let_go(scene: Scene, ann: Visitor) -> None:
    page = f"/case?id={scene.campaign}"
    for hold, is_held in (("yes", True), ("no", False)):
        assert ann.submit(page, "/hold", case=scene.campaign, hold=hold).status_code == 303
        assert scene.desk.case(scene.campaign).row.is_held is is_held
    assert (last(scene).before, last(scene).after) == ("held", "not held")


def test_a_case_is_exported_with_its_links(scene: Scene, ann: Visitor) -> None:
    done = ann.submit(f"/case?id={scene.campaign}", "/export", case=scene.campaign)
    assert done.headers["content-type"] == "application/zip"
    assert done.headers["content-disposition"] == f'attachment; filename="case-{scene.campaign}.zip"'
    with zipfile.ZipFile(io.BytesIO(done.content)) as archive:
        case = orjson.loads(archive.read("case.json"))
    tie = case["evidence"][0]["ties"][0]
    assert tie["kind"] == "ip"
    assert len(tie["accounts"]) == 40


# The configuration

def test_an_earlier_file_is_put_back_to_the_byte(scene: Scene, ann: Visitor) -> None:
    first = scene.guard.config.digest()
    changed(scene, SETTINGS.replace("60", "90"))
    page = ann.get("/configuration").text
    assert "-limit_queries_per_minute = 60" in page
    assert "+limit_queries_per_minute = 90" in page
    seen = scene.desk.configuration().seen
    done = ann.submit("/configuration", "/restore", digest=first, seen=seen, note="too much")
    assert done.status_code == 303
    assert scene.path.read_text() == SETTINGS
    scene.guard.refresh(force=True)
    assert scene.guard.config.digest() == first
    assert [version.is_live for version in scene.desk.configuration().versions] == [True, False, False]
    entry = last(scene)
    assert (entry.action, entry.after, entry.note) == ("restore", first, "too much")
    assert entry.before not in ("", first)


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(scene: Scene, ann: Visitor) -> None:
    first = scene.guard.config.digest()
    changed(scene, SETTINGS.replace("60", "90"))
    seen = scene.desk.configuration().seen
    scene.path.write_text("# bob is at it\n")
    page = ann.submit("/configuration", "/restore", digest=first, seen=seen)
    assert page.status_code == 409
    assert "Somebody was faster" in page.text
    assert scene.path.read_text() == "# bob is at it\n"
    assert "changed since" in last(scene).failed


def test_a_file_that_nobody_kept_cant_be_put_back(scene: Scene, ann: Visitor) -> None:
    page = ann.submit("/configuration", "/restore", digest="0" * 16, seen=scene.desk.configuration().seen)
    assert page.status_code == 404
    assert scene.path.read_text() == SETTINGS


def changed(scene: Scene, text: str) -> None:
    """Change the file, and let the guard read it."""
    scene.path.write_text(text)
    scene.guard.refresh(force=True)


# Forms of others

@pytest.mark.parametrize("token", ["", "x", "0" * 64])
def test_a_form_without_its_token_is_refused(scene: Scene, ann: Visitor, token: str) -> None:
    page = ann.send("/decide", form_token=token, account="copier 1", decision="allow", seen="")
    assert page.status_code == 403
    assert decision_of(scene, "copier 1") is None


def test_a_form_of_another_session_is_refused(scene: Scene, ann: Visitor) -> None:
    bob = Visitor(scene)
    bob.log_in(who="bob")
    theirs = token_of(bob.get("/trail"))
    page = ann.send("/decide", form_token=theirs, account="copier 1", decision="allow", seen="")
    assert page.status_code == 403


def test_a_form_of_another_site_is_refused(scene: Scene, ann: Visitor) -> None:
    token = token_of(ann.get("/trail"))
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://console", 303)):
        page = ann.send("/decide", {"origin": origin}, form_token=token, account="copier 1", decision="allow",
                        seen="")
        assert page.status_code == status


@pytest.mark.parametrize(("headers", "note", "status"), [
    ({"content-type": "application/json"}, "x", 415), ({"content-type": "multipart/form-data"}, "x", 415),
    ({}, "x" * 100_000, 413)])
def test_what_is_no_form_is_refused(scene: Scene, ann: Visitor, headers: dict[str, str], note: str,
                                    status: int) -> None:
    page = ann.send("/note", headers, form_token=token_of(ann.get("/trail")), case=scene.campaign, note=note)
    assert page.status_code == status


def test_a_form_with_a_thousand_fields_is_refused(scene: Scene, ann: Visitor) -> None:
    fields = {f"field{i}": "x" for i in range(1000)}
    assert ann.send("/note", form_token=token_of(ann.get("/trail")), **fields).status_code == 400


# The trail

def test_nothing_is_done_that_the_trail_cant_take(scene: Scene, ann: Visitor) -> None:
    scene.trail._path.unlink()
    scene.trail._path.mkdir()
    page = ann.submit("/trail", "/decide", account="copier 1", decision="block", seen="")
    assert page.status_code == 400
    assert "nothing is done that the trail can&#39;t take" in page.text
    assert decision_of(scene, "copier 1") is None
