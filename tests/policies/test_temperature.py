from __future__ import annotations

import numpy as np
import pytest

from counterclone.policies.temperature import Temperature
from counterclone.testing import check_policy, example_rows, release


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 2.0, 20.0])
def test_laws(temperature: float) -> None:
    check_policy(Temperature(temperature=temperature))


def test_two_takes_square_roots() -> None:
    rows = np.array([[0.64, 0.36]])
    np.testing.assert_allclose(release(Temperature(temperature=2.0), rows), [[0.8 / 1.4, 0.6 / 1.4]])


def test_one_changes_nothing() -> None:
    rows = example_rows(60, 10)
    np.testing.assert_allclose(release(Temperature(temperature=1.0), rows), rows, rtol=1e-14)


def test_the_inverse_undoes_it() -> None:
    rows = example_rows(60, 10)
    hot = release(Temperature(temperature=2.0), rows)
    np.testing.assert_allclose(release(Temperature(temperature=0.5), hot), rows, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 20.0])
def test_the_order_of_classes_is_kept(temperature: float) -> None:
    rows = np.array([[0.1, 0.4, 0.2, 0.3]])
    released = release(Temperature(temperature=temperature), rows)
    assert released.argsort().tolist() == rows.argsort().tolist()


def test_low_temperatures_do_not_underflow_the_row() -> None:
    rows = np.full((1, 100_000), 1e-5)
    np.testing.assert_allclose(release(Temperature(temperature=0.05), rows), rows, rtol=1e-9)


def test_all_bits_leave() -> None:
    assert Temperature(temperature=3.0).bits(10) == 9 * 64
