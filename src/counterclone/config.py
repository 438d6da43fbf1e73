"""The TOML file as frozen structs: one table a verb, one array of tables a plug-in family.

An unknown key is an error that names the nearest one. All mistakes are reported together.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType

from counterclone import plugins
from counterclone.errors import ConfigError

DEFAULT_FILE = "counterclone.toml"
FILE_VARIABLE = "COUNTERCLONE_CONFIG"
PREFIX = "COUNTERCLONE_"
PLUGINS = {"rule": "rules", "policy": "policies", "policies": "policies"}
"""The family of the tables that a key holds."""
SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT(_\d+_(TCP|UDP|SCTP)|$))")
"""Variables that Kubernetes makes for a service, which may be named as we are."""

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
PluginTable = dict[str, Any]
AccountName = Annotated[str, Meta(
    pattern="^(account:[0-9a-f]{16}|(?!account:)[^:]+:.+)$",
    description="`key:<key id>`, `header:<value>`, `<claim>:<value>` or `account:<16 hexadecimal digits>`")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: its fields are its keys, its defaults theirs."""


class Target(Section, frozen=True):
    """`[target]`: the model that is guarded.

    Attributes:
        task: what the model does.
        dialect: its wire format; `auto` finds it from each request.
        scores: the output tensor or field that holds probabilities; "" finds it.
        epoch: the name of the model's release; another name draws other noise.
    """

    task: Literal["classifier"] = "classifier"
    dialect: str = "auto"
    scores: str = ""
    epoch: str = "1"


class AccountClass(Section, frozen=True):
    """`[[accounts.class]]`: honest users with a contract.

    Attributes:
        name: what reports call them.
        accounts: `key:<key id>`, `header:<value>`, `<claim>:<value>` or `account:<id of the journal>`.
        limit_queries_per_minute: rows a minute; 0 for no limit; the guard's where left out.
        limit_queries_per_day: rows a day, likewise.
        limit_leaked_bits_per_day: bits a day, likewise.
        policies: the guard's, none, or a list of their own.
    """

    name: Annotated[str, Meta(min_length=1)]
    accounts: tuple[AccountName, ...]
    limit_queries_per_minute: Count | UnsetType = UNSET
    limit_queries_per_day: Count | UnsetType = UNSET
    limit_leaked_bits_per_day: Count | UnsetType = UNSET
    policies: Literal["base", "none"] | tuple[PluginTable, ...] = "base"


class Accounts(Section, frozen=True):
    """`[accounts]`: who is calling.

    Attributes:
        source: where the account's name comes from.
        header: the header that a trusted proxy sets, for `source = "header"`.
        trusted_proxies: the networks that such proxies call from.
        api_keys: `open` takes any bearer key as an account of its own, `listed` only those made by
            `counterclone keys create`.
        keys_file: where the listed keys' hashes are.
        open_keys_max: open keys that are accounts of their own; once so many are in use, new ones
            share their network's account.
        jwt_key_env: the variable with the secret or public key, for `source = "jwt"`.
        jwt_algorithms: the admitted signatures.
        jwt_claim: the claim that names the account.
        jwt_audience: the audience that tokens must name, "" for any.
        secret_env: the variable with the secret that hashes accounts and keys the noise; where it is
            unset, a key file is made beside this file.
        class_: the account classes.
    """

    source: Literal["bearer", "header", "jwt"] = "bearer"
    header: str = "x-account"
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    api_keys: Literal["open", "listed"] = "open"
    keys_file: str = "counterclone.keys.json"
    open_keys_max: Positive = 100_000
    jwt_key_env: str = "COUNTERCLONE_JWT_KEY"
    jwt_algorithms: tuple[Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256",
                                  "ES384", "EdDSA"], ...] = ("HS256",)
    jwt_claim: str = "sub"
    jwt_audience: str = ""
    secret_env: str = "COUNTERCLONE_SECRET"  # noqa: S105 (the name of a variable)
    class_: tuple[AccountClass, ...] = msgspec.field(default=(), name="class")


