"""The laws of policies for what language models and encoders say, tried on generated answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from counterclone.answers import FLOAT_BITS, Context
from counterclone.protocols import SpeechPolicy
from counterclone.queries import Query, Sampling
from counterclone.randomness import Prf, generator
from counterclone.speech import Logprobs, Said, Speech
from counterclone.testing.laws import demand

MATERIALS = frozenset({"texts", "logprobs", "vectors"})
N_TOKENS = 40
N_VECTORS = 6
TEXTS = ("", "Plain words.", "<think>a thought</think>The answer \u00fc\U0001f408.",
         "no opening</think>\n\nthe answer", "<think>one</think>two</think>three", "<think>never closed",
         "before<thinking>a</thinking>after", "a < b > c")
SAMPLINGS = (None, Sampling(logprobs=20), Sampling(logprobs=5, bias={"7": 100.0}))
_NOISE = Prf.from_secret("counterclone.testing")


def check_speech_policy(policy: SpeechPolicy, *, seed: int = 0) -> None:
    """Try every law of a policy for texts, log-probabilities or vectors.

    Args:
        policy: the spec, with the options to try.
        seed: draws the answers.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    edits = policy.edits
    demand(bool(edits) and edits <= MATERIALS, policy, "a policy says what it is for", f"`edits` is {set(edits)}")
    demand(0.0 <= policy.value_bits <= FLOAT_BITS, policy, "value_bits is a bound up to the full number's",
           f"it is {policy.value_bits}")
    for sampling in SAMPLINGS:
        query = Query([f"query {i}" for i in range(N_VECTORS)], sampling=sampling)
        for speech in _speeches(seed):
            _check_answer(policy, query, speech, seed)
    _check_distinct(policy, seed)


def _check_answer(policy: SpeechPolicy, query: Query, speech: Speech, seed: int) -> None:
    before = _frozen(speech)
    whole, held = _released(policy, query, [speech])
    demand(_frozen(speech) == before, policy, "what is fed isn't changed", "it was written to")
    demand(not any(held.values()), policy, "a text that has ended isn't held back", f"{held} was")
    _check_shape(policy, speech, whole)
    again, _ = _released(policy, query, [speech])
    demand(_frozen(again) == _frozen(whole), policy, "the same query gets the same answer",
           "a second start gave another one")
    for places in ([0, 1], [3], [1, 2, 7, 20], generator(seed, "cuts").integers(0, N_TOKENS, 6).tolist()):
        pieced, held = _released(policy, query, list(_cut(speech, sorted(places))))
        texts = _texts(pieced)
        for name, text in held.items():
            texts[name] = texts.get(name, "") + text
        law = "the output doesn't depend on how the answer was cut"
        demand(texts == _texts(whole), policy, law, f"{_texts(whole)} became {texts}, cut at {places}")
        demand(_frozen(pieced)[1:] == _frozen(whole)[1:], policy, law, f"numbers differ, cut at {places}")


def _check_shape(policy: SpeechPolicy, speech: Speech, released: Speech) -> None:
    law = "what leaves has the shape of what came"
    names = [each.name for each in speech.said]
    demand([each.name for each in released.said] == names, policy, law, f"the texts {names} became others")
    before, now = speech.logprobs, released.logprobs
    demand(now is None or (before is not None and now.chosen.shape == before.chosen.shape
                           and now.top.shape == before.top.shape), policy, law, "log-probabilities have another")
    demand(speech.vectors is None or (released.vectors is not None
                                      and len(released.vectors) == len(speech.vectors)), policy, law,
           "there are more or fewer vectors")
    law = "what a policy isn't for leaves as it is"
    edits = policy.edits
    demand("texts" in edits or _texts(released) == _texts(speech), policy, law, "a text doesn't")
    demand("logprobs" in edits or (released.logprobs is speech.logprobs and released.hides == speech.hides),
           policy, law, "log-probabilities don't")
    demand("vectors" in edits or released.vectors is speech.vectors, policy, law, "vectors don't")


