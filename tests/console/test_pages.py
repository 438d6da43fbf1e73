from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from tests.console.scene import HOSTILE, KEY, SETTINGS, Scene, Visitor, Watched
from tests.report.test_audit_page import AUDIT
from tests.watch.toys import traffic

from counterclone.compose import audited, latest, mark_keys
from counterclone.compose.latest import Latest
from counterclone.console.app import HEADERS
from counterclone.exchanges import Exchanges
from counterclone.randomness import generator
from counterclone.watch.cases import Evidence
from counterclone.watch.engine import Engine
from counterclone.watch.sources import Traffic

PAGES = ["/", "/accounts", "/campaigns", "/cases", "/cases?open=yes", "/audit", "/tune", "/marks",
         "/configuration", "/report", "/trail"]


class Parts(HTMLParser):
    """The elements of a page.

    Attributes:
        tags: their names, with their attributes.
        text: what is read.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(name="empty")
def fixture_empty(tmp_path: Path) -> Iterator[Scene]:
    """A guard that watches nothing and has seen nothing."""
    scene = Scene(tmp_path, None, "")
    yield scene
    scene.close()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_without_a_script(ann: Visitor, path: str) -> None:
    page = ann.get(path)
    assert page.status_code == 200
    for name, value in HEADERS:
        assert page.headers[name.decode()] == value.decode()
    parts = Parts(page.text)
    assert [tag for tag, _ in parts.tags].count("h1") == 1
    for tag, attributes in parts.tags:
        assert tag not in ("script", "style")
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_a_guard_that_has_seen_nothing_has_every_page(empty: Scene, path: str) -> None:
    ann = Visitor(empty)
    ann.log_in()
    assert ann.get(path).status_code == 200


def test_what_isnt_there_is_told(ann: Visitor) -> None:
    for path in ("/nowhere", "/case?id=00000000", "/case", "/account?name=nobody", "/pictures/abc.svg"):
        page = ann.get(path)
        assert page.status_code == 404, path
        assert "Not found" in page.text
    assert ann.get("/decide").status_code == 405


def test_a_mistake_of_ours_is_told_without_its_insides(scene: Scene, ann: Visitor,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    scene.desk._guard = None  # type: ignore[assignment]
    page = ann.get("/")
    assert page.status_code == 500
    assert "something went wrong here" in page.text
    assert "NoneType" not in page.text
    assert "a page of the console couldn't be made" in caplog.text


# Names that would be scripts

@pytest.mark.parametrize("path", ["/", "/accounts", f"/account?name={quote(HOSTILE)}", "/cases", "/campaigns",
                                  f"/accounts?containing={quote(HOSTILE)}", f"/account?name={quote(HOSTILE)}x"])
def test_a_name_is_never_markup(scene: Scene, ann: Visitor, path: str) -> None:
    assert HOSTILE.partition(">")[0] not in ann.get(path).text
    assert not [tag for tag, _ in Parts(ann.get(path).text).tags if tag == "script"]


def test_a_campaign_shows_hostile_names_as_text(scene: Scene, ann: Visitor) -> None:
    parts = Parts(ann.get(f"/case?id={scene.campaign}").text)
    assert HOSTILE in parts.text
    assert not [tag for tag, attributes in parts.tags if tag == "script" or "onerror" in attributes]


def test_what_people_write_is_never_markup(scene: Scene) -> None:
    mallory = Visitor(scene)
    mallory.log_in(who=HOSTILE)
    mallory.submit("/trail", "/decide", account=HOSTILE, decision="block", seen="", note=HOSTILE)
    scene.path.write_text(f"# {HOSTILE}\n[target]\nepoch = '''{HOSTILE}'''\n" + SETTINGS)
    scene.guard.refresh(force=True)
    latest.save(scene.folder / latest.AUDIT_FILE, Latest(time=1.0, result=msgspec.structs.replace(
        AUDIT, target=HOSTILE, authorized_by=HOSTILE)))
    case = next(case for case in scene.desk.cases() if case.decision == "block")
    for path in (*PAGES, f"/case?id={case.id}", f"/account?name={quote(HOSTILE)}"):
        parts = Parts(mallory.get(path).text)
        assert HOSTILE in parts.text
        assert not [tag for tag, attributes in parts.tags if tag == "script" or "onerror" in attributes]


# Accounts

def names_of(page: str) -> list[str]:
    """The accounts of a list."""
    return [attributes["href"] or "" for tag, attributes in Parts(page).tags
            if tag == "a" and (attributes.get("href") or "").startswith("/account?")]


def test_accounts_come_by_risk_a_page_at_a_time(scene: Scene, ann: Visitor) -> None:
    pages = [ann.get(f"/accounts?page={number}").text for number in range(1, 8)]
    found = [name for page in pages for name in names_of(page)]
    assert len(found) == len(set(found)) == 340
    risks = [float(risk) for page in pages for risk in re.findall(r"</meter> (\d\.\d\d)", page)]
    assert risks == sorted(risks, reverse=True)
    assert sum("copier" in name for name in found[:45]) >= 38
    assert 'rel="prev"' not in pages[0]
    assert 'rel="next"' not in pages[-1]


@pytest.mark.parametrize("page", ["0", "-1", "x", "999999999", "1" * 5000, "²", ""])
def test_any_page_number_is_a_page(ann: Visitor, page: str) -> None:
    assert len(names_of(ann.get(f"/accounts?page={quote(page)}").text)) in (50, 40)


def test_accounts_are_found_by_a_part_of_their_names(ann: Visitor) -> None:
    assert len(names_of(ann.get("/accounts?containing=COPIER").text)) == 39
    assert names_of(ann.get("/accounts?containing=no+such").text) == []
    assert len(names_of(ann.get("/accounts?suspected=yes&containing=copier+1").text)) == 11


def test_an_account_is_explained_with_pictures(ann: Visitor) -> None:
    page = ann.get("/account?name=copier+1").text
    pictures = re.findall(r'src="(/pictures/[0-9a-f]+\.svg)"', page)
    assert len(pictures) == 2
    assert "its queries lie elsewhere" in page
    for path in pictures:
        picture = ann.get(path)
        assert picture.headers["content-type"] == "image/svg+xml"
        assert "sandbox" in picture.headers["content-security-policy"]
        assert picture.text.startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_a_member_of_a_campaign_without_an_alarm_of_its_own_is_suspected(scene: Scene) -> None:
    suspects = scene.desk.accounts("", suspected=True, page=1).rows
    member = next(row for row in suspects if row.alarm_at_query is None)
    assert member.is_member
    assert member.risk == 1.0


# A hundred thousand

def crowd(n: int) -> Traffic:
    """Accounts with five queries each."""
    one = traffic(generator(1, "crowd"), np.full(200, 5))
    parts = [one.numbered(one.accounts + 200 * i) for i in range(n // 200)]
    exchanges = Exchanges(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(one)})
    return Traffic([f"{i:016x}" for i in range(n)], exchanges, [""] * n, [{}] * n)


@pytest.fixture(name="crowded", scope="module")
def fixture_crowded(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    engine = Engine(watched.engine.monitor.reference, None, KEY, false_alarms_per_year=12.0, max_accounts=200_000,
                    tell=lambda accounts, evidence, campaign: None)
    engine.take(crowd(100_000))
    scene = Scene(tmp_path_factory.mktemp("crowded"), Watched(engine, []))
    yield scene
    scene.close()


def test_a_hundred_thousand_accounts_are_shown_fifty_at_a_time(crowded: Scene) -> None:
    ann = Visitor(crowded)
    ann.log_in()
    for path in ("/accounts", "/accounts?page=2000", "/accounts?page=99999", "/accounts?containing=00ff"):
        page = ann.get(path)
        assert 0 < len(names_of(page.text)) <= 50
        assert len(page.content) < 100_000
    assert "100,000 of 100,000 accounts, page 1 of 2000" in ann.get("/accounts").text


@pytest.mark.parametrize("path", ["/accounts", "/"])
def test_a_page_of_a_hundred_thousand_accounts_takes_a_fraction_of_a_second(crowded: Scene, path: str) -> None:
    ann = Visitor(crowded)
    ann.log_in()
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        assert ann.get(path).status_code == 200
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.3


# Cases

def test_the_newest_cases_are_shown_and_the_open_ones_can_be(scene: Scene, ann: Visitor) -> None:
    ann.submit("/trail", "/decide", account="copier 1", decision="block", seen="")
    assert len(names_of(ann.get("/cases").text)) == len(names_of(ann.get("/cases?open=yes").text)) + 1
    for number in range(200):
        scene.guard.watching.tell([f"more {number}"], Evidence(kind="spending"))
    page = ann.get("/cases?open=yes").text
    assert len(names_of(page)) == 200
    assert "more 199" in page
    assert "41 older ones are in" in page


# Audits and marks

def test_the_last_audit_is_shown_and_says_whether_it_is_of_these_settings(scene: Scene, ann: Visitor) -> None:
    assert "Nothing was found yet" in ann.get("/audit").text
    for surface, is_stale in (("0123456789abcdef", True), (audited.key_of([], []), False)):
        latest.save(scene.folder / latest.AUDIT_FILE, Latest(time=1.0, surface=surface, result=AUDIT))
        page = ann.get("/audit").text
        assert "What a copy of mymodel:predict costs" in page
        assert page.count("/pictures/") == 2
        assert ("under other policies than those in force" in page) is is_stale


def test_a_broken_result_is_told(scene: Scene, ann: Visitor) -> None:
    (scene.folder / latest.AUDIT_FILE).write_text("{")
    page = ann.get("/audit")
    assert page.status_code == 400
    assert "run it again, or remove the file" in page.text


def test_marks_and_commitments_are_shown(tmp_path: Path) -> None:
    scene = Scene(tmp_path, None, '[[mark]]\nkind = "triggers"\nrate = 0.01\n')
    ann = Visitor(scene)
    ann.log_in()
    page = ann.get("/marks").text
    (committed,) = mark_keys.commitments(str(scene.path))
    assert committed.digest in page
    assert "triggers (rate = 0.01" in page
    scene.close()
