"""A parsed file and the environment to structs, with every mistake on the way."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from counterclone import plugins
from counterclone.config.sections import PLUGINS, Config, PluginTable, Section
from counterclone.errors import ConfigError

PREFIX = "COUNTERCLONE_"
LAST_PORT = 65_535
SERVICE_LINK = re.compile(r"_(SERVICE_(HOST|PORT)|PORT(_\d+_[A-Z]+|$))")
"""In names of variables that Kubernetes makes for a service, which may be called as we are."""

S = TypeVar("S", bound=Section)
Fields = dict[str, msgspec.structs.FieldInfo]


def parse(table: Mapping[str, Any], environ: Mapping[str, str], where: str) -> Config:
    """Check a parsed file.

    Args:
        table: the file.
        environ: variables that override it.
        where: the file's name, for messages.

    Raises:
        ConfigError: it has mistakes, one line for each.
    """
    merged, variables = _overridden(table, environ)
    reading = _Reading(where, variables)
    config = reading.section(merged, Config)
    problems = [*reading.problems, *_idle_variables(merged, environ)]
    if problems:
        raise ConfigError(*problems)
    return config


class _Reading:
    """A file on its way into structs.

    Attributes:
        problems: what is wrong with it, one line for each mistake.
    """

    def __init__(self, where: str, variables: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._where = where
        self._variables = variables

    def section(self, table: Any, section: type[S], path: str = "", place: str = "") -> S:
        """A table as a struct; what is wrong in it is noted and left at its default.

        Args:
            table: what the file has there.
            section: the struct.
            path: the keys that lead to the table, for example `accounts.class`.
            place: how a message names it, for example `[[accounts.class]] 2`.
        """
        fields = _fields(section)
        # What is required has a place-holder, since there will be a problem.
        values: dict[str, Any] = {field.name: None for field in fields.values() if field.required}
        if not isinstance(table, dict):
            self._note(place, "expected a table")
            return section(**values)
        for key in [key for key, field in fields.items() if field.required and key not in table]:
            self._note(place, f"`{key}` is missing")
        for key, value in table.items():
            field = fields.get(key)
            if field is None:
                self._note(place, f"unknown key `{key}`{plugins.did_you_mean(key, list(fields))}")
                continue
            inner = f"{path}.{key}".removeprefix(".")
            try:
                values[field.name] = self._value(value, field.type, inner, place)
            except msgspec.ValidationError as error:
                at, text = _readable(error, value, field.type, inner)
                self._note(self._variables.get(inner, f"{place} {key}".strip()) + at, text)
        return section(**values)

    def _value(self, value: Any, hint: Any, path: str, place: str) -> Any:
        inner = _section_in(hint)
        if inner and inner is hint:
            return self.section(value, inner, path, f"[{path}]")
        if inner and isinstance(value, list):
            return tuple(self.section(item, inner, path, f"[[{path}]] {number}")
                         for number, item in enumerate(value, start=1))
        converted = msgspec.convert(value, hint)
        key = path.rpartition(".")[2]
        if key in PLUGINS and not isinstance(converted, str):
            where = f"{place} {key}" if place.startswith("[[") else f"[[{path}]]"
            return tuple(self._plugin(PLUGINS[key], item, f"{where} {number}")
                         for number, item in enumerate(converted, start=1))
        if path in _CHECKS:
            for text in _CHECKS[path](converted):
                self._note(f"{place} {key}", text)
        return converted

    def _plugin(self, family: str, table: PluginTable, where: str) -> PluginTable:
        """A plug-in's table with its defaults filled in."""
        try:
            spec = plugins.build(family, table, f"{self._where}: {where}")
        except ConfigError as error:
            self.problems += error.problems
            return table
        return {"kind": table["kind"], **msgspec.to_builtins(spec)}

    def _note(self, place: str, text: str) -> None:
        file = "" if place.startswith(PREFIX) else f"{self._where}: "
        self.problems.append(f"{file}{place}: {text}" if place else file + text)


def _dialect_problems(dialect: str) -> Iterator[str]:
    if dialect != "auto":
        try:
            plugins.load("dialects", dialect)
        except ConfigError as error:
            yield str(error)


def _network_problems(networks: tuple[str, ...]) -> Iterator[str]:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield f"{error}; write networks such as 10.0.0.0/8"


def _url_problems(url: str) -> Iterator[str]:
    if not url:
        return
    if (parts := _web_address(url)) is None:
        yield f"expected an address such as http://127.0.0.1:9000, got '{url}'"
    elif parts.username is not None or parts.query or parts.fragment:
        yield "expected an address without user, query and fragment"


