from __future__ import annotations

import numpy as np
import pytest

from counterclone.errors import Refused
from counterclone.protocols import Rule
from counterclone.queries import Query, Sampling
from counterclone.rules.logprob_bias import LogprobBias
from counterclone.testing import check_rule

PLAIN, TOLD, BIASED = Sampling(), Sampling(logprobs=5), Sampling(bias={"7": 100.0})
BOTH = Sampling(logprobs=5, bias={"7": 100.0})


def ask(prompt: str, sampling: Sampling) -> Query:
    return Query([prompt], sampling=sampling)


def outcome(rule: Rule, query: Query) -> Sampling | str | None:
    try:
        return rule.admit(query).sampling
    except Refused as refusal:
        return str(refusal)


@pytest.mark.parametrize("rule", [LogprobBias(), LogprobBias(mode="strip"), LogprobBias(remember=0, bias_max=0.0)])
def test_laws(rule: LogprobBias) -> None:
    check_rule(rule, features=np.eye(3))


def test_both_in_one_request() -> None:
    assert outcome(LogprobBias(), ask("a", BOTH)) == (
        "`logit_bias` has 1 with `logprobs`, expected one of them; leave the other out")
    assert outcome(LogprobBias(mode="strip"), ask("a", BOTH)) == BIASED
    for sampling in (PLAIN, TOLD, BIASED):
        assert outcome(LogprobBias(), ask("a", sampling)) == sampling


def test_a_bias_is_capped() -> None:
    rule = LogprobBias(bias_max=5.0, biases_max=2)
    assert outcome(rule, ask("a", Sampling(bias={"1": -5.0, "2": 5.0}))) == Sampling(bias={"1": -5.0, "2": 5.0})
    assert "as large as 5.5, expected 5 at most" in str(outcome(rule, ask("a", Sampling(bias={"1": -5.5}))))
    many = Sampling(bias={str(token): 1.0 for token in range(3)})
    assert "has 3 tokens, expected 2 at most" in str(outcome(rule, ask("a", many)))


@pytest.mark.parametrize("mode", ["refuse", "strip"])
def test_both_on_one_prompt(mode: str) -> None:
    rule = LogprobBias(mode=mode).start()  # type: ignore[arg-type]
    assert outcome(rule, ask("a", BIASED)) == BIASED
    later = outcome(rule, ask(" A  ", TOLD))  # the same prompt, as prompts are compared
    assert later == PLAIN if mode == "strip" else "asked with `logit_bias`" in str(later)
    assert outcome(rule, ask("b", TOLD)) == TOLD
    assert "`logprobs` were told" in str(outcome(rule, ask("b", BIASED)))
    assert outcome(rule, ask("b", TOLD)) == TOLD
    assert outcome(rule, ask("c", PLAIN)) == PLAIN


def test_a_batch_is_as_its_prompts() -> None:
    rule = LogprobBias().start()
    rule.admit(ask("a", BIASED))
    assert isinstance(outcome(rule, Query(["x", "a"], sampling=TOLD)), str)


def test_what_is_forgotten_was_not_asked() -> None:
    rule = LogprobBias(remember=10).start()
    for number in range(11):
        rule.admit(ask(str(number), BIASED))
    assert outcome(rule, ask("0", TOLD)) == TOLD
    assert isinstance(outcome(rule, ask("10", TOLD)), str)
    assert len(rule._biased) == 10


def test_without_memory_each_request_is_by_itself() -> None:
    rule = LogprobBias(remember=0).start()
    for sampling in (BIASED, TOLD, BIASED):
        assert outcome(rule, ask("a", sampling)) == sampling
