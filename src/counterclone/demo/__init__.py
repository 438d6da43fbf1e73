"""The main job on real input, in acts: each shows one part of the product on a real model over HTTP."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import click
import msgspec

from counterclone import plugins, report
from counterclone.demo import audit_act, guard_act, llm_act, magika_act, prove_act, tune_act, watch_act
from counterclone.errors import ConfigError


class Act(NamedTuple):
    """One part of the demo.

    Attributes:
        run: plays it under a seed, telling its progress, and returns its findings.
        table: the findings for people.
    """

    run: Callable[[int, Callable[[str], None]], Any]
    table: Callable[[Any], report.Table]


ACTS = {"audit": Act(audit_act.run, audit_act.table), "guard": Act(guard_act.run, guard_act.table),
        "magika": Act(magika_act.run, magika_act.table), "watch": Act(watch_act.run, watch_act.table),
        "prove": Act(prove_act.run, prove_act.table), "tune": Act(tune_act.run, tune_act.table),
        "llm": Act(llm_act.run, llm_act.table)}
EXTRA = frozenset({"llm"})
"""Acts that are played where they are named: they need what the others do without."""


class Result(msgspec.Struct, frozen=True):
    """What a run of the demo found.

    Attributes:
        seed: of everything that was drawn.
        seconds: of the whole run.
        acts: the findings of each act by its name.
    """

    seed: int
    seconds: float
    acts: dict[str, Any]


def run(names: Sequence[str], *, seed: int, report_path: Path) -> Result:
    """Play the acts, all but the extra ones where none is named, and write the report.

    Raises:
        ConfigError: there is no such act.
    """
    for name in names:
        if name not in ACTS:
            raise ConfigError(f"there is no act '{name}'{plugins.did_you_mean(name, list(ACTS))}; expected one of "
                              f"{', '.join(ACTS)}")
    started = time.monotonic()
    acts = {name: ACTS[name].run(seed, _say) for name in names or [name for name in ACTS if name not in EXTRA]}
    result = Result(seed=seed, seconds=round(time.monotonic() - started, 1), acts=acts)
    report.write_html(report_path, "counterclone: the demo", _lead(result), _tables(result))
    return result


def show(result: Result, file: TextIO) -> None:
    """Print the acts' tables."""
    for table in _tables(result):
        report.print_table(table, file)


def _tables(result: Result) -> list[report.Table]:
    return [ACTS[name].table(findings) for name, findings in result.acts.items()]


def _lead(result: Result) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"Made by `counterclone demo --seed {result.seed}` on {today} in {result.seconds:.0f} seconds."


def _say(text: str) -> None:
    click.echo(text, err=True)
