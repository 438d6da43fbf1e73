from __future__ import annotations

import hashlib
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from counterclone.encoders import (
    MAX_CHARACTERS,
    VECTOR_SIZE,
    compact_features,
    encode_features,
    encode_texts,
)
from counterclone.queries import Features
from counterclone.randomness import generator

ANY_FEATURES = st.tuples(st.integers(1, 4), st.sampled_from([1, 3, 64, 65, 130])).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.floats(width=64)))


def test_few_features_are_kept_with_zeros_behind() -> None:
    vectors = encode_features(np.array([[1.5, -2.0, 0.0], [0.25, 1024.0, -32768.0]]))
    assert vectors.shape == (2, VECTOR_SIZE)
    assert vectors.dtype == np.float32
    assert vectors[:, :3].tolist() == [[1.5, -2.0, 0.0], [0.25, 1024.0, -32768.0]]
    assert not vectors[:, 3:].any()


@given(ANY_FEATURES)
def test_any_numbers_give_finite_vectors_exact_in_16_bits(features: Features) -> None:
    before = features.copy()
    vectors = encode_features(features)
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors, vectors.astype(np.float16).astype(np.float32))
    assert np.array_equal(compact_features(features), vectors)
    assert np.array_equal(features, before, equal_nan=True)


@given(ANY_FEATURES)
def test_a_batch_equals_its_rows(features: Features) -> None:
    rows = [encode_features(features[i:i + 1]) for i in range(len(features))]
    assert np.array_equal(encode_features(features), np.concatenate(rows))


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=50))
def test_the_order_of_numbers_is_kept(numbers: list[float]) -> None:
    encoded = encode_features(np.sort(np.array(numbers))[:, None])[:, 0]
    assert (np.diff(encoded) >= 0).all()


def test_large_numbers_keep_their_order_of_magnitude() -> None:
    encoded = encode_features(2.0 ** np.arange(15, 900, 1.0)[:, None])[:, 0]
    assert (np.diff(encoded) > 0).all()
    assert np.array_equal(encode_features(-(2.0 ** np.arange(15, 900, 1.0)[:, None]))[:, 0], -encoded)


@pytest.mark.parametrize("d", [65, 784, 5000])
def test_many_features_keep_their_distances(d: int) -> None:
    features = generator(1, "encoders").standard_normal((40, d))
    vectors = encode_features(features).astype(np.float64)
    pairs = np.triu_indices(40, 1)
    ratios = (np.linalg.norm(vectors[pairs[0]] - vectors[pairs[1]], axis=1)
              / np.linalg.norm(features[pairs[0]] - features[pairs[1]], axis=1))
    assert abs(np.sqrt((ratios**2).mean()) - 1.0) < 0.1
    assert ratios.min() > 0.55
    assert ratios.max() < 1.45


def test_a_zero_behind_many_features_changes_nothing() -> None:
    features = generator(2, "encoders").standard_normal((3, 4096))
    assert np.array_equal(encode_features(features), encode_features(np.pad(features, ((0, 0), (0, 1)))))


def test_no_rows_and_no_features() -> None:
    assert encode_features(np.empty((0, 5))).shape == (0, VECTOR_SIZE)
    assert encode_features(np.empty((0, 500))).shape == (0, VECTOR_SIZE)
    assert not encode_features(np.empty((2, 0))).any()
    assert encode_texts([]).shape == (0, VECTOR_SIZE)


def test_a_million_features_take_little_memory() -> None:
    features = np.ones((1, 1_000_000))
    encode_features(features[:, :70_000])  # what is kept for the next call is made here
    tracemalloc.start()
    encode_features(features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_the_encoding_is_fixed_for_ever() -> None:
    """A change here is another ENCODER_VERSION."""
    values = ((np.arange(3.0 * 4200) * 7919) % 200_003 - 100_001).reshape(3, 4200) / 2
    texts = ["Ünïcode  TEXT with  spaces", "", "日本語のテキスト", "a"]
    digest = hashlib.sha256()
    for vectors in (encode_features(values[:, :10]), encode_features(values), encode_texts(texts)):
        digest.update(vectors.astype("<f2").tobytes())
    assert digest.hexdigest() == "f3ccfcb495a26a1618faa84f42990cffa7e73f058511ffceafe717022d75c7dd"


def test_texts_have_length_one_and_ignore_case_width_and_space() -> None:
    vectors = encode_texts(["Hello, World", "  hello,\n\tWORLD ", "Ｈｅｌｌｏ, World", ""])
    assert np.allclose(np.linalg.norm(vectors[:3], axis=1), 1.0, atol=2e-3)
    assert np.array_equal(vectors[0], vectors[1])
    assert np.array_equal(vectors[0], vectors[2])
    assert not vectors[3].any()


def test_like_texts_are_nearer_than_others() -> None:
    one, two, other = encode_texts([
        "Translate the following sentence into French: the cat sat on the mat",
        "Translate the following sentence into French: my dog ate the homework",
        "SELECT account, count(*) FROM exchanges GROUP BY account"])
    assert one @ two > 0.4
    assert abs(one @ other) < 0.3


def test_only_the_start_of_a_text_counts() -> None:
    start = "".join(chr(97 + i % 26) + " " * (i % 7 == 0) for i in range(MAX_CHARACTERS))[:MAX_CHARACTERS]
    begun = time.process_time()
    vectors = encode_texts([start, start + "x" * 20_000_000, "\ufdfa" * 100_000, "\u0315\u0300" * 100_000])
    assert time.process_time() - begun < 2.0
    assert np.array_equal(vectors[0], vectors[1])


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_has_a_vector(text: str) -> None:
    vectors = encode_texts([text, "\ud800" + text])
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors[:1], encode_texts([text]))