class Guard(Section, frozen=True):
    """`[guard]`: what comes in, what leaves, and how much of it.

    Attributes:
        limit_queries_per_minute: rows an account may ask in a minute; 0 for no limit.
        limit_queries_per_day: rows an account may ask in a day; 0 for no limit.
        limit_leaked_bits_per_day: bits that answers to an account may hold in a day; 0 only meters.
        limit_total_queries_per_minute: rows of all accounts in a minute; 0 for no limit.
        limit_total_queries_per_day: rows of all accounts in a day; 0 for no limit.
        limit_body_bytes: the largest request body.
        workers: processes that guard with this file; each admits its part of every limit.
        enforce: false decides, counts and journals, and changes nothing (shadow mode).
        on_error: `block` answers 502 where an answer can't be cleaned, `pass` serves it as it is.
        unknown: `block` rejects what no dialect reads, `pass` lets it through unscanned.
        paths: shell patterns of the paths that are guarded; others pass untouched.
        rule: what comes in, applied in file order.
        policy: what leaves, applied in file order.
    """

    limit_queries_per_minute: Count = 600
    limit_queries_per_day: Count = 0
    limit_leaked_bits_per_day: Count = 0
    limit_total_queries_per_minute: Count = 0
    limit_total_queries_per_day: Count = 0
    limit_body_bytes: Positive = 10_000_000
    workers: Positive = 1
    enforce: bool = True
    on_error: Literal["block", "pass"] = "block"
    unknown: Literal["block", "pass"] = "block"
    paths: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    rule: tuple[PluginTable, ...] = ()
    policy: tuple[PluginTable, ...] = ()


class Journal(Section, frozen=True):
    """`[journal]`: who asked what.

    Attributes:
        path: the folder, from this file's; "" keeps no journal.
        retention_days: days that exchanges are kept; 0 for ever.
        retention_bytes: bytes after which the oldest go; 0 for no bound.
        payloads: whether queries and answers themselves are kept.
    """

    path: str = "journal"
    retention_days: Count = 90
    retention_bytes: Count = 10_000_000_000
    payloads: bool = False


class Config(Section, frozen=True):
    """The whole file."""

    target: Target = Target()
    accounts: Accounts = Accounts()
    guard: Guard = Guard()
    journal: Journal = Journal()

    def digest(self) -> str:
        """16 hexadecimal digits that change with any setting; reports carry them. Holds no secret."""
        return hashlib.blake2b(msgspec.json.encode(self, order="deterministic"), digest_size=8).hexdigest()


def find(path: str | None = None) -> Path:
    """The file: the one named, the one in COUNTERCLONE_CONFIG, or ./counterclone.toml."""
    return Path(path or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override from the environment, and check a file.

    Args:
        path: the file.
        environ: variables; `COUNTERCLONE_GUARD_ENFORCE=false` overrides `[guard] enforce`.

    Raises:
        ConfigError: it can't be read or has mistakes, one line for each.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a configuration file; write one, or name it "
                          f"with --config or {FILE_VARIABLE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no TOML: {error}") from None
    return parse(table, os.environ if environ is None else environ, str(path))


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
    reading = _Reading(f"{where}: ", variables)
    config = reading.section(merged, Config, "", "")
    reading.problems += _unknown_variables(merged, environ)
    if reading.problems:
        raise ConfigError(*reading.problems)
    return config


def schema() -> dict[str, Any]:
    """The file's JSON Schema, the options of our own and of installed plug-ins included."""
    definitions: dict[str, Any] = {}
    file = _definition(Config, definitions)
    for family in sorted(set(PLUGINS.values())):
        for kind in plugins.kinds(family):
            spec = _definition(plugins.load(family, kind), definitions)
            spec["properties"] = {"kind": {"const": kind}, **spec.get("properties", {})}
            spec["required"] = ["kind", *spec.get("required", [])]
            definitions[f"{family}.{kind}"] = spec
    for section in ("Guard", "AccountClass"):
        for key, value in definitions[section]["properties"].items():
            if family := PLUGINS.get(key):
                tables = next(part for part in value.get("anyOf", [value]) if part.get("type") == "array")
                tables["items"] = {"oneOf": [{"$ref": f"#/$defs/{family}.{kind}"} for kind in plugins.kinds(family)]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_FILE, **file,
            "$defs": definitions}


