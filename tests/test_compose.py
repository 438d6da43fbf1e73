from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from prometheus_client import CollectorRegistry

from counterclone import compose, config, plugins
from counterclone.budgets import DAY, MINUTE, Limit
from counterclone.config import Config
from counterclone.errors import ConfigError, Unauthenticated
from counterclone.guard.identity import account_id
from counterclone.guard.options import Options
from counterclone.policies.labels import Labels
from counterclone.policies.noise import Noise
from counterclone.policies.rounding import Rounding
from counterclone.policies.truncation import Truncation
from counterclone.queries import Account
from counterclone.randomness import Prf
from counterclone.rules.range import Range
from counterclone.rules.snap import Snap

SECRET = "a secret of the tests"
ROOT_KEY = Prf.from_secret(SECRET)
TOKEN_KEY = "0123456789abcdef0123456789abcdef"
ACME = '''
from counterclone.answers import PerRow
from counterclone.plugins import Spec

class Shaken(Spec, frozen=True):
    """Noise without a grid."""

    may_flip = False
    adds_noise = True
    quantises = False

    def start(self, context):
        return PerRow(lambda rows: rows)

    def bits(self, n_classes):
        return 1.0
'''


def parse(text: str) -> Config:
    return config.parse(tomllib.loads(text), {}, "counterclone.toml")


def options(text: str, folder: Path, worker: int = 0) -> Options:
    """The guard's options, without a journal."""
    read = parse(f"journal.path = ''\n{text}")
    return compose.options(read, folder, CollectorRegistry(), worker=worker)


@pytest.fixture(autouse=True)
def fixture_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_SECRET", SECRET)


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key.encode()}


# What is built from the file

def test_defaults_guard_nothing_but_the_rate(tmp_path: Path) -> None:
    built = options("", tmp_path)
    assert list(built.dialects) == ["anthropic", "openai", "oip", "predict"]
    assert list(built.terms) == [""]
    assert built.terms[""].policies == ()
    assert built.terms[""].limits == (Limit("limit_queries_per_minute", "queries", 600.0, MINUTE),)
    assert (built.rules, built.total_limits, built.journal) == ((), (), None)
    assert (built.enforce, built.blocks_unknown, built.blocks_uncleaned) == (True, True, True)
    assert (built.scores, built.paths, built.limit_body_bytes) == ("", ("*",), 10_000_000)


def test_policies_and_rules_are_built_in_file_order(tmp_path: Path) -> None:
    built = options("""
        [[guard.policy]]
        kind = "truncation"
        top_k = 2
        [[guard.policy]]
        kind = "noise"
        scale = 1
        [[guard.policy]]
        kind = "rounding"
        decimals = 1
        [[guard.rule]]
        kind = "snap"
        step = 0.5
        [[guard.rule]]
        kind = "range"
        low = 0
        high = 1
        """, tmp_path)
    assert built.terms[""].policies == (Truncation(top_k=2), Noise(scale=1.0), Rounding(decimals=1))
    assert built.rules == (Snap(step=0.5), Range(low=0.0, high=1.0))


def test_settings_reach_the_guard(tmp_path: Path) -> None:
    built = options("""
        [target]
        scores = "probabilities"
        [guard]
        enforce = false
        unknown = "pass"
        on_error = "pass"
        paths = ["/v2/*"]
        limit_body_bytes = 5
        """, tmp_path)
    assert (built.enforce, built.blocks_unknown, built.blocks_uncleaned) == (False, False, False)
    assert (built.scores, built.paths, built.limit_body_bytes) == ("probabilities", ("/v2/*",), 5)


@pytest.mark.parametrize(("kind", "kinds"), [
    ("auto", ["anthropic", "openai", "oip", "predict"]), ("predict", ["predict"]), ("oip", ["oip"])])
def test_dialects_are_tried_in_order(kind: str, kinds: list[str]) -> None:
    assert list(compose.dialects(kind)) == kinds


def test_a_dialect_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"\[target\] dialect: there is no 'openia' among the dialects"):
        compose.dialects("openia")


def test_noise_belongs_to_the_secret_the_epoch_and_the_model(tmp_path: Path) -> None:
    digests = [options(f"target.epoch = '{epoch}'", tmp_path).noise(model).digest(b"x")
               for epoch, model in [("1", "a"), ("1", "b"), ("2", "a"), ("1", "a")]]
    assert len(set(digests)) == 3
    assert digests[0] == digests[3] == ROOT_KEY.subkey("noise").subkey("1/a").digest(b"x")


