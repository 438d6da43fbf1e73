from __future__ import annotations

import numpy as np
import pytest

from counterclone.watch.span import Span

DAY = 86_400.0
START = 1.76e9


def span_of(*batches: list[float]) -> Span:
    span = Span()
    for batch in batches:
        span.add(np.array(batch))
    return span


def test_it_spans_from_the_first_time_to_the_last() -> None:
    span = span_of([START + 3 * DAY], [START, START + DAY / 2], [START + 2 * DAY])
    assert span.days == pytest.approx(3.0)
    assert span.last == START + 3 * DAY
    assert len(span) == 3
    assert (Span().days, Span().last) == (0.0, -np.inf)


@pytest.mark.parametrize("fault", [0.0, 2.5e11])
def test_a_clock_that_is_wrong_once_adds_nothing(fault: float) -> None:
    span = span_of([START, START + 2 * DAY], [fault], [START + 4 * DAY])
    assert span.days == pytest.approx(4.0)
    assert span.last == START + 4 * DAY


def test_a_pause_of_months_counts() -> None:
    assert span_of([START, START + 200 * DAY]).days == pytest.approx(200.0)


def test_two_parts_are_the_whole() -> None:
    one, other = span_of([START, START + DAY / 3]), span_of([START + DAY / 2, START + 9 * DAY])
    one.absorb(other)
    whole = span_of([START, START + DAY / 3, START + DAY / 2, START + 9 * DAY])
    assert (one.days, one.last, len(one)) == (whole.days, whole.last, len(whole))
    restored = Span.restored(one.array())
    assert (restored.days, restored.last, len(restored)) == (one.days, one.last, len(one))
    assert Span.restored(Span().array()).days == 0.0