def _definition(struct: type[msgspec.Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema; those that it refers to are added to `definitions`."""
    (reference,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    own: dict[str, Any] = components.pop(reference["$ref"].rpartition("/")[2])
    definitions |= components
    return own


def _overridden(table: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The table with `COUNTERCLONE_<SECTION>_<KEY>` variables in it, and which keys they set."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    variables = {}
    for section in msgspec.structs.fields(Config):
        for key, field in _fields(section.type).items():
            variable = f"{PREFIX}{section.name}_{key}".upper()
            if variable in environ and isinstance(merged.setdefault(section.name, {}), dict):
                merged[section.name][key] = _toml_value(environ[variable], field.type)
                variables[f"{section.name}.{key}"] = variable
    return merged, variables


def _toml_value(text: str, hint: Any) -> Any:
    """A variable's text as TOML; a bare word, and whatever is written where text is expected, is text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if hint is str and not isinstance(value, str) else value


def _unknown_variables(merged: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """Complaints about variables that look like ours and set nothing."""
    sections = {field.name: _fields(field.type) for field in msgspec.structs.fields(Config)}
    accounts = merged.get("accounts")
    named = accounts.values() if isinstance(accounts, dict) else ()  # a secret's variable may have any name
    names = [f"{section}_{key}".upper() for section, fields in sections.items() for key in fields]
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if not variable.startswith(PREFIX) or name in names or variable in named or SERVICE_LINK.search(name):
            continue
        section = name.partition("_")[0].lower()
        if section in sections or plugins.did_you_mean(section, list(sections)):
            yield (f"{variable}: sets nothing{plugins.did_you_mean(name, names).replace("'", "'" + PREFIX, 1)}; "
                   "correct the variable's name, or unset it")


S = TypeVar("S", bound=Section)


class _Reading:
    """A file on its way into structs.

    Attributes:
        problems: what is wrong with it, one line for each mistake.
    """

    def __init__(self, file: str, variables: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._file = file
        self._variables = variables

    def section(self, table: Any, section: type[S], path: str, place: str) -> S:
        """A table as a struct, with defaults in the place of what is wrong.

        Args:
            table: what the file has there.
            section: the struct.
            path: the table's name, for example `accounts.class`.
            place: how a message names it, for example `[[accounts.class]] 2 `.
        """
        if not isinstance(table, dict):
            self._complain(place.rstrip(), "expected a table")
            table = {}
        fields, values = _fields(section), {}
        for key, value in table.items():
            if key not in fields:
                self._complain(place.rstrip(), f"unknown key `{key}`{plugins.did_you_mean(key, list(fields))}")
                continue
            inner = f"{path}.{key}" if path else key
            try:
                values[fields[key].name] = self._value(value, fields[key].type, inner, place)
            except msgspec.ValidationError as error:
                at, text = _readable(error, value, fields[key].type, inner)
                self._complain(self._variables.get(inner, self._file + place + key) + at, text)
        for key, field in fields.items():
            if field.required and field.name not in values:
                values[field.name] = None
                if key not in table:
                    self._complain(place.rstrip(), f"`{key}` is missing")
        return section(**values)

    def _value(self, value: Any, hint: Any, path: str, place: str) -> Any:
        inner, key = _section_in(hint), path.rpartition(".")[2]
        if inner is hint:
            return self.section(value, hint, path, f"[{path}] ")
        if inner and isinstance(value, list):
            return tuple(self.section(item, inner, path, f"[[{path}]] {number} ")
                         for number, item in enumerate(value, start=1))
        converted = msgspec.convert(value, hint)
        if key in PLUGINS and not isinstance(converted, str):
            at = f"{place}{key}" if place.startswith("[[") else f"[[{path}]]"
            return tuple(self._plugin(PLUGINS[key], each, f"{self._file}{at} {number}")
                         for number, each in enumerate(converted, start=1))
        self._check(path, converted)
        return converted

    def _plugin(self, family: str, table: PluginTable, where: str) -> PluginTable:
        """A plug-in's table with the defaults of its options in it."""
        try:
            spec = plugins.build(family, table, where)
        except ConfigError as error:
            self.problems += error.problems
            return table
        return {"kind": table["kind"], **msgspec.to_builtins(spec)}

    def _check(self, path: str, value: Any) -> None:
        """What a type doesn't say of a value."""
        if path == "target.dialect" and value != "auto":
            try:
                plugins.load("dialects", value)
            except ConfigError as error:
                self._complain("[target] dialect", str(error))
        if path == "accounts.trusted_proxies":
            for network in value:
                try:
                    ipaddress.ip_network(network)
                except ValueError as error:
                    self._complain("[accounts] trusted_proxies", f"{error}; write networks such as 10.0.0.0/8")

    def _complain(self, place: str, text: str) -> None:
        ...


def _fields(section: Any) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(section)}


