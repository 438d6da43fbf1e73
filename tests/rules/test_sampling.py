from __future__ import annotations

import numpy as np
import pytest

from counterclone.errors import Refused
from counterclone.queries import Query
from counterclone.queries import Sampling as Asked
from counterclone.rules.sampling import Sampling
from counterclone.testing import check_rule


@pytest.mark.parametrize("rule", [Sampling(), Sampling(n_max=1, best_of_max=1, repeats_max=1)])
def test_laws(rule: Sampling) -> None:
    check_rule(rule, features=np.eye(3))


def test_answers_to_one_prompt() -> None:
    rule = Sampling(n_max=4, best_of_max=6)
    rule.admit(Query(["a"], sampling=Asked(n=4, best_of=6)))
    with pytest.raises(Refused, match="`n` is 128, expected 4 at most; ask for fewer answers"):
        rule.admit(Query(["a"], sampling=Asked(n=128, best_of=128)))
    with pytest.raises(Refused, match="`best_of` is 7, expected 6 at most"):
        rule.admit(Query(["a"], sampling=Asked(n=1, best_of=7)))


@pytest.mark.parametrize("asked", [Asked(is_repeatable=True), Asked(bias={"1": 1.0})])
def test_requests_for_one_prompt(asked: Asked) -> None:
    rule = Sampling(repeats_max=2, remember=2).start()
    for _ in range(2):
        rule.admit(Query(["a"], sampling=asked))
        rule.admit(Query(["a"], sampling=Asked()))
    with pytest.raises(Refused, match="was asked 2 times"):
        rule.admit(Query(["a"], sampling=asked))
    for prompt in "bc":  # one more than are remembered
        rule.admit(Query([prompt], sampling=asked))
    rule.admit(Query(["a"], sampling=asked))
