from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics as manual

import numpy as np
import pytest

from counterclone.journal import read_lines
from counterclone.populations import texts
from counterclone.populations.honest import Volume
from counterclone.populations.population import Population
from counterclone.populations.texts import Library

SENTENCES = sorted({" ".join(text.split()) for page in manual.values() for text in page.split(". ")
                    if 25 <= len(text) <= 200})
LIBRARY = Library(
    topics={f"topic {i}": SENTENCES[i::7] for i in range(7)}, passages=SENTENCES, terms=sorted(manual),
    languages=[f"ein Satz mit der Nummer {i}" for i in range(99)],
    tests={"sums": [f"{i} + {i + 1} = ?" for i in range(200)]}, pool=sorted(manual), skill="topic 3")


@pytest.fixture(scope="module")
def people() -> Population:
    return texts.population(LIBRARY, 500, 5.0, seed=1, volume=Volume(median=10, most=60), raw=True)


def prompts(population: Population, account: int) -> list[str]:
    assert population.inputs is not None
    return [str(text) for text in population.inputs[population.exchanges.accounts == account]]


def test_the_same_seed_is_the_same_population_and_another_is_another() -> None:
    one, same, other = (texts.population(LIBRARY, 30, 1.0, seed) for seed in (3, 3, 4))
    assert one.names == same.names
    assert np.array_equal(one.exchanges.vectors, same.exchanges.vectors)
    assert not set(one.names) & set(other.names)


def test_every_kind_is_there_and_has_no_label(people: Population) -> None:
    assert set(people.kinds) == set(texts.KINDS)
    assert (people.exchanges.labels == -1).all()
    assert np.isnan(people.exchanges.margins).all()
    assert (np.diff(people.exchanges.times) >= 0.0).all()


def test_an_agents_prompts_begin_alike_and_two_agents_dont(people: Population) -> None:
    one, other = (prompts(people, i) for i in np.flatnonzero(np.array(people.kinds) == "agent")[:2].tolist())
    assert len({text[:40] for text in one}) == 1
    assert one[0][:40] != other[0][:40]


def test_equal_prompts_have_equal_digests(people: Population) -> None:
    assert people.inputs is not None
    _, by_text = np.unique(people.inputs.astype(str), return_inverse=True)
    _, by_digest = np.unique(people.exchanges.digests, return_inverse=True)
    pairs = np.unique(np.stack([by_text, by_digest], axis=1), axis=0)
    assert len(pairs) == by_text.max() + 1  # case and space don't make another digest


@pytest.mark.parametrize("attack", texts.ATTACKS)
def test_a_campaign_has_its_accounts_and_volume(attack: str) -> None:
    made = texts.campaign(LIBRARY, attack, 20, 26, seed=1, raw=True)
    assert set(made.kinds) == {f"campaign/{attack}"}
    assert made.is_campaign.all()
    assert len(made.exchanges) == pytest.approx(20 * 26, rel=0.3)


def test_a_campaign_of_slots_has_few_templates_and_cover_hides_them() -> None:
    bare, hidden = (texts.campaign(LIBRARY, "slots", 20, 26, mixing, seed=1, raw=True) for mixing in (0.0, 0.5))
    assert len({text[:8] for i in range(20) for text in prompts(bare, i)}) <= 5
    assert len({text[:8] for i in range(20) for text in prompts(hidden, i)}) > 50


def test_parts_of_a_library_share_no_sentence() -> None:
    one, other = LIBRARY.part(0, 3), LIBRARY.part(1, 3)
    assert not set(one.passages) & set(other.passages)
    assert one.tests == other.tests


def test_prompts_are_written_as_lines_that_the_watch_reads(people: Population, tmp_path: Path) -> None:
    path = tmp_path / "exchanges.jsonl"
    some = people.of(np.arange(20))
    some.write_lines(path)
    lines = list(read_lines(path))
    assert some.inputs is not None
    assert [line.query.text for line in lines] == some.inputs.tolist()
    assert [line.account for line in lines] == [some.names[i] for i in some.exchanges.accounts]
