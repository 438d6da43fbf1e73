from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from counterclone import plugins
from counterclone.errors import ConfigError
from counterclone.plugins import Spec
from counterclone.policies.rounding import Rounding
from counterclone.policies.truncation import Truncation
from counterclone.rules.range import Range

TESTS = Path(__file__).parent
OURS = [(family, kind) for family in ("policies", "rules") for kind in plugins.kinds(family)]


# What every file of a family has

@pytest.mark.parametrize(("family", "kind"), OURS, ids=lambda name: name)
def test_a_module_has_one_spec_with_a_summary_and_a_test(family: str, kind: str) -> None:
    spec = plugins.load(family, kind)
    assert spec.__module__ == f"{plugins.FAMILIES[family]}.{kind}"
    assert spec.__doc__ is not None
    assert spec.summary() == spec.__doc__.partition("\n")[0]
    assert spec.summary().endswith(".")
    assert (TESTS / family / f"test_{kind}.py").is_file()


@pytest.mark.parametrize(("family", "kind"), OURS, ids=lambda name: name)
def test_a_spec_is_frozen_and_knows_its_options(family: str, kind: str) -> None:
    config = plugins.load(family, kind).__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields


@pytest.mark.parametrize(("family", "kind"), OURS, ids=lambda name: name)
def test_a_module_says_what_it_does(family: str, kind: str) -> None:
    assert importlib.import_module(f"{plugins.FAMILIES[family]}.{kind}").__doc__


def test_kinds_are_sorted_and_without_private_modules() -> None:
    assert plugins.kinds("policies") == sorted(plugins.kinds("policies"))
    assert {"labels", "noise", "reverse_sigmoid", "rounding", "temperature", "truncation"} <= set(
        plugins.kinds("policies"))
    assert {"range", "snap"} <= set(plugins.kinds("rules"))
    assert not any(kind.startswith("_") for family in plugins.FAMILIES for kind in plugins.kinds(family))


# Building

def test_a_table_becomes_a_spec() -> None:
    spec = plugins.build("policies", {"kind": "rounding", "decimals": 2}, "[[guard.policy]]")
    assert spec == Rounding(decimals=2)
    assert plugins.kind_of(spec) == "rounding"


def test_numbers_and_lists_of_toml_are_taken() -> None:
    spec = plugins.build("rules", {"kind": "range", "low": 0, "high": [1, 2.5]}, "[[guard.rule]]")
    assert spec == Range(low=0.0, high=(1.0, 2.5))


@pytest.mark.parametrize(("table", "message"), [
    ({}, "here: expected a `kind`, one of "),
    ({"kind": 3}, "here: expected a `kind`, one of "),
    ({"kind": "roundng"}, "here: there is no 'roundng' among the policies (did you mean 'rounding'?); "
                          "`counterclone list policies` shows them"),
    ({"kind": "xyzzy"}, "here: there is no 'xyzzy' among the policies; `counterclone list policies` shows them"),
    ({"kind": "_hidden"}, "here: there is no '_hidden' among the policies"),
    ({"kind": "rounding", "decimal": 2}, "here: 'rounding' has no option 'decimal' (did you mean 'decimals'?)"),
    ({"kind": "labels", "xyzzy": 2}, "here: 'labels' has no option 'xyzzy'"),
    ({"kind": "rounding", "decimals": "2"}, "here: 'rounding': `decimals`: Expected `int`, got `str`"),
    ({"kind": "rounding", "decimals": 0}, "here: 'rounding': `decimals`: Expected `int` >= 1"),
    ({"kind": "rounding"}, "here: 'rounding': set either `decimals` or `significant_bits`"),
    ({"kind": "truncation"}, "here: 'truncation': Object missing required field `top_k`"),
    ({"kind": "truncation", "top_k": 1, "rest": "x"}, "here: 'truncation': `rest`: Invalid enum value 'x'"),
    ({"kind": "noise", "scale": 0}, "here: 'noise': `scale`: Expected `float` >= "),
    ({"kind": "noise", "scale": float("nan")}, "here: 'noise': `scale`: Expected `float` >= "),
], ids=["no kind", "kind of a wrong type", "near kind", "far kind", "private kind", "near option", "far option",
        "wrong type", "too small", "neither", "missing", "not one of", "zero", "nan"])
