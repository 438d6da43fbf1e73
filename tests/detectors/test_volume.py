from __future__ import annotations

import numpy as np
import pytest

from counterclone.detectors.volume import Volume
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.testing import check_detector


def test_laws() -> None:
    check_detector(Volume())


def test_more_queries_score_higher_and_group_nobody(reference: Exchanges) -> None:
    tracker = Volume().start(reference)
    scores = tracker.score(np.array([[4], [5], [50], [5000]], dtype=np.int64))
    assert np.isnan(scores[0])
    assert (np.diff(scores[1:]) > 0.0).all()
    assert tracker.profile(tracker.empty(3)).shape == (3, 0)


def test_no_reference_is_refused(reference: Exchanges) -> None:
    with pytest.raises(WatchError, match="the reference has no exchanges"):
        Volume().start(reference.select(slice(0, 0)))
