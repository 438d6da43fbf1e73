"""Texts as the owner's tokens."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import ConfigError

Tokens = NDArray[np.int64]
WHITESPACE = "whitespace"
WORDS = 65_536


class Tokenizer(Protocol):
    """Turns texts into tokens, the same way for ever."""

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text, those that only a model adds left out."""
        ...


class Words:
    """Words between spaces, by a hash into 65,536 numbers: enough to try a mark out."""

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The number of each word."""
        return [np.array([_number(word) for word in text.split()], dtype=np.int64) for text in texts]


class FromFile:
    """A tokenizer as the library `tokenizers` writes it.

    Raises:
        ConfigError: the library isn't installed, or the file isn't one of its.
    """

    def __init__(self, path: str) -> None:
        try:
            library: Any = importlib.import_module("tokenizers")
        except ImportError:
            raise ConfigError("a tokenizer's file needs the library `tokenizers`; install counterclone[llm]"
                              ) from None
        try:
            self._tokenizer = library.Tokenizer.from_file(path)
        except Exception as error:  # the library raises nothing narrower
            raise ConfigError(f"tokenizer {path}: {error}; expected a tokenizer.json of the library `tokenizers`"
                              ) from None

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(each.ids, dtype=np.int64) for each in encoded]


@lru_cache(maxsize=4)
def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a file, or `whitespace`.

    Raises:
        ConfigError: there is no such file, or it can't be read.
    """
    return Words() if name == WHITESPACE else FromFile(name)


@lru_cache(maxsize=WORDS)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=2).digest(), "little")