def test_a_wrong_table_is_one_readable_line(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.build("policies", table, "here")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_place_inside_a_list_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^here: 'range': `low\[1\]`: Expected `float`, got `str`$"):
        plugins.build("rules", {"kind": "range", "low": [0, "a"], "high": 1}, "here")


def test_every_unknown_option_has_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.build("policies", {"kind": "truncation", "top_k": 1, "rst": "drop", "tip_k": 2}, "here")
    assert caught.value.problems == ("here: 'truncation' has no option 'rst' (did you mean 'rest'?)",
                                     "here: 'truncation' has no option 'tip_k' (did you mean 'top_k'?)")


def test_the_table_is_left_as_it_was() -> None:
    table = {"kind": "labels"}
    plugins.build("policies", table, "here")
    assert table == {"kind": "labels"}


def test_a_spec_is_frozen_hashable_and_equal_by_options() -> None:
    spec = Truncation(top_k=2)
    with pytest.raises(AttributeError):
        spec.top_k = 3  # type: ignore[misc]
    assert {spec: 1}[Truncation(top_k=2)] == 1


def test_unknown_fields_are_forbidden_without_build_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `x`"):
        msgspec.convert({"top_k": 1, "x": 1}, Truncation)


# One module, one spec

class First(Spec, frozen=True):
    """A spec."""


class Second(Spec, frozen=True):
    """A spec."""


class _Private(Spec, frozen=True):
    """A spec."""


@pytest.mark.parametrize(("names", "n_found"), [
    ({}, 0),
    ({"_Private": _Private, "Spec": Spec, "number": 1, "Rounding": Rounding}, 0),
    ({"First": First, "Second": Second}, 2),
], ids=["none", "private, base and imported", "two"])
def test_a_module_with_another_number_of_specs_is_an_error(names: dict[str, object], n_found: int) -> None:
    with pytest.raises(ConfigError, match=f"must define one public Spec, it has {n_found}"):
        plugins.only_spec(names, __name__)


def test_the_one_spec_is_found() -> None:
    assert plugins.only_spec({"First": First, "_Private": _Private, "Rounding": Rounding}, __name__) is First


# Plug-ins of others

ACME = '''
from counterclone.plugins import Spec

class Jitter(Spec, frozen=True):
    """Shake every answer."""

    strength: float = 1.0

class NoSpec:
    """Something else."""
'''
POINTS = """
    [counterclone.policies]
    jitter = acme_policies:Jitter
    labels = acme_policies:Jitter
    wrong = acme_policies:NoSpec
    gone = acme_policies:Gone
    absent = acme_absent:Absent
"""


def forget() -> None:
    """What was found stays found, so tests that install something must say so."""
    plugins.load.cache_clear()
    plugins._entry_points.cache_clear()


@pytest.fixture(name="install")
def fixture_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    def install() -> None:
        (tmp_path / "acme_policies.py").write_text(ACME)
        info = tmp_path / "acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(POINTS))
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    yield install
    forget()


def test_an_installed_plugin_is_found(install: Callable[[], None]) -> None:
    assert "jitter" not in plugins.kinds("policies")
    install()
    assert "jitter" in plugins.kinds("policies")
    spec = plugins.build("policies", {"kind": "jitter", "strength": 2}, "here")
    assert msgspec.to_builtins(spec) == {"strength": 2.0}
    assert type(spec).summary() == "Shake every answer."
    with pytest.raises(ConfigError, match="did you mean 'strength'"):
        plugins.build("policies", {"kind": "jitter", "strenght": 2}, "here")
    with pytest.raises(ConfigError, match="did you mean 'jitter'"):
        plugins.build("policies", {"kind": "jiter"}, "here")


def test_an_installed_plugin_cannot_replace_ours(install: Callable[[], None]) -> None:
    install()
    assert inspect.getmodule(plugins.load("policies", "labels")) is importlib.import_module(
        "counterclone.policies.labels")


@pytest.mark.parametrize(("kind", "message"), [
    ("wrong", "here: the entry point acme_policies:NoSpec must be a subclass of counterclone.plugins.Spec"),
    ("gone", "here: the entry point acme_policies:Gone can't be imported: .*Gone.*; reinstall"),
    ("absent", "here: the entry point acme_absent:Absent can't be imported: No module named 'acme_absent'; rei"),
], ids=["no spec", "no such name", "no such module"])
def test_a_broken_plugin_is_one_readable_line(install: Callable[[], None], kind: str, message: str) -> None:
    install()
    with pytest.raises(ConfigError, match=message):
        plugins.build("policies", {"kind": kind}, "here")
