from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from counterclone import Guard
from counterclone.compose.watching import Watching
from counterclone.errors import ConfigError
from counterclone.guard import asgi
from counterclone.guard.identity import account_id
from counterclone.guard.metrics import Metrics
from counterclone.journal import Exchange, to_batch
from counterclone.populations import beds, honest
from counterclone.queries import Features
from counterclone.randomness import Prf
from counterclone.watch.cases import CASES_FILE, CaseFile, Evidence
from counterclone.watch.notices import Notice, Notifier
from counterclone.watch.sources import Traffic

NOON = 1_764_158_400.0
DAY = 86_400.0
SETTINGS = """
[guard]
limit_queries_per_minute = 0
tier_step_seconds = 0.05
[[guard.tier]]
risk = 0.6
[[guard.tier.policy]]
kind = "labels"
[watch]
benign = "benign.jsonl"
false_alarms_per_year = 1_000_000
[[watch.detector]]
kind = "typicality"
"""


def asked(account: str, *, time: float = NOON, n_rows: int = 1) -> pa.RecordBatch:
    return to_batch([Exchange(
        time=time, account=account, account_class="", dialect="predict", model="", decision="served", status=200,
        digests=range(n_rows), labels=np.zeros(n_rows, int), margins=np.full(n_rows, 0.5), n_classes=3, bits=8.0,
        features=np.ones((n_rows, 4)))])


class Engine:
    """What watches, as a test drives it."""

    problems = ("a trouble",)

    def __init__(self) -> None:
        self.learnt: list[str] = []
        self.may_search = threading.Event()
        self.watching: Watching | None = None
        self.fails = False

    @property
    def monitor(self) -> Engine:
        return self

    def risk(self, account: str) -> float:
        return 0.2

    def take(self, traffic: Traffic) -> None:
        self.learnt += traffic.names

    def search(self) -> None:
        assert self.may_search.wait(10)
        if self.fails:
            raise ValueError("no graph")
        self.learnt.append("search")
        if self.watching is not None:
            self.watching.tell(["ann", "bob"], Evidence(kind="campaign", risk=0.9), "c1")

    def save(self, path: Path) -> None:
        path.write_text("counted")

    def load(self, path: Path) -> None:
        self.learnt.append(path.read_text())


class Kept:
    """Where notices go."""

    name = "kept"

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.cases = CaseFile(folder / CASES_FILE)
        self.kept = Kept()
        self.watching = Watching(self.cases, Metrics(), Notifier([self.kept]), folder / "state.npz")
        self.engine = Engine()
        self.engine.watching = self.watching
        self.watching.resume(self.engine)


@pytest.fixture(name="scene")
def fixture_scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# Campaigns

def test_campaigns_are_looked_for_once_for_each_day_that_ended(scene: Scene) -> None:
    scene.engine.may_search.set()
    for account, time in [("a", NOON), ("b", NOON + 1), ("c", NOON + DAY), ("d", NOON + DAY + 1)]:
        scene.watching.take(asked(account, time=time))
        if scene.watching._search is not None:
            scene.watching._search.join()
    assert scene.engine.learnt == ["a", "b", "search", "c", "d"]


def test_the_journal_goes_on_while_campaigns_are_looked_for(scene: Scene) -> None:
    scene.watching.take(asked("a"))
    for number in range(5):
        scene.watching.take(asked(f"b{number}", time=NOON + DAY))
    assert scene.engine.learnt == ["a"]
    scene.engine.may_search.set()
    scene.watching.close()
    assert scene.engine.learnt == ["a", "search", *(f"b{number}" for number in range(5))]


def test_a_campaigns_risk_is_that_of_its_accounts_also_after_a_new_start(scene: Scene, tmp_path: Path) -> None:
    scene.engine.may_search.set()
    assert scene.watching.risk("ann") == 0.2
    scene.watching.take(asked("ann"))
    scene.watching.take(asked("ann", time=NOON + DAY))
    scene.watching.close()
    assert [scene.watching.risk(account) for account in ("ann", "bob", "cat")] == [0.9, 0.9, 0.2]
    case, = scene.cases.all()
    assert case.accounts == ("ann", "bob")
    notice, = scene.kept.notices
    assert (notice.type, notice.principal) == ("campaign.alarm", "c1")
    assert [Scene(tmp_path).watching.risk(account) for account in ("ann", "cat")] == [0.9, 0.2]


def test_a_search_that_fails_is_a_trouble_and_nothing_else(scene: Scene) -> None:
    scene.engine.fails = True
    scene.engine.may_search.set()
    for day in range(2):
        scene.watching.take(asked("a", time=NOON + day * DAY))
    assert scene.watching._search is not None
    scene.watching._search.join()
    assert scene.watching.troubles() == ["campaigns couldn't be looked for (ValueError: no graph)", "a trouble"]
    scene.engine.fails = False
    scene.watching.take(asked("b", time=NOON + 2 * DAY))
    scene.watching.close()
    assert scene.engine.learnt == ["a", "a", "search", "b"]
    assert scene.watching.troubles() == ["a trouble"]


# From one start to the next