def test_a_journal_is_kept_where_the_file_says(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    built = compose.options(parse("journal.path = 'exchanges'"), tmp_path, registry)
    assert built.journal is not None
    built.journal.close()
    assert registry.get_sample_value("counterclone_events_flushed_total") == 0


# Noise needs a grid

@pytest.fixture(name="shaken")
def fixture_shaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed policy of somebody else that adds noise and nothing after it."""
    (tmp_path / "acme_noise.py").write_text(ACME)
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[counterclone.policies]\nshaken = acme_noise:Shaken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load.cache_clear()
    plugins._entry_points.cache_clear()
    yield
    plugins.load.cache_clear()
    plugins._entry_points.cache_clear()


@pytest.mark.usefixtures("shaken")
@pytest.mark.parametrize("following", [
    [], [{"kind": "temperature", "temperature": 2.0}], [{"kind": "truncation", "top_k": 2}],
    [{"kind": "temperature", "temperature": 2.0}, {"kind": "rounding", "decimals": 1}],
], ids=["nothing", "temperature", "truncation", "rounding later"])
def test_noise_without_a_grid_is_refused(following: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.policies([{"kind": "shaken"}, *following], "[[guard.policy]]")
    assert caught.value.problems == (
        "[[guard.policy]]: 'shaken' adds noise that differences inside a cell of equal queries would cancel; "
        "put `rounding` after it",)


@pytest.mark.usefixtures("shaken")
@pytest.mark.parametrize("following", [
    {"kind": "rounding", "decimals": 1}, {"kind": "rounding", "significant_bits": 2}, {"kind": "labels"},
    {"kind": "noise", "scale": 1.0},
], ids=["decimals", "bits", "labels", "noise of ours"])
def test_a_grid_after_noise_is_enough(following: dict[str, Any]) -> None:
    assert len(compose.policies([{"kind": "shaken"}, following], "[[guard.policy]]")) == 2


def test_our_noise_has_its_own_grid() -> None:
    tables = [{"kind": "noise", "scale": 1.0}, {"kind": "temperature", "temperature": 2.0}]
    assert compose.policies(tables[:1], "here") == (Noise(scale=1.0),)
    assert len(compose.policies(tables, "here")) == 2


@pytest.mark.usefixtures("shaken")
def test_the_check_finds_noise_without_a_grid_in_a_class() -> None:
    read = parse("accounts.class = [{name = 'a', accounts = [], policies = [{kind = 'shaken'}]}]")
    with pytest.raises(ConfigError, match=r"^\[\[accounts.class\]\] 'a': 'shaken' adds noise"):
        compose.check(read)


# Account classes

CLASSES = """
[guard]
limit_queries_per_minute = 60
limit_queries_per_day = 1000
[[guard.policy]]
kind = "labels"
[[accounts.class]]
name = "base"
accounts = ["key:base"]
[[accounts.class]]
name = "free"
accounts = ["key:free"]
limit_queries_per_minute = 0
limit_queries_per_day = 5
limit_leaked_bits_per_day = 7
policies = "none"
[[accounts.class]]
name = "own"
accounts = ["key:own", "key:other"]
policies = [{ kind = "rounding", decimals = 3 }]
"""


def test_a_class_has_its_own_policies_and_limits(tmp_path: Path) -> None:
    terms = options(CLASSES, tmp_path).terms
    minute = Limit("limit_queries_per_minute", "queries", 60.0, MINUTE)
    day = Limit("limit_queries_per_day", "queries", 1000.0, DAY)
    policies: dict[str, tuple[object, ...]] = {name: each.policies for name, each in terms.items()}
    assert policies == {"": (Labels(),), "base": (Labels(),), "free": (), "own": (Rounding(decimals=3),)}
    assert terms[""].limits == terms["base"].limits == terms["own"].limits == (minute, day)
    assert terms["free"].limits == (day._replace(amount=5.0),
                                    Limit("limit_leaked_bits_per_day", "bits", 7.0, DAY))


def test_an_account_is_in_the_class_that_names_it(tmp_path: Path) -> None:
    who = options(CLASSES, tmp_path).identity
    found = {key: who.account(bearer(key), "").account_class for key in ("base", "free", "own", "other", "new")}
    assert found == {"base": "base", "free": "free", "own": "own", "other": "own", "new": ""}


def test_an_account_is_named_by_the_secret(tmp_path: Path) -> None:
    name = account_id(ROOT_KEY.subkey("accounts"), "key:abc")
    assert options("", tmp_path).identity.account(bearer("abc"), "") == Account(name)


IN_TWO = """
[[accounts.class]]
name = "a"
accounts = ["key:x", "key:sk-very-secret"]
[[accounts.class]]
name = "b"
accounts = ["key:y", "{again}"]
"""


@pytest.mark.parametrize("again", ["key:sk-very-secret", "account:{id}"], ids=["by name", "by id"])
def test_an_account_in_two_classes_is_refused_without_its_name(tmp_path: Path, again: str) -> None:
    account = account_id(ROOT_KEY.subkey("accounts"), "key:sk-very-secret")
    text = IN_TWO.format(again=again.format(id=account))
    with pytest.raises(ConfigError) as caught:
        options(text, tmp_path)
    assert caught.value.problems == (
        "[[accounts.class]]: account 2 of 'b' is in 'a' too; leave it in one",)


def test_an_account_twice_in_one_class_is_no_mistake(tmp_path: Path) -> None:
    text = "accounts.class = [{name = 'a', accounts = ['key:x', 'key:x']}]"
    assert options(text, tmp_path).identity.account(bearer("x"), "").account_class == "a"


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "accounts.class = [{name = 'a', accounts = ['key:x']}, {name = 'a', accounts = ['key:y']}]"
    with pytest.raises(ConfigError) as caught:
        options(text, tmp_path)
    assert caught.value.problems == (
        "[[accounts.class]]: two classes are named 'a'; give one another name",)


def test_the_check_reports_all_that_cannot_work_together() -> None:
    text = IN_TWO.format(again="key:x") + "[guard]\nworkers = 8\nlimit_queries_per_minute = 3\n" \
        "limit_total_queries_per_day = 2"
    with pytest.raises(ConfigError) as caught:
        compose.check(parse(text))
    assert caught.value.problems == (
        "[guard] limit_queries_per_minute = 3 can't be split between 8 workers; raise it, set [guard] "
        "workers lower, or let them count together with [store]",
        "[guard] limit_total_queries_per_day = 2 can't be split between 8 workers; raise it, set [guard] "
        "workers lower, or let them count together with [store]",
        "[[accounts.class]]: account 2 of 'b' is in 'a' too; leave it in one")


def test_the_check_needs_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERCLONE_SECRET")
    compose.check(parse(CLASSES))
    assert list(tmp_path.iterdir()) == []


# Limits

def test_workers_share_the_limits(tmp_path: Path) -> None:
    built = options("""
        [guard]
        workers = 4
        limit_queries_per_minute = 600
        limit_leaked_bits_per_day = 10
        limit_total_queries_per_minute = 1000
        limit_total_queries_per_day = 4
        """, tmp_path, worker=3)
    assert [limit.amount for limit in built.terms[""].limits] == [150.0, 2.5]
    assert [limit.amount for limit in built.total_limits] == [250.0, 1.0]
    assert [limit.period_seconds for limit in built.total_limits] == [MINUTE, DAY]


@pytest.mark.parametrize(("text", "where"), [
    ("guard = {workers = 8, limit_queries_per_day = 7}", "[guard] limit_queries_per_day = 7"),
    ("guard = {workers = 2, limit_leaked_bits_per_day = 1}", "[guard] limit_leaked_bits_per_day = 1"),
    ("guard = {workers = 2, limit_total_queries_per_minute = 1}", "[guard] limit_total_queries_per_minute = 1"),
    ("guard.workers = 2\naccounts.class = [{name = 'a', accounts = [], limit_queries_per_day = 1}]",
     "[[accounts.class]] 'a' limit_queries_per_day = 1"),
], ids=["queries", "bits", "total", "a class's"])
def test_a_limit_that_cannot_be_split_is_refused(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(text, tmp_path)
    line, = caught.value.problems
    assert line.startswith(f"{where} can't be split between ")
    assert line.endswith(" workers; raise it, set [guard] workers lower, or let them count together with [store]")


@pytest.mark.parametrize(("text", "seconds"), [
    ("", 3600.0), ("guard.limit_queries_per_day = 5", DAY), ("guard.limit_leaked_bits_per_day = 5", DAY),
    ("accounts.class = [{name = 'a', accounts = [], limit_queries_per_day = 1}]", DAY),
], ids=["by the minute", "by the day", "bits", "a class's"])
def test_an_open_key_keeps_its_place_until_every_limit_has_refilled(tmp_path: Path, text: str,
                                                                    seconds: float) -> None:
    assert options(text, tmp_path).identity._table._ttl_seconds == seconds


def test_no_limit_can_be_split(tmp_path: Path) -> None:
    assert options("guard = {workers = 9, limit_queries_per_minute = 0}", tmp_path).terms[""].limits == ()


# Where names come from

def test_listed_keys_are_those_of_the_file(tmp_path: Path) -> None:
    read = parse("accounts = {api_keys = 'listed', keys_file = 'ours.json'}")
    key = compose.key_ring(read, tmp_path).create("alice")
    who = options("accounts = {api_keys = 'listed', keys_file = 'ours.json'}", tmp_path).identity
    assert (tmp_path / "ours.json").is_file()
    assert who.account(bearer(key), "").id
    with pytest.raises(Unauthenticated):
        who.account(bearer("another"), "")


def test_a_damaged_key_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "counterclone.keys.json").write_text("[{")
    with pytest.raises(ConfigError, match=r"counterclone.keys.json: .*; expected a key file"):
        options("accounts.api_keys = 'listed'", tmp_path)


def test_a_header_counts_from_the_trusted_networks(tmp_path: Path) -> None:
    who = options("accounts = {source = 'header', header = 'X-User', trusted_proxies = ['10.0.0.0/8']}",
                  tmp_path).identity
    assert who.account({b"x-user": b"alice"}, "10.1.2.3").id
    with pytest.raises(Unauthenticated):
        who.account({b"x-user": b"alice"}, "127.0.0.1")


TOKENS = "accounts = {source = 'jwt', jwt_key_env = 'THEIR_KEY', jwt_audience = 'api'}"


def test_tokens_are_verified_with_the_variables_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", TOKEN_KEY)
    who = options(TOKENS, tmp_path).identity
    assert who.account(bearer(jwt.encode({"sub": "alice", "aud": "api"}, TOKEN_KEY)), "") == Account(
        account_id(ROOT_KEY.subkey("accounts"), "sub:alice"))
    with pytest.raises(Unauthenticated):
        who.account(bearer(jwt.encode({"sub": "alice", "aud": "other"}, TOKEN_KEY)), "")


@pytest.mark.parametrize(("text", "key", "message"), [
    (TOKENS, "",
     "[accounts] jwt_key_env: the variable THEIR_KEY isn't set; put the tokens' secret or public key in it"),
    (TOKENS.replace("}", ", jwt_algorithms = ['RS256']}"), "no key",
     "[accounts] jwt_key_env: the tokens' key doesn't fit RS256 (Could not parse the provided public key); "
     "expected a secret for HS algorithms, a public key in PEM for the others"),
], ids=["unset", "of another kind"])
def test_a_key_that_verifies_nothing_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str,
                                                  key: str, message: str) -> None:
    monkeypatch.setenv("THEIR_KEY", key)
    with pytest.raises(ConfigError) as caught:
        options(text, tmp_path)
    assert caught.value.problems == (message,)


# The middleware

async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody calls")


@pytest.fixture(name="write")
def fixture_write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "counterclone.toml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def guard(path: Path | str | None) -> compose.Guard:
    return compose.Guard(app, path, registry=CollectorRegistry())


def test_a_second_guard_of_one_file_is_refused(write: Callable[[str], Path]) -> None:
    path = write("journal.path = ''")
    first = guard(path)
    with pytest.raises(ConfigError, match="guard with this file already"):
        guard(path)
    first.close()
    guard(path).close()


def test_the_file_may_allow_more_guards(write: Callable[[str], Path]) -> None:
    path = write("journal.path = ''\nguard.workers = 2")
    guards = [guard(path) for _ in range(2)]
    for each in guards:
        each.close()


def test_a_guard_that_could_not_start_takes_no_place(write: Callable[[str], Path]) -> None:
    path = write("journal.path = ''\nguard.workers = 1\naccounts = {source = 'jwt', jwt_key_env = 'NOWHERE'}")
    with pytest.raises(ConfigError, match="NOWHERE") as caught:
        guard(path)
    write("journal.path = ''")
    guard(path).close()
    assert caught.value.problems  # the traceback, and the guard in it, are still there


@pytest.mark.parametrize("how", ["text", "path", "variable", "folder"])
def test_the_file_is_found(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    path = write("journal.path = ''\ntarget.epoch = 'found'")
    monkeypatch.chdir(path.parent)
    if how == "variable":
        monkeypatch.setenv("COUNTERCLONE_CONFIG", str(path))
    named: dict[str, Path | str] = {"text": str(path), "path": path}
    built = guard(named.get(how))
    assert built.config.target.epoch == "found"
    assert built.troubles() == []
    built.close()


def test_what_the_journal_cannot_do_is_a_trouble(write: Callable[[str], Path]) -> None:
    built = guard(write("journal.path = 'exchanges'"))
    assert built.troubles() == []
    built.close()
    built.close()
