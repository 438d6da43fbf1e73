from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from counterclone.budgets import DAY, Price
from counterclone.journal import Exchange, to_batch
from counterclone.watch.bills import Bills, Overspent

MORNING = 1_764_115_200.0  # 2025-11-26T00:00:00Z
TEN_CENTS = Price(usd_per_query=0.1)


def asked(account: str, n_rows: int = 1, *, time: float = MORNING, status: int = 200, d: int = 4) -> Exchange:
    return Exchange(time=time, account=account, account_class="", dialect="predict", model="", decision="served",
                    status=status, digests=range(n_rows), labels=np.zeros(n_rows, int),
                    margins=np.full(n_rows, 0.5), n_classes=3, bits=8.0, features=np.ones((n_rows, d)))


def told(bills: Bills, *exchanges: Exchange) -> Sequence[Overspent]:
    return bills.add(to_batch(exchanges))


def test_who_spends_more_is_told_once_a_day() -> None:
    bills = Bills(TEN_CENTS, 1.0)
    assert told(bills, asked("ann", 9), asked("bob", 10)) == []
    over, = told(bills, asked("ann", 3), asked("bob", 0), asked("cat", 10))
    assert (over.account, over.queries) == ("ann", 12)
    assert over.usd == pytest.approx(1.2)
    assert told(bills, asked("ann", 100)) == []
    assert [each.account for each in told(bills, asked("ann", 11, time=MORNING + DAY))] == ["ann"]


def test_days_are_those_of_utc() -> None:
    bills = Bills(TEN_CENTS, 1.0)
    assert told(bills, asked("ann", 8, time=MORNING + DAY - 1)) == []
    assert told(bills, asked("ann", 8, time=MORNING + DAY)) == []
    over, = told(bills, asked("ann", 8, time=MORNING + DAY - 1))  # which comes late, and counts now
    assert over.queries == 16


def test_what_was_not_served_costs_nothing() -> None:
    bills = Bills(TEN_CENTS, 1.0)
    assert told(bills, *(asked("ann", 100, status=status) for status in (400, 403, 429, 502))) == []
    assert len(told(bills, asked("ann", 11))) == 1


@pytest.mark.parametrize(("price", "usd"), [
    (Price(usd_per_query=0.5), 0.5), (Price(usd_per_token_in=0.25), 0.25 * 4 * 2),
    (Price(usd_per_token_out=2.0), 2.0 * 3), (Price(1.0, 1.0, 1.0), 1 + 8 + 3)])
def test_a_row_costs_what_an_audit_says(price: Price, usd: float) -> None:
    over, = told(Bills(price, 0.001), asked("ann"))
    assert over.usd == pytest.approx(usd)


@pytest.mark.parametrize("bills", [Bills(), Bills(TEN_CENTS), Bills(alert_usd=1.0)],
                         ids=["neither", "price", "alert"])
def test_without_a_price_or_an_amount_nobody_is_told(bills: Bills) -> None:
    assert told(bills, asked("ann", 10_000)) == []
