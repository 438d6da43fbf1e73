from __future__ import annotations

import pytest
from tests.cli.running import failure, json_output, output

from counterclone import plugins


@pytest.mark.parametrize("family", list(plugins.FAMILIES))
def test_a_family_is_listed(family: str) -> None:
    kinds = plugins.kinds(family)
    lines = output("list", family).splitlines()
    assert [line.split()[0] for line in lines] == kinds
    for kind, line in zip(kinds, lines, strict=True):
        assert line.endswith(plugins.load(family, kind).summary())


def test_a_family_is_listed_as_json() -> None:
    assert json_output("list", "rules") == {"family": "rules", "plugins": [
        {"kind": kind, "summary": plugins.load("rules", kind).summary()} for kind in plugins.kinds("rules")]}


@pytest.mark.parametrize(("family", "near"), [("policys", " (did you mean 'policies'?)"), ("xyzzy", "")],
                         ids=["near", "far"])
def test_another_family_is_an_error(family: str, near: str) -> None:
    assert failure("list", family) == [
        f"counterclone: there is no family '{family}'{near}; expected one of attacks, policies, rules, "
        "detectors, marks, dialects"]