def _check_distinct(policy: SpeechPolicy, seed: int) -> None:
    """No more numbers than the bound says."""
    n_values = 4000
    if 2.0**policy.value_bits >= n_values:
        return  # so many numbers couldn't show it
    values = generator(seed, "values").standard_normal(n_values)
    told = Logprobs(-np.abs(values), np.empty((n_values, 0)))
    vectors = (values / np.abs(values).max()).reshape(1, -1) if "vectors" in policy.edits else None
    released, _ = _released(policy, Query(["a"] * n_values), [Speech(logprobs=told, vectors=vectors)])
    numbers = released.vectors if vectors is not None else None if released.logprobs is None else (
        released.logprobs.chosen)
    n_distinct = 0 if numbers is None else len(np.unique(numbers))
    demand(n_distinct <= 2.0**policy.value_bits * 1.01, policy, "no more leaves than value_bits says",
           f"{n_distinct} different numbers, yet {policy.value_bits:.3f} bits")


def _speeches(seed: int) -> Iterator[Speech]:
    rng = generator(seed, "speech")
    said = [Said(f"choices/{i}", text) for i, text in enumerate(TEXTS)]
    top = -np.sort(np.abs(rng.standard_normal((N_TOKENS, 20))) * 5.0, axis=1)
    top[3, 2:], top[4, :] = np.nan, np.nan
    chosen = np.where(rng.uniform(size=N_TOKENS) < 0.8, top[:, 0], -9999.0)
    yield Speech(said)
    yield Speech([Said("choices/0/reasoning", "a thought", is_reasoning=True), *said], Logprobs(chosen, top))
    yield Speech(said[:1], Logprobs(chosen, rng.permuted(top, axis=1)), hides=True)
    yield Speech(said[1:2], Logprobs(chosen, np.empty((N_TOKENS, 0))))
    vectors = rng.standard_normal((N_VECTORS, 16))
    vectors[1] = 0.0
    yield Speech(vectors=vectors)
    yield Speech(hides=True)
    yield Speech()


def _cut(speech: Speech, places: Sequence[int]) -> Iterator[Speech]:
    """A speech in pieces: of each text some characters, of each array some rows."""
    for start, end in itertools.pairwise([0, *places, 10_000]):
        said = [each._replace(text=each.text[start:end], is_last=end == 10_000) for each in speech.said]
        told = speech.logprobs
        yield Speech(said, None if told is None else Logprobs(told.chosen[start:end], told.top[start:end]),
                     None if speech.vectors is None else speech.vectors[start:end], speech.hides)


def _released(policy: SpeechPolicy, query: Query, pieces: Sequence[Speech]) -> tuple[Speech, dict[str, str]]:
    """All that leaves of some pieces, as one, and what is held back at the end."""
    release = policy.open(Context(_NOISE, query))
    left = [release.feed(piece) for piece in pieces]
    said = [each for piece in left for each in piece.said]
    told = [piece.logprobs for piece in left if piece.logprobs is not None]
    vectors = [piece.vectors for piece in left if piece.vectors is not None]
    logprobs = Logprobs(np.concatenate([each.chosen for each in told]),
                        np.concatenate([each.top for each in told])) if told else None
    if len(left) == 1:
        return left[0], dict(release.finish())
    return (Speech(said, logprobs, np.concatenate(vectors) if vectors else None, any(each.hides for each in left)),
            dict(release.finish()))


def _texts(speech: Speech) -> dict[str, str]:
    texts: dict[str, str] = {}
    for each in speech.said:
        texts[each.name] = texts.get(each.name, "") + each.text
    return texts


def _frozen(speech: Speech) -> tuple[object, ...]:
    """What a speech holds, to the bit."""
    told, vectors = speech.logprobs, speech.vectors
    return (_texts(speech), None if told is None else (told.chosen.tobytes(), told.top.tobytes()),
            None if vectors is None else vectors.tobytes(), speech.hides)
