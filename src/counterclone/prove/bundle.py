"""Named files in one zip that anybody unpacks, and of which no byte can change unseen.

The zip is a function of its files: stored, in order, without times or comments. So a reader makes it again and
compares, which finds what hashes of the files alone wouldn't, such as a changed name or something between them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from counterclone.errors import DossierError

LARGEST = 2_000_000_000
MOST_FILES = 10_000
EPOCH = (1980, 1, 1, 0, 0, 0)


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip; a file that is there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(path.name + ".new")
    whole.write_bytes(packed(files))
    whole.replace(path)


def packed(files: Mapping[str, bytes]) -> bytes:
    """The zip of some files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def read(path: Path) -> dict[str, bytes]:
    """The files of a zip.

    Raises:
        DossierError: it is none that `write` wrote, or was changed.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DossierError(f"{path}: is larger than {LARGEST:,} bytes; expected a dossier")
        content = path.read_bytes()
    except OSError as error:
        raise DossierError(f"{path}: {error.strerror or error}; expected a dossier") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise DossierError(f"{path}: isn't packed as a dossier is; get it again")
            files = {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OverflowError) as error:
        raise DossierError(f"{path}: isn't a whole zip ({error}); it was changed or cut; get it again") from None
    if packed(files) != content:
        raise DossierError(f"{path}: isn't packed as it was written: a byte was changed between its files; get it "
                           "again")
    return files
