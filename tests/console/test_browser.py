"""The console in a real browser: two clicks, the keyboard, no script, and what axe finds."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright
from tests.console.scene import HOSTILE, TOKEN, Scene, Watched
from tests.report.test_audit_page import AUDIT

from counterclone.compose import latest
from counterclone.compose.latest import Latest
from counterclone.guard.sockets import listen
from counterclone.report.chromium import NAMES

PAGES = ["/", "/accounts?containing=copier+1", "/account?name=copier+1", "/campaigns", "/cases", "/audit", "/tune",
         "/marks", "/configuration", "/report", "/trail"]
SERIOUS = ("serious", "critical")


class Site:
    """A console that serves on a port, and the browser's way to it."""

    def __init__(self, scene: Scene, browser: Browser) -> None:
        self.scene = scene
        self.browser = browser
        self._socket = listen("127.0.0.1:0", "the test")
        self._server = uvicorn.Server(uvicorn.Config(scene.admin, lifespan="off", log_config=None))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def visitor(self, **options: object) -> Page:
        """A page of somebody who has logged in by hand."""
        context: BrowserContext = self.browser.new_context(base_url=self.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Overview").wait_for()
        return page

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(name="browser", scope="module")
def fixture_browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and not os.environ.get("CI"):
        pytest.skip("Chromium isn't installed; CI has it")
    assert path is not None, f"none of {', '.join(NAMES)} is installed; `apt-get install chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(name="site", scope="module")
def fixture_site(watched: Watched, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    scene = Scene(folder, watched)
    latest.save(folder / latest.AUDIT_FILE, Latest(time=1.0, surface="0123456789abcdef", result=AUDIT))
    site = Site(scene, browser)
    yield site
    site.close()
    scene.close()


def test_who_is_copying_my_model_is_two_clicks_away(site: Site) -> None:
    page = site.visitor()
    section = page.get_by_role("region", name="Who is copying my model?")
    section.get_by_role("row").filter(has_text="campaign").get_by_role("link").first.click()
    page.get_by_role("heading", name="Campaign").wait_for()
    assert "40 of 42 accounts share 1 ip" in page.inner_text("main")
    page.get_by_role("link", name="copier 1", exact=True).click()
    page.get_by_role("heading", name="Account copier 1").first.wait_for()
    text = page.inner_text("main")
    assert "yes, at query" in text
    assert "its queries lie elsewhere" in text
    assert "An alarm says that an account isn't like the honest ones" in text


def serious(page: Page, rules: Sequence[str]) -> list[str]:
    """What keeps people from using a page, by the rules of axe that are named, by all of them where none is."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = Axe().run(page, options=options).response
    assert found["passes"]
    return [f"{page.url}: {each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]
            if each["impact"] in SERIOUS]


@pytest.mark.parametrize(("scheme", "paths", "rules"), [
    ("light", PAGES, []), ("dark", ["/", "/account?name=copier+1", "/configuration"], ["color-contrast"])])
def test_everybody_can_use_every_page(site: Site, scheme: str, paths: list[str], rules: list[str]) -> None:
    page = site.visitor(color_scheme=scheme)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    for path in (*paths, f"/case?id={site.scene.campaign}"):
        page.goto(path)
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        problems += serious(page, rules)
    page.get_by_role("button", name="Log out").click()
    problems += serious(page, rules)
    assert problems == []


def test_a_page_that_nobody_can_read_is_found(site: Site) -> None:
    page = site.visitor()
    page.evaluate("document.querySelector('h1').setAttribute('role', 'nonsense')")
    assert any("aria-roles" in problem for problem in serious(page, []))


def test_a_case_goes_from_alarm_to_export_by_the_keyboard_without_a_script(site: Site) -> None:
    page = site.visitor(java_script_enabled=False, accept_downloads=True)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the page"
    page.get_by_role("link", name="Cases", exact=True).press("Enter")
    page.get_by_role("row").filter(has_text="copier 7").get_by_role("link").first.press("Enter")
    page.get_by_label("Note").fill("asked sales, nobody knows them")
    page.get_by_role("button", name="Write it down").press("Enter")
    page.get_by_text("asked sales, nobody knows them").wait_for()
    page.get_by_role("radio", name="block").press("Space")
    page.get_by_label("Why").fill("they never answered")
    page.get_by_role("button", name="Decide").press("Enter")
    page.get_by_text("they never answered").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").press("Enter")
    assert download.value.suggested_filename.endswith(".zip")
    page.get_by_role("link", name="Trail").press("Enter")
    actions = page.locator("tbody tr td:nth-child(3)").all_inner_texts()
    assert actions[:4] == ["export", "decide", "note", "log in"]


def test_a_hostile_name_runs_nothing(site: Site) -> None:
    page = site.visitor()
    said: list[str] = []

    def hear(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", hear)
    page.on("console", lambda message: said.append(message.text))
    page.goto("/accounts?containing=script")
    page.get_by_role("link", name=HOSTILE).click()
    page.get_by_role("heading", name="Decide").wait_for()
    assert HOSTILE in page.inner_text("h1")
    assert said == []
