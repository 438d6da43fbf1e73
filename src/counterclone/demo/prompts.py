"""A day of prompts to a language model, in which a campaign fills the slots of a few templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec
import numpy as np

from counterclone.populations import population, texts
from counterclone.populations.honest import Volume
from counterclone.populations.texts import Library
from counterclone.randomness import Prf
from counterclone.watch.cases import Evidence
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.sources import Traffic

FALSE_ALARMS_PER_YEAR = 52.0
N_KNOWN, N_HONEST, N_CAMPAIGN, EACH = 3_000, 1_000, 100, 26
A_DAY = Volume(median=10.0, spread=0.5, most=100)
KINDS = {"chatter": 0.70, "paster": 0.12, "agent": 0.08, "classroom": 0.05, "viral": 0.05}
FEWEST = 24
"""Sentences of a topic that people ask about."""


class Findings(msgspec.Struct, frozen=True):
    """What the watch found.

    Attributes:
        known: honest accounts that it was calibrated with.
        accounts: honest accounts that were watched.
        honest_alarms: of them.
        campaign: accounts of the campaign.
        prompts: theirs.
        named: of its accounts.
    """

    known: int
    accounts: int
    honest_alarms: int
    campaign: int
    prompts: int
    named: int


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Make up the day, and watch it: at its end campaigns are looked for."""
    say(f"llm: {N_HONEST:,} honest accounts and a campaign of {N_CAMPAIGN} on one day")
    library = _library()
    known = texts.population(library.part(0, 2), N_KNOWN, 1.0, seed=seed, kinds=KINDS, volume=A_DAY)
    crowd = texts.population(library.part(1, 2), N_HONEST, 1.0, seed=seed + 1, kinds=KINDS, volume=A_DAY)
    campaign = texts.campaign(library.part(1, 2), "slots", N_CAMPAIGN, EACH, seed=seed)
    everybody = population.join(crowd, campaign)
    alarmed: set[str] = set()

    def tell(accounts: Sequence[str], evidence: Evidence, campaign: str) -> None:
        alarmed.update(accounts)

    key = Prf.from_secret("counterclone demo")
    reference = Honest(list(known.names), [""] * len(known), known.exchanges,
                       dict(zip(known.names, known.meta, strict=True)))
    engine = Engine(reference_of(reference, detectors(), key), reference, key, tell=tell,
                    false_alarms_per_year=FALSE_ALARMS_PER_YEAR, max_accounts=len(everybody))
    engine.take(Traffic(list(everybody.names), everybody.exchanges, [""] * len(everybody),
                        [dict(meta) for meta in everybody.meta]))
    engine.search()
    is_alarmed = np.array([name in alarmed for name in everybody.names])
    return Findings(known=len(known), accounts=len(crowd), honest_alarms=int(is_alarmed[:len(crowd)].sum()),
                    campaign=len(campaign), prompts=len(campaign.exchanges),
                    named=int(is_alarmed[len(crowd):].sum()))


def _library() -> Library:
    """What prompts are made of: Python's own documentation, sentence by sentence."""
    from pydoc_data.topics import topics

    found = {name: re.findall(r"[A-Z][^.\n]{20,150}\.", " ".join(text.split())) for name, text in topics.items()}
    kept = {name: sentences for name, sentences in found.items() if len(sentences) >= FEWEST}
    sentences = list(chain.from_iterable(kept.values()))
    passages = [" ".join(each) for each in zip(sentences[::2], sentences[1::2], strict=False)]
    terms = sorted(set(re.findall("[a-z_]{4,20}", " ".join(sentences))))
    return Library(topics=kept, passages=passages, terms=terms, languages=(), tests={}, pool=(),
                   skill=next(iter(kept)))
