"""Timestamps of an authority (RFC 3161): that a commitment, or the ledger as it was, is no younger than they say.

The authority gets a hash and knows nothing of what is hashed. What it answers is kept as it came (`.tsr`), so that
others check it with their own tools: `openssl ts -verify -digest DIGEST -in 000001.tsr -CAfile roots.pem`.
"""

from __future__ import annotations

import http.client
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from counterclone.errors import LedgerError
from counterclone.prove import commitments
from counterclone.prove._der import in_order
from counterclone.prove.commitments import write_whole
from counterclone.prove.ledger import HEADS_FILE, Head
from counterclone.prove.signed import Signed, read_signed

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

SUFFIX, HEAD_SUFFIX = ".tsr", ".json"
STAMPS_FOLDER = "stamps"
"""In a part of the ledger, the timestamps of its heads, by their size."""
ANSWER_SECONDS = 10.0
LARGEST_ANSWER = 1_000_000
LONGEST_HEAD = 4096
"""More than a line and a half of a part's heads has bytes."""
HEAD_SECONDS = 86_400.0
"""Between two timestamps of a part's head."""
PAUSE_SECONDS = 600.0
"""After which it is looked what has no timestamp yet."""

logger = logging.getLogger(__name__)


class Stamp(msgspec.Struct, frozen=True):
    """What an authority says.

    Attributes:
        time: when it had the hash, seconds since 1970.
        authority: the name in its certificate.
    """

    time: float
    authority: str


class Roots(NamedTuple):
    """The certificates that an authority's own must lead to.

    Attributes:
        certificates: one or more.
        where: they are from, for messages.
    """

    certificates: Sequence[x509.Certificate]
    where: str

    @classmethod
    def load(cls, path: Path) -> Roots:
        """Those of a file in PEM.

        Raises:
            LedgerError: it has none, or can't be read.
        """
        try:
            return cls(x509.load_pem_x509_certificates(path.read_bytes()), str(path))
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror or error}; expected the root certificates of a timestamp "
                              "authority; put them there") from None
        except ValueError:
            raise LedgerError(f"{path}: expected certificates in PEM, as the timestamp authority publishes "
                              "them") from None


def verified(content: bytes, message: bytes, roots: Roots, where: str, nonce: int | None = None) -> Stamp:
    """What an authority says of a message, once it is clear that it does.

    Args:
        content: its answer (DER).
        message: what it has a timestamp of.
        roots: that its certificate must lead to.
        where: the answer is from.
        nonce: of the question, where that is known.

    Raises:
        LedgerError: it is no timestamp, or of another message, or not the authority's.
    """
    library = _library()
    try:
        response = library.decode_timestamp_response(in_order(content))
        verifier = library.VerifierBuilder(roots=list(roots.certificates), nonce=nonce).build()
        verifier.verify_message(response, message)
    except (ValueError, library.VerificationError) as error:
        raise LedgerError(f"{where}: no timestamp of this by an authority of {roots.where} ({error}); expected "
                          "one; remove it, and it is asked for anew") from None
    return Stamp(response.tst_info.gen_time.timestamp(), _authority(response))


class Authority:
    """A timestamp authority.

    Args:
        url: where it answers.
        roots: that its certificate must lead to.

    Raises:
        LedgerError: the extra that reads timestamps isn't installed.
    """

    def __init__(self, url: str, roots: Roots) -> None:
        _library()
        self.roots = roots
        self._url = url

    def stamp(self, message: bytes) -> bytes:
        """Its answer for a message, verified.

        Raises:
            LedgerError: it doesn't answer, or not with a timestamp.
        """
        library = _library()
        builder = library.TimestampRequestBuilder(data=message, hash_algorithm=library.HashAlgorithm.SHA256)
        request = builder.build()
        content = self._posted(request.as_bytes())
        verified(content, message, self.roots, self._url, request.nonce)
        return content

    def _posted(self, body: bytes) -> bytes:
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
        headers = {"content-type": "application/timestamp-query", "user-agent": "counterclone"}
        try:
            connection.request("POST", parts.path or "/", body, headers)
            answer = connection.getresponse()
            content = answer.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._unanswered(str(error) or type(error).__name__) from None
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise self._unanswered(f"it answered {answer.status}")
        return content

    def _unanswered(self, why: str) -> LedgerError:
        return LedgerError(f"{self._url}: no timestamp ({why}); expected an authority that answers; it is asked "
                           "again later")


