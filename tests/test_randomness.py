from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from counterclone.randomness import KEY_BYTES, Prf, generator, new_id, new_request_id, new_secret, normal_table

KEY = bytes(range(KEY_BYTES))
SOURCES = Path(__file__).parents[1] / "src" / "counterclone"
FORBIDDEN = re.compile(
    r"\b(np|numpy)\.random\b(?!\.Generator\b(?!\())"  # a generator that is handed in may be named
    r"|\bimport random\b|\bfrom random\b|\bimport secrets\b|\bfrom secrets\b|\bsecrets\.\w"
    r"|\bos\.urandom\b|\buuid4\b|\bdefault_rng\b")


# What was released under a key must be released again by every later version.

def test_digests_are_the_published_ones() -> None:
    prf = Prf(KEY)
    assert prf.digest(b"query").hex() == "00282ee4bc07c63feedd738e7d9d84b0"
    assert prf.digest(b"", 64).hex() == ("84bfa69f0d90df7db2a3ee026042988b5bd9caa2320af1f371823dd28351202f"
                                         "8e6277c40c050711c8dd4e2c1ac30c34c9aed0bddd468b031287fe872675e0cc")
    assert prf.number(b"query") == 15692525173629987064
    assert prf.subkey("noise").digest(b"query").hex() == "bd4227bc7de56c349e2178d71bb96cb8"


@pytest.mark.parametrize("secret", ["secret", b"secret"], ids=["text", "bytes"])
def test_a_secret_makes_the_published_key(secret: str | bytes) -> None:
    assert Prf.from_secret(secret).digest(b"query").hex() == "9871ab0b55b2bec408d474792d14417f"


def test_words_are_the_published_ones() -> None:
    assert Prf(KEY).words(b"query", 6).tolist() == [2096, 23570, 18952, 38349, 50142, 23521]
    digest = hashlib.sha256(Prf(KEY).words(b"query", 10_000).astype("<u2").tobytes()).hexdigest()
    assert digest == "5690977755c0edf03d79180b0424b278aee9a9275524760e29a598ea00e49847"


def test_normals_are_the_published_ones() -> None:
    expected = [-1.8523372712136275, -0.3593786432639124, -0.5557517907728724, 0.21513195987428744]
    np.testing.assert_allclose(Prf(KEY).normals(b"query", 4), expected, rtol=1e-12)


def test_generators_are_the_published_ones() -> None:
    assert generator(0).bit_generator.random_raw(2).tolist() == [13515919607791598009, 14128152177323718669]
    assert generator(7, "copier", 3).bit_generator.random_raw(2).tolist() == [
        4224809908846760755, 7038860716401206914]


def test_the_table_is_normal_and_fixed() -> None:
    table = normal_table()
    assert table.shape == (65_536,)
    assert table.std() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(table, -table[::-1], atol=1e-12)
    assert (np.diff(table) > 0).all()
    assert not table.flags.writeable


def test_normals_follow_the_normal_law() -> None:
    draws = Prf(KEY).normals(b"distribution", 100_000)
    assert abs(draws.mean()) < 0.01
    assert draws.std() == pytest.approx(1.0, abs=0.01)
    assert stats.kstest(draws, "norm").pvalue > 0.01


def test_words_are_uniform_over_short_draws_too() -> None:
    prf = Prf(KEY)
    first = np.array([prf.words(b"%d" % i, 1)[0] for i in range(20_000)]) / 65_536
    assert stats.kstest(first, "uniform").pvalue > 0.01


def test_normals_are_bounded() -> None:
    assert np.abs(Prf(KEY).normals(b"bound", 1_000_000)).max() <= 4.33


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_a_longer_draw_starts_with_the_shorter(data: bytes, n: int, more: int) -> None:
    prf = Prf(KEY)
    np.testing.assert_array_equal(prf.normals(data, n + more)[:n], prf.normals(data, n))
    assert len(prf.words(data, n)) == n


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_different_data_get_different_draws(one: bytes, other: bytes) -> None:
    prf = Prf(KEY)
    assert (prf.digest(one) == prf.digest(other)) == (one == other)
    assert (prf.normals(one, 8).tolist() == prf.normals(other, 8).tolist()) == (one == other)


def test_subkeys_are_independent() -> None:
    prf = Prf(KEY)
    keys = [prf, prf.subkey("noise"), prf.subkey("accounts"), prf.subkey("noise").subkey("noise")]
    assert len({key.digest(b"x") for key in keys}) == len(keys)
    one, other = (prf.subkey(label).normals(b"x", 50_000) for label in ("noise", "accounts"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_a_key_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 bytes, this one has 5"):
        Prf(b"short")


def test_repr_hides_the_key() -> None:
    assert repr(Prf(KEY)) == str(Prf(KEY)) == "Prf(...)"


def test_secrets_and_ids_never_repeat() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", new_secret())
    assert re.fullmatch(r"[0-9a-f]{16}", new_id(8))
    assert len({new_secret() for _ in range(100)} | {new_id(16) for _ in range(100)}) == 200


def test_request_ids_never_repeat() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch(rb"[0-9a-f]{20}", one) for one in ids)


def test_request_ids_of_forked_processes_differ() -> None:
    script = """
import os
from counterclone.randomness import new_request_id
reader, writer = os.pipe()
child = os.fork()
os.write(writer, new_request_id())
if child:
    os.waitpid(child, 0)
    print(os.read(reader, 100).decode())
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    both = run.stdout.strip()
    assert len(both) == 40
    assert both[:20] != both[20:]


PATHS: list[tuple[str | int, ...]] = [(), ("a",), ("b",), ("a", "b"), ("a/b",), ("a", 1), ("a", "1"), (1,), ("",)]


def test_generators_of_different_paths_and_seeds_are_independent() -> None:
    draws = {(seed, path): generator(seed, *path).integers(2**62) for seed in range(3) for path in PATHS}
    assert len(set(draws.values())) == len(draws)
    one, other = (generator(0, "copier", i).standard_normal(50_000) for i in range(2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_a_generator_repeats() -> None:
    np.testing.assert_array_equal(generator(5, "x").random(9), generator(5, "x").random(9))


def test_nothing_else_draws_randomness() -> None:
    guilty = [f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
              for path in sorted(SOURCES.rglob("*.py")) if path != SOURCES / "randomness.py"
              for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
              if FORBIDDEN.search(line)]
    assert guilty == []


@pytest.mark.parametrize(("line", "is_forbidden"), [
    ("rng = np.random.default_rng(0)", True),
    ("rng = np.random.Generator(np.random.PCG64(0))", True),
    ("def run(rng: np.random.Generator) -> None:", False),
    ("import random", True),
    ("from random import choice", True),
    ("import secrets", True),
    ("key = secrets.token_bytes(32)", True),
    ("from counterclone.randomness import generator", False),
    ('"""Random identifiers and secrets: none here."""', False),
], ids=["numpy", "bit generator", "annotation", "random", "from random", "secrets", "token", "ours", "prose"])
def test_the_search_finds_what_it_should(line: str, is_forbidden: bool) -> None:
    assert bool(FORBIDDEN.search(line)) == is_forbidden
