from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterclone import plugins
from counterclone.answers import Rows
from counterclone.attacks._precision import Precision, precision
from counterclone.testing import example_rows, release

PEAKED = example_rows(600, 10)[::6]


def rounded(table: dict[str, Any], rows: Rows = PEAKED) -> Rows:
    policy: Any = plugins.build("policies", table, "here")
    return release(policy, rows)


@pytest.mark.parametrize("decimals", [1, 2, 3, 6, 9])
def test_decimals_are_found(decimals: int) -> None:
    rows = rounded({"kind": "rounding", "decimals": decimals})
    assert precision(rows) == Precision(0.5 * 10.0**-decimals, 0.0)
    assert precision(rows).is_fine == (decimals >= 6)


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 5])
def test_decimals_that_were_sent_as_short_floats_are_found(decimals: int) -> None:
    rows = rounded({"kind": "rounding", "decimals": decimals}).astype(np.float32).astype(np.float64)
    assert precision(rows) == Precision(0.5 * 10.0**-decimals, 0.0)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_leading_bits_are_found(bits: int) -> None:
    rows = rounded({"kind": "rounding", "significant_bits": bits})
    assert precision(rows) == Precision(2.0**-30, 2.0**-bits)
    assert not precision(rows).is_fine


def test_floats_are_told_by_their_width() -> None:
    assert precision(PEAKED).relative <= 2.0**-50
    assert precision(PEAKED.astype(np.float32).astype(np.float64)) == Precision(0.0, 2.0**-24)
    assert precision(PEAKED).is_fine
    two = np.column_stack([PEAKED[:, 0], 1.0 - PEAKED[:, 0]])
    assert precision(two).absolute > 0.0  # one minus the other has the other's error


def test_labels_alone_are_whole_numbers() -> None:
    assert precision(np.eye(4)) == Precision(0.5, 0.0)


def test_a_logarithm_tells_nothing_at_zero() -> None:
    errors = Precision(1e-3, 1e-6).of_logs(np.array([0.0, 0.1, 1.0]))
    np.testing.assert_allclose(errors, [np.inf, 1e-2 + 1e-6, 1e-3 + 1e-6])
