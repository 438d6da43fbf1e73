from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from counterclone import config, plugins
from counterclone.config import AccountClass, Accounts, Config, Guard, Journal, Target, Tier, Watch
from counterclone.errors import ConfigError

ROOT = Path(__file__).parents[1]
EVERYTHING = """
[target]
task = "classifier"
dialect = "oip"
scores = "probabilities"
epoch = "2025-11"
account_in = "vllm_xargs"
api_key_env = "MY_API_KEY"
authorized_by = "the owner"
price_usd_per_1000_queries = 1.5
price_usd_per_million_tokens_in = 3
price_usd_per_million_tokens_out = 15
training_cost_usd = 250_000

[accounts]
source = "jwt"
header = "x-user"
trusted_proxies = ["10.0.0.0/8"]
api_keys = "listed"
keys_file = "keys.json"
open_keys_max = 5
jwt_key_env = "MY_KEY"
jwt_algorithms = ["RS256", "PS256"]
jwt_claim = "client_id"
jwt_audience = "api"
terms = "2026-03"
terms_header = "x-terms"
secret_env = "MY_SECRET"

[[accounts.class]]
name = "evaluators"
accounts = ["key:cc_live_7f3a12bc", "account:0123456789abcdef"]
limit_queries_per_minute = 0
limit_queries_per_day = 200_000
limit_leaked_bits_per_day = 1_000
limit_copy_share_per_day = 1
policies = "none"
tiers = true

[[accounts.class]]
name = "partners"
accounts = ["client_id:partner"]
policies = [{ kind = "labels" }, { kind = "rounding", significant_bits = 8 }]

[guard]
limit_queries_per_minute = 1
limit_queries_per_day = 2
limit_leaked_bits_per_day = 3
limit_copy_share_per_day = 0.05
limit_total_queries_per_minute = 4
limit_total_queries_per_day = 5
alert_usd_per_day = 500
tier_step_seconds = 10
limit_body_bytes = 6
limit_answer_bytes = 8
limit_in_flight = 9
workers = 7
enforce = false
on_error = "pass"
unknown = "pass"
paths = ["/v2/*"]

[[guard.rule]]
kind = "range"
low = 0
high = [1, 2.5]

[[guard.policy]]
kind = "noise"
scale = 1

[[guard.policy]]
kind = "rounding"
decimals = 2

[[guard.tier]]
risk = 0.5
[[guard.tier.policy]]
kind = "labels"

[[guard.tier]]
risk = 1
action = "throttle"
limit_queries_per_minute = 2

[journal]
path = "exchanges"
retention_days = 0
retention_bytes = 8
payloads = true

[watch]
benign = "benign.jsonl"
false_alarms_per_year = 4
max_accounts = 11
webhook_url = "https://alerts.example.org/hook?token=x"
webhook_secret_env = "MY_WEBHOOK_SECRET"
syslog = "/dev/log"

[[watch.detector]]
kind = "residual"
"""


def parse(text: str, environ: dict[str, str] | None = None) -> Config:
    return config.parse(tomllib.loads(text), environ or {}, "counterclone.toml")


def problems(text: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ)
    return caught.value.problems


# Defaults

