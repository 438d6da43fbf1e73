"""A suspect's answers outlast a test that ends midway, so that the next one goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from counterclone.protocols import Target
from counterclone.targets.remembered import Remembered


@contextlib.contextmanager
def resumed(suspect: Target, url: str, folder: Path, say: Callable[[str], None]) -> Iterator[Target]:
    """A suspect that is asked only what it hasn't answered; what it answered is forgotten once the test has ended.

    Args:
        suspect: who answers.
        url: where it does: another's answers aren't its own.
        folder: where answers are kept meanwhile.
        say: told what was kept, and where.

    Raises:
        SourceError: the file that answers are kept in isn't one of ours.
    """
    digest = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    path = folder / f"counterclone.suspect-{digest}"
    kept = Remembered(suspect, path)
    if kept.n_known:
        say(f"prove: goes on after {kept.n_known:,} answers of a test that ended midway, from {path}; delete it "
            "to ask anew")
    has_ended = False
    try:
        yield kept
        has_ended = True
    finally:
        if has_ended:
            path.unlink(missing_ok=True)
        elif kept.n_known:
            say(f"prove: {kept.n_known:,} answers are kept in {path}; run it again to go on")
