"""A population: accounts whose kinds are known, and everything that they asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import Rows
from counterclone.errors import ConfigError
from counterclone.exchanges import Exchanges
from counterclone.queries import Features, Inputs

Texts = NDArray[np.object_]
"""Prompts, (n,)."""
Meta = dict[str, str]
"""What else is known of an account: `ip`, `payment`, `user_agent`, `asn`."""
START = 1_764_000_000.0
"""When populations begin where nobody says: a Monday in November 2025, in seconds since 1970."""
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Accounts and their exchanges, in the order of time.

    Attributes:
        names: of the accounts, (accounts,).
        kinds: what each is, for example `casual` or `campaign/natural`, (accounts,).
        meta: what is known of each, (accounts,).
        exchanges: whose `accounts` are places in `names`.
        inputs: what was asked, (n, features), or prompts, (n,); None where it wasn't kept.
        scores: what was answered, (n, classes); None likewise, and of language models.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    meta: tuple[Meta, ...]
    exchanges: Exchanges
    inputs: Features | Texts | None = None
    scores: Rows | None = None

    def __len__(self) -> int:
        """How many accounts."""
        return len(self.names)

    @property
    def is_campaign(self) -> NDArray[np.bool_]:
        """Which accounts are copiers', (accounts,)."""
        return np.array([kind.startswith("campaign/") for kind in self.kinds], dtype=np.bool_)

    @property
    def counts(self) -> NDArray[np.intp]:
        """Queries of each account, (accounts,)."""
        return np.bincount(self.exchanges.accounts, minlength=len(self))

    def of(self, accounts: NDArray[np.intp] | NDArray[np.bool_]) -> Population:
        """Some of the accounts, in the order given, with what they asked."""
        chosen = np.flatnonzero(accounts) if accounts.dtype == np.bool_ else accounts
        numbers = np.full(len(self), -1, dtype=np.intp)
        numbers[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero(numbers[self.exchanges.accounts] >= 0)
        return Population(
            names=tuple(self.names[i] for i in chosen), kinds=tuple(self.kinds[i] for i in chosen),
            meta=tuple(self.meta[i] for i in chosen),
            exchanges=self.exchanges.select(rows).numbered(numbers[self.exchanges.accounts[rows]]),
            inputs=None if self.inputs is None else self.inputs[rows],
            scores=None if self.scores is None else self.scores[rows])

    def raw(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> tuple[Inputs, Rows]:
        """What was asked and answered in some exchanges, as a model takes and gives it.

        Raises:
            ConfigError: inputs and scores weren't kept.
        """
        if self.inputs is None or self.scores is None:
            raise ConfigError("this population's inputs and answers weren't kept; make it with raw=True")
        asked = self.inputs[rows]
        return asked.tolist() if asked.dtype == np.object_ else asked.astype(np.float64), self.scores[rows]

    def write_lines(self, path: Path | str) -> None:
        """The exchanges as JSON lines, as `watch` reads them; `meta` says what each account is, too.

        Raises:
            ConfigError: inputs and scores weren't kept.
        """
        if self.inputs is None:
            raise ConfigError("this population's inputs weren't kept; make it with raw=True")
        accounts, times = self.exchanges.accounts.tolist(), self.exchanges.times.tolist()
        with Path(path).open("wb") as file:
            for row, (account, time) in enumerate(zip(accounts, times, strict=True)):
                query = {"text" if self.inputs.ndim == 1 else "features": self.inputs[row]}
                answer = {} if self.scores is None else {"answer": {"scores": self.scores[row]}}
                file.write(orjson.dumps(
                    {"time": time, "account": self.names[account], "query": query, **answer,
                     "meta": self.meta[account]},
                    option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def join(*populations: Population) -> Population:
    """Several as one; accounts of the same name stay apart."""
    starts = np.cumsum([0, *map(len, populations)])
    return assembled(
        names=[name for each in populations for name in each.names],
        kinds=[kind for each in populations for kind in each.kinds],
        meta=[meta for each in populations for meta in each.meta],
        parts=[each.exchanges.numbered(each.exchanges.accounts + start)
               for each, start in zip(populations, starts, strict=False)],
        inputs=[each.inputs for each in populations], scores=[each.scores for each in populations])


def assembled(*, names: Sequence[str], kinds: Sequence[str], meta: Sequence[Meta], parts: Sequence[Exchanges],
              inputs: Sequence[Features | Texts | None], scores: Sequence[Rows | None]) -> Population:
    """One population of exchanges in any order; gaps are counted anew."""
    order = np.argsort(np.concatenate([part.times for part in parts]), kind="stable")
    columns = {}
    for field in fields(Exchanges):
        joined = np.concatenate([getattr(part, field.name) for part in parts])
        columns[field.name] = joined[order]
    exchanges = Exchanges(**columns)
    exchanges = replace(exchanges, gaps=gaps(exchanges.accounts, exchanges.times))
    return Population(names=tuple(names), kinds=tuple(kinds), meta=tuple(meta), exchanges=exchanges,
                      inputs=_joined(inputs, order), scores=_joined(scores, order))


def gaps(accounts: NDArray[np.intp], times: NDArray[np.float64]) -> NDArray[np.float32]:
    """Seconds since the account's exchange before, NaN for its first; rows are in the order of time: (n,)."""
    order = np.argsort(accounts, kind="stable")
    since = np.diff(times[order], prepend=0.0)
    since[np.diff(accounts[order], prepend=-1) != 0] = np.nan
    found = np.empty(len(times), dtype=np.float32)
    found[order] = since
    return found


def _joined(parts: Sequence[NDArray[Any] | None], order: NDArray[np.intp]) -> NDArray[Any] | None:
    kept = [part for part in parts if part is not None]
    return np.concatenate(kept)[order] if len(kept) == len(parts) else None