def test_an_empty_file_has_the_defaults() -> None:
    assert parse("") == Config()
    assert json.loads(msgspec.json.encode(Config())) == {
        "target": {"kind": "http", "url": "", "connect_seconds": 5.0, "answer_seconds": 60.0, "task": "classifier",
                   "dialect": "auto", "scores": "", "epoch": "1", "account_in": "",
                   "api_key_env": "COUNTERCLONE_API_KEY", "authorized_by": "",
                   "price_usd_per_1000_queries": 0.0, "price_usd_per_million_tokens_in": 0.0,
                   "price_usd_per_million_tokens_out": 0.0, "training_cost_usd": 0.0},
        "accounts": {
            "source": "bearer", "header": "x-account", "trusted_proxies": ["127.0.0.0/8", "::1/128"],
            "api_keys": "open", "keys_file": "counterclone.keys.json", "open_keys_max": 100_000,
            "jwt_key_env": "COUNTERCLONE_JWT_KEY", "jwt_algorithms": ["HS256"], "jwt_claim": "sub",
            "jwt_audience": "", "secret_env": "COUNTERCLONE_SECRET", "terms": "", "terms_header": "",
                     "class": []},
        "guard": {
            "listen": "127.0.0.1:8000", "admin": "127.0.0.1:8001", "request_seconds": 30.0,
            "limit_queries_per_minute": 600, "limit_queries_per_day": 0, "limit_leaked_bits_per_day": 0,
            "limit_tokens_per_minute": 0, "limit_tokens_per_day": 0,
            "limit_copy_share_per_day": 0.0,
            "limit_total_queries_per_minute": 0, "limit_total_queries_per_day": 0,
            "alert_usd_per_day": 0.0, "tier_step_seconds": 30.0,
            "limit_body_bytes": 10_000_000, "limit_answer_bytes": 50_000_000, "limit_in_flight": 1000,
            "workers": 1, "enforce": True, "on_error": "block",
            "unknown": "block", "paths": ["*"], "rule": [], "policy": [], "tier": []},
        "journal": {"path": "journal", "retention_days": 90, "retention_bytes": 10_000_000_000,
                    "payloads": False},
        "store": {"url_env": "", "lease": 0.05, "lease_seconds": 2.0, "machines": 1},
        "watch": {"benign": "", "false_alarms_per_year": 12.0, "max_accounts": 200_000, "webhook_url": "",
                  "webhook_secret_env": "COUNTERCLONE_WEBHOOK_SECRET", "syslog": "", "detector": []},
        "mark": [],
        "prove": {"keys": "counterclone.marks", "ledger": "ledger", "budget": 1_000_000, "alpha": 1e-6,
                  "decoys": 999, "timestamp_url": "", "timestamp_roots": ""},
        "tune": {"accuracy_loss_max": 0.0, "calibration_error_increase_max": 0.02, "honest_limited_max": 0.01},
        "console": {"token_env": "COUNTERCLONE_CONSOLE_TOKEN"}}


def test_a_class_has_the_guards_policies_and_limits() -> None:
    group, = parse('[[accounts.class]]\nname = "a"\naccounts = ["key:b"]').accounts.class_
    assert group == AccountClass(name="a", accounts=("key:b",))
    assert json.loads(msgspec.json.encode(group)) == {"name": "a", "accounts": ["key:b"], "policies": "base",
                                                     "tiers": False, "marks": True}


