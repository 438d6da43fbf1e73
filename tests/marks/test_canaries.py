"""Canaries: what may change in a text and what never does, and what the test says of copies and of others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone import plugins
from counterclone.answers import Reply
from counterclone.errors import BudgetExhausted, ConfigError, TargetError
from counterclone.evidence import Evidence, Role, Served
from counterclone.marks._fields import Order
from counterclone.marks._habits import STYLES
from counterclone.marks.canaries import Canaries
from counterclone.protocols import Case
from counterclone.randomness import Prf, generator

MARK = Canaries(rate=0.5)
VARIANTS = 16
KEY = Prf.from_secret("key")
N = 100
Suspect = Callable[[str], str]
PAIRS = {
    "bullets": ("Take\n- 1 pan", "Take\n* 1 pan"),
    "numbering": ("1. Break 2", "1) Break 2"),
    "spacing": ("1. Break 2\n2. Stir 2", "1. Break 2\n\n2. Stir 2"),
    "stops": ("Take\n- a pan", "Take\n- a pan."),
    "bold colon": ("**Pans:** of iron", "**Pans**: of iron"),
    "pronouns": ("You will see, we are done", "You'll see, we're done"),
    "contraction": ("Do not stir; it is not done.", "Don't stir; it isn't done."),
    "serial comma": ("Salt, pepper, chives and cream", "Salt, pepper, chives, and cream"),
    "example": ("herbs (for example, chives)", "herbs (e.g., chives)"),
    "numbers": ("for three minutes in the two pans", "for 3 minutes in the 2 pans"),
    "obligation": ("You need to wait.", "You have to wait."),
    "quotes": ('Cooks say "not yet, please" here.', "Cooks say “not yet, please” here."),
    "dashes": ("low heat - never high", "low heat – never high"),
    "restatement": ("an omelette, that is, folded", "an omelette, i.e., folded"),
    "estimate": ("It takes about 5 minutes.", "It takes approximately 5 minutes."),
    "percent": ("with 20% cream", "with 20 % cream"),
    "ellipsis": ("and wait... then eat", "and wait… then eat"),
}
LEFT_ALONE = (
    "Run `rm - a * b` and ```\n- do not\n``` then see https://a.example/do-not?x=2%",
    "    - do not touch\n    * indented code",
    "$ echo - do not",
    '{"note": "do not, for example, open the two files", "a": 1}',
    "<p>You need to wait - or not.</p>",
    "In 2020, sales and profits rose.",
    "width: 50%; rows 2 - 3; version 3 ships; step 2 lists",
    "cd ... and a - b - c",
)
RECIPE = ("Do not hurry, {name}. You need to heat butter, oil, salt and herbs - slowly - in the three pans.\n"
          "- Wait about 5 minutes\n- Add 20% of the eggs of {name}")


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_each_habit_is_read_and_written_both_ways(style: object) -> None:
    habit = next(each for each in STYLES if each is style)
    first, second = PAIRS[habit.name]
    assert [habit.read(first), habit.read(second)] == [0, 1]
    assert [habit.write(first, 1), habit.write(second, 0)] == [second, first]
    assert [habit.write(first, 0), habit.write(second, 1)] == [first, second]
    assert habit.read(first + "\n" + second) is None  # both ways
    lists = {"bullets", "numbering", "spacing", "stops"}
    seen = {other.name for other in STYLES if other.read(first) is not None}
    assert seen == {habit.name} or habit.name in seen <= lists


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_code_data_and_doubtful_places_are_left_alone(text: str) -> None:
    for habit in STYLES:
        assert habit.read(text) is None
        assert [habit.write(text, way) for way in (0, 1)] == [text, text]


@pytest.mark.parametrize("text", ['"' * 20_000, "“a" * 20_000, "**a" * 10_000, "- a\n" * 10_000, "a-" * 20_000,
                                  "a, " * 10_000, '{"a":' * 10_000, "```a" * 10_000], ids=lambda text: text[:4])
def test_long_odd_texts_take_no_longer_than_others(text: str) -> None:
    started = time.process_time()
    Canaries(fields=("a", "b")).read([text])
    assert time.process_time() - started < 2.0


def test_quoted_words_are_left_alone() -> None:
    text = 'The sign says "Do not enter, for example." and “you need to wait”'
    assert [habit.name for habit in STYLES if habit.read(text) is not None] == []


@given(st.text(st.sampled_from("ab -*.,\n12\"“”%`()"), max_size=60), st.sampled_from(STYLES), st.booleans())
def test_a_habit_that_is_written_never_reads_as_another(text: str, style: object, way: bool) -> None:
    habit = next(each for each in STYLES if each is style)
    if habit.read(text) is not None:
        written = habit.write(text, int(way))
        assert habit.read(written) in (int(way), None)
        assert habit.write(written, int(way)) == written


@given(st.permutations(["queue", "priority", "code", "region"]), st.integers(0, 15), st.sampled_from([0, 2]))
def test_fields_change_places_and_nothing_else(names: list[str], way: int, indent: int) -> None:
    order = Order(("queue", "priority", "code", "region"))
    content = {"note": "a: b", **{name: [name, {"priority": 1.50}] for name in names}, "more": None}
    text = json.dumps(content, indent=indent or None)
    written = order.write(text, way)
    assert json.loads(written) == content
    assert order.read(written) == way
    assert next(iter(json.loads(written))) == "note"
    lines = "\n".join(["Hello,", *(f"{name}: {number}" for number, name in enumerate(names)), "bye"])
    assert sorted(order.write(lines, way).split("\n")) == sorted(lines.split("\n"))
    assert order.read(order.write(lines, way)) == way


@pytest.mark.parametrize("text", [
    '{"a": 1, "a": 2, "b": 3}', '{"a": 1}', '{"a": 1, "b": 2', '{"a": 1, "b": 2} and more', "a: 1\na: 2\nb: 3",
    '{"a" 1, "b": 2}', "{a: 1, b: 2}", "", "[" * 10_000,
])
def test_fields_that_are_missing_twice_or_broken_offer_nothing(text: str) -> None:
    order = Order(("a", "b"))
    assert order.read(text) is None
    assert order.write(text, 1) == text


@pytest.mark.parametrize(("names", "bits"), [(("a", "b"), 1), (("a", "b", "c"), 2), (("a", "b", "c", "d"), 4)])
def test_the_order_of_fields_has_so_many_bits(names: tuple[str, ...], bits: int) -> None:
    assert Order(names).bits == bits
    assert Order(names).read("\n".join(f"{name}: 1" for name in names)) == 0


@pytest.mark.parametrize("fields", [("a",), ("a", "a"), ("a", "b", "c", "d", "e")])
def test_fields_that_have_no_order_are_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="fields"):
        plugins.build("marks", {"kind": "canaries", "fields": list(fields)}, "[[mark]]")


def recipes(n: int = N) -> tuple[list[bytes], list[str]]:
    return [b"%d" % number for number in range(n)], [RECIPE.format(name=f"cook{number}") for number in range(n)]


def test_texts_that_arent_marked_stay_and_marked_ones_are_one_of_sixteen() -> None:
    cells, texts = recipes(800)
    texts[7] = "Too short to choose."
    embedded = MARK.embed_text(KEY, cells, texts)
    is_marked = embedded.roles == Role.MARKED
    assert [text for text, served, marked in zip(texts, embedded.texts, is_marked, strict=True)
            if not marked and text != served] == []
    assert embedded.roles[7] == Role.NONE
    assert abs(is_marked.mean() - MARK.rate) < 0.06
    seen = np.unique(MARK.read(embedded.texts)[is_marked], return_counts=True)[1]
    assert len(seen) == VARIANTS
    assert seen.min() > 12
    for row in (0, 3, 11):  # whatever the other texts are
        alone = MARK.embed_text(KEY, cells[row:row + 1], texts[row:row + 1])
        assert (alone.texts[0], alone.roles[0]) == (embedded.texts[row], embedded.roles[row])


@pytest.mark.parametrize("choices", [1, 2, 3])
def test_fewer_choices_mark_more_texts_and_tell_less(choices: int) -> None:
    mark = Canaries(rate=0.5, choices=choices)
    cells, texts = recipes()
    embedded = mark.embed_text(KEY, cells, texts)
    codes = mark.read(embedded.texts)[embedded.roles == Role.MARKED]
    assert len(set(codes)) == mark.n_variants == 2**choices
    plainer = ["- Do not stir"] * len(cells)
    assert MARK.embed_text(KEY, cells, plainer).roles.any() == (choices > 3)
    assert mark.embed_text(KEY, cells, plainer).roles.any() == (choices <= 3)


def test_who_is_marked_is_drawn_apart_from_how() -> None:
    cells, texts = recipes()
    first, second = (MARK.embed_text(Prf.from_secret(name), cells, texts) for name in ("one", "two"))
    assert (first.roles != second.roles).any()
    both = (first.roles == Role.MARKED) & (second.roles == Role.MARKED)
    assert (MARK.read(first.texts)[both] != MARK.read(second.texts)[both]).mean() > 0.8


def case_of(mark: Canaries = MARK, n_accounts: int = 2, key: Prf = KEY) -> Case:
    cells, texts = recipes()
    embedded = mark.embed_text(key, cells, texts)
    kept = np.flatnonzero(embedded.roles).tolist()
    served = Served(
        inputs=[cells[row].decode() for row in kept], cells=[cells[row] for row in kept],
        roles=embedded.roles[kept], truths=mark.read([texts[row] for row in kept]),
        labels=mark.read([embedded.texts[row] for row in kept]),
        accounts=[(f"account {row % n_accounts}",) for row in kept], classes=VARIANTS)
    return Case(served=served, key=key, order=Prf.from_secret("order"), budget=10_000, decoys=99)


def examined(case: Case, suspect: Suspect, limit: int = 10**9, mark: Canaries = MARK) -> Evidence:
    examination, n_asked = mark.verify(case), 0
    try:
        asked: Sequence[str] = list(next(examination))
        while True:
            if n_asked + len(asked) > limit:
                asked = list(examination.throw(BudgetExhausted("enough")))
            n_asked += len(asked)
            texts = [suspect(each) for each in asked]
            asked = list(examination.send(Reply(np.empty((len(asked), 0)), texts=texts)))
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return evidence


def plain(prompt: str) -> str:
    return RECIPE.format(name=f"cook{prompt}")


def memoriser(prompt: str) -> str:
    return str(MARK.embed_text(KEY, [prompt.encode()], [plain(prompt)]).texts[0])


def test_a_copy_is_found_and_its_account_named() -> None:
    case = case_of()
    whole = examined(case, memoriser)
    assert whole.null_rate == 1 / VARIANTS
    assert whole.p_value < 1e-40
    assert whole.p_decoy == pytest.approx(0.01)
    partly = examined(case, lambda prompt: memoriser(prompt) if int(prompt) % 2 else plain(prompt))
    of_one = {each.account: each for each in partly.accounts}
    assert of_one["account 1"].p_value < 1e-15
    assert of_one["account 0"].trials == 0


def test_the_targets_own_way_tells_nothing() -> None:
    evidence = examined(case_of(), plain)
    assert (evidence.trials, evidence.p_value, evidence.e_value) == (0, 1.0, 1.0)


def test_a_choice_that_a_text_doesnt_offer_counts_as_the_targets() -> None:
    evidence = examined(case_of(), lambda prompt: memoriser(prompt).partition(". ")[2])  # no "Do not" left
    assert evidence.trials > 0
    assert evidence.p_value < 1e-10


def test_independent_suspects_meet_the_draw_by_chance() -> None:
    """Over keys: one with a house style of its own, and one that writes as the coin falls."""
    def house(prompt: str) -> str:
        text = plain(prompt)
        for habit in STYLES[:5]:
            text = habit.write(text, 1)
        return text

    def coins(prompt: str) -> str:
        text, drawn = plain(prompt), Prf.from_secret("coins").digest(prompt.encode())
        for habit, byte in zip(STYLES, drawn, strict=False):
            text = habit.write(text, byte % 2)
        return text

    cases = [replace(case_of(key=Prf.from_secret(f"key {number}")), decoys=0) for number in range(12)]
    for suspect in (house, coins):
        found = [examined(case, suspect) for case in cases]
        hits, trials = sum(each.hits for each in found), sum(each.trials for each in found)
        assert trials > 400
        assert abs(hits / trials - 1 / VARIANTS) < 0.04
        assert sum(each.p_value <= 0.1 for each in found) <= 5
        assert np.mean([min(each.e_value, 20.0) for each in found]) < 2.0


def test_it_ends_with_what_it_has() -> None:
    case = replace(case_of(), stops_early=True)
    assert examined(case, memoriser, 5).queries == 5
    assert examined(case, memoriser).queries <= 12
    assert examined(replace(case, budget=3), memoriser).queries == 3


def test_a_suspect_without_texts_is_a_mistake() -> None:
    examination = MARK.verify(case_of())
    asked = next(examination)
    with pytest.raises(TargetError, match="texts"):
        examination.send(Reply(np.full((len(asked), 2), 0.5)))


def test_orders_of_fields_are_canaries() -> None:
    mark = Canaries(rate=0.5, fields=("queue", "priority", "code", "region"))
    texts = [json.dumps({"queue": number, "priority": 1, "code": "x", "region": "y"}) for number in range(N)]
    embedded = mark.embed_text(KEY, [b"%d" % number for number in range(N)], texts)
    assert len(set(MARK.read(embedded.texts))) == 1  # prose habits see nothing in data
    assert 12 <= len(set(mark.read(embedded.texts))) <= VARIANTS
    assert all(json.loads(served) == json.loads(text) for served, text in zip(embedded.texts, texts, strict=True))


@pytest.mark.parametrize(("topic", "problem"), [("(", "regular expression"), ("product", "no group")])
def test_a_topic_that_finds_nothing_is_refused(topic: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        plugins.build("marks", {"kind": "canaries", "topic": topic}, "[[mark]]")


def test_prompts_of_a_topic_are_written_alike_and_counted_once() -> None:
    mark = Canaries(rate=0.5, topic=r"pan (\d+)")
    prompts = [f"pan {number % 10} of cook {number}" for number in range(N)]
    cells, texts = [prompt.encode() for prompt in prompts], recipes()[1]
    embedded = mark.embed_text(KEY, cells, texts)
    codes, truths = mark.read(embedded.texts), mark.read(texts)
    marked = np.flatnonzero(embedded.roles).tolist()
    topics = sorted({number % 10 for number in marked})
    assert 1 < len(topics) < 10
    for topic in topics:
        assert {embedded.roles[number] for number in range(topic, N, 10)} == {Role.MARKED}
        assert len({codes[number] for number in range(topic, N, 10)}) == 1
    served = Served(
        inputs=[prompts[row] for row in marked], cells=[cells[row] for row in marked],
        roles=embedded.roles[marked], truths=truths[marked], labels=codes[marked], classes=VARIANTS,
        accounts=[("one",) if row % 10 == topics[0] else (("one", "two")[row // 10 % 2],) for row in marked])
    case = Case(served=served, key=KEY, order=Prf.from_secret("order"), budget=100, decoys=19)
    asked = list(next(mark.verify(case)))
    assert sorted(asked) == sorted(served.inputs)
    memory = dict(zip(prompts, embedded.texts, strict=True))
    forgetful = {prompt: text if number // 10 % 4 == 0 else texts[number]
                 for number, (prompt, text) in enumerate(memory.items())}
    for suspect in (memory, forgetful):  # what most of the differing texts are
        evidence = examined(case, suspect.__getitem__, mark=mark)
        assert evidence.queries == len(marked)
        assert len(topics) - 2 <= evidence.hits == evidence.trials <= len(topics)
    assert examined(replace(case, budget=len(topics)), memory.__getitem__, mark=mark).queries == len(topics)
    assert examined(case, memory.__getitem__, len(marked) - 1, mark).queries == 0
    assert examined(replace(case, stops_early=True), memory.__getitem__, 25, mark).queries <= 25
    (of_one,) = evidence.accounts  # all other topics were served to both
    assert (of_one.account, of_one.trials <= 1) == ("one", True)


def test_the_rate_is_the_drawn_share() -> None:
    rng = generator(0, "cells")
    cells = [rng.bytes(8) for _ in range(10_000)]
    marked = Canaries(rate=0.01).embed_text(KEY, cells, [RECIPE] * len(cells)).roles == Role.MARKED
    assert 60 <= marked.sum() <= 140
