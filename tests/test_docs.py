from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from counterclone import cli, plugins
from counterclone.config import AccountClass, Config, Tier

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
KINDS = [(family, kind) for family in plugins.FAMILIES for kind in plugins.kinds(family)]
PAGE_OF = {"attacks": "attacks", "policies": "policies", "rules": "rules", "detectors": "detectors",
           "marks": "marks", "dialects": "http"}
FACTS = {"attacks": ("Needs", "Proves", "Can't", "Paper"), "detectors": ("Needs", "Sees", "Can't", "Paper"),
         "marks": ("Needs", "Costs", "Can't", "Paper"),
         **dict.fromkeys(("policies", "rules"), ("Needs", "Hides", "Costs", "Limits", "Paper"))}


def part(page: str, heading: str) -> str:
    """What a page says under a heading, up to the next one of its level."""
    text = PAGES[page]
    assert f"\n{heading}\n" in text
    level = heading.partition(" ")[0]
    return re.split(rf"\n#{{1,{len(level)}}} ", text.partition(f"\n{heading}\n")[2])[0]


# Plug-ins

@pytest.mark.parametrize(("family", "kind"), KINDS, ids=lambda name: name)
def test_every_plugin_is_described(family: str, kind: str) -> None:
    assert f"`{kind}`" in PAGES[PAGE_OF[family]]


@pytest.mark.parametrize(("family", "kind"), [pair for pair in KINDS if pair[0] != "dialects"],
                         ids=lambda name: name)
def test_every_other_plugin_says_what_it_does(family: str, kind: str) -> None:
    text = part(family, f"## `{kind}`")
    assert [fact for fact in FACTS[family] if f"- **{fact}" not in text] == []
    assert (f"--attack {kind}" if family == "attacks" else f'kind = "{kind}"') in text
    options = {field.encode_name: field for field in msgspec.structs.fields(plugins.load(family, kind))}
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(options)
    for name, field in options.items():
        assert f"| `{name}` | {written(field)} |" in text


def written(field: msgspec.structs.FieldInfo) -> str:
    """A default as the pages write it."""
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        return "required"
    if value is msgspec.UNSET:
        return "one of the two"
    if isinstance(value, tuple):
        return "`" + msgspec.json.format(msgspec.json.encode(value), indent=0).decode() + "`" if value else "none"
    return "`" + msgspec.json.encode(value).decode() + "`"


@pytest.mark.parametrize("table", [
    {"kind": "labels"}, {"kind": "truncation", "top_k": 3}, {"kind": "rounding", "decimals": 1},
    {"kind": "rounding", "decimals": 2}, {"kind": "rounding", "significant_bits": 8},
    {"kind": "noise", "scale": 1}, {"kind": "temperature", "temperature": 2.0}, {"kind": "reverse_sigmoid"},
    {"kind": "deception"}, {"kind": "deception", "l1_max": 2},
], ids=lambda table: table["kind"])
def test_the_bits_in_the_docs_are_the_policys(table: dict[str, Any]) -> None:
    policy: Any = plugins.build("policies", table, "here")
    option = next((f", `{key} = {value}`" for key, value in table.items()
                   if key not in ("kind", "temperature")), "")
    start = f"| `{table['kind']}`{option} |"
    row = next(line for line in PAGES["policies"].splitlines() if line.startswith(start))
    for cell, n_classes in zip(row.split("|")[2:5], (2, 10, 1000), strict=True):
        text = cell.strip().replace(",", "")
        digits = len(text.partition(".")[2])
        assert float(text) == round(policy.bits(n_classes), digits)


# Configuration

SECTIONS = [(f"## `[{section.encode_name}]`", section.type) for section in msgspec.structs.fields(Config)
            if section.name != "mark"]
SECTIONS += [("### `[[accounts.class]]`", AccountClass), ("### `[[guard.tier]]`", Tier)]
KEYS = [(heading, field) for heading, section in SECTIONS for field in msgspec.structs.fields(section)]


@pytest.mark.parametrize(("heading", "field"), KEYS, ids=[
    f"{heading.strip('#` ')} {field.encode_name}" for heading, field in KEYS])
def test_every_key_is_described_with_its_default(heading: str, field: msgspec.structs.FieldInfo) -> None:
    default = written(field)
    if heading.startswith("###") and default == "one of the two":
        default = "the guard's" if "accounts" in heading else "none"
    row = next(line for line in part("configuration", heading).splitlines()
               if line.startswith(f"| `{field.encode_name}` |"))
    _, found, _, meaning, example = (cell.strip() for cell in row.strip("|").split("|"))
    assert found == default
    assert meaning.endswith(".")
    assert example or default == "none"  # lists of tables are in the section's example


@pytest.mark.parametrize(("heading", "section"), SECTIONS, ids=[heading.strip("#` ") for heading, _ in SECTIONS])
def test_no_other_key_is_described(heading: str, section: Any) -> None:
    text = part("configuration", heading).partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {
        field.encode_name for field in msgspec.structs.fields(section)}
    assert "```toml" in text


# Command line

def verbs(group: click.Group = cli.cli, *path: str) -> list[tuple[str, click.Command]]:
    found = []
    for name, command in sorted(group.commands.items()):
        found += verbs(command, *path, name) if isinstance(command, click.Group) else [
            (" ".join([*path, name]), command)]
    return found


COMMON = {"--config", "--json", "--seed", "--debug"}


@pytest.mark.parametrize(("verb", "command"), verbs(), ids=[verb for verb, _ in verbs()])
def test_every_verb_is_described_with_its_options(verb: str, command: click.Command) -> None:
    heading = next(line for line in PAGES["cli"].splitlines() if re.match(rf"## `{verb}[` ]", line))
    text = part("cli", heading)
    own = {option for parameter in command.params if not getattr(parameter, "hidden", False)
           for option in parameter.opts if option.startswith("--")} - COMMON
    assert own == set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE))
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert (parameter.name or "").upper() in heading


def test_the_common_options_are_described() -> None:
    assert set(re.findall(r"^\| `(--[\w-]+)", PAGES["cli"].partition("\n## ")[0], re.MULTILINE)) == COMMON


def test_no_other_verb_is_described() -> None:
    described = set(re.findall(r"^## `([a-z ]+?)(?: [A-Z\[].*)?`$", PAGES["cli"], re.MULTILINE))
    assert described == {verb for verb, _ in verbs()}