def test_every_key_is_read() -> None:
    read = parse(EVERYTHING)
    assert read.target == Target(
        dialect="oip", scores="probabilities", epoch="2025-11", account_in="vllm_xargs",
        api_key_env="MY_API_KEY", authorized_by="the owner", price_usd_per_1000_queries=1.5,
        price_usd_per_million_tokens_in=3.0,
        price_usd_per_million_tokens_out=15.0, training_cost_usd=250_000.0)
    assert read.accounts == Accounts(
        source="jwt", header="x-user", trusted_proxies=("10.0.0.0/8",), api_keys="listed",
        keys_file="keys.json", open_keys_max=5, jwt_key_env="MY_KEY", jwt_algorithms=("RS256", "PS256"),
        jwt_claim="client_id", jwt_audience="api", secret_env="MY_SECRET", terms="2026-03", terms_header="x-terms",
        class_=(
            AccountClass(name="evaluators", accounts=("key:cc_live_7f3a12bc", "account:0123456789abcdef"),
                         limit_queries_per_minute=0, limit_queries_per_day=200_000,
                         limit_leaked_bits_per_day=1_000, limit_copy_share_per_day=1.0, policies="none",
                         tiers=True),
            AccountClass(name="partners", accounts=("client_id:partner",), policies=(
                {"kind": "labels"}, {"kind": "rounding", "significant_bits": 8}))))
    assert read.guard == Guard(
        limit_queries_per_minute=1, limit_queries_per_day=2, limit_leaked_bits_per_day=3,
        limit_copy_share_per_day=0.05, limit_total_queries_per_minute=4, limit_total_queries_per_day=5,
        alert_usd_per_day=500.0, tier_step_seconds=10.0,
        limit_body_bytes=6, limit_answer_bytes=8, limit_in_flight=9, workers=7,
        enforce=False, on_error="pass", unknown="pass", paths=("/v2/*",),
        rule=({"kind": "range", "low": 0.0, "high": (1.0, 2.5), "mode": "refuse"},),
        policy=({"kind": "noise", "scale": 1.0, "keep_order": 1}, {"kind": "rounding", "decimals": 2}),
        tier=(Tier(risk=0.5, policy=({"kind": "labels"},)),
              Tier(risk=1.0, action="throttle", limit_queries_per_minute=2)))
    assert read.journal == Journal(path="exchanges", retention_days=0, retention_bytes=8, payloads=True)
    assert read.watch == Watch(
        benign="benign.jsonl", false_alarms_per_year=4.0, max_accounts=11,
        webhook_url="https://alerts.example.org/hook?token=x", webhook_secret_env="MY_WEBHOOK_SECRET",
        syslog="/dev/log", detector=({"kind": "residual"},))


def test_plugin_tables_have_their_defaults_in_them() -> None:
    read = parse('guard.policy = [{kind = "truncation", top_k = 3}]')
    assert read.guard.policy == ({"kind": "truncation", "top_k": 3, "rest": "uniform"},)


def test_what_is_printed_is_read_the_same() -> None:
    read = parse(EVERYTHING)
    assert parse(msgspec.toml.encode(read).decode()) == read


# Mistakes

def test_all_mistakes_are_reported_together(golden: Callable[[str, str], None]) -> None:
    text = (ROOT / "tests" / "golden" / "config_errors.toml").read_text(encoding="utf-8")
    environ = {
        "COUNTERCLONE_JOURNAL_PATHS": "elsewhere", "COUNTERCLONE_GAURD_ENFORCE": "true",
        "COUNTERCLONE_GUARD_LIMIT_QUERY_PER_DAY": "5", "COUNTERCLONE_GUARD_ON_ERROR": "ignore",
        "COUNTERCLONE_ACCOUNTS_API_KEYS": "3", "COUNTERCLONE_GUARD_WORKERS": "two", "COUNTERCLONE_SECRET": "x"}
    found = problems(text, environ)
    golden("config_errors.txt", "\n".join(found) + "\n")
    assert len(found) == len(set(found)) > 30
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(("text", "problem"), [
    ("[gard]", "unknown key `gard` (did you mean 'guard'?)"),
    ("[xyzzy]", "unknown key `xyzzy`"),
    ("guard = 1", "[guard]: expected a table"),
    ("[accounts.class]\nname = 'a'",
     "[accounts] class: expected an array of tables; write [[accounts.class]] above each"),
    ("accounts.class = [3]", "[[accounts.class]] 1: expected a table"),
    ("guard.policy = [3]", "[guard] policy[0]: expected `object`, got `int`"),
    ("guard.policy = 'labels'", "[guard] policy: expected `array`, got `str`"),
    ("guard.rule = [{kind = 'snap', step = 1, stepp = 2}]",
     "[[guard.rule]] 1: 'snap' has no option 'stepp' (did you mean 'step'?)"),
    ("[[accounts.class]]\naccounts = []", "[[accounts.class]] 1: `name` is missing"),
    ("accounts.class = [{name = 'a', accounts = []}, {name = 'b', accounts = [], policies = [{kind = 3}]}]",
     f"[[accounts.class]] 2 policies 1: expected a `kind`, one of {', '.join(plugins.kinds('policies'))}"),
    ("target.dialect = 'openia'", "[target] dialect: there is no 'openia' among the dialects (did you mean "
     "'openai'?); `counterclone list dialects` shows them"),
    ("guard.limit_queries_per_day = true", "[guard] limit_queries_per_day: expected `int`, got `bool`"),
    ("accounts.jwt_algorithms = ['HS256', 'none']", "[accounts] jwt_algorithms[1]: expected one of HS256, HS384, "
     "HS512, RS256, RS384, RS512, PS256, ES256, ES384, EdDSA, got 'none'"),
    ("watch.detector = [{kind = 'residal'}]", "[[watch.detector]] 1: there is no 'residal' among the detectors "
     "(did you mean 'residual'?); `counterclone list detectors` shows them"),
    ("watch.webhook_url = 'https://:secret@x/'", "[watch] webhook_url: expected an address such as "
     "https://alerts.example.org/hook, without user and fragment"),
    ("watch.syslog = 'localhost'", "[watch] syslog: expected host:port such as 127.0.0.1:8000 or [::1]:8000, got "
     "'localhost'"),
    ("watch.false_alarms_per_year = 0", "[watch] false_alarms_per_year: expected `float` > 0.0"),
], ids=["near section", "far section", "section a number", "class a table", "class a number", "policy a number",
        "policy text", "unknown option", "no name", "class's own policy", "dialect", "limit a boolean",
        "alg none", "detector", "webhook", "syslog", "no false alarms"])