def _webhook_problems(url: str) -> Iterator[str]:
    # it may hold a token, so it isn't printed
    if url and ((parts := _web_address(url)) is None or parts.username is not None or parts.fragment):
        yield "expected an address such as https://alerts.example.org/hook, without user and fragment"


def _web_address(url: str) -> SplitResult | None:
    """The parts of an http or https address, None where it is none."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_good and not set(url) & set(" \r\n\t") else None


def _syslog_problems(address: str) -> Iterator[str]:
    if address and not address.startswith("/"):
        yield from _listen_problems(address)


def _listen_problems(address: str) -> Iterator[str]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= LAST_PORT:
        yield f"expected host:port such as 127.0.0.1:8000 or [::1]:8000, got '{address}'"


_CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    "target.dialect": _dialect_problems,
    "target.url": _url_problems,
    "guard.listen": _listen_problems,
    "guard.admin": _listen_problems,
    "accounts.trusted_proxies": _network_problems,
    "prove.timestamp_url": _url_problems,
    "watch.webhook_url": _webhook_problems,
    "watch.syslog": _syslog_problems,
}
"""What a type doesn't say, by the key's path."""


def _overridden(table: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The table with `COUNTERCLONE_<SECTION>_<KEY>` variables in it, and the variable of each key so set."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    variables = {}
    for name, section in _tables().items():
        for key, field in _fields(section).items():
            variable = f"{PREFIX}{name}_{key}".upper()
            if variable in environ and isinstance(merged.setdefault(name, {}), dict):
                merged[name][key] = _toml_value(environ[variable], field.type)
                variables[f"{name}.{key}"] = variable
    return merged, variables


def _tables() -> dict[str, type[Section]]:
    """The file's tables that there is one of each."""
    found = {name: _section_in(field.type) for name, field in _fields(Config).items()}
    return {name: section for name, section in found.items() if section is not None}


def _toml_value(text: str, hint: Any) -> Any:
    """A variable's text as a TOML value; a bare word is text, and so is anything where text is expected."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if hint is str and not isinstance(value, str) else value


def _idle_variables(merged: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that looks like one of ours and sets nothing."""
    sections = {name: list(_fields(section)) for name, section in _tables().items()}
    # the file may name a secret's variable
    named = [value for name in ("accounts", "watch", "console") if isinstance(section := merged.get(name), dict)
             for value in section.values()]
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in named or SERVICE_LINK.search(variable):
            continue
        name, _, key = variable.removeprefix(PREFIX).lower().partition("_")
        for section in difflib.get_close_matches(name, sections, n=1):
            near = difflib.get_close_matches(key, sections[section], n=1)
            if name != section or near != [key]:
                hint = f" (did you mean '{PREFIX}{section.upper()}_{near[0].upper()}'?)" if near else ""
                yield f"{variable}: sets nothing{hint}; correct its name, or unset it"


def _fields(section: Any) -> Fields:
    return {field.encode_name: field for field in msgspec.structs.fields(section)}


def _section_in(hint: Any) -> type[Section] | None:
    """The struct in a type, itself or as the items of a list."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return hint
    return next((found for part in _parts(hint) if (found := _section_in(part))), None)


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types in a list, a union or an annotated type."""
    return get_args(hint) if get_origin(hint) in (tuple, Union, UnionType, Annotated) else ()


def _readable(error: msgspec.ValidationError, value: Any, hint: Any, path: str) -> tuple[str, str]:
    """A validation error's place inside the value, for example `[1]`, and its text in TOML's words."""
    text, _, at = str(error).partition(" - at `$")
    at = at.removesuffix("`")
    if isinstance(value, dict):
        return at, f"expected an array of tables; write [[{path}]] above each"
    if text.startswith("Invalid enum value"):
        given, choices = text.split("'")[1], _choices(hint)
        return at, f"expected one of {', '.join(choices)}, got '{given}'{plugins.did_you_mean(given, choices)}"
    if " matching regex " in text:
        return at, f"expected {_description(hint)}"
    return at, text[:1].lower() + text[1:]


def _choices(hint: Any) -> list[str]:
    """The values that a type names."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [choice for part in _parts(hint) for choice in _choices(part)]


def _description(hint: Any) -> str | None:
    """What the text of a type with a pattern looks like."""
    if isinstance(hint, Meta):
        return hint.description
    return next((found for part in _parts(hint) if (found := _description(part))), None)
