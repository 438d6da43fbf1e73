"""Accounts that ask a language model: honest ones of many kinds, and campaigns that harvest it.

    chatter      a person who asks about one to three topics, in an own voice
    paster       a person who pastes passages under a few instructions of an own wording
    translator   one instruction, passages in many languages
    agent        a program with a long prompt of its own, whose slots change, at even gaps around the clock
    classroom    twenty to thirty-five people behind one address, who do a teacher's exercise
    evaluator    somebody who loops over a benchmark
    viral        a chatter who, for a part of the time, uses one of the prompts that everybody uses

Prompts are put together of a library's sentences and terms, so that no two parts of it share a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from counterclone.encoders import encode_texts
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.populations import belongings, phrases
from counterclone.populations.clocks import Counts, Span, Times, by_machines, by_people, by_runs, owners
from counterclone.populations.honest import Volume
from counterclone.populations.population import START, Meta, Population, assembled
from counterclone.populations.tastes import repeats
from counterclone.queries import canonical_value
from counterclone.randomness import Generator, Prf, generator

KINDS: Mapping[str, float] = {
    "chatter": 0.60, "paster": 0.13, "translator": 0.05, "agent": 0.08, "classroom": 0.06, "evaluator": 0.03,
    "viral": 0.05}
"""Shares of the accounts where nobody says."""
ATTACKS = ("slots", "spread", "borrowed", "reasoning", "graded", "capability", "foreign", "pool", "mimic")
"""Campaigns: a few templates whose slots are filled; a hundred of them; a few that honest programs could have;
questions with a demand for reasoning; answers to be graded; one topic; other languages; passages of another kind,
bare; and what honest people ask, in as many voices as there are accounts."""

_Thing = TypeVar("_Thing")

_DIGESTS = Prf.from_secret("counterclone populations").subkey("texts")
_SLOT = "\0"
_FEW, _MANY = 5, 100
_UNEVEN = 0.3
_BITS_PER_CHARACTER = 8.0
_TYPICAL_ANSWER = 600.0


class Library(NamedTuple):
    """What prompts are made of.

    Attributes:
        topics: questions and sentences, by topic.
        passages: what people paste.
        terms: what slots are filled with.
        languages: sentences in other languages than most people's.
        tests: benchmarks' items, by benchmark; they are public, so everybody has the same.
        pool: passages of another kind, as somebody has them who has no users.
        skill: the topic that is worth copying.
    """

    topics: Mapping[str, Sequence[str]]
    passages: Sequence[str]
    terms: Sequence[str]
    languages: Sequence[str]
    tests: Mapping[str, Sequence[str]]
    pool: Sequence[str]
    skill: str

    def part(self, number: int, of: int) -> Library:
        """Every `of`-th text from `number` on; benchmarks stay whole."""
        return Library({name: texts[number::of] for name, texts in self.topics.items()}, self.passages[number::of],
                       self.terms[number::of], self.languages[number::of], self.tests, self.pool[number::of],
                       self.skill)


@dataclass(frozen=True, eq=False)
class _Group:
    """Accounts of one kind: how much each asks and when, what, and who sits together."""

    counts: Counts
    times: Times
    texts: list[str]
    places: NDArray[np.intp] | None = None


class _Scene:
    """What kinds are made from."""

    def __init__(self, library: Library, span: Span, volume: Volume, rng: Generator) -> None:
        self.library, self.span, self.volume, self.rng = library, span, volume, rng
        self.topics = [texts for texts in library.topics.values() if texts]
        sizes = np.sqrt([len(texts) for texts in self.topics])
        self.shares = sizes / sizes.sum()

    def pick(self, things: Sequence[_Thing]) -> _Thing:
        return things[int(self.rng.random() * len(things))]

    def dealt(self, texts: Sequence[str]) -> Callable[[], str]:
        """Texts in an order of chance, none twice before all were had."""
        order = cycle(self.rng.permutation(len(texts)).tolist())
        return lambda: texts[next(order)]

    def phrase(self, parts: Sequence[Sequence[str]]) -> str:
        return " ".join(self.pick(part) for part in parts)

    def favourites(self) -> list[Sequence[str]]:
        """One to three topics."""
        chosen = self.rng.choice(len(self.topics), int(self.rng.integers(1, 4)), replace=False, p=self.shares)
        return [self.topics[i] for i in chosen.tolist()]

    def voice(self) -> Callable[[str], str]:
        """How somebody says things."""
        openers, closers = ([self.pick(parts) for _ in range(3)] for parts in (phrases.OPENERS, phrases.CLOSERS))
        is_lower, is_bare = self.rng.random(2) < (0.4, 0.3)

        def say(text: str) -> str:
            text = text.lower() if is_lower else text
            text = text.rstrip("?.! ") if is_bare else text
            return self.pick(openers) + text + self.pick(closers)

        return say

    def asking(self) -> Callable[[], str]:
        """What one person asks."""
        topics, say = self.favourites(), self.voice()

        def ask() -> str:
            chance = self.rng.random()
            if chance < 0.08:
                return self.pick(phrases.FOLLOWING)
            text = self.pick(self.topics[int(self.rng.choice(len(self.topics), p=self.shares))] if chance < 0.2
                             else topics[int(self.rng.random() * len(topics))])
            return say(text if chance < 0.8 else f"{text} {self.pick(topics[0])}")

        return ask

    def people(self, n: int, make: Callable[[], Callable[[], str]], scale: float = 1.0) -> _Group:
        """Accounts of people, each with what `make` gives it to ask."""
        counts = self.volume.draw(n, self.rng, scale)
        return _Group(counts, by_people(counts, self.span, self.rng), [
            text for count in counts.tolist() for text in _said(make(), count)])


def population(library: Library, n_accounts: int, days: float = 30.0, seed: int = 0, *,
               kinds: Mapping[str, float] = KINDS, volume: Volume | None = None, start: float = START,
               raw: bool = False) -> Population:
    """Honest accounts of all kinds.

    Args:
        library: what they ask of; what detectors are tuned on and judged by mustn't be the same.
        n_accounts: how many.
        days: the time that they are watched for.
        seed: another one is other people.
        kinds: shares of the accounts, which sum to 1.
        volume: how many prompts each has.
        start: seconds since 1970.
        raw: whether prompts are kept, for JSON lines.
    """
    rng = generator(seed, "texts", "honest")
    scene = _Scene(library, Span(days, start), volume or Volume(), rng)
    kind_of = rng.choice(list(kinds), n_accounts, p=np.array(list(kinds.values())))
    groups = [(kind, _MAKERS[kind](scene, n)) for kind in kinds if (n := int((kind_of == kind).sum()))]
    return _populated([(kind, group, _metas(group, rng)) for kind, group in groups], rng, raw=raw)


def team(library: Library, n_accounts: int, days: float = 30.0, seed: int = 0, *, volume: Volume | None = None,
         start: float = START, raw: bool = False) -> Population:
    """An honest crowd: people who all use one program, whose prompt is around what each asks; as `population`."""
    rng = generator(seed, "texts", "team")
    scene = _Scene(library, Span(days, start), volume or Volume(), rng)
    program = _program(scene)

    def make() -> Callable[[], str]:
        topics = scene.favourites()
        return _filled(scene, [program], lambda: scene.pick(scene.pick(topics)))

    group = scene.people(n_accounts, make)
    return _populated([("team", group, _metas(group, rng))], rng, raw=raw)


def campaign(library: Library, attack: str = "slots", n_accounts: int = 400, prompts_each: float = 26,
             mixing: float = 0.0, *, days: float = 1.0, seed: int = 0, accounts_per_payment: int = 1,
             start: float = START, raw: bool = False) -> Population:
    """A copier's accounts, which keep people's hours; what is asked of the library is dealt out among them.

    Args:
        library: what the copier has, and what cover is taken from.
        attack: one of `ATTACKS`.
        n_accounts: how many.
        prompts_each: of an account on average.
        mixing: the share of prompts that hide the rest, as an honest chatter's.
        days: over which they are spread.
        seed: of everything drawn.
        accounts_per_payment: how many share a card.
        start: seconds since 1970.
        raw: whether prompts are kept, for JSON lines.
    """
    rng = generator(seed, "texts", "campaign", attack)
    scene = _Scene(library, Span(days, start), Volume(), rng)
    harvest = _harvest(scene, attack)
    volumes = prompts_each * np.exp(_UNEVEN * rng.standard_normal(n_accounts))
    counts = np.rint(volumes).clip(1).astype(np.intp)
    texts = []
    for count in counts.tolist():
        theft, cover = harvest(), scene.asking()
        texts += [cover() if is_cover else theft() for is_cover in (rng.random(count) < mixing).tolist()]
    group = _Group(counts, by_people(counts, scene.span, rng, start_days=np.zeros(n_accounts)), texts)
    metas = belongings.of_campaign(n_accounts, rng, accounts_per_ip=1, accounts_per_payment=accounts_per_payment)
    return _populated([(f"campaign/{attack}", group, metas)], rng, raw=raw)


def _populated(groups: Sequence[tuple[str, _Group, list[Meta]]], rng: Generator, *, raw: bool) -> Population:
    parts, prompts, first = [], [], 0
    for _, group, _ in groups:
        sources = repeats(group.counts, rng.beta(0.4, 10.0, len(group.counts)), rng)
        texts = [group.texts[i] for i in sources.tolist()]
        parts.append(_asked(texts, owners(group.counts) + first, group.times, rng))
        prompts.append(np.array(texts, dtype=np.object_) if raw else None)
        first += len(group.counts)
    return assembled(names=belongings.names(first, rng),
                     kinds=[kind for kind, group, _ in groups for _ in range(len(group.counts))],
                     meta=[meta for _, _, metas in groups for meta in metas], parts=parts, inputs=prompts,
                     scores=[None] * len(parts))


def _asked(texts: Sequence[str], accounts: NDArray[np.intp], times: Times, rng: Generator) -> Exchanges:
    n = len(texts)
    characters = _TYPICAL_ANSWER * np.exp(0.8 * rng.standard_normal(n))
    return Exchanges(
        accounts=accounts, times=times, vectors=encode_texts(texts), labels=np.full(n, NO_LABEL, dtype=np.int32),
        margins=np.full(n, np.nan, dtype=np.float32),
        digests=_DIGESTS.numbers([canonical_value(text) for text in texts]),
        gaps=np.full(n, np.nan, dtype=np.float32), bits=(_BITS_PER_CHARACTER * characters).astype(np.float32))


def _metas(group: _Group, rng: Generator) -> list[Meta]:
    metas = belongings.of_people(len(group.counts), rng)
    return metas if group.places is None else belongings.behind_one_address(metas, group.places)


def _said(ask: Callable[[], str], count: int) -> list[str]:
    return [ask() for _ in range(count)]


def _filled(scene: _Scene, templates: Sequence[str], filler: Callable[[], str]) -> Callable[[], str]:
    return lambda: scene.pick(templates).replace(_SLOT, filler())


def _chatter(scene: _Scene, n: int) -> _Group:
    return scene.people(n, scene.asking)


def _paster(scene: _Scene, n: int) -> _Group:
    def make() -> Callable[[], str]:
        wordings = [f"{scene.phrase(phrases.ASKED)}: {_SLOT}" for _ in range(int(scene.rng.integers(1, 4)))]
        return _filled(scene, wordings, lambda: scene.pick(scene.library.passages))

    return scene.people(n, make)


def _translator(scene: _Scene, n: int) -> _Group:
    def make() -> Callable[[], str]:
        wording = scene.pick(phrases.TRANSLATE)
        say = scene.voice()
        return lambda: say(f"{wording}: {scene.pick(scene.library.languages)}")

    return scene.people(n, make, 1.5)


def _agent(scene: _Scene, n: int) -> _Group:
    counts = scene.volume.draw(n, scene.rng, 2.0)
    texts = []
    for count in counts.tolist():
        fillers = scene.pick((scene.library.passages, scene.library.terms, *scene.favourites()))
        texts += _said(_filled(scene, [_program(scene)], scene.dealt(fillers)), count)
    return _Group(counts, by_machines(counts, scene.span, scene.rng), texts)


def _program(scene: _Scene) -> str:
    return f"{scene.phrase(phrases.PROGRAMS[:3])}. {scene.phrase(phrases.PROGRAMS[2:])}: {_SLOT}"


def _classroom(scene: _Scene, n: int) -> _Group:
    rooms = np.arange(n) // 28
    counts = scene.volume.draw(n, scene.rng, 0.7)
    texts = []
    for room in range(int(rooms[-1]) + 1):
        topic, exercise = scene.favourites()[0], f"{scene.phrase(phrases.ASKED)}: {_SLOT}"
        for count in counts[rooms == room].tolist():
            do, ask = _filled(scene, [exercise], scene.dealt(topic)), scene.asking()
            texts += [do() if scene.rng.random() < 0.7 else ask() for _ in range(count)]
    hours, days = scene.rng.uniform(7.0, 15.0, len(rooms)), scene.rng.random(len(rooms)) * 0.6 * scene.span.days
    times = by_people(counts, scene.span, scene.rng, session=20.0, hours=hours[rooms], start_days=days[rooms])
    return _Group(counts, times, texts, rooms)


def _evaluator(scene: _Scene, n: int) -> _Group:
    rng = scene.rng
    counts = scene.volume.draw(n, rng, 4.0)
    texts = []
    for count in counts.tolist():
        items = scene.pick(list(scene.library.tests.values()))
        frame = scene.pick((_SLOT, f"question: {_SLOT} answer:", f"{scene.pick(phrases.PROGRAMS[2])}. {_SLOT}"))
        first = int(rng.integers(len(items)))
        texts += [frame.replace(_SLOT, items[(first + i) % len(items)]) for i in range(count)]
    return _Group(counts, by_runs(counts, scene.span, rng), texts)


def _viral(scene: _Scene, n: int) -> _Group:
    prompts = [f"{scene.phrase(phrases.HARVEST[:1])} {_SLOT} as if i was {who}"
               for who in ("five", "a pirate", "your boss")]

    def make() -> Callable[[], str]:
        ask, share = scene.asking(), scene.rng.uniform(0.2, 0.7)
        use = _filled(scene, [scene.pick(prompts)], scene.dealt(scene.library.terms))
        return lambda: use() if scene.rng.random() < share else ask()

    return scene.people(n, make)


_MAKERS: Mapping[str, Callable[[_Scene, int], _Group]] = {
    "chatter": _chatter, "paster": _paster, "translator": _translator, "agent": _agent, "classroom": _classroom,
    "evaluator": _evaluator, "viral": _viral}


def _harvest(scene: _Scene, attack: str) -> Callable[[], Callable[[], str]]:
    """What makes the prompts of each account of a campaign."""
    library, terms = scene.library, scene.dealt(scene.library.terms)
    if attack in {"slots", "spread"}:
        parts = (phrases.HARVEST[0], [_SLOT], *phrases.HARVEST[1:])
        templates = [scene.phrase(parts) for _ in range(_FEW if attack == "slots" else _MANY)]
        return lambda: _filled(scene, [scene.pick(templates) for _ in range(3)], terms)
    if attack == "borrowed":
        programs = [_program(scene) for _ in range(_FEW)]
        return lambda: _filled(scene, [scene.pick(programs) for _ in range(3)], terms)
    if attack == "graded":
        rubrics, answers = [scene.phrase(phrases.GRADING) for _ in range(_FEW)], scene.dealt(library.passages)
        return lambda: lambda: f"{scene.pick(rubrics)}. Question: {terms()} Answer: {answers()}"
    if attack == "reasoning":
        questions = scene.dealt([text for texts in scene.topics for text in texts])
        return lambda: lambda: f"{questions()} {scene.pick(phrases.REASONS)}"
    if attack == "capability":
        exercises = scene.dealt(library.topics[library.skill])
        return lambda: _spoken(scene, exercises)
    if attack in {"foreign", "pool"}:
        bare = scene.dealt(library.languages if attack == "foreign" else library.pool)
        return lambda: bare
    return scene.asking


def _spoken(scene: _Scene, text: Callable[[], str]) -> Callable[[], str]:
    say = scene.voice()
    return lambda: say(text())
