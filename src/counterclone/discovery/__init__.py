"""Probe a model server, and write the configuration of a guard before it."""

from __future__ import annotations

import asyncio
import difflib
import tomllib
from pathlib import Path
from typing import NamedTuple

import msgspec

from counterclone import compose, config
from counterclone.discovery import endpoint, mlflow, oip, openapi, settings, tensorflow
from counterclone.discovery.apis import Address, Api
from counterclone.discovery.scores import Scores, read
from counterclone.discovery.site import NO_PAGE, Page, Site, visiting
from counterclone.errors import ConfigError

PROBES = (oip.find, tensorflow.find, openapi.find, mlflow.find)
"""The surest first: the first that knows the server ends the search."""


class Discovery(NamedTuple):
    """What a probe found.

    Attributes:
        api: what the server speaks.
        scores: where its answers hold probabilities.
        text: the configuration to write.
    """

    api: Api
    scores: Scores
    text: str


class Result(msgspec.Struct, frozen=True):
    """What `counterclone init` did.

    Attributes:
        target: the server's address, as the gateway puts it before a request's path.
        dialect: the wire format, "auto" where it isn't known.
        task: what the model does.
        classes: how many, None where no answer showed them.
        scores: the output that holds probabilities, "" where it isn't named.
        paths: shell patterns of what to guard.
        server: what the server is, "" where it doesn't say.
        file: the configuration.
        written: whether it was written just now.
        warnings: what the owner must know.
    """

    target: str
    dialect: str
    task: str
    classes: int | None
    scores: str
    paths: tuple[str, ...]
    server: str
    file: str
    written: bool
    warnings: tuple[str, ...]


def init(url: str, path: Path, *, write: bool) -> tuple[Result, str]:
    """Probe a server and write the file where there is none.

    Args:
        url: of the server, or of one endpoint.
        path: the file.
        write: whether an existing file is replaced; it is kept with `.bak` at the end of its name.

    Returns:
        What was done, and how the existing file differs from what would be written, "" where it doesn't.

    Raises:
        TargetUnreachable: nobody answers.
        ConfigError: the address is none, or the file can't be written.
    """
    found = probe(url)
    settled = config.parse(tomllib.loads(found.text), {}, str(path))
    compose.check(settled)
    written, difference = save(found.text, path, write=write)
    return Result(
        target=settled.target.url, dialect=settled.target.dialect, task=settled.target.task,
        classes=found.scores.classes, scores=settled.target.scores, paths=settled.guard.paths,
        server=found.api.server, file=str(path), written=written,
        warnings=(*found.api.warnings, *found.scores.warnings)), difference


def probe(url: str) -> Discovery:
    """Find out what a server speaks, by at most a dozen short requests and one query.

    Raises:
        TargetUnreachable: nobody answers.
        ConfigError: the address is none.
    """
    return asyncio.run(_probe(Address.of(url)))


async def _probe(address: Address) -> Discovery:
    async with visiting() as site:
        first = await site.reach(address.url)
        for find in PROBES:
            if api := await find(site, address, first):
                _, scores = await _ask(site, api)
                break
        else:
            api = endpoint.guess(address, first)
            answer, scores = await _ask(site, api)
            if not scores.classes:
                api = endpoint.unknown(api, address, first, answer)
        return Discovery(api, scores, settings.text(api, scores, site.tried))


async def _ask(site: Site, api: Api) -> tuple[Page, Scores]:
    """The answer to the API's query, and what it shows."""
    if api.ask is None:
        return NO_PAGE, Scores()
    page = await site.ask(*api.ask)
    return page, read(api.dialect, api.ask.content, page)


def save(text: str, path: Path, *, write: bool) -> tuple[bool, str]:
    """Write a new file, or compare the existing one.

    Returns:
        Whether it was written, and how the existing file differs, "" where it doesn't.

    Raises:
        ConfigError: it can't be read or written.
    """
    try:
        if not path.exists():
            _create(path, text)
            return True, ""
        existing = path.read_text(encoding="utf-8", errors="replace")
        difference = "".join(difflib.unified_diff(
            existing.splitlines(keepends=True), text.splitlines(keepends=True), str(path), f"{path} as found"))
        if difference and write:
            kept = path.with_name(f"{path.name}.bak")
            if kept.exists():
                raise ConfigError(f"{kept}: is in the way of the file that is kept there; move it elsewhere")
            path.rename(kept)
            _create(path, text)
            return True, difference
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file that can be written with --config") from None
    return False, difference


def _create(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
