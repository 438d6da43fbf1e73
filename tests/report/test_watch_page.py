from __future__ import annotations

import io
from pathlib import Path

import pytest

from counterclone.report import watch as report
from counterclone.watch.explanation import Comparison, Explanation, Step
from counterclone.watch.figures import Figure
from counterclone.watch.odometer import Reading
from counterclone.watch.result import Account, Campaign, Watched

QUIET = Account(queries=7, risk=0.0, alarm_at_query=None, p_value=0.5, leaked_bits=7.0, reasons=[],
                first_time=1.76e9, last_time=1.76e9)
LOUD = Account(queries=120, risk=1.0, alarm_at_query=50, p_value=1e-4, leaked_bits=7680.0, reasons=[
    "its queries lie elsewhere (typicality: 0 of 9,999 honest accounts go as far)"], first_time=1.76e9,
    last_time=1.76e9 + 3600)
TOGETHER = Campaign(id="c1", accounts=[f"a{i}" for i in range(50)], queries=1900, risk=1.0, alarm_at_query=1900,
                    p_value=1e-9, reasons=["they share an address"])


def watched(accounts: dict[str, Account], campaigns: tuple[Campaign, ...] = (), n_skipped: int = 0) -> Watched:
    return Watched(false_alarms_per_year=12.0, lines_skipped=n_skipped, accounts=accounts,
                   campaigns=list(campaigns), problems=[])


def printed(found: Watched) -> str:
    file = io.StringIO()
    report.show(found, file)
    return file.getvalue()


def explanation(account: Account = LOUD, *, name: str = "loud", level: float = 1e-3) -> Explanation:
    return Explanation(
        account=name, standing=account, level=level, false_alarms_per_year=12.0, campaigns=[TOGETHER],
        detectors=[Comparison(detector="typicality", words="lie elsewhere", value=9.5, p_value=1e-4,
                              honest=[0.1 * i for i in range(30)], n_honest=9999),
                   Comparison(detector="margin", words="are unsure", value=None, p_value=1.0, honest=[0.0],
                              n_honest=9999)],
        course=[Step(queries=queries, p_value=p_value) for queries, p_value in [(5, 0.4), (10, 0.01), (50, 1e-4)]],
        figures=[Figure(name="different answers", value=3.0, low=1.0, median=2.0, high=2.5),
                 Figure(name="median seconds between queries", value=12345.0, low=1.0, median=2.0, high=1e6)],
        odometer=Reading(queries=110, judged_on=800, fidelity=0.9, fidelity_low=0.875, fidelity_high=0.92,
                         balanced=0.8, control=0.25), problems=[])


def test_the_suspected_come_first_and_reasons_are_short() -> None:
    lines = printed(watched({"quiet": QUIET, "loud": LOUD})).splitlines()
    assert "127 queries of 2 accounts, at 12 false alarms a year" in lines[0]
    assert [line.split()[0] for line in lines[4:6]] == ["loud", "quiet"]
    assert lines[4].split()[:6] == ["loud", "120", "1.00", "at", "50", "0.0001"]
    assert lines[4].rstrip().endswith("its queries lie elsewhere")


def test_campaigns_are_shown_and_their_members_marked() -> None:
    text = printed(watched({"a3": QUIET, "loud": LOUD}, (TOGETHER,)))
    assert "1 campaign: accounts that act as one" in text
    assert "50: a0, a1, a2, a3, a4 and 45" in " ".join(text.split())
    assert any(line.split()[:4] == ["a3", "7", "0.00", "campaign"] for line in text.splitlines())


def test_many_accounts_are_cut_off() -> None:
    text = printed(watched({f"a{i}": QUIET for i in range(80)}, n_skipped=3))
    assert "30 more accounts are in --json." in text
    assert "3 bad lines were skipped." in text


def test_an_explanation_says_what_stands_out() -> None:
    file = io.StringIO()
    report.explain(explanation(), file)
    text = " ".join(file.getvalue().split())
    for part in ("yes, at query 50", "0.0001; an alarm takes 0.001", "campaign c1", "typicality 9.5 0 of 9,999",
                 "agrees on 90.0% (87.5-92.0) of 800 queries of others",
                 "margin - -", "different answers 3 1 to 2.5 2 outside", "12,345 1 to 1,000,000 2"):
        assert part in text


def test_a_page_has_the_pictures_and_escapes_names(tmp_path: Path) -> None:
    report.write(tmp_path / "page.html", explanation(name="<b>loud</b>"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "<b>" not in page
    assert "&lt;b&gt;loud" in page
    assert "currentColor" in page


@pytest.mark.parametrize("level", [0.0, 0.5, 1e-12])
def test_any_level_can_be_drawn(tmp_path: Path, level: float) -> None:
    report.write(tmp_path / "page.html", explanation(level=level))
    assert (tmp_path / "page.html").read_text().count("<svg") == 2
