"""A few texts are served in another harmless way, drawn by a key: a copy that memorised it gives itself away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta
from msgspec.structs import replace as replaced

from counterclone.answers import Reply
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.evidence import Evidence, Role, Served
from counterclone.marks import _draws
from counterclone.marks._examination import Choices, Numbers, examine, ordered, take
from counterclone.marks._fields import Order
from counterclone.marks._habits import STYLES, Habit
from counterclone.plugins import Spec
from counterclone.protocols import Case, EmbeddedTexts, Examination
from counterclone.randomness import Prf

TELLS_NONE = 16
"""What a suspect chose where it writes as the target does: no variant."""


class Canaries(Spec, frozen=True):
    """Another harmless way of writing on at most `rate` of the prompts, drawn by a key, without a logits hook.

    A finished text offers choices that don't change what it says: "-" or "*" for bullets, "cannot" or "can't", a
    serial comma, digits or words for small numbers, the order of fields that the owner named. The first four that
    a text offers make 16 variants, and the key draws one for the prompt, the same for everybody and however often
    the text is sampled anew. Code, links, quoted words and data are left alone.

    Tested is which variant a suspect's text has at the same prompts. Only one that differs from the target's own
    tells anything: it is the drawn one with a chance of 1/16, whatever the suspect is, if it is independent of
    the key. So that this chance is the same for all, only texts with as many choices are marked; which these are
    doesn't depend on the key. A choice that the suspect's text doesn't offer counts as the target's.

    A small student doesn't learn single prompts by heart. With a `topic`, all prompts that share it are written
    alike, which a student learns as a rule. The key drew once for a topic, so it counts once: by the variant that
    most of the suspect's differing texts on it have. Who writes all texts in one style again takes the mark out.

    Attributes:
        rate: the share of prompts, or of topics, that are marked, as far as their texts offer enough choices.
        choices: that a text must offer; of fewer more texts are marked, and each tells less: one of 2**choices.
        fields: names whose order is free, in JSON objects or lines of `name: value`; two, three or four.
        topic: a regular expression whose groups find the topic in a prompt (in lower case, each run of blanks one
            space); the whole prompt where it finds nothing.

    Source: the choices of a few out of M are those of canaries and honeypots; He et al., CATER (NeurIPS 2022) on
    marks by wording; the test by the draw is ours.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    rate: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.01
    choices: Annotated[int, Meta(ge=1, le=4)] = 4
    fields: Annotated[tuple[str, ...], Meta(max_length=4)] = ()
    topic: str = ""

    def __post_init__(self) -> None:
        if len(self.fields) == 1 or len(set(self.fields)) < len(self.fields):
            raise ValueError("fields: expected two to four names, each once; or leave them out")
        try:
            groups = re.compile(self.topic).groups
        except re.error as error:
            raise ValueError(f"topic: {error}; expected a regular expression") from None
        if self.topic and not groups:
            raise ValueError("topic: has no group; put what tells the topic into parentheses")

    @property
    def n_variants(self) -> int:
        """The ways that a marked text could be written in."""
        return 1 << self.choices

    def embed_text(self, key: Prf, cells: Sequence[bytes], texts: Sequence[str]) -> EmbeddedTexts:
        """Write some of the texts another way."""
        drawn = _draws.draws(key, self.rate, 0.0)
        topics = self._topics(cells)
        roles = drawn.roles(topics)
        written = list(texts)
        for row in np.flatnonzero(roles).tolist():
            variants = self._variants(texts[row])
            if variants is None:
                roles[row] = Role.NONE
            else:
                written[row] = variants[int(drawn.choices([topics[row]], self.n_variants)[0])]
        return EmbeddedTexts(written, roles)

    def read(self, texts: Sequence[str]) -> Numbers:
        """Every choice of each text as one number, without any key: (n,)."""
        habits = _habits(self.fields)
        return np.array([_number(habits, [habit.read(text) for habit in habits]) for text in texts],
                        dtype=np.int64)

    def verify(self, case: Case) -> Examination:
        """Ask the marked prompts again, a topic after the other."""
        asked = self._by_topic(case)

        def decoys(number: int, rows: Numbers) -> Numbers:
            topics = [asked.topics[row] for row in rows.tolist()]
            return _draws.choices(case.order.subkey(f"decoy/{number}"), topics, self.n_variants)

        def variants(reply: Reply, rows: Numbers) -> Numbers:
            if reply.texts is None:
                raise TargetError("the suspect answers without texts; expected one for each prompt; name a "
                                  "suspect that takes prompts and returns texts")
            texts = iter(reply.texts)
            return np.array([_commonest([self._variant(truth, text) for truth, text in
                                         zip(asked.truths[row], texts, strict=False)])
                             for row in rows.tolist()], dtype=np.int64)

        served = asked.case.served
        test = Choices(served, self.n_variants, decoys, case.decoys)
        return _spread(examine("canaries", asked.case, np.arange(len(served)), variants, test), asked)

    def _topics(self, cells: Sequence[bytes]) -> list[bytes]:
        """What the key draws for: (n,)."""
        if not self.topic:
            return list(cells)
        found = (re.search(self.topic, cell.decode(errors="replace")) for cell in cells)
        return [cell if match is None else "\0".join(group or "" for group in match.groups()).encode()
                for cell, match in zip(cells, found, strict=True)]

    def _by_topic(self, case: Case) -> _Asked:
        """A case whose rows are topics, with the marked prompts of each in the key's order."""
        served = case.served
        marked = ordered(case, np.flatnonzero(served.roles == Role.MARKED)).tolist()
        members: dict[bytes, list[int]] = {}
        for row, topic in zip(marked, self._topics([served.cells[row] for row in marked]), strict=True):
            members.setdefault(topic, []).append(row)
        rows = list(members.values())
        first = np.array([each[0] for each in rows], dtype=np.int64)
        names = [tuple(sorted({name for row in each for name in served.accounts[row]})) for each in rows]
        labels = [self._variant(int(served.truths[row]), int(served.labels[row])) for row in first.tolist()]
        found = Served(
            inputs=take(served.inputs, first), cells=[served.cells[row] for row in first.tolist()],
            roles=served.roles[first], truths=np.full(len(rows), TELLS_NONE),
            labels=np.array(labels, dtype=np.int64), accounts=names, classes=served.classes)
        most = max(case.budget // max(len(rows), 1), 1)
        kept = [each[:most] for each in rows]
        return _Asked(replace(case, served=found), list(members), [served.truths[each].tolist() for each in kept],
                      [list(take(served.inputs, np.array(each))) for each in kept])

    def _variants(self, text: str) -> list[str] | None:
        """A text in all ways of its choices; None where it doesn't offer enough that stand apart."""
        habits = _habits(self.fields)
        ways = [habit.read(text) for habit in habits]
        chosen = _chosen(habits, ways, self.choices)
        if chosen is None:
            return None
        written = [text]
        for place in chosen:
            written = [habits[place].write(each, way) for way in range(2**habits[place].bits) for each in written]
        wanted = [_changed(ways, _ways(habits, chosen, variant)) for variant in range(self.n_variants)]
        is_plain = self.read(written).tolist() == [_number(habits, each) for each in wanted]
        return written if is_plain else None

    def _variant(self, truth: int, said: str | int) -> int:
        """Which variant a text, or its number, is in the choices of the target's; `TELLS_NONE` for its own."""
        habits = _habits(self.fields)
        own = _told(habits, truth)
        ways = _told(habits, said) if isinstance(said, int) else None
        variant, shift, is_own = 0, 0, True
        for place in _chosen(habits, own, self.choices) or ():
            way, of_target = habits[place].read(str(said)) if ways is None else ways[place], own[place] or 0
            is_own &= way in (None, of_target)
            variant |= (of_target if way is None else way) << shift
            shift += habits[place].bits
        return variant if isinstance(said, int) or not is_own else TELLS_NONE


class _Asked(NamedTuple):
    """What is asked of each topic.

    Attributes:
        case: whose rows are topics.
        topics: (topics,).
        truths: the target's own choices at each prompt, (topics,) lists.
        prompts: (topics,) lists.
    """

    case: Case
    topics: list[bytes]
    truths: list[list[int]]
    prompts: list[list[str]]


def _spread(examination: Examination, asked: _Asked) -> Examination:
    """An examination that asks topics as one that asks their prompts."""
    rows = {prompts[0]: prompts for prompts in asked.prompts}
    n_asked = 0
    try:
        topics = next(examination)
        while True:
            prompts = [prompt for topic in topics for prompt in rows[topic]]
            try:
                reply = yield prompts
            except BudgetExhausted as error:
                topics = examination.throw(error)
                continue
            n_asked += len(prompts)
            topics = examination.send(reply)
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return replaced(evidence, queries=n_asked)


def _commonest(variants: Sequence[int]) -> int:
    """The variant that most texts of a topic are, of those that tell any."""
    told = [variant for variant in variants if variant != TELLS_NONE]
    return int(np.bincount(told).argmax()) if told else TELLS_NONE


@lru_cache(maxsize=8)
def _habits(fields: tuple[str, ...]) -> tuple[Habit, ...]:
    return (Order(fields), *STYLES) if len(fields) > 1 else STYLES


def _chosen(habits: Sequence[Habit], ways: Sequence[int | None], n_bits: int) -> tuple[int, ...] | None:
    """The first habits in a text that make so many bits; None where there are fewer."""
    chosen, bits = [], 0
    for place, way in enumerate(ways):
        if way is not None and bits + habits[place].bits <= n_bits:
            chosen.append(place)
            bits += habits[place].bits
    return tuple(chosen) if bits == n_bits else None


def _changed(ways: Sequence[int | None], chosen: Sequence[tuple[int, int]]) -> list[int | None]:
    others = dict(chosen)
    return [others.get(place, way) for place, way in enumerate(ways)]


def _ways(habits: Sequence[Habit], chosen: Sequence[int], variant: int) -> list[tuple[int, int]]:
    """Which way each chosen habit has in a variant."""
    found = []
    for place in chosen:
        found.append((place, variant % 2**habits[place].bits))
        variant >>= habits[place].bits
    return found


def _number(habits: Sequence[Habit], ways: Sequence[int | None]) -> int:
    number = 0
    for habit, way in zip(habits, ways, strict=True):
        number = number * (2**habit.bits + 1) + (0 if way is None else way + 1)
    return number


def _told(habits: Sequence[Habit], number: int) -> list[int | None]:
    """The ways that a number tells."""
    ways: list[int | None] = []
    for habit in reversed(habits):
        number, digit = divmod(number, 2**habit.bits + 1)
        ways.insert(0, digit - 1 if digit else None)
    return ways