def test_a_mistake_is_one_line_with_its_place(text: str, problem: str) -> None:
    assert problems(text) == (f"counterclone.toml: {problem}",)


def test_what_is_wrong_hides_nothing_else() -> None:
    found = problems("[guard]\nenforce = 1\nworkers = 0\nx = 1\n[journal]\npayloads = 1\ny = 2")
    assert [line.removeprefix("counterclone.toml: ").partition(":")[0] for line in found] == [
        "[guard] enforce", "[guard] workers", "[guard]", "[journal] payloads", "[journal]"]


@pytest.mark.parametrize("name", ["key:cc_live_7f3a12bc", "header:alice", "sub:a:b", "client_id:é",
                                  "account:0123456789abcdef"])
def test_names_of_accounts(name: str) -> None:
    group, = parse(f'[[accounts.class]]\nname = "a"\naccounts = ["{name}"]').accounts.class_
    assert group.accounts == (name,)


@pytest.mark.parametrize("name", ["alice", "sk-secret", "", ":a", "key:", "account:", "account:0123",
                                  "account:0123456789ABCDEF", "account:0123456789abcdef0"])
def test_what_names_no_account_is_not_printed(name: str) -> None:
    line, = problems(f'[[accounts.class]]\nname = "a"\naccounts = ["{name}"]')
    assert line == ("counterclone.toml: [[accounts.class]] 1 accounts[0]: expected `key:<key id>`, "
                    "`header:<value>`, `<claim>:<value>` or `account:<16 hexadecimal digits>`")


# The environment

