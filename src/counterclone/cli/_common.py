"""What all verbs share: options, errors as readable lines, exit codes, JSON."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click
import msgspec

from counterclone.errors import CountercloneError, DossierError, TargetSlow, TargetUnreachable, WorkerFailed

EXIT_FINDING = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3

Command = Callable[..., Any]


def common(command: Command) -> Command:
    """The options that every verb has, and errors as readable lines."""

    @click.option("--config", "config_file", metavar="FILE", help="Configuration file [counterclone.toml].")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
    @click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything that is drawn.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapped(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # who read our output has had enough
            raise
        except (CountercloneError, OSError) as error:
            if debug:
                traceback.print_exc()
            for line in str(error).splitlines():
                click.echo(f"counterclone: {line}", err=True)
            sys.exit(_exit_code(error))

    return wrapped


def _exit_code(error: Exception) -> int:
    if isinstance(error, DossierError):
        return EXIT_FINDING
    if isinstance(error, WorkerFailed):
        return error.exit_code
    return EXIT_UNREACHABLE if isinstance(error, TargetUnreachable | TargetSlow) else EXIT_USAGE


def print_json(result: Any) -> None:
    """One JSON object on standard output."""
    click.echo(msgspec.json.encode(result).decode())
