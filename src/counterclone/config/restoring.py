"""An earlier file in the place of the present one, unless somebody else changed it meanwhile."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tomllib
from pathlib import Path

from counterclone.config.reading import parse
from counterclone.errors import ConfigError, Conflict
from counterclone.randomness import new_id


def digest_of(text: str) -> str:
    """What a file's text is known by while somebody looks at it, 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def restore(path: Path, text: str, *, seen: str) -> None:
    """Write an earlier text whole or not at all; the file keeps its mode.

    Args:
        path: the configuration's file.
        text: what is to be in it.
        seen: the digest of what was in it when somebody decided to.

    Raises:
        Conflict: something else is in it now.
        ConfigError: the text isn't a configuration any longer, or can't be written.
    """
    parse(tomllib.loads(text), os.environ, str(path))
    path = path.resolve()  # a link goes on leading to the file
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if digest_of(file.read().decode("utf-8", "replace")) != seen:
                raise Conflict(f"{path} was changed since you looked at it, so it was left alone; look at what is "
                               "in it now, then decide again")
            _replace(path, text, os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; let the file and its folder be written") from None


def _replace(path: Path, text: str, mode: int) -> None:
    partial = path.with_name(f"{path.name}.{new_id(4)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode & 0o777)
        os.fsync(file.fileno())
    os.replace(partial, path)
