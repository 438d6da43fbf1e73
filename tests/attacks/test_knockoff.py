from __future__ import annotations

from counterclone.attacks.knockoff import Knockoff
from counterclone.testing import check_attack


def test_laws() -> None:
    check_attack(Knockoff())
