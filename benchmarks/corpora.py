"""Two dictionaries of computing, from the Debian packages dict-foldoc and dict-jargon, and models of them."""

from __future__ import annotations

import gzip
import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._transformer import Transformer
from counterclone.randomness import generator

FOLDER = Path("/usr/share/dictd")
CACHE = Path(__file__).parent / ".cache"
"""What takes minutes to make and is the same for ever: not in the repository."""
VOCABULARY = 640
HEADLINE = re.compile(r"\n\n(?=\S)")
"""An article starts at the margin, its text is indented."""

Tokens = NDArray[np.int64]


@cache
def articles(name: str) -> list[str]:
    """The articles of `foldoc` or `jargon`, in lower case, runs of space made one, shuffled once and for all.

    Raises:
        SystemExit: the package isn't installed.
    """
    path = FOLDER / f"{name}.dict.dz"
    if not path.exists():
        raise SystemExit(f"{path} is missing: apt-get install dict-{name}")
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    found = [" ".join(article.lower().split()) for article in HEADLINE.split(text)]
    kept = [article for article in found if len(article) > 100]
    order = generator(0, "articles", name).permutation(len(kept))
    return [kept[i] for i in order]


def tokenizer_file() -> Path:
    """A byte-pair tokenizer of both dictionaries, as the library `tokenizers` writes it; made once."""
    path = CACHE / f"tokenizer-{VOCABULARY}.json"
    if not path.exists():
        library: Any = importlib.import_module("tokenizers")
        made = library.Tokenizer(library.models.BPE())
        made.normalizer = library.normalizers.Lowercase()
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False,
                                              initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet())
        made.train_from_iterator([*articles("foldoc"), *articles("jargon")], trainer)
        CACHE.mkdir(exist_ok=True)
        made.save(str(path))
    return path


@cache
def tokenizer() -> Any:
    """The tokenizer of `tokenizer_file`."""
    return importlib.import_module("tokenizers").Tokenizer.from_file(str(tokenizer_file()))


def windows(texts: list[str], length: int) -> Tokens:
    """Texts one after the other, a line between them, cut into windows: (windows, length)."""
    ids = np.array(tokenizer().encode("\n".join(texts)).ids, dtype=np.int64)
    n = len(ids) // length
    return ids[:n * length].reshape(n, length)


def kept_model(name: str, make: Callable[[], Transformer]) -> Transformer:
    """A language model that is made once and then read from the cache."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        np.savez(path, **make().state())  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as content:
        state = dict(content)
    model = Transformer(len(state["tokens.weight"]), len(state["places.weight"]), generator(0, "kept"))
    return model.load(state)
