"""What a green list adds to logits, for any loop that samples tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.errors import ConfigError
from counterclone.marks._green import Green
from counterclone.marks.greenlist import Greenlist
from counterclone.randomness import KEY_BYTES, Prf

FILE_VARIABLE = "COUNTERCLONE_GREENLIST"
"""Where servers that load hooks by name find the hook's file."""
EXPECTED = "expected a file that `counterclone keys marks export` wrote"
KEPT = 256
"""Accounts whose draws are remembered."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hook's file: the mark's options and its key, which is that of one epoch and no other."""

    mark: Mapping[str, Any]
    key: str


class Hook:
    """The bias of a green list: whoever samples adds it to the logits of the next token.

    Args:
        mark: as it was committed to.
        key: the mark's own, of its epoch.
        spared: tokens that are never made likelier, such as the end of a text.
    """

    def __init__(self, mark: Greenlist, key: Prf, spared: Sequence[int] = ()) -> None:
        self.mark = mark
        self._spared = list(spared)
        self._green = lru_cache(maxsize=KEPT)(lambda account: mark.green(key, account))

    @classmethod
    def load(cls, path: str | Path | None = None, spared: Sequence[int] = ()) -> Hook:
        """The hook of a file, as `counterclone keys marks export` writes it.

        Args:
            path: the file; without it the one that COUNTERCLONE_GREENLIST names.
            spared: as for a hook.

        Raises:
            ConfigError: there is no such file, or it isn't a hook's.
        """
        name = str(path or os.environ.get(FILE_VARIABLE, ""))
        if not name:
            raise ConfigError(f"{FILE_VARIABLE}: isn't set; {EXPECTED}")
        try:
            kept = msgspec.json.decode(Path(name).read_bytes(), type=_Kept)
            key = bytes.fromhex(kept.key)
        except (OSError, msgspec.DecodeError, ValueError) as error:
            raise ConfigError(f"{name}: {error}; {EXPECTED}") from None
        mark = plugins.build("marks", kept.mark, name)
        if not isinstance(mark, Greenlist) or len(key) != KEY_BYTES:
            raise ConfigError(f"{name}: isn't a green list with its key; {EXPECTED}")
        return cls(mark, Prf(key), spared)

    def marks(self, account: str) -> bool:
        """Whether texts for an account are marked: not if nobody says whose they are, and each has its own key."""
        return bool(account) or self.mark.keys == "epoch"

    def green(self, tokens: Sequence[int], n: int, account: str = "") -> NDArray[np.bool_]:
        """Which of `n` tokens are made likelier after some tokens, none if these are too few: (n,).

        Args:
            tokens: the text so far, with its prompt; the last ones are enough.
            n: the size of the vocabulary, as wide as logits are.
            account: whom the text is for.
        """
        context = tokens[-self.mark.context:]
        if len(context) < self.mark.context or not self.marks(account):
            return np.zeros(n, dtype=np.bool_)
        green: Green = self._green(account)
        found = green.after(context, n)
        found[self._spared] = False
        return found

    def bias(self, tokens: Sequence[int], n: int, account: str = "") -> NDArray[np.float32]:
        """What is added to the logits of the next token, as for `green`: (n,)."""
        return self.green(tokens, n, account) * np.float32(self.mark.delta)


def save(path: Path, mark: Greenlist, key: Prf) -> None:
    """Write a hook's file, a new one that only its owner reads.

    Raises:
        OSError: it can't be written.
    """
    table = {"kind": plugins.kind_of(mark), **msgspec.to_builtins(mark)}
    content = msgspec.json.format(msgspec.json.encode(_Kept(mark=table, key=key._key.hex())))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content + b"\n")
