"""The published schema takes what we take, and refuses what we refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from tests.test_config import EVERYTHING, parse, problems

from counterclone import config

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "counterclone.schema.json"


def test_the_published_schema_is_ours(pytestconfig: pytest.Config) -> None:
    text = json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"
    if pytestconfig.getoption("--update-golden"):
        SCHEMA.write_text(text, encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == text


@pytest.fixture(scope="module", name="validator")
def fixture_validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


GOOD = {"everything": EVERYTHING, "nothing": "", "a rule": "guard.rule = [{kind = 'snap', step = 0.5}]"}
BAD = {
    "unknown section": "[gaurd]", "unknown key": "guard.workes = 1", "wrong type": "guard.workers = 'two'",
    "too small": "guard.workers = 0", "no choice": "guard.unknown = 'blok'", "no name": "accounts.class = [{}]",
    "no account": "accounts.class = [{name = 'a', accounts = ['alice']}]",
    "class a table": "[accounts.class]\nname = 'a'", "unknown policy": "guard.policy = [{kind = 'roundng'}]",
    "no kind": "guard.policy = [{decimals = 2}]", "a rule's kind": "guard.policy = [{kind = 'snap', step = 1}]",
    "unknown option": "guard.policy = [{kind = 'rounding', decimals = 2, decimal = 2}]",
    "wrong option": "guard.policy = [{kind = 'rounding', decimals = 13}]",
    "missing option": "guard.policy = [{kind = 'truncation'}]",
    "unknown option of a rule": "guard.rule = [{kind = 'snap', step = 1, steps = 2}]",
    "a tier without a risk": "guard.tier = [{action = 'block'}]",
    "a tier for everybody": "guard.tier = [{risk = 0}]",
    "no action": "guard.tier = [{risk = 1, action = 'ban'}]",
    "a rule in a tier": "guard.tier = [{risk = 1, policy = [{kind = 'snap', step = 1}]}]",
    "unknown option in a class":
        "accounts.class = [{name = 'a', accounts = [], policies = [{kind = 'labels', top = 1}]}]",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_the_schema_takes_what_we_take(validator: jsonschema.Draft202012Validator, text: str) -> None:
    parse(text)
    validator.validate(tomllib.loads(text))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_the_schema_refuses_what_we_refuse(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert problems(text)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(tomllib.loads(text))


def test_the_schema_describes_every_section_and_plugin() -> None:
    definitions = config.schema()["$defs"]
    assert {"Target", "Accounts", "AccountClass", "Guard", "Tier", "Journal", "Watch", "policies.noise",
            "rules.snap"} <= set(definitions)
    assert all(definition["description"] for definition in definitions.values())
