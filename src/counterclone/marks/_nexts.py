"""What models say comes next: a suspect whose probabilities can be read, beside the owner's own model."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import ConfigError, TargetError
from counterclone.marks._green import TOKEN_BITS, Codes, packed
from counterclone.marks._pairs import Numbers, nearest
from counterclone.marks._tokens import Tokens

LIKELY = 1e-3
"""A token counts where one of the models holds it to be as likely; the others, most of a vocabulary, tell next to
nothing and take most of the time."""

Shares = NDArray[np.float32]


class Expected(NamedTuple):
    """What comes next by the owner's unmarked model, and by a public one, fixed before anything is marked.

    Attributes:
        contexts: texts that something comes after, (n,).
        own: probabilities of the owner's model, (n, tokens).
        public: likewise of a public one; None where the file has none.
    """

    contexts: list[str]
    own: Shares
    public: Shares | None

    @classmethod
    def load(cls, path: str) -> Expected:
        """Read a file as `numpy.savez` writes it: `contexts`, and log-probabilities `own` and perhaps `public`.

        Raises:
            ConfigError: it can't be read, or holds something else.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in ("contexts", "own", "public") if name in content}
        except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(f"greenlist: {path}: {error}; expected a file as numpy.savez writes it") from None
        contexts, logs = arrays.get("contexts"), [arrays[name] for name in ("own", "public") if name in arrays]
        if (contexts is None or contexts.ndim != 1 or contexts.dtype.kind != "U" or "own" not in arrays
                or any(each.shape != logs[0].shape or not _tells(each, len(contexts)) for each in logs)):
            raise ConfigError(f"greenlist: {path}: holds {', '.join(_shapes(arrays)) or 'nothing'}; expected "
                              "`contexts`, n texts, and `own` and perhaps `public`, (n, tokens) log-probabilities")
        own, *public = map(_normalised, logs)
        return cls(contexts.tolist(), own, public[0] if public else None)


class Nexts(NamedTuple):
    """Pairs of context and token that some model holds to be likely, one for each context that was asked.

    Attributes:
        codes: the pairs, in any order and more than once where contexts end alike, (n,).
        theirs: the suspect's probabilities, (n,).
        ours: the owner's model's.
        public: a public model's, the owner's where there is none.
    """

    codes: Codes
    theirs: Numbers
    ours: Numbers
    public: Numbers

    def plus(self, other: Nexts) -> Nexts:
        """Both."""
        return Nexts(*(np.concatenate(pieces) for pieces in zip(self, other, strict=True)))

    def surplus(self) -> tuple[Codes, Numbers]:
        """How much likelier the suspect holds each pair than the nearest mixture of the other two does.

        A probability and no logarithm of one, whose differences are largest for tokens that nobody would write.
        What contexts that end alike say is summed, since the key has one bit for all of them. No key has a part
        in any of this.

        Returns:
            The pairs, ascending, and what each counts.
        """
        weight = nearest(self.theirs, self.ours, self.public)
        codes, places = np.unique(self.codes, return_inverse=True)
        total = np.zeros(len(codes))
        np.add.at(total, places, self.theirs - weight * self.ours - (1.0 - weight) * self.public)
        return codes, total


NOTHING = Nexts(np.empty(0, dtype=np.int64), *(np.empty(0) for _ in range(3)))


def read(suspect: Numbers, expected: Expected, rows: NDArray[np.intp], ends: Codes) -> Nexts:
    """What a suspect says comes next.

    Args:
        suspect: its probabilities, (rows, tokens).
        expected: the others'.
        rows: the contexts that it was asked.
        ends: the codes of the last tokens of each, (rows,).

    Raises:
        TargetError: it has other tokens.
    """
    ours = expected.own[rows].astype(np.float64)
    if suspect.shape != ours.shape:
        raise TargetError(f"the suspect told of {suspect.shape[1]:,} tokens; expected {ours.shape[1]:,}, the "
                          "owner's by their numbers; cut what its model has more for padding")
    public = ours if expected.public is None else expected.public[rows].astype(np.float64)
    told = suspect, ours, public
    contexts, tokens = np.nonzero(np.max(told, axis=0) >= LIKELY)
    return Nexts(ends[contexts] << TOKEN_BITS | tokens, *(each[contexts, tokens] for each in told))


def ends(contexts: Sequence[Tokens], n: int) -> Codes:
    """The last `n` tokens of each context as a code: (contexts,).

    Raises:
        ConfigError: one is shorter.
    """
    short = next((place for place, tokens in enumerate(contexts) if len(tokens) < n), None)
    if short is not None:
        raise ConfigError(f"greenlist: context {short} has {len(contexts[short])} tokens; expected {n} at least")
    return packed(np.array([tokens[-n:] for tokens in contexts], dtype=np.int64).reshape(-1, n))


def _tells(logs: NDArray[np.generic], n: int) -> bool:
    """Whether these are log-probabilities after `n` contexts; some tokens may be impossible."""
    return (logs.dtype.kind == "f" and logs.ndim == 2 and len(logs) == n and logs.shape[1] > 1
            and bool(np.isfinite(logs.astype(np.float32).max(axis=1)).all()))


def _normalised(logs: NDArray[np.floating]) -> Shares:
    powers = np.exp(logs.astype(np.float32) - logs.max(axis=1, keepdims=True).astype(np.float32))
    shares: Shares = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _shapes(arrays: dict[str, NDArray[np.generic]]) -> list[str]:
    return [f"`{name}` of {array.dtype} {array.shape}" for name, array in arrays.items()]
