"""A key makes half of the tokens a little likelier after each context: a copy learns to prefer them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta

from counterclone import statistics
from counterclone.answers import Reply
from counterclone.errors import BudgetExhausted, ConfigError, TargetError
from counterclone.evidence import AccountEvidence, Evidence
from counterclone.marks._examination import TAKEN_UP, ordered, take
from counterclone.marks._green import Codes, Green, quantised
from counterclone.marks._nexts import NOTHING, Expected, ends, read
from counterclone.marks._pairs import Pairs, counted, scored
from counterclone.marks._scores import Score, Scoring, Test
from counterclone.marks._tokens import WHITESPACE, Tokens, tokenizer
from counterclone.plugins import Spec
from counterclone.protocols import Case, Examination
from counterclone.queries import Inputs
from counterclone.randomness import Prf

AT_ONCE = 64


class Greenlist(Spec, frozen=True):
    """A little more of the likelihood for keyed tokens: who learns from the texts prefers them, too.

    After each context, the last one or two tokens, a key draws which tokens are green, each by a bit of its own.
    The server that writes the texts adds `delta` to their logits (`counterclone.serving` has the hooks); nobody
    notices in a single text. Scored is what a suspect writes, by pairs of context and token, without the contexts
    of its prompts: of a model that is independent of the key, each pair is green with the chance `gamma`.

    `unique` counts each distinct pair once: exact, quick for texts that are all marked, blind for a share of a
    tenth. `difference` weighs each pair by how much more often the suspect writes it than the owner's own unmarked
    model does. `mixture` lets a public model explain a part of that, and counts what is left by how much of it is
    the owner's, which a suspect with other training data needs. Both bound the tail, for any weights, and the
    weights know no key. `both` is the better of `unique` and `mixture`, paid for by a factor of two. `open` asks
    a suspect for probabilities and no texts: how likely each token is to it, less how likely it is by the nearest
    mixture of the same two models, after contexts that were fixed beforehand.

    Attributes:
        gamma: the share of green tokens, to the nearest 1/256; a half costs the server least.
        delta: what is added to their logits, in nats.
        context: the tokens that the draw depends on; one is learnt soonest, two are harder to find out.
        keys: whether an account has a key of its own, which tells whose texts a copy learnt, or all have the
            epoch's, which a pooled copy can't dilute.
        test: which statistic decides, fixed beforehand; where there are `probabilities`, `open` takes its place
            for a suspect whose own can be read.
        tokens: pairs that are scored at the most: the first ones, in the order of the questions.
        tokenizer: the model's own, a file as the library `tokenizers` writes it; `whitespace` is for trying out.
        reference: a file with texts of the owner's model, the mark off; a line is a JSON string.
        base: likewise of a public model like the one that a copier would start from.
        digest: SHA-256 of these files one after the other, in this order: nobody may choose them with the key at
            hand.
        probabilities: a file with contexts, and what comes next by the owner's model, the mark off, and perhaps by
            a public one; see `Expected.load`. The suspect's tokens have to be the owner's.
        probabilities_digest: SHA-256 of that file.

    Source: Kirchenbauer et al., A Watermark for Large Language Models (ICML 2023); Sander et al., Watermarking
    Makes Language Models Radioactive (NeurIPS 2024). The tests by difference and mixture are ours.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    gamma: Annotated[float, Meta(ge=1 / 256, le=255 / 256)] = 0.5
    delta: Annotated[float, Meta(gt=0.0, le=10.0)] = 2.0
    context: Annotated[int, Meta(ge=1, le=2)] = 1
    keys: Literal["epoch", "account"] = "epoch"
    test: Test = "mixture"
    tokens: Annotated[int, Meta(ge=100)] = 50_000
    tokenizer: str = WHITESPACE
    reference: str = ""
    base: str = ""
    digest: str = ""
    probabilities: str = ""
    probabilities_digest: str = ""

    def __post_init__(self) -> None:
        if self.test == "open" and not self.probabilities:
            raise ValueError("test = \"open\" needs `probabilities`, a file with contexts and what comes next by "
                             "the model with the mark off")
        if self.test not in ("unique", "open") and not self.reference:
            raise ValueError(f"test = \"{self.test}\" needs `reference`, a file with texts that the model wrote "
                             "with the mark off; without one there is test = \"unique\"")
        if self.test in ("mixture", "both") and not self.base:
            raise ValueError(f"test = \"{self.test}\" needs `base`, a file with texts of a public model; without "
                             "one there is test = \"difference\"")

    def green(self, key: Prf, account: str = "") -> Green:
        """The draw that texts for an account carry.

        Args:
            key: the mark's own, of its epoch.
            account: whom the text is for; of no effect where all have the epoch's key.
        """
        return Green(key.subkey(f"account/{account}") if self.keys == "account" else key, self.gamma)

    @property
    def files(self) -> dict[str, str]:
        """The paths of its files by their options, in the order of the digest."""
        named = {"tokenizer": "" if self.tokenizer == WHITESPACE else self.tokenizer,
                 "reference": self.reference, "base": self.base}
        return {option: path for option, path in named.items() if path}

    def encoded(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts as the tokens that are scored."""
        return tokenizer(self.tokenizer).encode(list(texts))

    def references(self) -> list[list[Tokens]]:
        """What the owner's model and the public one write, as far as they are needed.

        Raises:
            ConfigError: a file can't be read, or isn't what the digest says.
        """
        _check(self.files.values(), self.digest, "digest")
        names = {"unique": (), "open": (), "difference": (self.reference,)}.get(
            self.test, (self.reference, self.base))
        return [self.encoded(_texts(name)) for name in names]

    def check_files(self) -> None:
        """See whether its files are those of its digests.

        Raises:
            ConfigError: they aren't, or one can't be read; the message says the digest that they have.
        """
        _check(self.files.values(), self.digest, "digest")
        if self.probabilities:
            _check([self.probabilities], self.probabilities_digest, "probabilities_digest")

    def measured(self) -> str:
        """The digest of its files as they are.

        Raises:
            ConfigError: one can't be read.
        """
        return _digest(self.files.values())

    def opened(self) -> Greenlist:
        """The same for a suspect whose probabilities can be read.

        Raises:
            ConfigError: no probabilities were fixed beforehand.
        """
        if not self.probabilities:
            raise ConfigError("the green list that was committed to has no `probabilities` to compare a suspect's "
                              "with; test it by its texts")
        return msgspec.structs.replace(self, test="open")

    def verify(self, case: Case) -> Examination:
        """Let the suspect write answers to the prompts, until enough tokens are there, or say what comes next."""
        return self._opened(case) if self.test == "open" else self._written(case)

    def _opened(self, case: Case) -> Examination:
        """Ask for probabilities after each context; it never stops early, since contexts share bits."""
        self.check_files()
        expected, nexts = Expected.load(self.probabilities), NOTHING
        last = ends(self.encoded(expected.contexts), self.context)
        numbers = case.order.subkey("contexts").numbers([context.encode() for context in expected.contexts])
        rows, n_asked = np.argsort(numbers, kind="stable")[:case.budget], 0
        try:
            while n_asked < len(rows):
                asked = rows[n_asked:n_asked + AT_ONCE]
                reply = yield take(expected.contexts, asked)
                n_asked += len(asked)
                nexts = nexts.plus(read(reply.rows, expected, asked, last[asked]))
        except BudgetExhausted:
            pass
        rate = quantised(self.gamma)
        return self._evidence(case, Scoring.by_surplus(rate, *nexts.surplus()), n_asked, stopped_early=False)

    def _written(self, case: Case) -> Examination:
        references = self._references()
        parts: list[Codes] = []
        rows = ordered(case, np.arange(len(case.served)))[:case.budget]
        n_asked, stopped_early = 0, False
        try:
            while n_asked < len(rows) and sum(map(len, parts)) < self.tokens:
                prompts = take(case.served.inputs, rows[n_asked:n_asked + AT_ONCE])
                reply = yield prompts
                n_asked += len(prompts)
                parts += self._scored(prompts, reply)
                if case.stops_early and self._is_enough(case, parts):
                    stopped_early = True
                    break
        except BudgetExhausted:
            pass
        pairs = counted(parts, self.tokens)
        test = "unique" if case.stops_early else self.test
        return self._evidence(case, Scoring(test, quantised(self.gamma), pairs, *references), n_asked,
                              stopped_early=stopped_early)

    def _references(self) -> list[Pairs]:
        """What the owner's model and the public one write, counted."""
        none = np.empty(0, dtype=np.int64)
        return [counted(scored(answer, none, self.context) for answer in texts) for texts in self.references()]

    def _scored(self, prompts: Inputs, reply: Reply) -> list[Codes]:
        if reply.texts is None or isinstance(prompts, np.ndarray):
            raise TargetError("the suspect answered without texts; expected a language model's, to prompts")
        return [scored(answer, prompt, self.context)
                for answer, prompt in zip(self.encoded(reply.texts), self.encoded(prompts), strict=True)]

    def _is_enough(self, case: Case, parts: Sequence[Codes]) -> bool:
        """By distinct pairs alone: weights change as a suspect goes on, so theirs isn't a martingale."""
        scoring = Scoring("unique", quantised(self.gamma), counted(parts, self.tokens))
        return _Groups(self, case, scoring).e_value() >= 1.0 / case.alpha

    def _evidence(self, case: Case, scoring: Scoring, n_asked: int, *, stopped_early: bool) -> Evidence:
        rate = quantised(self.gamma)
        groups = _Groups(self, case, scoring)
        odds = rate * np.exp(self.delta)
        taught = rate + TAKEN_UP * (float(odds / (odds + 1.0 - rate)) - rate)
        e_value = groups.e_value()
        is_sequential = case.stops_early and self.test != "open"
        return Evidence(
            kind="greenlist", p_value=min(1.0, 1.0 / e_value) if is_sequential else groups.p_value(),
            e_value=e_value, trials=scoring.trials, hits=groups.hits(), null_rate=rate, queries=n_asked,
            p_decoy=groups.p_decoy() if case.decoys and scoring.trials else None,
            power=statistics.power(scoring.trials, taught, rate, case.alpha), accounts=groups.accounts(),
            stopped_early=stopped_early)


class _Groups:
    """The keys that are tested, each account's own and those of campaigns together; or the epoch's alone."""

    def __init__(self, mark: Greenlist, case: Case, scoring: Scoring) -> None:
        own = {name for names in case.served.accounts for name in names} | set(chain(*case.campaigns))
        names = sorted(own) if mark.keys == "account" else [""]
        self._case, self._mark, self._scoring = case, mark, scoring
        self._members: dict[str, list[int]] = {name: [place] for place, name in enumerate(names)}
        if mark.keys == "account":
            self._members |= {"+".join(sorted(campaign)): [names.index(name) for name in campaign]
                              for campaign in case.campaigns}
        self._scores = self._pooled([
            scoring.score(mark.green(case.key, name).of(scoring.codes, mark.context)) for name in names])
        self._n_keys = len(names)

    def p_value(self) -> float:
        """The smallest, corrected for all (Holm)."""
        return float(statistics.holm([self._scoring.p_value(score) for score in self._scores]).min())

    def e_value(self) -> float:
        """The mean, which is an e-value again."""
        return float(np.mean([self._scoring.e_value(score) for score in self._scores]))

    def hits(self) -> int:
        """Green pairs of the best key."""
        return max(score.hits for score in self._scores if score.n_keys == 1)

    def p_decoy(self) -> float:
        """The rank of the best group among those of keys that were never used, as many at a time."""
        others = [self._decoy(number) for number in range(self._case.decoys)]
        return statistics.rank_p_value(self._best(self._scores), np.array(others))

    def accounts(self) -> tuple[AccountEvidence, ...]:
        """Of accounts with keys of their own."""
        return tuple(
            AccountEvidence(account=name, p_value=self._scoring.p_value(score),
                            e_value=self._scoring.e_value(score), trials=score.n_keys * self._scoring.trials,
                            hits=score.hits)
            for name, score in zip(self._members, self._scores, strict=True) if name)

    def _decoy(self, number: int) -> float:
        green = Green(self._case.order.subkey(f"decoy/{number}"), self._mark.gamma)
        n_codes = len(self._scoring.codes)
        return self._best(self._pooled([
            self._scoring.score(green.after([place], n_codes)) for place in range(self._n_keys)]))

    def _pooled(self, scores: Sequence[Score]) -> list[Score]:
        return [reduce(Score.plus, [scores[place] for place in places]) for places in self._members.values()]

    def _best(self, scores: Sequence[Score]) -> float:
        return max(map(self._scoring.z, scores))


def _check(names: Collection[str], digest: str, option: str) -> None:
    if names and (found := _digest(names)) != digest:
        raise ConfigError(f"greenlist: {', '.join(names)} have the digest {found}, the mark says '{digest}'; "
                          "expected the files that were committed to or, before any text is marked, "
                          f"{option} = \"{found}\"")


def _digest(names: Collection[str]) -> str:
    hashed = hashlib.sha256()
    for name in names:
        try:
            hashed.update(Path(name).read_bytes())
        except OSError as error:
            raise ConfigError(f"greenlist: {name}: {error.strerror or error}; expected a file that the mark's "
                              "options name") from None
    return hashed.hexdigest()


def _texts(name: str) -> list[str]:
    """The texts of a file, a JSON string a line.

    Raises:
        ConfigError: it holds something else.
    """
    try:
        return msgspec.json.Decoder(str).decode_lines(Path(name).read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"greenlist: {name}: {error}; expected a JSON string a line") from None
