"""A tokenizer's file, read by the library that wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterclone.errors import ConfigError
from counterclone.marks._tokens import tokenizer

tokenizers = pytest.importorskip("tokenizers")


def test_a_file_gives_its_own_tokens_and_none_that_a_model_adds(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[B]": 0, "a": 1, "b": 2, "[U]": 3}, unk_token="[U]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[B] $A", special_tokens=[("[B]", 0)])
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    assert [ids.tolist() for ids in tokenizer(str(path)).encode(["a b a", "", "c"])] == [[1, 2, 1], [], [3]]


def test_what_isnt_a_tokenizers_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected a tokenizer\.json"):
        tokenizer(str(tmp_path / "tokenizer.json"))
