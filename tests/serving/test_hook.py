"""The hook of a loop of one's own: what it adds, and to what."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from counterclone.errors import ConfigError
from counterclone.marks.greenlist import Greenlist
from counterclone.randomness import Prf
from counterclone.serving.hook import FILE_VARIABLE, Hook, save

KEY = Prf.from_secret("key")
MARK = Greenlist(test="unique", delta=1.5)
OWN_KEYS = Greenlist(test="unique", keys="account", context=2)


def test_green_tokens_after_the_last_one_are_made_likelier() -> None:
    hook = Hook(MARK, KEY)
    bias = hook.bias([5, 9, 7], 1000)
    assert (bias == 1.5 * MARK.green(KEY).after([7], 1000)).all()
    assert set(np.unique(bias).tolist()) == {0.0, 1.5}
    assert (bias == hook.bias([7], 1000)).all()
    assert (bias == hook.bias([7], 1000, "whoever")).all()


def test_a_text_of_nobody_or_without_enough_tokens_isnt_marked() -> None:
    hook = Hook(OWN_KEYS, KEY)
    assert not hook.bias([1, 2], 1000).any()
    assert not hook.bias([1], 1000, "a").any()
    assert (hook.green([1, 2], 1000, "a") == OWN_KEYS.green(KEY, "a").after([1, 2], 1000)).all()
    assert (hook.green([1, 2], 1000, "a") != hook.green([1, 2], 1000, "b")).any()


def test_spared_tokens_are_never_made_likelier() -> None:
    green = Hook(MARK, KEY).green([3], 100)
    spared = np.flatnonzero(green)[:2].tolist()
    left = Hook(MARK, KEY, spared).green([3], 100)
    assert np.flatnonzero(green & ~left).tolist() == spared
    assert (Hook(MARK, KEY, spared).green([3], 100) == left).all()  # what is remembered isn't written to


def test_a_hook_comes_back_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hook.json"
    save(path, OWN_KEYS, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    hook = Hook.load()
    assert hook.mark == OWN_KEYS
    assert (hook.bias([1, 2], 500, "a") == Hook(OWN_KEYS, KEY).bias([1, 2], 500, "a")).all()


@pytest.mark.parametrize("content", [
    b"", b"{}", b'{"mark": {"kind": "greenlist"}, "key": "zz"}', b'{"mark": {"kind": "greenlist"}, "key": "00"}',
    msgspec.json.encode({"mark": {"kind": "triggers"}, "key": "00" * 32}),
], ids=["empty", "nothing in it", "no digits", "options missing", "another mark"])
def test_what_isnt_a_hooks_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hook.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"hook\.json: ") as caught:
        Hook.load(path)
    assert "\n" not in str(caught.value)


def test_no_file_is_a_readable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="COUNTERCLONE_GREENLIST: isn't set"):
        Hook.load()
    with pytest.raises(ConfigError, match="No such file"):
        Hook.load(tmp_path / "none.json")