def test_what_was_counted_outlives_the_guard(scene: Scene, tmp_path: Path) -> None:
    scene.watching.close()
    assert (tmp_path / "state.npz").stat().st_mode & 0o777 == 0o600
    assert Scene(tmp_path).engine.learnt == ["counted"]


def test_a_disk_that_is_full_loses_what_was_counted_and_no_more(scene: Scene, tmp_path: Path,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.npz").mkdir()
    scene.watching.close()
    assert any("begins anew at the next start" in message for message in caplog.messages)


# Notices

def test_an_alarm_is_told_once_and_spending_each_day(scene: Scene) -> None:
    alarm, spending = Evidence(kind="alarm", risk=1.0), Evidence(kind="spending", queries=5)
    for evidence in (alarm, alarm, spending, spending):
        scene.watching.tell(["ann"], evidence)
    scene.watching.close()
    assert [notice.type for notice in scene.kept.notices] == ["account.alarm", "account.spending",
                                                              "account.spending"]


# The whole of it

class Api:
    """A guard in process before a model of digits."""

    def __init__(self, folder: Path) -> None:
        bed = beds.load("digits")

        async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            rows = np.array(orjson.loads((await receive())["body"])["instances"], dtype=np.float64)
            body = orjson.dumps({"predictions": bed.answer(rows).tolist()})
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})

        self.guard = Guard(app, folder / "counterclone.toml", registry=CollectorRegistry())

    def ask(self, key: str, rows: Features) -> Features:
        return asyncio.run(self._ask(key, orjson.dumps({"instances": rows.tolist()})))

    async def _ask(self, key: str, body: bytes) -> Features:
        got: list[asgi.Message] = []

        async def receive() -> asgi.Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: asgi.Message) -> None:
            got.append(message)

        await self.guard({
            "type": "http", "method": "POST", "path": "/predict", "query_string": b"", "client": None,
            "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + key.encode())]},
            receive, send)
        assert got[0]["status"] == 200
        return np.array(orjson.loads(got[1]["body"])["predictions"], dtype=np.float64)


@pytest.fixture(name="benign", scope="module")
def fixture_benign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benign") / "benign.jsonl"
    honest.population(beds.load("digits"), 500, seed=3, kinds={"casual": 1.0}, raw=True).write_lines(path)
    return path


def is_labels(rows: Features) -> bool:
    return set(rows.ravel().tolist()) <= {0.0, 1.0}


def test_who_asks_what_nobody_honest_asks_gets_labels(benign: Path, tmp_path: Path) -> None:
    shutil.copy(benign, tmp_path)
    (tmp_path / "counterclone.toml").write_text(SETTINGS)
    (tmp_path / "counterclone.key").write_text("0123456789abcdef" * 4)
    (tmp_path / "counterclone.key").chmod(0o600)
    names = Prf.from_secret("0123456789abcdef" * 4).subkey("accounts")
    people = honest.population(beds.load("digits"), 12, seed=4, part="evaluation", kinds={"casual": 1.0}, raw=True)
    noise = np.linspace(0, 16, 64 * 150).reshape(150, 64)[:, ::-1]
    api = Api(tmp_path)
    try:
        assert people.inputs is not None
        for number in range(len(people)):
            own = people.inputs[people.exchanges.accounts == number]
            for start in range(0, min(len(own), 60), 5):
                api.ask(f"person {number}", own[start:start + 5])
        for start in range(0, len(noise), 5):
            api.ask("copier", noise[start:start + 5])
        journal = api.guard._options.journal
        assert journal is not None
        assert journal.flush()
        risks = {key: api.guard.watching.risk(account_id(names, f"key:{key}"))
                 for key in ("copier", *(f"person {number}" for number in range(len(people))))}
        assert max(risks, key=lambda key: risks[key]) == "copier"
        least = min(risks, key=lambda key: risks[key])
        for key in ("copier", least):
            for _ in range(3):
                api.ask(key, noise[:1])
                threading.Event().wait(0.05)
        for _ in range(100):  # a tier is looked at when its moment comes, later on a machine that is busy
            if is_labels(api.ask("copier", noise[:20])):
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("the copier's tier never came")
        assert not is_labels(api.ask(least, noise[:20]))
    finally:
        api.guard.close()
    assert (tmp_path / "counterclone.watch-0.npz").exists()


def test_honest_traffic_that_is_not_there_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    (tmp_path / "counterclone.toml").write_text(SETTINGS)
    for _ in range(2):  # the first takes no worker's place
        with pytest.raises(ConfigError, match=r"\[watch\] benign: .*not found"):
            Api(tmp_path)


@pytest.mark.parametrize("n_lines", [0, 10])
def test_with_little_honest_traffic_the_guard_serves_and_says_so(
        benign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_lines: int) -> None:
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    (tmp_path / "counterclone.toml").write_text(SETTINGS)
    (tmp_path / "benign.jsonl").write_text("".join(benign.read_text().splitlines(keepends=True)[:n_lines]))
    api = Api(tmp_path)
    api.ask("ann", np.zeros((5, 64)))
    api.guard.close()
    assert any("need honest accounts to compare with" in trouble for trouble in api.guard.troubles())
    assert not any("Error" in trouble for trouble in api.guard.troubles())
