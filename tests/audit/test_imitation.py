from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from counterclone.audit import Deployment, imitation
from counterclone.audit.result import Audit
from counterclone.budgets import Price
from counterclone.errors import BudgetExhausted, ConfigError, TargetError
from counterclone.plugins import Spec
from counterclone.protocols import Making, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator, generator
from counterclone.testing.imitations import toy_targets

DESK, FEATURES, WORDS = toy_targets()


class Remembering(Spec, frozen=True):
    """Remember answers, and give that to the prompt that starts alike."""

    needs: ClassVar[frozenset[str]] = frozenset({"text", "texts"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Making:
        known: dict[tuple[str, str], str] = {}
        try:
            for text in prior.pool[:prior.budget]:
                reply = yield [text]
                known[_key(text)] = (reply.texts or [""])[0]
        except BudgetExhausted:
            pass
        return Memory(known)


class Memory:
    def __init__(self, known: dict[tuple[str, str], str]) -> None:
        self._known = known

    def write(self, inputs: list[str]) -> list[str]:
        return [self._known.get(_key(text), "") for text in inputs]


def _key(text: str) -> tuple[str, str]:
    words = text.split()
    return words[0], words[2]


def desk(texts: list[str]) -> list[str]:
    return list(DESK.reply(texts).texts or ())


def encoder(inputs: Features) -> Features:
    return np.asarray(FEATURES.reply(inputs).vectors)


@pytest.fixture(scope="module")
def of_a_language_model() -> Audit:
    truth = np.array([text.split()[0] for text in DESK.evaluate])
    return imitation.run(
        desk, task="llm", pool=DESK.pool, evaluate=(DESK.evaluate, truth), attacks=[Remembering()],
        budgets=[5, 100], seeds=2, name="the desk",
        deployment=Deployment(price=Price(usd_per_token_in=1e-6, usd_per_token_out=4e-6), training_cost_usd=10.0))


def test_a_language_model_is_judged_by_whole_answers(of_a_language_model: Audit) -> None:
    few, many = (point.fidelity for point in of_a_language_model.points)
    assert few < 0.3 < 0.9 < many
    assert of_a_language_model.control.fidelity < 0.3
    assert of_a_language_model.control.student == "majority"
    assert {trial.accuracy for trial in of_a_language_model.trials} == {0.0}  # labels are no answers of the desk
    assert b'"kl":null' in of_a_language_model.to_json()


def test_it_is_paid_by_the_token(of_a_language_model: Audit) -> None:
    trial = of_a_language_model.trials[-1]
    n_in = sum(len(text) for text in DESK.pool[:100]) / 4
    n_out = sum(len(text) for text in desk(list(DESK.pool[:100]))) / 4
    assert trial.usd == pytest.approx(1e-6 * n_in + 4e-6 * n_out, rel=0.15)
    copy = of_a_language_model.reach(0.9)
    assert copy is not None
    assert 5 < copy.queries <= 100


def test_what_it_says_is_no_more_than_what_it_shows(of_a_language_model: Audit) -> None:
    found = {finding.id: finding for finding in of_a_language_model.findings}
    assert {"cheap-copy", "agreement-is-no-proof", "style-first", "greedy-answers"} <= set(found)
    assert "limit_copy_share_per_day" in found["cheap-copy"].remedy
    assert "proves nothing" in found["agreement-is-no-proof"].text
    assert "sooner than capability" in found["style-first"].text


def test_answers_that_are_drawn_are_told_from_those_that_are_not() -> None:
    rng = generator(0, "drawn")

    def drawn(texts: list[str]) -> list[str]:
        return [f"{text} {rng.integers(1000)}" for text in texts]

    found = imitation.run(drawn, task="llm", pool=DESK.pool, attacks=[Remembering()], budgets=[5], seeds=1)
    assert "greedy-answers" not in {finding.id for finding in found.findings}


def test_an_encoder_is_judged_by_neighbours_and_by_what_a_classifier_makes_of_its_vectors() -> None:
    truth = (np.asarray(FEATURES.evaluate)[:, 0] > 0.5).astype(int)
    found = imitation.run(encoder, task="encoder", pool=FEATURES.pool, evaluate=(FEATURES.evaluate, truth),
                          budgets=[20, 100], seeds=1)
    few, many = found.trials
    assert few.fidelity < many.fidelity > 0.8
    assert few.fidelity_low < few.fidelity < few.fidelity_high
    assert found.control.student == "inputs"
    assert found.control.fidelity < many.fidelity
    own = found.surfaces[0].accuracy
    assert own is not None
    assert own > 0.85
    assert many.accuracy is not None
    assert abs(many.accuracy - own) < 0.15
    assert "style-first" not in {finding.id for finding in found.findings}


def test_an_encoder_of_texts_is_audited_likewise() -> None:
    found = imitation.run(lambda texts: WORDS.reply(texts).vectors, task="encoder", pool=WORDS.pool,
                          evaluate=WORDS.evaluate, budgets=[100], seeds=1)
    assert found.trials[0].fidelity > found.control.fidelity


def test_a_target_that_answers_with_something_else_is_told() -> None:
    with pytest.raises(TargetError, match="a list with a text for each"):
        imitation.run(lambda texts: np.zeros((len(texts), 3)), task="llm", pool=DESK.pool, attacks=[Remembering()])
    with pytest.raises(ConfigError, match="expected texts, which a language model takes"):
        imitation.run(desk, task="llm", pool=FEATURES.pool)


def test_attacks_that_do_not_fit_are_told_where_they_were_named() -> None:
    with pytest.raises(ConfigError) as caught:
        imitation.run(encoder, task="encoder", pool=FEATURES.pool, attacks=["knockoff", Remembering()])
    assert "knockoff: it copies no encoder" in str(caught.value)
