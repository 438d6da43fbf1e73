"""Audits of settings: all of them against a student, some against every attack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from counterclone import audit
from counterclone.audit import SURFACES, Audit, Surface
from counterclone.audit.data import as_data
from counterclone.audit.trace import Tracing
from counterclone.driver import as_bytes
from counterclone.errors import ConfigError
from counterclone.plugins import Spec
from counterclone.tune.settings import LABELS, Setting
from counterclone.tune.subject import Subject

STUDENT = ("knockoff",)


class Trying:
    """Audits a subject through settings, and keeps what it must not do twice.

    Args:
        subject: the model.
        folder: where answers and the first stage are kept.
        seed: of the first trial.
        say: told of the progress.
    """

    def __init__(self, subject: Subject, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self._subject = subject
        self._folder = folder
        self._seed = seed
        self._say = say

    def by_a_student(self, tried: Sequence[Setting], budgets: Sequence[int], release: bytes) -> Audit:
        """The first stage: a student of the answers with one seed; taken from the folder where it has been there.

        Args:
            tried: the settings.
            budgets: queries; chosen by the number of features where left out.
            release: tells one state of the model from others.

        Raises:
            ConfigError: there is no setting, or one doesn't fit.
        """
        path = self._folder / f"{self._key(tried, budgets, release)}.settings.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Audit)
        except (OSError, msgspec.DecodeError):
            pass  # it hasn't been there, or was cut short
        found = self.by(tried, attacks=STUDENT, budgets=budgets, seeds=1, stage="settings: ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.to_json())
        return found

    def by(self, tried: Sequence[Setting], *, attacks: Sequence[str | Spec], budgets: Sequence[int], seeds: int,
           stage: str = "", trace: Tracing | None = None) -> Audit:
        """One audit, each setting a surface.

        Args:
            tried: the settings.
            attacks: kinds or specs; all that fit where left out.
            budgets: queries.
            seeds: trials of each attack with each budget.
            stage: before what is told of the progress.
            trace: takes the queries.

        Raises:
            ConfigError: there is no setting, or one doesn't fit.
        """
        surfaces = [surface_of(setting) for setting in tried]
        if not surfaces:
            raise ConfigError("there is no setting to try; leave them out to try the usual ones")
        subject = self._subject
        return audit.run(
            subject.predict, pool=subject.pool, evaluate=subject.evaluate, budgets=budgets, attacks=attacks,
            deployment=replace(subject.deployment, surface=surfaces[0]), surfaces=surfaces[1:], seeds=seeds,
            seed=self._seed, returns=subject.returns, seconds=subject.seconds, pool_kind=subject.pool_kind,
            name=subject.name, authorized_by=subject.authorized_by, folder=subject.folder, resume=self._folder,
            trace=trace, keeps_token=True, say=lambda text: self._say(f"{stage}{text}"))

    def _key(self, tried: Sequence[Setting], budgets: Sequence[int], release: bytes) -> str:
        price = self._subject.deployment.price
        parts = [release, msgspec.json.encode([tried, list(budgets), self._seed, price])]
        for where in ("pool", "evaluate"):
            if (given := getattr(self._subject, where)) is not None:
                data = as_data(given, where)
                parts += as_bytes(data.inputs)
                parts.append(msgspec.json.encode(None if data.labels is None else data.labels.tolist()))
        return hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest()


def surface_of(setting: Setting) -> Surface:
    """What callers see with a setting."""
    if setting.name == LABELS:
        return SURFACES["labels"]
    return Surface(name=setting.name, policies=setting.policies, shows=frozenset({"labels", "scores"}))
