"""A running guard to the console of its owner."""

from __future__ import annotations

from pathlib import Path

from counterclone.compose.desk import GuardDesk
from counterclone.compose.guard import Guard
from counterclone.compose.secrets import console_token
from counterclone.console.app import Console
from counterclone.console.sessions import Patience, Sessions
from counterclone.console.trail import TRAIL_FILE, Trail
from counterclone.guard.metrics import Metrics


def console(guard: Guard, path: Path, metrics: Metrics) -> Console:
    """The console of a guard.

    Args:
        guard: that runs.
        path: its configuration's file.
        metrics: its counts.

    Raises:
        ConfigError: the token can't be read or made.
    """
    token = console_token(guard.config, path.parent)
    return Console(GuardDesk(guard, path, metrics), Trail(path.parent / TRAIL_FILE), Sessions(token), Patience())