@pytest.mark.parametrize(("variable", "text", "key", "value"), [
    ("GUARD_ENFORCE", "false", "guard.enforce", False),
    ("GUARD_WORKERS", "4", "guard.workers", 4),
    ("GUARD_LIMIT_QUERIES_PER_DAY", "20_000", "guard.limit_queries_per_day", 20_000),
    ("GUARD_UNKNOWN", "pass", "guard.unknown", "pass"),
    ("GUARD_UNKNOWN", '"pass"', "guard.unknown", "pass"),
    ("GUARD_PATHS", '["/a", "/b"]', "guard.paths", ("/a", "/b")),
    ("GUARD_POLICY", '[{kind = "labels"}]', "guard.policy", ({"kind": "labels"},)),
    ("TARGET_EPOCH", "2", "target.epoch", "2"),
    ("TARGET_EPOCH", "2025-11-26", "target.epoch", "2025-11-26"),
    ("TARGET_SCORES", "true", "target.scores", "true"),
    ("TARGET_EPOCH", '"3"', "target.epoch", "3"),
    ("JOURNAL_PATH", "", "journal.path", ""),
    ("JOURNAL_PATH", "/var/lib/journal", "journal.path", "/var/lib/journal"),
    ("ACCOUNTS_CLASS", '[{name = "a", accounts = ["key:b"]}]', "accounts.class_",
     (AccountClass(name="a", accounts=("key:b",)),)),
], ids=["boolean", "number", "number with underscore", "choice", "quoted choice", "list", "tables",
        "text that looks like a number", "like a date", "like a boolean", "quoted text", "empty text", "a path",
        "classes"])
def test_a_variable_overrides_the_file(variable: str, text: str, key: str, value: Any) -> None:
    section, name = key.split(".")
    environ = {f"COUNTERCLONE_{variable}": text}
    for file in ("", "guard = {enforce = true, workers = 2}\ntarget.epoch = '9'\njournal.path = 'x'"):
        assert getattr(getattr(parse(file, environ), section), name) == value


def test_other_keys_stay_as_the_file_has_them() -> None:
    read = parse("[guard]\nworkers = 3\nenforce = false", {"COUNTERCLONE_GUARD_ENFORCE": "true"})
    assert (read.guard.workers, read.guard.enforce) == (3, True)


def test_a_variable_mends_the_file() -> None:
    assert parse("guard.enforce = 'no'", {"COUNTERCLONE_GUARD_ENFORCE": "false"}).guard.enforce is False


@pytest.mark.parametrize(("variable", "text", "problem"), [
    ("COUNTERCLONE_GUARD_ENFORCE", "no", "expected `bool`, got `str`"),
    ("COUNTERCLONE_GUARD_ENFORCE", "", "expected `bool`, got `str`"),
    ("COUNTERCLONE_GUARD_WORKERS", "0", "expected `int` >= 1"),
    ("COUNTERCLONE_GUARD_UNKNOWN", "blok", "expected one of block, pass, got 'blok' (did you mean 'block'?)"),
    ("COUNTERCLONE_GUARD_PATHS", "/a", "expected `array`, got `str`"),
    ("COUNTERCLONE_GUARD_ENFORC", "true", "sets nothing (did you mean 'COUNTERCLONE_GUARD_ENFORCE'?); correct its "
                                          "name, or unset it"),
    ("COUNTERCLONE_GAURD_WORKERS", "2", "sets nothing (did you mean 'COUNTERCLONE_GUARD_WORKERS'?); correct its "
                                        "name, or unset it"),
    ("COUNTERCLONE_GUARD_XYZZY_AND_MORE", "x", "sets nothing; correct its name, or unset it"),
], ids=["no boolean", "empty", "too small", "no choice", "no list", "misspelt key", "misspelt section", "far key"])
def test_a_wrong_variable_is_named(variable: str, text: str, problem: str) -> None:
    assert problems("", {variable: text}) == (f"{variable}: {problem}",)


@pytest.mark.parametrize("variable", [
    "COUNTERCLONE_SECRET", "COUNTERCLONE_CONFIG", "COUNTERCLONE_JWT_KEY", "COUNTERCLONE_LOG_LEVEL",
    "COUNTERCLONE_SERVICE_HOST", "COUNTERCLONE_PORT", "COUNTERCLONE_GUARD_SERVICE_HOST",
    "COUNTERCLONE_GUARD_SERVICE_PORT_HTTP", "COUNTERCLONE_GUARD_PORT", "COUNTERCLONE_GUARD_PORT_8000_TCP_ADDR",
    "XCOUNTERCLONE_GUARD_ENFORC", "counterclone_guard_enforc",
], ids=["secret", "file", "token key", "somebody's", "service", "port", "guard's service", "guard's service port",
        "guard's port", "guard's port's address", "another prefix", "lower case"])
