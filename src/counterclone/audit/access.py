"""Who may be audited: this machine freely, other hosts once they show that their owner wants it.

A bound, not a lock: whoever wraps a URL in a callable gets round it.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from counterclone.errors import ConfigError, TargetUnreachable
from counterclone.protocols import PROOF_PATH, TOKEN_FILE, TOKEN_VARIABLE
from counterclone.randomness import new_id

SECONDS = 10.0
LONGEST_TOKEN = 200
PREFIX = "counterclone-audit-"


def is_loopback(url: str) -> bool:
    """Whether a URL is this machine's own by its name or number."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def check(url: str, authorized_by: str, folder: Path) -> None:
    """Refuse a host that doesn't show control.

    Args:
        url: of the target.
        authorized_by: who allows the audit.
        folder: where the token of an audit that hasn't ended is kept.

    Raises:
        ConfigError: nobody is named, or the host doesn't serve the token; the message says what to do.
        TargetUnreachable: nobody answers there.
    """
    if is_loopback(url):
        return
    if not authorized_by:
        raise ConfigError(f"{url}: is no address of this machine, so its owner must allow the audit; name who "
                          "does in [target] authorized_by, or with --authorized-by")
    token = _token(folder / TOKEN_FILE)
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}{PROOF_PATH}"
    if not hmac.compare_digest(await _served(place), token.encode()):
        raise ConfigError(
            f"{place}: doesn't serve this audit's token, so control of the host isn't shown; have it answer "
            f"{token} there and run again. counterclone's guard does so once the token is in the file "
            f"{TOKEN_FILE} beside its configuration, or in the variable {TOKEN_VARIABLE}")


def spend(folder: Path) -> None:
    """The audit has ended: its token isn't good for another one."""
    (folder / TOKEN_FILE).unlink(missing_ok=True)


def _token(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        known = path.read_text(encoding="ascii").strip()
        if known.startswith(PREFIX) and len(known) > len(PREFIX):
            return known
        path.unlink()
    token = f"{PREFIX}{new_id(16)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


async def _served(place: str) -> bytes:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (aiohttp.ClientSession(timeout=timeout) as session,
                    session.get(place, allow_redirects=False) as response):
            content = await response.content.read(LONGEST_TOKEN)
            return content.strip() if response.status == 200 else b""
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise TargetUnreachable(f"{place}: {str(error) or 'no answer in time'}; expected the target's host; "
                                "correct the address") from None
