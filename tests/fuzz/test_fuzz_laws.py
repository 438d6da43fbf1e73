"""The laws on the inputs that were found, and on some near them; `python -m fuzz` searches on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterclone.randomness import generator
from fuzz import laws, mutation

CORPUS = Path(laws.__file__).parent / "corpus"
LARGEST_CORPUS = 300_000


@pytest.fixture(autouse=True, scope="module")
def fixture_closed() -> Iterator[None]:
    yield
    laws.close()


@pytest.mark.parametrize("law", laws.LAWS)
def test_what_was_found_holds(law: str) -> None:
    for path in found(law):
        try:
            laws.LAWS[law](path.read_bytes())
        except Exception as error:
            error.add_note(f"broken by {path}")
            raise


def found(law: str) -> list[Path]:
    return sorted((CORPUS / law).iterdir())


def inputs(law: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([path.read_bytes() for path in found(law)])


@pytest.mark.parametrize("law", laws.LAWS)
def test_any_bytes(law: str) -> None:
    @given(st.binary(max_size=300))
    def check(data: bytes) -> None:
        laws.LAWS[law](data)

    check()


@pytest.mark.parametrize("law", ["predict", "oip", "openai", "anthropic"])
def test_documents_that_are_nearly_right(law: str) -> None:
    @settings(max_examples=300)
    @given(inputs(law), st.lists(st.integers(0, 1 << 30), min_size=1, max_size=3))
    def check(data: bytes, seeds: list[int]) -> None:
        head, body = data[:laws.PREFIX], data[laws.PREFIX:]
        for seed in seeds:
            body = mutation.changed_json(body, generator(seed, "fuzz")) or body
        laws.LAWS[law](head + body)

    check()


@pytest.mark.parametrize("law", ["heads", "unpacking"])
def test_lines_that_are_nearly_right(law: str) -> None:
    @settings(max_examples=300)
    @given(inputs(law), st.lists(st.integers(0, 1 << 30), min_size=1, max_size=3))
    def check(data: bytes, seeds: list[int]) -> None:
        for seed in seeds:
            data = mutation.changed_lines(data, generator(seed, "fuzz"))
        laws.LAWS[law](data)

    check()


def test_the_corpus_is_small() -> None:
    assert 0 < sum(path.stat().st_size for law in laws.LAWS for path in found(law)) < LARGEST_CORPUS
