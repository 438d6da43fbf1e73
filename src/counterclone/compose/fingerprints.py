"""The file's fingerprints: probes of theirs to a suspect, and its ranks among independent models."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import cast

from counterclone import plugins
from counterclone.answers import Reply
from counterclone.budgets import Meter
from counterclone.config import Config
from counterclone.driver import drive
from counterclone.evidence import Rank
from counterclone.protocols import Fingerprint, Target
from counterclone.queries import Inputs

Comparison = Generator[Inputs, Reply, Rank]


def comparisons(config: Config, folder: Path) -> list[Comparison]:
    """What each of the file's fingerprints asks.

    Raises:
        ConfigError: a table is wrong, or its file of probes.
    """
    specs = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
    return [cast(Fingerprint, spec).compare(folder) for spec in specs if hasattr(spec, "compare")]


async def ranks(found: Sequence[Comparison], suspect: Target, budget: int) -> tuple[Rank, ...]:
    """The suspect's, of each; with a budget each.

    Raises:
        TargetError: it can't be reached, or what it answers isn't what it promised.
    """
    asked = [await drive(comparison, suspect, Meter(budget)) for comparison in found]
    return tuple(rank for rank in asked if rank is not None)
