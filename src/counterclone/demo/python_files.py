"""Files to tell the types of, that every machine has: Python's library and the packages beside it."""

from __future__ import annotations

import contextlib
import os
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from counterclone.randomness import Prf

PER_SUFFIX = 40
"""Most of the files are Python; a draw of all of them would hold little else."""
LARGEST_BYTES = 1_000_000
# What Python compiles comes and goes as programs run; packages are a root of their own.
_LEFT_OUT = frozenset({"__pycache__", "site-packages", "dist-packages"})


def draw(seed: int) -> Iterator[bytes]:
    """The contents of files of all kinds in an order of the seed's: `PER_SUFFIX` of each suffix at the most.

    A file's lot is its name's, so that a package more or less leaves the others where they are.
    """
    key = Prf.from_secret(f"files {seed}")
    chance, order = (key.subkey(label) for label in ("chance", "order"))
    by_suffix: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for name, path in _files():
        by_suffix[path.suffix].append((name, path))
    chosen = [each for named in by_suffix.values()
              for each in sorted(named, key=lambda each: chance.digest(each[0].encode()))[:PER_SUFFIX]]
    for _, path in sorted(chosen, key=lambda each: order.digest(each[0].encode())):
        with contextlib.suppress(OSError):
            if path.stat().st_size <= LARGEST_BYTES:
                yield path.read_bytes()


def _files() -> Iterator[tuple[str, Path]]:
    """Files with a suffix, each with its name from its root on."""
    for root in dict.fromkeys(sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")):
        for folder, folders, names in os.walk(root):
            folders[:] = set(folders) - _LEFT_OUT
            paths = (Path(folder, name) for name in names)
            yield from ((path.relative_to(root).as_posix(), path) for path in paths if path.suffix)
