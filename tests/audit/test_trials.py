from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import pytest

from counterclone.answers import Reply, Rows
from counterclone.audit import trial
from counterclone.audit.plans import Group, Skipped
from counterclone.audit.regions import Regions
from counterclone.audit.session import Session, bits_of
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import SURFACES, Surface, surface
from counterclone.audit.trial import Plan, Trial
from counterclone.budgets import Price
from counterclone.errors import ConfigError, Refused, TargetError
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Inputs
from counterclone.randomness import Generator, Prf
from counterclone.targets.local import softmax
from counterclone.targets.remembered import Remembered

if TYPE_CHECKING:
    from tests.audit.conftest import Toys, World

NOISE = Prf.from_secret("a secret of the tests")
WEIGHTS = np.array([[3.0, 0.0, 0.5], [-2.0, 2.0, 0.0], [0.0, -3.0, -0.5]])


def answer(inputs: Inputs) -> Rows:
    found = np.asarray(inputs)
    return softmax(found @ WEIGHTS[:, :2].T + WEIGHTS[:, 2])


class Model:
    """A linear model that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Inputs] = []

    async def query(self, inputs: Inputs) -> Reply:
        self.asked.append(inputs)
        return Reply(answer(inputs), np.log(answer(inputs)), np.arange(len(inputs)))


class Known(Spec, frozen=True):
    """Asks its budget and builds what it is told."""

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = False
    build: Callable[[Prior], Any]
    beyond: float = 0.0

    def run(self, prior: Prior, rng: Generator) -> Asking:
        yield rng.uniform(prior.lower, prior.upper + self.beyond, (prior.budget, len(prior.lower)))
        built = self.build(prior)
        if isinstance(built, Exception):
            raise built
        return built  # type: ignore[no-any-return]


class Linear:
    """A copy."""

    def __init__(self, parameters: Any, *, is_verified: bool | None = None) -> None:
        self.parameters = parameters
        if is_verified is not None:
            self.is_verified = is_verified

    def answer(self, inputs: Inputs) -> Rows:
        return softmax(np.asarray(inputs) @ self.parameters[:, :2].T + self.parameters[:, 2])


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def subject(world: World, model: Model) -> Subject:
    uniform = world.pool[:50] * 0.9
    return Subject(
        target=model, name="a model", pool=world.pool, pool_kind="own", evaluate=world.evaluate,
        truth=(answer(world.evaluate).argmax(axis=1) + (np.arange(150) % 10 == 0)) % 3,
        answers=answer(world.evaluate), lower=world.pool.min(axis=0), upper=world.pool.max(axis=0),
        uniform=uniform, uniform_answers=answer(uniform), parameters=WEIGHTS, n_parameters=9)


def run(attack: Any, subject: Subject, shown: str | Surface = "full", budget: int = 20, seed: int = 0,
        **options: Any) -> Trial | None:
    shown = surface(shown) if isinstance(shown, str) else shown
    plan = Plan(attack=attack, surface=shown, budget=budget, seed=seed)
    return asyncio.run(trial.run(plan, subject, **{"price": Price(0.01), "noise": NOISE, **options}))


# One trial

def test_a_perfect_copy_is_measured_as_one(subject: Subject) -> None:
    shifted = WEIGHTS + np.array([5.0, -1.0, 2.0])
    found = run(Known(build=lambda prior: Linear(shifted, is_verified=True)), subject)
    assert found is not None
    assert (found.fidelity, found.fidelity_high, found.fidelity_balanced, found.fidelity_uniform) == (1, 1, 1, 1)
    assert 0.97 < found.fidelity_low < 1.0
    assert found.accuracy == 0.9
    assert abs(found.kl) < 1e-9
    assert found.worst_gap < 1e-12
    assert found.parameter_error is not None
    assert found.parameter_error < 1e-12
    assert found.is_verified is True
    assert (found.queries, found.queries_sent, found.calls, found.repeats) == (20, 20, 1, 0)
    assert found.usd == pytest.approx(0.2)
    assert (found.attack, found.surface, found.seed, found.pool, found.parameters) == (
        "test_trials", "full", 0, "own", 9)
    assert 0.05 < found.coverage < 0.21


def test_a_poor_copy_is_measured_as_one(subject: Subject) -> None:
    found = run(Known(build=lambda prior: Linear(WEIGHTS[[1, 2, 0]])), subject)
    assert found is not None
    assert found.fidelity < 0.2
    assert found.kl > 1.0
    assert found.worst_gap > 0.5
    assert found.parameter_error == pytest.approx(np.abs(
        (WEIGHTS - WEIGHTS.mean(axis=0)) - (WEIGHTS - WEIGHTS.mean(axis=0))[[1, 2, 0]]).max())
    assert found.is_verified is None


def test_what_nobody_knows_is_left_out(subject: Subject) -> None:
    from dataclasses import replace

    bare = replace(subject, truth=None, parameters=None, n_parameters=None, uniform=np.empty((0, 0)))
    found = run(Known(build=lambda prior: Linear(WEIGHTS)), bare)
    assert found is not None
    assert (found.accuracy, found.parameters, found.fidelity_uniform) == (None, None, None)
    text = msgspec.json.decode(msgspec.json.encode(found))
    assert "parameter_error" not in text
    assert "is_verified" not in text
    assert text["accuracy"] is None


def test_the_same_seed_asks_and_finds_the_same(subject: Subject, model: Model, toys: Toys) -> None:
    first, again, other = (run(toys.toy, subject, seed=seed) for seed in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert msgspec.structs.replace(first, seconds=0.0) == msgspec.structs.replace(again, seconds=0.0)
    asked = [np.concatenate([np.asarray(batch) for batch in model.asked[i:i + 2]]).tolist() for i in (0, 2, 4)]
    assert asked[0] == asked[1] != asked[2]


def test_an_attack_that_built_nothing_is_no_trial(subject: Subject) -> None:
    assert run(Known(build=lambda prior: None), subject) is None


def test_an_attack_knows_what_it_may(subject: Subject) -> None:
    seen: list[Prior] = []
    run(Known(build=seen.append), subject, "labels-clipped", budget=7)
    prior, = seen
    assert (prior.budget, prior.classes, prior.is_open) == (7, 3, False)
    assert prior.shows == {"labels"}
    assert prior.pool is subject.pool
    assert prior.lower is subject.lower
    assert prior.upper is subject.upper


def test_batches_are_seen_as_they_were_shown(subject: Subject) -> None:
    seen: list[tuple[Inputs, Reply]] = []
    run(Known(build=lambda prior: None), subject, "labels", trace=lambda *batch: seen.append(batch))
    (inputs, reply), = seen
    assert reply.rows.tolist() == np.eye(3)[answer(inputs).argmax(axis=1)].tolist()


def test_regions_that_were_touched_are_counted() -> None:
    inputs = np.arange(200.0)[:, None]
    regions = Regions(inputs)
    assert regions.coverage == 0.0
    regions.touch(inputs[:1])
    assert regions.coverage == 0.01
    regions.touch(inputs[:1])
    assert regions.coverage == 0.01
    regions.touch(inputs)
    assert regions.coverage == 1.0


def test_regions_of_texts_are_told_apart() -> None:
    regions = Regions(["the cat sat on the mat", "stock markets fell sharply", "goal in the last minute"])
    regions.touch(["a cat on a mat", "the cat sat"])
    assert regions.coverage == pytest.approx(1 / 3)


# Surfaces

@pytest.mark.parametrize(("name", "check"), [
    ("full", lambda rows, own: rows == own), ("float32", lambda rows, own: rows == own.astype(np.float32)),
    ("top-1", lambda rows, own: (np.sort(rows, axis=1)[:, 0] == np.sort(rows, axis=1)[:, 1])),
    ("decimals-2", lambda rows, own: np.abs(rows * 100 - np.rint(rows * 100)) < 1e-9),
    ("labels", lambda rows, own: rows == np.eye(3)[own.argmax(axis=1)]),
    ("noise", lambda rows, own: np.abs(rows * 100 - np.rint(rows * 100)) < 1e-9),
    ("reverse-sigmoid", lambda rows, own: rows.argmax(axis=1) == own.argmax(axis=1)),
])
def test_surfaces_show_what_they_are_named_for(world: World, model: Model, name: str, check: Any) -> None:
    before = SURFACES[name].before(model, NOISE, lower=np.zeros(2), upper=np.ones(2))
    rows = asyncio.run(before.query(world.pool)).rows
    assert check(rows, answer(world.pool)).all()
    assert rows.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-6)
    if name not in ("full", "reverse-sigmoid"):
        assert (rows != answer(world.pool)).any()


@pytest.mark.parametrize("name", list(SURFACES))
def test_every_surface_keeps_the_label_on_batches(world: World, model: Model, name: str) -> None:
    """What ART's labels don't: a batch is its rows."""
    before = SURFACES[name].before(model, NOISE, lower=world.pool.min(axis=0), upper=world.pool.max(axis=0))
    together = asyncio.run(before.query(world.pool)).rows
    one_by_one = np.concatenate([asyncio.run(before.query(row[None])).rows for row in world.pool])
    assert np.array_equal(together, one_by_one) or name == "full"
    assert (together.argmax(axis=1) == answer(world.pool).argmax(axis=1)).all()


def test_a_clipped_surface_answers_as_at_the_edge(model: Model) -> None:
    before = SURFACES["clipped"].before(model, NOISE, lower=np.zeros(2), upper=np.ones(2))
    inside, outside = (asyncio.run(before.query(np.array([row]))).rows for row in ([1.0, 0.5], [9.0, 0.5]))
    assert inside.tolist() == outside.tolist()
    assert not SURFACES["clipped"].is_open
    texts = SURFACES["clipped"].before(model, NOISE, lower=np.empty(0), upper=np.empty(0))
    assert texts._rules == ()


def test_a_surface_may_have_the_guards_own_rules(model: Model) -> None:
    own = Surface(name="guarded", rules=({"kind": "range", "low": 0.0, "high": 1.0},), is_open=False)
    before = own.before(model, NOISE, lower=np.zeros(2), upper=np.full(2, 5.0))
    with pytest.raises(Refused):
        asyncio.run(before.query(np.array([[2.0, 2.0]])))


def test_an_unknown_surface_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no surface 'decimal-2' \(did you mean 'decimals-2'\?\)"):
        surface("decimal-2")


@pytest.mark.parametrize(("name", "bits"), [("full", 576.0), ("labels", 3.32), ("decimals-1", 16.5)])
def test_what_an_answer_holds_is_bounded(name: str, bits: float) -> None:
    assert bits_of(SURFACES[name], 10) == pytest.approx(bits, abs=0.1)


# Trials, one after the other

def session_of(subject: Subject, **options: Any) -> tuple[Session, list[str]]:
    said: list[str] = []
    return Session(subject, noise=NOISE, price=Price(), say=said.append, **options), said


def attempted(session: Session, *groups: Any, seeds: Any = (0, 1)) -> list[Trial]:
    return asyncio.run(session.attempt([Group(*group) for group in groups], seeds))


def test_trials_are_tried_and_told(subject: Subject, toys: Toys) -> None:
    session, said = session_of(subject)
    found = attempted(session, (toys.toy, SURFACES["full"], 20), (toys.exact, SURFACES["labels"], 50))
    assert [(each.attack, each.surface, each.queries, each.seed) for each in found] == [
        ("toy", "full", 20, 0), ("toy", "full", 20, 1), ("exact", "labels", 50, 0), ("exact", "labels", 50, 1)]
    mean = (found[0].fidelity + found[1].fidelity) / 2
    assert said[0] == f"1/2 toy on full, 20 queries: fidelity {mean:.1%}"
    assert said[1].startswith("2/2 exact on labels, 50 queries: fidelity ")
    assert session.skipped == []


@pytest.mark.parametrize(("build", "reason"), [
    (lambda prior: None, "it built nothing with 20 queries"),
    (lambda prior: ZeroDivisionError("by hand"), "it failed (ZeroDivisionError: by hand); report it to its "),
    (lambda prior: Linear(np.ones((2, 3))), "it failed (ValueError: "),
    (lambda prior: object(), "it failed (AttributeError: "),
], ids=["nothing", "raises", "other classes", "no surrogate"])
def test_an_attack_that_fails_is_noted_and_the_others_are_tried(subject: Subject, toys: Toys, build: Any,
                                                                reason: str) -> None:
    session, said = session_of(subject)
    found = attempted(session, (Known(build=build), SURFACES["full"], 20), (toys.toy, SURFACES["full"], 20))
    assert [each.attack for each in found] == ["toy", "toy"]
    noted, = session.skipped
    assert (noted.attack, noted.surface) == ("test_trials", "full")
    assert noted.reason.startswith(reason)
    assert said[0] == "1/2 test_trials on full, 20 queries: no copy"


def test_a_query_that_rules_refuse_ends_the_trial(subject: Subject) -> None:
    session, _ = session_of(subject)
    refusing = Surface(name="guarded", rules=({"kind": "range", "low": -1.0, "high": 1.0},), is_open=False)
    assert attempted(session, (Known(build=lambda prior: None, beyond=9.0), refusing, 20)) == []
    assert session.skipped[0].reason.startswith("the surface's rules refused a query: feature ")


def test_a_target_that_fails_ends_the_session(subject: Subject, toys: Toys) -> None:
    from dataclasses import replace

    class Dead:
        async def query(self, inputs: Inputs) -> Reply:
            raise TargetError("it died")

    session, _ = session_of(replace(subject, target=Dead()))
    with pytest.raises(TargetError, match="it died"):
        attempted(session, (toys.toy, SURFACES["full"], 20))


def test_a_library_that_is_missing_is_named(subject: Subject) -> None:
    session, _ = session_of(subject)
    missing = Known(build=lambda prior: ModuleNotFoundError("No module named 'sklearn'", name="sklearn"))
    with pytest.raises(ConfigError, match=r"sklearn isn't installed; `pip install 'counterclone\[audit\]'`"):
        attempted(session, (missing, SURFACES["full"], 20))


def test_each_trial_is_a_run_of_its_own_to_a_target_that_remembers(subject: Subject, model: Model,
                                                                   toys: Toys) -> None:
    from dataclasses import replace

    session, _ = session_of(replace(subject, target=Remembered(model)))
    found = attempted(session, (toys.toy, SURFACES["full"], 20), (toys.toy, SURFACES["labels"], 20),
                      (toys.toy, SURFACES["full"], 30), seeds=[0])
    assert [each.queries_sent for each in found] == [20, 20, 30]
    assert sum(map(len, model.asked)) == 30


@pytest.mark.parametrize(("name", "shows", "expected", "decimals"), [
    ("full", {"labels", "scores", "logits", "ids"}, ("ids", "labels", "logits", "scores"), None),
    ("full", {"labels", "scores"}, ("labels", "scores"), None),
    ("decimals-2", {"labels", "scores", "logits", "ids"}, ("labels", "scores"), 2),
    ("labels", {"labels", "scores", "logits", "ids"}, ("labels",), None),
])
def test_what_users_get_of_a_surface_is_told(subject: Subject, name: str, shows: Any, expected: Any,
                                             decimals: int | None) -> None:
    session, _ = session_of(subject)
    adapted, shown = asyncio.run(session.show(SURFACES[name], frozenset(shows)))
    assert adapted.shows == set(expected)
    assert (shown.name, shown.shows, shown.decimals) == (name, expected, decimals)
    assert (shown.label_unchanged, shown.accuracy) == (1.0, 0.9)


def test_a_surface_that_changes_labels_is_told(subject: Subject) -> None:
    session, _ = session_of(subject)
    coarse = Surface(name="coarse", rules=({"kind": "snap", "step": 1.0},))
    _, shown = asyncio.run(session.show(coarse, frozenset({"labels", "scores"})))
    assert shown.label_unchanged < 0.9
    assert shown.accuracy is not None
    assert shown.accuracy < 0.9


def test_skips_are_noted_once(subject: Subject) -> None:
    session, _ = session_of(subject)
    failing = Known(build=lambda prior: None)
    attempted(session, (failing, SURFACES["full"], 20), (failing, SURFACES["full"], 20), seeds=range(3))
    assert session.skipped == [Skipped("test_trials", "full", "it built nothing with 20 queries")]