def test_variables_of_others_are_left_alone(variable: str) -> None:
    assert parse("", {variable: "tcp://10.0.0.1:8000"}) == Config()


def test_a_secret_may_be_in_any_variable() -> None:
    text = ('accounts = {secret_env = "COUNTERCLONE_GUARD_SECRET", jwt_key_env = "COUNTERCLONE_ACCOUNTS_KEY"}\n'
            'watch.webhook_secret_env = "COUNTERCLONE_WATCH_SECRET"')
    parse(text, {"COUNTERCLONE_GUARD_SECRET": "x", "COUNTERCLONE_ACCOUNTS_KEY": "y",
                 "COUNTERCLONE_WATCH_SECRET": "z"})


# The digest

ONE_CHANGED: dict[str, dict[str, Any]] = {
    "target": {"kind": "local", "url": "http://x", "connect_seconds": 1.0, "answer_seconds": 2.0,
               "task": "llm", "dialect": "predict", "scores": "p", "epoch": "2", "account_in": "header",
               "api_key_env": "A",
               "authorized_by": "o",
               "price_usd_per_1000_queries": 1.0, "price_usd_per_million_tokens_in": 2.0,
               "price_usd_per_million_tokens_out": 3.0, "training_cost_usd": 4.0},
    "accounts": {
        "source": "jwt", "header": "x-user", "trusted_proxies": [], "api_keys": "listed", "keys_file": "k",
        "open_keys_max": 5, "jwt_key_env": "K", "jwt_algorithms": ["RS256"], "jwt_claim": "c",
        "jwt_audience": "a", "secret_env": "S", "terms": "t", "terms_header": "h",
        "class": [{"name": "a", "accounts": []}]},
    "guard": {
        "listen": "0.0.0.0:1", "admin": "[::1]:2", "request_seconds": 1.0,
        "limit_queries_per_minute": 1, "limit_queries_per_day": 2, "limit_leaked_bits_per_day": 3,
        "limit_tokens_per_minute": 4, "limit_tokens_per_day": 5,
        "limit_copy_share_per_day": 0.5,
        "limit_total_queries_per_minute": 4, "limit_total_queries_per_day": 5, "limit_body_bytes": 6,
        "alert_usd_per_day": 1.5, "tier_step_seconds": 2.5,
        "limit_answer_bytes": 8, "limit_in_flight": 9,
        "workers": 7, "enforce": False, "on_error": "pass", "unknown": "pass", "paths": ["/a"],
        "rule": [{"kind": "snap", "step": 1.0}], "policy": [{"kind": "labels"}],
        "tier": [{"risk": 0.5}]},
    "journal": {"path": "j", "retention_days": 1, "retention_bytes": 2, "payloads": True},
    "store": {"url_env": "STORE", "lease": 0.1, "lease_seconds": 1.0, "machines": 2},
    "watch": {"benign": "b", "false_alarms_per_year": 1.0, "max_accounts": 2, "webhook_url": "https://x/",
              "webhook_secret_env": "W", "syslog": "x:1", "detector": [{"kind": "margin"}]},
    "prove": {"keys": "k", "ledger": "l", "budget": 2, "alpha": 1e-4, "decoys": 99,
              "timestamp_url": "https://x/", "timestamp_roots": "r"},
    "tune": {"accuracy_loss_max": 0.1, "calibration_error_increase_max": 0.1, "honest_limited_max": 0.1},
    "console": {"token_env": "A"},
}


def test_every_setting_changes_the_digest() -> None:
    changed = {f"{section}.{key}": config.parse({section: {key: value}}, {}, "x").digest()
               for section, keys in ONE_CHANGED.items() for key, value in keys.items()}
    known = {f"{section.name}.{key.encode_name}" for section in msgspec.structs.fields(Config)
             if section.name != "mark" for key in msgspec.structs.fields(section.type)}
    assert set(changed) == known
    changed["mark"] = config.parse({"mark": [{"kind": "triggers"}]}, {}, "x").digest()
    assert len({*changed.values(), Config().digest()}) == len(changed) + 1


