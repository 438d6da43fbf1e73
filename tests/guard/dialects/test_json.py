from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.errors import UnknownFormat
from counterclone.guard.dialects._json import has_twins, load_query

SPACE = st.sampled_from(["", " ", "\n"])
PIECES = ("a", "b", ":", ",", "{", "ü", '\\"', "\\\\", "\\u0022", "\\u003a", "\\n")
TEXT = st.lists(st.sampled_from(PIECES), max_size=3).map(lambda pieces: f'"{"".join(pieces)}"')


def listed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(TEXT, SPACE, SPACE, values).map(lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}{parts[3]}")
    return st.lists(members, max_size=3).map(lambda parts: f"{{{' ,'.join(parts)}}}")


DOCUMENTS = st.recursive(st.one_of(TEXT, st.sampled_from(["1", "-1.5e3", "null"])),
                         lambda values: st.one_of(listed(values), objects(values)), max_leaves=12)


def names_twice(text: str) -> bool:
    found = False

    def note(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found |= len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=note)
    return found


@given(DOCUMENTS)
def test_names_that_stand_twice_are_found_wherever_they_are(text: str) -> None:
    assert has_twins(text.encode(), orjson.loads(text)) == names_twice(text)


@pytest.mark.parametrize("body", [
    b'{"a": 1, "a": 1}', b'{"m": [1, {"a": 1, "\\u0061" : 2}]}', b'{"m": {"": {}, "": {}}}'])
def test_a_request_with_one_is_refused(body: bytes) -> None:
    with pytest.raises(UnknownFormat, match="twice"):
        load_query(body)


def test_texts_that_look_like_names_are_none() -> None:
    body = orjson.dumps({"prompt": ':"a":1,"a":1', "stop": [":", '":', '\\":']})
    assert load_query(body)["stop"] == [":", '":', '\\":']
