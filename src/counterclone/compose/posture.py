"""The folder of a configuration to a report on it: audit, settings, traffic, cases, proofs as they are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from counterclone.audit import Audit
from counterclone.audit.findings import COPY
from counterclone.compose import audited, journalled, latest, provable
from counterclone.compose.cases import case_file
from counterclone.compose.guard import HISTORY_FILE
from counterclone.compose.in_place import in_place, versions
from counterclone.config import Config, load
from counterclone.errors import CountercloneError
from counterclone.posture import Audited, Chosen, Facts, Posture, Traffic, controls, risks
from counterclone.tune import Tuned
from counterclone.watch.cases import Case

T = TypeVar("T")


def posture(path: Path, now: float) -> Posture:
    """A report on a configuration; what isn't there, or can't be read, is said in it.

    Args:
        path: the configuration's file.
        now: seconds since 1970.

    Raises:
        ConfigError: the file can't be read, or has mistakes.
    """
    facts = _Gathering(load(path), path).facts(now)
    return Posture(facts=facts, controls=controls(facts), risks=risks(facts))


class _Gathering:
    """What is beside a configuration's file; what can't be read is a problem, and the rest is told."""

    def __init__(self, config: Config, path: Path) -> None:
        self._config, self._path, self._folder = config, path, path.parent
        self._problems: list[str] = []

    def facts(self, now: float) -> Facts:
        """Everything."""
        config, folder = self._config, self._folder
        audit = self._read(self._audited, None)
        history, n_versions = versions(folder / HISTORY_FILE)
        is_marking = provable.is_marking(config, folder)
        return Facts(
            time=now, version=metadata.version("counterclone"), file=self._path.name,
            config_digest=config.digest(), target=config.target.url, task=config.target.task,
            epoch=config.target.epoch, audit=audit, chosen=self._read(self._chosen, None),
            in_place=in_place(config, self._path, self._read(lambda: audited.load(folder), {})),
            history=tuple(history), n_versions=n_versions, traffic=self._read(lambda: self._traffic(audit), None),
            cases=tuple(self._read(self._cases, ())),
            epochs=self._read(lambda: provable.epochs(self._path), ()) if is_marking else (),
            outlook=self._read(lambda: provable.outlooks(config, folder), ()) if is_marking else (),
            problems=tuple(dict.fromkeys(self._problems)))

    def _read(self, part: Callable[[], T], otherwise: T) -> T:
        try:
            return part()
        except (CountercloneError, OSError) as error:
            self._problems.extend(str(error).splitlines())
            return otherwise

    def _audited(self) -> Audited | None:
        kept = latest.load(self._folder / latest.AUDIT_FILE, Audit)
        if kept is None:
            return None
        audit, guard = kept.result, self._config.guard
        shown = audit.surfaces[0].name
        return Audited(
            target=_address(audit.target), time=kept.time, config_digest=audit.config_digest,
            is_current=kept.surface == audited.key_of(guard.policy, guard.rule), surface=shown,
            attacks=tuple(sorted({trial.attack for trial in audit.trials if trial.surface == shown})),
            fidelity=audit.fidelity, control=audit.control.fidelity,
            copies=tuple(each for each in audit.cheapest if each.surface == shown),
            findings=tuple(audit.findings), training_cost_usd=audit.training_cost_usd)

    def _chosen(self) -> Chosen | None:
        kept = latest.load(self._folder / latest.TUNE_FILE, Tuned)
        if kept is None:
            return None
        tuned, now = kept.result, audited.key_of(self._config.guard.policy, ())
        point = tuned.served if tuned.chosen is not None else None
        return Chosen(time=kept.time, name="" if point is None else point.name, reason=tuned.reason,
                      is_in_place=point is not None and audited.key_of(point.settings, ()) == now)

    def _traffic(self, audit: Audited | None) -> Traffic | None:
        if not self._config.journal.path:
            return None
        copy = audit.copy(COPY) if audit is not None and audit.is_current else None
        journal = self._folder / self._config.journal.path
        found, problems = journalled.traffic(journal, copy.queries if copy else None)
        self._problems.extend(problems)
        return found

    def _cases(self) -> Sequence[Case]:
        file = case_file(self._folder)
        found = file.all()
        self._problems.extend(f"cases: {problem}; left out" for problem in file.problems)
        return found


def _address(url: str) -> str:
    """An address without what is secret in it: credentials, and what follows a question mark."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
