from __future__ import annotations

import pytest

from counterclone.evidence import Accepted
from counterclone.guard.acceptance import Acceptance

IN_FORCE = Accepted("2026-03", "use")


@pytest.mark.parametrize(("value", "accepted"), [
    (None, IN_FORCE), (b"", IN_FORCE), (b"2025-11", Accepted("2025-11", "proxy")),
    (b"a" * 64, Accepted("a" * 64, "proxy")),
    (b"a" * 65, IN_FORCE), (b"two words", IN_FORCE), (b"line\n", IN_FORCE), (b"\xff", IN_FORCE)])
def test_what_the_proxy_says_counts_before_what_is_in_force(value: bytes | None, accepted: Accepted) -> None:
    headers = {} if value is None else {b"x-terms": value}
    assert Acceptance("2026-03", "X-Terms").of(headers) == accepted


def test_nobody_says_what_nobody_was_asked_for() -> None:
    assert Acceptance("", "x-terms").of({}) is None
    assert Acceptance("", "x-terms").of({b"x-terms": b"1"}) == Accepted("1", "proxy")
    assert Acceptance("2026-03", "").of({b"": b"1", b"x-terms": b"1"}) == IN_FORCE
