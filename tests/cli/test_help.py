from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import click
import pytest
from tests.cli.running import failure, output

from counterclone import cli


def verbs(group: click.Group = cli.cli, *path: str) -> list[tuple[str, ...]]:
    found = []
    for name, command in sorted(group.commands.items()):
        found += verbs(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return [path, *found] if path else found


GROUPS = {("keys",), ("keys", "marks"), ("cases",)}


def test_help_says_what_everything_does(golden: Callable[[str, str], None]) -> None:
    pages = [output(*verb, "--help") for verb in [(), *verbs()]]
    golden("cli_help.txt", "\n".join(pages))


@pytest.mark.parametrize("verb", [verb for verb in verbs() if verb not in GROUPS], ids=" ".join)
def test_every_verb_has_the_common_options(verb: tuple[str, ...]) -> None:
    text = output(*verb, "-h")
    assert all(option in text for option in ("--config FILE", "--json", "--seed INTEGER", "--debug"))


def test_the_version_is_the_packages() -> None:
    assert importlib.metadata.version("counterclone") in output("--version")


@pytest.mark.parametrize(("arguments", "message"), [
    (["chek"], "Error: No such command 'chek'. Did you mean 'check'?"),
    (["check", "--jsn"], "Error: No such option '--jsn'. Did you mean '--json'?"),
    (["list"], "Error: Missing argument 'FAMILY'."),
    (["check", "--seed", "x"], "Error: Invalid value for '--seed': 'x' is not a valid integer."),
], ids=["verb", "option", "argument", "value"])
def test_wrong_usage_is_two(arguments: list[str], message: str) -> None:
    assert failure(*arguments)[-1] == message