def stamp_commitments(folder: Path, authority: Authority) -> int:
    """Have every commitment stamped that isn't; how many were.

    Args:
        folder: of the keys.
        authority: is asked.

    Raises:
        LedgerError: it doesn't answer, or what it answers can't be kept.
    """
    paths = sorted((folder / commitments.FOLDER).glob("*.json"))
    missing = [path for path in paths if not path.with_suffix(SUFFIX).exists()]
    for path in missing:
        signed = read_signed(path.read_bytes(), str(path))
        write_whole(path.with_suffix(SUFFIX), authority.stamp(signed.statement.encode()))
    return len(missing)


def stamp_head(part: Path, authority: Authority, now: float, seconds: float = HEAD_SECONDS) -> bool:
    """Have the last head of a part stamped, unless one was lately.

    Args:
        part: the folder of the part.
        authority: is asked.
        now: seconds since 1970.
        seconds: how long one is enough.

    Raises:
        LedgerError: as for `stamp_commitments`.
    """
    folder = part / STAMPS_FOLDER
    latest = max((path.stat().st_mtime for path in folder.glob(f"*{SUFFIX}")), default=0.0)
    signed = _last_head(part / HEADS_FILE) if now - latest >= seconds else None
    if signed is None:
        return False
    path = folder / f"{signed.read(Head, str(part)).size}{SUFFIX}"
    if path.exists():
        return False
    folder.mkdir(mode=0o700, exist_ok=True)
    write_whole(path, authority.stamp(signed.statement.encode()))
    return True


def of_commitment(folder: Path, number: int, signed: Signed, roots: Roots) -> Stamp | None:
    """The timestamp of a commitment, None where it has none.

    Args:
        folder: of the keys.
        number: the commitment's.
        signed: the commitment.
        roots: that the authority's certificate must lead to.

    Raises:
        LedgerError: what is kept is none.
    """
    path = folder / commitments.FOLDER / name_of(number)
    return verified(_content(path), signed.statement.encode(), roots, str(path)) if path.exists() else None


def name_of(number: int) -> str:
    """The file of a commitment's timestamp."""
    return f"{number:06d}{SUFFIX}"


def of_commitments(folder: Path) -> dict[str, bytes]:
    """The timestamps of commitments as they came, for others, by their files' names.

    Args:
        folder: of the keys.

    Raises:
        LedgerError: one can't be read.
    """
    return {path.name: _content(path) for path in sorted((folder / commitments.FOLDER).glob(f"*{SUFFIX}"))}


def of_heads(part: Path, ledger: str, heads: Sequence[Signed]) -> dict[str, bytes]:
    """The timestamps of a part's heads as they came, for others, and these heads, likewise.

    Args:
        part: the folder of the part.
        ledger: its id.
        heads: its heads, as they are signed.

    Raises:
        LedgerError: one can't be read.
    """
    found = {}
    for signed in heads:
        size = signed.read(Head, str(part)).size
        path = part / STAMPS_FOLDER / f"{size}{SUFFIX}"
        if path.exists():
            found[f"{ledger}-{size}{SUFFIX}"] = _content(path)
            found[f"{ledger}-{size}{HEAD_SUFFIX}"] = msgspec.json.encode(signed)
    return found


class Stamper:
    """Has timestamps made in a thread of its own; an authority that is down is asked again later.

    Args:
        authority: is asked.
        folder: of the keys, whose commitments are stamped.
        part: of the ledger, whose last head is stamped once a day.

    Attributes:
        last_error: why there was no timestamp lately, None while all is well.
    """

    def __init__(self, authority: Authority, folder: Path, part: Path) -> None:
        self.last_error: str | None = None
        self._authority, self._folder, self._part = authority, folder, part
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="timestamps", daemon=True).start()

    def close(self) -> None:
        """Ask no more; a question under way is given up."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                stamp_commitments(self._folder, self._authority)
                stamp_head(self._part, self._authority, time.time())
                self.last_error = None
            except (LedgerError, OSError) as error:
                if self.last_error is None:
                    logger.warning("%s", error)
                self.last_error = str(error)
            self._stop.wait(PAUSE_SECONDS)


def _last_head(path: Path) -> Signed | None:
    """The last one that was written whole, None where there is none."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - LONGEST_HEAD, 0))
        content = file.read()
    lines = content[:content.rfind(b"\n") + 1].splitlines()
    return read_signed(lines[-1], str(path)) if lines else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}; expected a timestamp; let it be read") from None


def _authority(response: TimeStampResponse) -> str:
    """The subject of the certificate that signed; that it is there was verified."""
    signer = next(iter(response.signed_data.signer_infos))
    for content in response.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(content)
        if (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number):
            return certificate.subject.rfc4514_string()
    return signer.issuer.rfc4514_string()


def _library() -> Any:
    try:
        import rfc3161_client
    except ModuleNotFoundError:
        raise LedgerError("timestamps: rfc3161-client isn't installed; "
                          "`pip install 'counterclone[prove]'`") from None
    return rfc3161_client
