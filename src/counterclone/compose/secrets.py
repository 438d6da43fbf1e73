"""The key that all others come from, and the console's token."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.randomness import Prf, new_id, new_secret

logger = logging.getLogger(__name__)

KEY_FILE = "counterclone.key"
TOKEN_FILE = "counterclone.console"  # noqa: S105 (the name of a file)
SHORTEST_TOKEN = 16


def root_key(config: Config, folder: Path, environ: Mapping[str, str] = os.environ) -> Prf:
    """The key that all others come from: the secret's, or that of a key file beside the configuration.

    Raises:
        ConfigError: the key file can't be read or made.
    """
    if secret := environ.get(config.accounts.secret_env):
        return Prf.from_secret(secret)
    path = folder / KEY_FILE
    try:
        if not path.exists() and _made_key(path):
            logger.warning("%s isn't set: made %s. Keep it: without it accounts get other names and noise is "
                           "drawn anew", config.accounts.secret_env, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; set the variable {config.accounts.secret_env}, or let "
                          "the key file be made there") from None
    return Prf.from_secret(_read_key(path))


def console_token(config: Config, folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """What opens the console: the variable's token, or that of a file beside the configuration, made if need be.

    Raises:
        ConfigError: it is short enough to be guessed, or the file can't be read or made.
    """
    variable, path = config.console.token_env, folder / TOKEN_FILE
    if token := environ.get(variable):
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(f"{variable}: a token of {len(token)} characters can be guessed; expected "
                              f"{SHORTEST_TOKEN} or more")
        return token
    try:
        if not path.exists() and _made_key(path):
            logger.info("made %s, which holds the token of the console", path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; set the variable {variable}, or let the token's file be "
                          "made there") from None
    return _read_key(path)


def _made_key(path: Path) -> bool:
    """Make the key file whole or not at all; False where another process was faster.

    Raises:
        OSError: it can't be made.
    """
    partial = path.with_name(f"{path.name}.{new_id(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(new_secret())
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def _read_key(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; expected the key file that the guard made") from None
    if mode & 0o077:
        logger.warning("%s can be read by others; `chmod 600` it", path)
    if len(secret) < 32:
        raise ConfigError(f"{path}: holds {len(secret)} characters, expected 64 hexadecimal digits; restore it")
    return secret
