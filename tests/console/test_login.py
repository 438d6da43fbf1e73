from __future__ import annotations

import pytest
from tests.console.scene import HOSTILE, TOKEN, Scene, Visitor, token_of

from counterclone.console.entrance import SESSION_COOKIE
from counterclone.console.sessions import IDLE_SECONDS, LASTS_SECONDS

PATHS = ["/", "/accounts", "/account?name=x", "/campaigns", "/cases", "/case?id=x", "/audit", "/tune", "/marks",
         "/configuration", "/report", "/trail", "/pictures/abc.svg"]
FORMS = ["/decide", "/note", "/hold", "/export", "/restore", "/logout"]


def is_sent_to_log_in(visitor: Visitor, path: str = "/") -> bool:
    page = visitor.get(path)
    return (page.status_code, page.headers.get("location")) == (303, "/login")


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_a_page_without_the_token(scene: Scene, path: str) -> None:
    assert is_sent_to_log_in(Visitor(scene), path)


@pytest.mark.parametrize("path", FORMS)
def test_nobody_does_anything_without_the_token(scene: Scene, path: str) -> None:
    before = scene.desk.cases()
    page = Visitor(scene).send(path, case=scene.campaign, account="copier 1", decision="allow", seen="", note="x")
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert scene.desk.cases() == before
    assert scene.trail.last() == ([], 0)


def test_health_and_metrics_are_for_everybody(scene: Scene) -> None:
    nobody = Visitor(scene)
    assert [nobody.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]


def test_the_token_opens_it_until_somebody_leaves(scene: Scene) -> None:
    ann = Visitor(scene)
    entered = ann.log_in()
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = next(each for each in entered.headers.get_list("set-cookie") if each.startswith(SESSION_COOKIE))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {each.strip() for each in cookie.split(";")}
    assert ann.get("/").status_code == 200
    stolen = ann.cookies[SESSION_COOKIE]
    assert ann.submit("/", "/logout").headers["location"] == "/login"
    ann.cookies.set(SESSION_COOKIE, stolen)
    assert is_sent_to_log_in(ann)
    entries, _ = scene.trail.last()
    assert [(entry.who, entry.action) for entry in entries] == [("ann", "log out"), ("ann", "log in")]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN.upper(), TOKEN + " ", HOSTILE, "é" * 5000])
def test_a_wrong_token_opens_nothing(scene: Scene, token: str) -> None:
    ann = Visitor(scene)
    page = ann.log_in(token)
    assert page.status_code == 403
    assert "isn&#39;t the token" in page.text
    assert is_sent_to_log_in(ann)
    entry, = scene.trail.last()[0]
    assert (entry.who, entry.action, entry.failed) == ("ann", "log in", "wrong token")


def test_somebody_without_a_name_is_asked_for_one(scene: Scene) -> None:
    ann = Visitor(scene)
    assert ann.log_in(who="  ").status_code == 400
    assert is_sent_to_log_in(ann)


def test_wrong_tokens_take_patience_by_address(scene: Scene) -> None:
    mallory, ann = Visitor(scene, "192.0.2.9"), Visitor(scene)
    assert [mallory.log_in("guess").status_code for _ in range(7)] == [*[403] * 5, 429, 429]
    page = mallory.log_in()
    assert (page.status_code, page.headers["retry-after"]) == (429, "1")
    assert ann.log_in().status_code == 303
    scene.clock.now += 1.1
    assert mallory.log_in("guess").status_code == 403
    assert mallory.log_in().headers["retry-after"] == "2"
    scene.clock.now += 2.1
    assert mallory.log_in().status_code == 303
    assert mallory.log_in("guess").status_code == 403
    assert sum(bool(entry.failed) for entry in scene.trail.last()[0]) == 7


@pytest.mark.parametrize(
    ("step", "steps"), [(IDLE_SECONDS + 1, 1), (IDLE_SECONDS - 1, LASTS_SECONDS // IDLE_SECONDS + 1)],
    ids=["idle", "a day's work"])
def test_a_session_ends(scene: Scene, ann: Visitor, step: float, steps: float) -> None:
    for _ in range(int(steps) - 1):
        scene.clock.now += step
        assert ann.get("/cases").status_code == 200
    scene.clock.now += step
    assert is_sent_to_log_in(ann)


@pytest.mark.parametrize("cookie", ["", "forged", "0" * 64, "x" * 5000])
def test_a_forged_session_is_none(scene: Scene, ann: Visitor, cookie: str) -> None:
    ann.cookies.clear()
    ann.cookies.set(SESSION_COOKIE, cookie)
    assert is_sent_to_log_in(ann)


def test_a_login_form_of_another_page_is_refused(scene: Scene) -> None:
    ann, mallory = Visitor(scene), Visitor(scene)
    theirs = token_of(mallory.get("/login"))
    ann.get("/login")
    for token in ("", "x", theirs):
        assert ann.send("/login", form_token=token, who="ann", token=TOKEN).status_code == 403
    assert is_sent_to_log_in(ann)
    assert Visitor(scene).send("/login", form_token=theirs, who="ann", token=TOKEN).status_code == 403


def test_who_cant_be_written_down_doesnt_come_in(scene: Scene) -> None:
    scene.trail._path.mkdir()
    ann = Visitor(scene)
    page = ann.log_in()
    assert page.status_code == 503
    assert "nothing is done that the trail can&#39;t take" in page.text
    assert is_sent_to_log_in(ann)
