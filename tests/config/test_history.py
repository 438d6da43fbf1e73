from __future__ import annotations

import json
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from counterclone.config import Config, Guard, History, Journal, read_live

FIRST, SECOND = Config(), Config(guard=Guard(enforce=False))


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_configuration_has_a_beginning_and_an_end(path: Path) -> None:
    history = History(path, worker=3)
    history.begin(FIRST, 10.0)
    history.begin(SECOND, 20.5)
    history.end(30.0)
    history.end(40.0)  # nothing is in force any more
    assert [{key: value for key, value in line.items() if key != "config"} for line in lines(path)] == [
        {"time": 10.0, "event": "live", "digest": FIRST.digest(), "worker": 3},
        {"time": 20.5, "event": "ended", "digest": FIRST.digest(), "worker": 3},
        {"time": 20.5, "event": "live", "digest": SECOND.digest(), "worker": 3},
        {"time": 30.0, "event": "ended", "digest": SECOND.digest(), "worker": 3}]
    assert history.last_error is None


def test_the_settings_stand_beside_their_digest(path: Path) -> None:
    History(path, worker=0).begin(SECOND, 1.0)
    (line,) = lines(path)
    assert line["config"]["guard"]["enforce"] is False
    assert line["config"]["journal"] == {name: getattr(Journal(), name) for name in Journal.__struct_fields__}


def test_the_past_is_kept_and_nobody_else_reads_it(path: Path) -> None:
    for number in range(3):
        History(path, worker=number).begin(FIRST, float(number))
    assert [line["worker"] for line in lines(path)] == [0, 1, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_written_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = History(path / "nowhere", worker=0)
    history.begin(FIRST, 1.0)
    history.begin(SECOND, 2.0)
    assert history.last_error == "No such file or directory"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}/nowhere: No such file or directory; what was in force isn't recorded"]
    path.mkdir()
    history.begin(FIRST, 3.0)
    assert history.last_error is None
    assert [line["event"] for line in lines(path / "nowhere")] == ["ended", "live"]


def test_a_full_disk_is_told() -> None:
    history = History(Path("/dev/full"), worker=0)
    history.begin(FIRST, 1.0)
    assert history.last_error == "No space left on device"


Limit = Callable[[int], None]


@pytest.fixture(name="limit")
def fixture_limit() -> Iterator[Limit]:
    """Lets no file get longer than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_was_torn_spoils_no_other(path: Path, limit: Limit) -> None:
    history = History(path, worker=0)
    history.begin(FIRST, 1.0)
    kept = path.stat().st_size
    limit(kept + 150)
    history.begin(SECOND, 2.0)
    assert history.last_error == "the disk took half a line"
    limit(1 << 20)
    history.end(3.0)
    assert history.last_error is None
    written = path.read_bytes()
    assert json.loads(written[:kept])["event"] == "live"
    assert json.loads(written.splitlines()[-1])["digest"] == SECOND.digest()


def test_the_file_itself_is_kept_where_there_is_one(path: Path) -> None:
    history = History(path, worker=0)
    history.begin(FIRST, 1.0, "# why\n")
    history.begin(SECOND, 2.0)
    assert [line.get("text") for line in lines(path) if line["event"] == "live"] == ["# why\n", None]


def test_workers_and_new_starts_that_go_on_with_it_are_one(path: Path) -> None:
    begun = [(FIRST, 0, 1.0), (FIRST, 1, 2.0), (SECOND, 1, 5.0), (SECOND, 0, 4.0), (FIRST, 0, 6.0)]
    for config, worker, time in begun:
        History(path, worker=worker).begin(config, time)
    assert [(event["digest"], event["time"]) for event in read_live(path)] == [
        (FIRST.digest(), 1.0), (SECOND.digest(), 4.0), (FIRST.digest(), 6.0)]
    assert read_live(path / "nowhere") == []
