"""A page as PDF, printed by a Chromium that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from counterclone.errors import ConfigError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS_MAX = 60.0
_OPTIONS = ("--headless", "--disable-gpu", "--disable-extensions", "--disable-background-networking",
            "--no-first-run", "--no-pdf-header-footer")


def write_pdf(path: Path, page: str) -> None:
    """Print a page that needs nothing from outside, in a browser profile that is thrown away.

    Args:
        path: the PDF, whose folder is made.
        page: as HTML.

    Raises:
        ConfigError: no Chromium is installed, or it doesn't print.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        raise ConfigError(f"--pdf {path}: no Chromium is installed (looked for {', '.join(NAMES)}); install one, "
                          "or print the page of --out in any browser")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="counterclone-", ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        printed = Path(folder) / "page.pdf"
        # Chromium's sandbox doesn't start for root; the page is ours, and its policy lets nothing in
        sandbox = () if os.geteuid() else ("--no-sandbox",)
        try:
            subprocess.run([browser, *_OPTIONS, *sandbox, f"--user-data-dir={folder}/profile",  # noqa: S603
                            f"--print-to-pdf={printed}", source.as_uri()],
                           check=True, capture_output=True, timeout=SECONDS_MAX)
            shutil.move(printed, path)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"--pdf {path}: {browser} took longer than {SECONDS_MAX:.0f} s; print the page of "
                              "--out in any browser") from None
        except (subprocess.CalledProcessError, OSError) as error:
            raise ConfigError(f"--pdf {path}: {browser} printed nothing ({error}); print the page of --out in any "
                              "browser") from None
