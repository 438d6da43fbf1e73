"""Servers that the pages start take a moment."""

from __future__ import annotations

import time

import httpx


def wait(url: str) -> None:
    """Until somebody answers there."""
    deadline = time.monotonic() + 90
    while True:
        try:
            httpx.get(url, timeout=5)
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return
