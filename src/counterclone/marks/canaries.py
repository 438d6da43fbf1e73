"""A few texts are served in another harmless way, drawn by a key: a copy that memorised it gives itself away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from counterclone.answers import Reply
from counterclone.errors import TargetError
from counterclone.evidence import Role, Served
from counterclone.marks import _draws
from counterclone.marks._examination import Choices, Numbers, examine, ordered, take
from counterclone.marks._fields import Order
from counterclone.marks._habits import STYLES, Habit
from counterclone.plugins import Spec
from counterclone.protocols import Case, EmbeddedTexts, Examination
from counterclone.randomness import Prf

BITS = 4
VARIANTS = 2**BITS


class Canaries(Spec, frozen=True):
    """Another harmless way of writing on at most `rate` of the prompts, drawn by a key, without a logits hook.

    A finished text offers choices that don't change what it says: "-" or "*" for bullets, "cannot" or "can't", a
    serial comma, digits or words for small numbers, the order of fields that the owner named. The first four that
    a text offers make 16 variants, and the key draws one for the prompt, the same for everybody and however often
    the text is sampled anew. Code, links, quoted words and data are left alone.

    Tested is which variant a suspect's text has at the same prompts. Only one that differs from the target's own
    tells anything: it is the drawn one with a chance of 1/16, whatever the suspect is, if it is independent of
    the key. So that this chance is the same for all, only texts with four choices are marked; which these are
    doesn't depend on the key. A choice that the suspect's text doesn't offer counts as the target's.

    A small student doesn't learn single prompts by heart. With a `topic`, all prompts that share it are written
    alike, which a student learns as a rule; each topic is asked once, since the key drew once for it. Who writes
    all texts in one style again takes the mark out.

    Attributes:
        rate: the share of prompts, or of topics, that are marked, as far as their texts offer four choices.
        fields: names whose order is free, in JSON objects or lines of `name: value`; two, three or four.
        topic: a regular expression whose groups find the topic in a prompt (in lower case, each run of blanks one
            space); the whole prompt where it finds nothing.

    Source: the choices of a few out of M are those of canaries and honeypots; He et al., CATER (NeurIPS 2022) on
    marks by wording; the test by the draw is ours.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    rate: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.01
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
                written[row] = variants[int(drawn.choices([topics[row]], VARIANTS)[0])]
        return EmbeddedTexts(written, roles)

    def read(self, texts: Sequence[str]) -> Numbers:
        """Every choice of each text as one number, without any key: (n,)."""
        habits = _habits(self.fields)
        return np.array([_number(habits, [habit.read(text) for habit in habits]) for text in texts],
                        dtype=np.int64)

    def verify(self, case: Case) -> Examination:
        """Ask the marked prompts again, one of each topic."""
        case = self._once_a_topic(case)
        served = case.served
        topics = self._topics(served.cells)

        def decoys(number: int, rows: Numbers) -> Numbers:
            drawn = _draws.choices(case.order.subkey(f"decoy/{number}"), [topics[row] for row in rows], VARIANTS)
            return np.array([self._with(truth, variant) for truth, variant in
                             zip(served.truths[rows].tolist(), drawn.tolist(), strict=True)], dtype=np.int64)

        def variants(reply: Reply, rows: Numbers) -> Numbers:
            if reply.texts is None:
                raise TargetError("the suspect answers without texts; expected one for each prompt; name a "
                                  "suspect that takes prompts and returns texts")
            return np.array([self._seen(truth, text) for truth, text in
                             zip(served.truths[rows].tolist(), reply.texts, strict=True)], dtype=np.int64)

        rows = np.arange(len(served))
        return examine("canaries", case, rows, variants, Choices(served, VARIANTS, decoys, case.decoys))

    def _topics(self, cells: Sequence[bytes]) -> list[bytes]:
        """What the key draws for: (n,)."""
        if not self.topic:
            return list(cells)
        found = (re.search(self.topic, cell.decode(errors="replace")) for cell in cells)
        return [cell if match is None else "\0".join(group or "" for group in match.groups()).encode()
                for cell, match in zip(cells, found, strict=True)]

    def _once_a_topic(self, case: Case) -> Case:
        """The case with one marked prompt of each topic, the first in the key's order, and all its accounts."""
        served = case.served
        rows = ordered(case, np.flatnonzero(served.roles == Role.MARKED)).tolist()
        first: dict[bytes, int] = {}
        accounts: dict[bytes, set[str]] = {}
        for row, topic in zip(rows, self._topics([served.cells[row] for row in rows]), strict=True):
            first.setdefault(topic, row)
            accounts.setdefault(topic, set()).update(served.accounts[row])
        kept = np.array(list(first.values()), dtype=np.int64)
        return replace(case, served=Served(
            inputs=take(served.inputs, kept), cells=[served.cells[row] for row in kept.tolist()],
            roles=served.roles[kept], truths=served.truths[kept], labels=served.labels[kept],
            accounts=[tuple(sorted(accounts[topic])) for topic in first], classes=served.classes))

    def _variants(self, text: str) -> list[str] | None:
        """A text in all ways of its four choices; None where it doesn't offer four that stand apart."""
        habits = _habits(self.fields)
        ways = [habit.read(text) for habit in habits]
        chosen = _chosen(habits, ways)
        if chosen is None:
            return None
        written = [text]
        for place in chosen:
            written = [habits[place].write(each, way) for way in range(2**habits[place].bits) for each in written]
        truth = _number(habits, ways)
        wanted = [self._with(truth, variant) for variant in range(VARIANTS)]
        return written if self.read(written).tolist() == wanted else None

    def _with(self, truth: int, variant: int) -> int:
        """The number of a text like the target's in all but its four choices, which are the variant's."""
        habits = _habits(self.fields)
        ways = _told(habits, truth)
        for place, way in _ways(habits, _chosen(habits, ways) or (), variant):
            ways[place] = way
        return _number(habits, ways)

    def _seen(self, truth: int, text: str) -> int:
        """The number of a text like the target's in all but the four choices, as far as the suspect's has them."""
        habits = _habits(self.fields)
        ways = _told(habits, truth)
        for place in _chosen(habits, ways) or ():
            way = habits[place].read(text)
            ways[place] = ways[place] if way is None else way
        return _number(habits, ways)


@lru_cache(maxsize=8)
def _habits(fields: tuple[str, ...]) -> tuple[Habit, ...]:
    return (Order(fields), *STYLES) if len(fields) > 1 else STYLES


def _chosen(habits: Sequence[Habit], ways: Sequence[int | None]) -> tuple[int, ...] | None:
    """The first habits in a text that make four bits; None where there are fewer."""
    chosen, bits = [], 0
    for place, way in enumerate(ways):
        if way is not None and bits + habits[place].bits <= BITS:
            chosen.append(place)
            bits += habits[place].bits
    return tuple(chosen) if bits == BITS else None


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
