"""Laws that hold for every plug-in, and what is said where one is broken."""

from __future__ import annotations

import inspect

import msgspec

from counterclone import plugins
from counterclone.errors import ConfigError


def demand(holds: bool, subject: object, law: str, found: str) -> None:
    """Raise AssertionError where a law doesn't hold (`assert` would be silent under `python -O`).

    Args:
        holds: whether it does.
        subject: the plug-in.
        law: what must hold.
        found: where, and what was found instead.
    """
    if not holds:
        raise AssertionError(f"{subject!r} breaks the law '{law}': {found}")


def check_spec(family: str, plugin: object) -> None:
    """A plug-in is a frozen spec that a TOML table can describe.

    Raises:
        AssertionError: it isn't.
    """
    law = "a plug-in is a frozen spec without state"
    if not isinstance(plugin, plugins.Spec):
        raise AssertionError(f"{plugin!r} breaks the law '{law}': it is no counterclone.plugins.Spec")
    config = type(plugin).__struct_config__
    demand(config.frozen, plugin, law, "its class isn't frozen; say `frozen=True`")
    demand(config.forbid_unknown_fields, plugin, law, "its class lets unknown options pass")
    demand(not hasattr(plugin, "__dict__"), plugin, law, "instances have a `__dict__`; drop `dict=True`")
    demand(_is_hashable(plugin), plugin, law, "it has no hash; use tuples for lists")
    _check_summary(plugin)
    _check_round_trip(family, plugin)


def _is_hashable(plugin: object) -> bool:
    try:
        hash(plugin)
    except TypeError:
        return False
    return True


def _check_summary(plugin: plugins.Spec) -> None:
    law = "a docstring starts with a summary of one line"
    own = type(plugin).__doc__  # inspect.getdoc would inherit the base's
    demand(bool(own and own.strip()), plugin, law, "there is no docstring")
    summary, *rest = inspect.cleandoc(own or "").splitlines()
    demand(not rest or not rest[0].strip(), plugin, law, f"'{summary}' runs on; leave the second line blank")


def _check_round_trip(family: str, plugin: plugins.Spec) -> None:
    law = "a spec comes back from the TOML table that it makes"
    table = msgspec.to_builtins(plugin)
    kind, spec = plugins.kind_of(plugin), type(plugin)
    is_found = kind in plugins.kinds(family) and plugins.load(family, kind) is spec
    try:
        # One that isn't installed yet, or is called otherwise than its module, is built without its name.
        back = (plugins.build(family, {"kind": kind, **table}, "the table") if is_found
                else msgspec.convert(table, spec))
    except (ConfigError, msgspec.ValidationError) as error:
        raise AssertionError(f"{plugin!r} breaks the law '{law}': {error}") from None
    demand(back == plugin, plugin, law, f"{table} became {back!r}")