@pytest.mark.parametrize(("one", "other"), [
    ("limit_queries_per_minute = 5", "limit_queries_per_day = 5"),
    ("policy = [{kind = 'noise', scale = 1}]", "policy = [{kind = 'noise', scale = 2}]"),
    ("policy = [{kind = 'labels'}, {kind = 'rounding', decimals = 1}]",
     "policy = [{kind = 'rounding', decimals = 1}, {kind = 'labels'}]"),
], ids=["another key", "an option", "the order"])
def test_what_differs_has_another_digest(one: str, other: str) -> None:
    assert parse(f"[guard]\n{one}").digest() != parse(f"[guard]\n{other}").digest()


@pytest.mark.parametrize(("one", "other"), [
    ("[guard]\nworkers = 2\nenforce = false", "# comment\nguard . enforce = false\nguard.workers = 0x2"),
    ("[guard]\nworkers = 1", ""),
    ("[[guard.policy]]\nkind = 'noise'\nscale = 1", "guard.policy = [{ scale = 1.0, kind = \"noise\" }]"),
    ("guard.policy = [{kind = 'noise', scale = 1}]",
     "guard.policy = [{kind = 'noise', scale = 1, keep_order = 1}]"),
    ("[guard]\n[journal]", "[journal]\n\n\n[guard]"),
], ids=["layout", "a default", "order of keys", "an option's default", "order of sections"])
def test_formatting_changes_nothing(one: str, other: str) -> None:
    assert parse(one).digest() == parse(other).digest()


def test_the_digest_is_of_the_environment_too() -> None:
    variable = {"COUNTERCLONE_GUARD_WORKERS": "2"}
    assert parse("", variable).digest() == parse("guard.workers = 2").digest()
    assert re.fullmatch(r"[0-9a-f]{16}", Config().digest())


# Files

@pytest.mark.parametrize(("named", "variable", "expected"), [
    ("a.toml", "b.toml", "a.toml"), (None, "b.toml", "b.toml"), (None, "", "counterclone.toml"),
], ids=["named", "in the environment", "in the folder"])
def test_the_file_is_found(monkeypatch: pytest.MonkeyPatch, named: str | None, variable: str,
                           expected: str) -> None:
    monkeypatch.setenv("COUNTERCLONE_CONFIG", variable)
    assert config.find(named) == Path(expected)


def test_a_file_is_loaded_under_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counterclone.toml"
    path.write_text("[target]\nepoch = 'é'\n", encoding="utf-8")
    monkeypatch.setenv("COUNTERCLONE_GUARD_WORKERS", "3")
    read = config.load(path)
    assert (read.target.epoch, read.guard.workers) == ("é", 3)
    assert config.load(path, {}).guard.workers == 1


@pytest.mark.parametrize(("data", "message"), [
    (b"\xff\xfe", "no TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (b"[guard", "no TOML: Expected ']' at the end of a table declaration (at end of document)"),
    (b"a = 1\na = 2", "no TOML: Cannot overwrite a value (at end of document)"),
    (b"[guard]\nworkers = two", "no TOML: Invalid value (at line 2, column 11)"),
], ids=["not UTF-8", "cut", "twice", "a bare word"])
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "counterclone.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    assert caught.value.problems == (f"{path}: {message}",)


@pytest.mark.parametrize(("name", "reason"), [
    ("missing.toml", "No such file or directory"), (".", "Is a directory"),
], ids=["missing", "a folder"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    assert caught.value.problems == (
        f"{path}: {reason}; expected a configuration file; write one, or name it with --config or "
        "COUNTERCLONE_CONFIG",)
