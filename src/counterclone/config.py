"""The TOML file as frozen structs: one table a verb, one array of tables a plug-in family.

An unknown key is an error that names the nearest one. All mistakes are reported together.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from counterclone import plugins
from counterclone.errors import ConfigError

DEFAULT_FILE = "counterclone.toml"
FILE_VARIABLE = "COUNTERCLONE_CONFIG"
PREFIX = "COUNTERCLONE_"

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
PluginTable = dict[str, Any]


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
    accounts: tuple[str, ...]
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

    Raises:
        ConfigError: it has mistakes, one line for each.
    """
    merged, problems = _overridden(table, environ)
    problems += _unknown_keys(merged, Config, "")
    config = Config()
    if not problems:
        config, problems = _converted(merged)
    if not problems:
        problems = list(_plugin_problems(config))
    if problems:
        raise ConfigError(*(f"{where}: {problem}" for problem in problems))
    return config


def schema() -> dict[str, Any]:
    """The file's JSON Schema, the options of our own plug-ins included."""
    (_,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    definitions: dict[str, Any] = dict(components)
    tables = {"rule": "rules", "policy": "policies"}
    for key, family in tables.items():
        options = [_plugin_schema(family, kind, definitions) for kind in plugins.kinds(family)]
        definitions["Guard"]["properties"][key]["items"] = {"oneOf": options}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_FILE,
            **definitions.pop("Config"), "$defs": definitions}


def _plugin_schema(family: str, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    (_,), components = msgspec.json.schema_components([plugins.load(family, kind)],
                                                      ref_template="#/$defs/{name}")
    (name, spec), = components.items()
    spec["properties"] = {"kind": {"const": kind}, **spec.get("properties", {})}
    spec["required"] = ["kind", *spec.get("required", [])]
    definitions[name] = spec
    return {"$ref": f"#/$defs/{name}"}


def _overridden(table: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The table with `COUNTERCLONE_<SECTION>_<KEY>` variables in it, and what is wrong with them."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    problems = []
    sections = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for variable, text in sorted(environ.items()):
        section, _, key = variable.removeprefix(PREFIX).lower().partition("_")
        if not variable.startswith(PREFIX) or section not in sections or not key:
            continue
        known = _keys(sections[section])
        if key not in known:
            names = [f"{PREFIX}{section}_{name}".upper() for name in known]
            problems.append(f"the environment has {variable}, which sets nothing"
                            f"{plugins.did_you_mean(variable, names)}")
        elif isinstance(merged.setdefault(section, {}), dict):
            merged[section][key] = _toml_value(text)
    return merged, problems


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string


def _keys(section: Any) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(section)]


def _unknown_keys(table: Mapping[str, Any], section: type[Section], where: str) -> list[str]:
    problems = []
    known = _keys(section)
    hints = get_type_hints(section)
    types = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(section)}
    for key, value in table.items():
        if key not in known:
            place = f"[{where}] " if where else ""
            problems.append(f"{place}unknown key `{key}`{plugins.did_you_mean(key, known)}")
            continue
        inner = _section_in(types[key])
        path = f"{where}.{key}" if where else key
        if inner and isinstance(value, dict):
            problems += _unknown_keys(value, inner, path)
        elif inner and isinstance(value, list):
            problems += [problem for item in value if isinstance(item, dict)
                         for problem in _unknown_keys(item, inner, path)]
    return problems


def _section_in(hint: Any) -> type[Section] | None:
    """The struct in a type, itself or as the items of a list."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return hint
    if get_origin(hint) in (tuple, Union, UnionType, Annotated):
        return next((found for part in get_args(hint) if (found := _section_in(part))), None)
    return None


def _converted(table: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """The config, and one problem for each section that doesn't convert."""
    problems, sections = [], {}
    for field in msgspec.structs.fields(Config):
        if field.name in table:
            try:
                sections[field.name] = msgspec.convert(table[field.name], field.type)
            except msgspec.ValidationError as error:
                problems.append(f"[{field.name}] {plugins.readable(error)}")
    return Config(**sections), problems


def _plugin_problems(config: Config) -> Iterator[str]:
    tables: list[tuple[str, str, tuple[PluginTable, ...]]]
    tables = [("policies", "guard.policy", config.guard.policy), ("rules", "guard.rule", config.guard.rule)]
    tables += [("policies", "accounts.class.policies", group.policies)
               for group in config.accounts.class_ if not isinstance(group.policies, str)]
    for family, where, entries in tables:
        for number, entry in enumerate(entries, start=1):
            try:
                plugins.build(family, entry, f"[[{where}]] {number}")
            except ConfigError as error:
                yield from error.problems
    if config.target.dialect != "auto":
        try:
            plugins.load("dialects", config.target.dialect)
        except ConfigError as error:
            yield f"[target] dialect: {error}"
