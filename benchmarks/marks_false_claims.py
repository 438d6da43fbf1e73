"""Claims that are false: independent models, wrong keys, and accusers who choose what they can.

An accuser owns the target, the guard, the keys and an account of its own. What it can't do is change a record that
a commitment or a signed head covers. Each row says what an accuser chose, how often the p-value alone would have
accepted it, what else a verifier checks, and how often the claim passed all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import marks_beds, results
from benchmarks.marks_beds import Bed, Labels, Part, one_hot
from benchmarks.marks_network import Network
from benchmarks.marks_removal import QUERIES, Theft, boosting, forest, logistic, neighbours, shortened
from benchmarks.marks_served import ALPHA, Asked, Marking, Predict, labels_only, served
from counterclone import statistics
from counterclone.answers import top_labels
from counterclone.evidence import Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.prove.verification import with_hidden
from counterclone.queries import Features, Query
from counterclone.randomness import Generator, Prf, generator

RATE, SEED = 0.005, 0
N_MODELS, N_LEARNT = 10, 2_000
"""Independent models of each family, each trained on other inputs."""
N_KEYS = N_TRIES = 1_000
N_EPOCHS = 8
N_INSIDER, N_SEARCHED, N_SET = 100, 2_000, 30
"""Tries of an accuser who asks with the key in hand, neighbours that it tries at once, triggers that it sets."""
N_JUDGE, JUDGE_LEVEL = 20, 0.01
COUNT_LEVEL = 1e-4
JITTER = 0.01


def models(bed: Bed, whose: str) -> list[tuple[str, Predict]]:
    """Models that never saw a marked answer; every second one is a student of the model before it was marked."""
    makers: dict[str, Callable[[], object] | None] = {
        "logistic": logistic, "forest": forest, "boosting": boosting,
        "1-NN": partial(neighbours, 1), "5-NN": partial(neighbours, 5), "network": None}
    found: list[tuple[str, Predict]] = []
    for family, make in makers.items():
        for number in range(N_MODELS):
            part = bed.draw(f"{whose}/{family}/{number}", N_LEARNT)
            labels = part.labels if number % 2 else top_labels(bed.victim(part.inputs))
            found.append((family, _fitted(bed, part.inputs, labels, make, number)))
    return found


def _fitted(bed: Bed, inputs: Features, labels: Labels, make: Callable[[], object] | None, seed: int) -> Predict:
    if make is None:
        return network(bed, Part(inputs, labels), f"independent/{seed}").answer
    model = make()
    model.fit(inputs, labels)  # type: ignore[attr-defined]
    predict: Predict = model.predict_proba  # type: ignore[attr-defined]
    return predict


def network(bed: Bed, part: Part, name: str, epochs: int = 20) -> Network:
    """A network of its own data."""
    sizes = (part.inputs.shape[1], 64, bed.classes)
    rows = one_hot(part.labels, bed.classes)
    return Network.drawn(sizes, generator(SEED, name)).learn(part.inputs, rows, epochs)


def spread(bed: str, what: str, p_values: Sequence[float]) -> dict[str, object]:
    """Whether p-values are no smaller than uniform ones."""
    p = np.sort(p_values)
    test = stats.kstest(p, "uniform", alternative="greater")
    bound = float(np.sqrt(np.log(1.0 / 0.001) / (2.0 * len(p))))
    smallest = float(p[0])
    return {"bed": bed, "what": what, "n": len(p), "smallest": shortened(smallest),
            "smallest_times_n": shortened(smallest * len(p)),
            "below_5_percent": round(float((p <= 0.05).mean()), 4),
            "below_1_percent": round(float((p <= 0.01).mean()), 4), "excess": round(float(test.statistic), 4),
            "dkw_99_9": round(bound, 4), "ks_p_value": round(float(test.pvalue), 4),
            "below_alpha": int((p <= ALPHA).sum()),
            "holds": bool(test.statistic <= bound and smallest * len(p) > ALPHA)}


def independent(theft: Theft) -> list[dict[str, object]]:
    """Independent models, all asked one account's triggers."""
    held, examine = served([theft.asked]), partial(theft.marking.examine, decoys=0)
    suspects = [suspect for _, suspect in models(theft.bed, "independent")]
    return [spread(theft.bed.name, f"independent models, from {how}", p_values) for how, p_values in (
        ("labels", [examine(held, labels_only(suspect)).p_value for suspect in suspects]),
        ("scores", [examine(held, suspect).p_value for suspect in suspects]))]


def wrong_keys(theft: Theft) -> list[dict[str, object]]:
    """A thousand keys that marked nothing, on a copy that took up another key's marks and on a poor copy of it."""
    rows = theft.bed.victim(theft.inputs)
    cells, truths = Query(theft.inputs).cells, top_labels(theft.bed.victim(theft.inputs))
    poor = theft.untrained((64,)).learn(theft.inputs, one_hot(theft.asked.labels, theft.bed.classes), 5)
    found: dict[str, list[float]] = {}
    for number in range(N_KEYS):
        marking = dataclasses.replace(theft.marking, epoch=Prf.from_secret(f"wrong {number}"))
        embedded = marking.mark.embed(marking.key, cells, rows)
        held = served([Asked("thief", theft.inputs, cells, truths, embedded.rows, embedded.roles,
                             top_labels(embedded.rows))])
        for name, suspect in (("copy", theft.network.answer), ("poor copy", poor.answer)):
            found.setdefault(f"wrong keys, {name}, from labels", []).append(
                marking.examine(held, labels_only(suspect), decoys=0).p_value)
            found.setdefault(f"wrong keys, {name}, from scores", []).append(
                marking.examine(held, suspect, decoys=0).p_value)
    return [spread(theft.bed.name, what, p_values) for what, p_values in found.items()]


class Accuser:
    """An owner with a surrogate's help, and an honest model that it accuses.

    Attributes:
        bed: its model.
        suspect: trained on true labels by somebody else.
        judge: models that are independent of everybody.
        inputs: on which its surrogates agree with each other and not with its model, and their neighbours.
        guesses: what the surrogates say there.
    """

    def __init__(self, name: str) -> None:
        self.bed = marks_beds.load(name, SEED)
        self.mark = Triggers(rate=RATE)
        self.suspect = labels_only(network(self.bed, self.bed.draw("honest", 6_000), "honest").answer)
        self.surrogates = [network(self.bed, self.bed.draw(f"surrogate/{each}", 6_000), f"surrogate/{each}").answer
                           for each in range(2)]
        self.judge = [network(self.bed, self.bed.draw(f"judge/{each}", 3_000), f"judge/{each}").answer
                      for each in range(N_JUDGE)]
        self.inputs, self.guesses = self._transferable(generator(SEED, "accuser"))
        self.cells, self.rows = Query(self.inputs).cells, self.bed.victim(self.inputs)
        self.truths, self.answers = top_labels(self.rows), top_labels(self.suspect(self.inputs))

    def _transferable(self, rng: Generator) -> tuple[Features, Labels]:
        found = self.bed.draw("accuser", 20_000).inputs
        found = found[self._agreed(found)[1]]
        found = found[rng.choice(len(found), QUERIES[RATE])]
        found = found + JITTER * rng.standard_normal(found.shape)
        guesses, is_wrong = self._agreed(found)
        return found[is_wrong], guesses[is_wrong]

    def _agreed(self, inputs: Features) -> tuple[Labels, NDArray[np.bool_]]:
        first, second = (top_labels(each(inputs)) for each in self.surrogates)
        return first, (first == second) & (first != top_labels(self.bed.victim(inputs)))

    def marking(self, name: str) -> Marking:
        return Marking(self.bed, self.mark, Prf.from_secret(f"accuser {self.bed.name} {name}"))

    def asked(self, marking: Marking) -> Asked:
        """All its transferable inputs, sent through its own guard."""
        embedded = self.mark.embed(marking.key, self.cells, self.rows)
        return Asked("own", self.inputs, self.cells, self.truths, embedded.rows, embedded.roles,
                     top_labels(embedded.rows))


class Claim(NamedTuple):
    """What a verifier gets.

    Attributes:
        marking: whose key opens the commitment.
        held: what the accuser shows of its ledger.
        n_answers: how many answers the signed log holds of the account.
        n_keys: how many keys were committed to.
    """

    marking: Marking
    held: Served
    n_answers: int
    n_keys: int = 1


def is_small(claim: Claim, accuser: Accuser) -> bool:
    """The p-value alone."""
    return claim.marking.examine(claim.held, accuser.suspect, decoys=0).p_value * claim.n_keys <= ALPHA


def is_drawn(claim: Claim) -> bool:
    """Whether the committed key draws the roles and labels that are claimed."""
    held = claim.held
    embedded = claim.marking.mark.embed(claim.marking.key, held.cells, one_hot(held.truths, held.classes))
    return bool((embedded.roles == held.roles).all()
                and (top_labels(embedded.rows) == held.labels)[held.roles == Role.MARKED].all())


def is_complete(claim: Claim) -> bool:
    """Whether as many triggers are shown as the log's number of answers makes likely."""
    n_marked = int((claim.held.roles == Role.MARKED).sum())
    return bool(stats.binomtest(n_marked, claim.n_answers, claim.marking.mark.rate).pvalue > COUNT_LEVEL)


def is_open(claim: Claim, accuser: Accuser) -> bool:
    """Whether the p-value stays small where hidden triggers count as misses."""
    evidence = claim.marking.examine(claim.held, accuser.suspect, decoys=0)
    n_shown = int((claim.held.roles == Role.MARKED).sum())
    return with_hidden(evidence, n_shown, claim.n_answers, claim.marking.mark.rate, ALPHA) <= ALPHA


def is_peculiar(claim: Claim, accuser: Accuser) -> bool:
    """Whether models that are independent beyond doubt fail the test that the suspect passed."""
    p_values = [claim.marking.examine(claim.held, labels_only(model), decoys=0).p_value for model in accuser.judge]
    return min(p_values) > JUDGE_LEVEL / N_JUDGE


def chosen_labels(accuser: Accuser, number: int) -> Claim:
    """Triggers made afterwards, with the label that surrogates give (Liu et al. 2304.06607)."""
    marking = accuser.marking(f"labels {number}")
    held = served([accuser.asked(marking)])
    places = {cell: place for place, cell in enumerate(accuser.cells)}
    guesses = accuser.guesses[[places[cell] for cell in held.cells]].astype(np.int64)
    return Claim(marking, dataclasses.replace(held, labels=guesses), len(accuser.inputs))


def chosen_queries(accuser: Accuser, number: int) -> Claim:
    """Only inputs that transfer were asked, and the key decided."""
    marking = accuser.marking(f"queries {number}")
    return Claim(marking, served([accuser.asked(marking)]), len(accuser.inputs))


def chosen_rows(is_careful: bool, accuser: Accuser, number: int) -> Claim:
    """The same, and triggers on which the suspect says something else are hidden afterwards.

    A careful accuser hides only as many as the number of answers in the log leaves room for.
    """
    claim = chosen_queries(accuser, number)
    held = claim.held
    assert isinstance(held.inputs, np.ndarray)
    answers = top_labels(accuser.suspect(held.inputs))
    marked = np.flatnonzero(held.roles == Role.MARKED)
    badness = np.where(answers == held.labels, 0, np.where(answers == held.truths, 1, 2))[marked]
    n_shown = int((badness == 0).sum())
    if is_careful:
        n_shown = max(n_shown, min(len(marked), int(stats.binom.ppf(COUNT_LEVEL, claim.n_answers, RATE)) + 1))
    rows = marked[np.argsort(badness, kind="stable")[:max(n_shown, 1)]]
    shown = Served(inputs=held.inputs[rows], cells=[held.cells[row] for row in rows], roles=held.roles[rows],
                   truths=held.truths[rows], labels=held.labels[rows],
                   accounts=[held.accounts[row] for row in rows], classes=held.classes)
    return claim._replace(held=shown)


def insider(accuser: Accuser, number: int) -> Claim:
    """Queries made with the key in hand: neighbours are tried until the key draws what surrogates say.

    Ordinary queries fill the log, so that the number of triggers looks right.
    """
    marking, rng = accuser.marking(f"insider {number}"), generator(SEED, "insider", number)
    found: list[Features] = []
    while len(found) < N_SET:
        row = rng.integers(len(accuser.inputs))
        near = accuser.inputs[row] + JITTER * rng.standard_normal((N_SEARCHED, accuser.inputs.shape[1]))
        asked = marking.ask("own", near)
        fits = np.flatnonzero((asked.roles == Role.MARKED) & (asked.marked == accuser.guesses[row]))
        found += [near[fits[:1]]] if len(fits) else []
    held = served([marking.ask("own", np.concatenate(found))])
    return Claim(marking, held, round(N_SET / RATE))


def bound(hits: int, n: int) -> float:
    """Clopper and Pearson's one-sided upper bound at 95 %."""
    return 1.0 if hits == n else float(stats.beta.ppf(0.95, hits + 1, n - hits))


def row(accuser: Accuser, choice: str, claims: Sequence[Claim], checks: dict[str, Callable[[Claim], bool]],
        needs: str) -> dict[str, object]:
    small = [claim for claim in claims if is_small(claim, accuser)]
    passed, refused = small, {}
    for name, check in checks.items():
        left = [claim for claim in passed if check(claim)]
        refused[name] = len(passed) - len(left)
        passed = left
    triggers = [int((claim.held.roles == Role.MARKED).sum()) for claim in claims]
    return {"bed": accuser.bed.name, "accuser": choice, "tries": len(claims),
            "triggers": round(float(np.mean(triggers)), 1), "small_p": len(small),
            "refused_by": ", ".join(f"{name} {count}" for name, count in refused.items() if count),
            "accepted": len(passed), "upper_bound": round(bound(len(passed), len(claims)), 5), "needs": needs}


def accusers(name: str) -> list[dict[str, object]]:
    accuser = Accuser(name)
    fixed: dict[str, Callable[[Claim], bool]] = {
        "draw": is_drawn, "count": is_complete, "hidden": lambda claim: is_open(claim, accuser)}
    by_queries = [chosen_queries(accuser, number) for number in range(N_TRIES)]
    lines = [row(accuser, text, claims, fixed, needs) for text, claims, needs in (
        ("labels that transfer, chosen afterwards", [chosen_labels(accuser, n) for n in range(N_TRIES)],
         "commitment, ledger"),
        ("queries that transfer, key unknown to whoever asks", by_queries, "commitment"),
        ("triggers that don't match hidden afterwards", [chosen_rows(False, accuser, n) for n in range(N_TRIES)],
         "number of answers in the log"),
        ("the same, as many as a test of their number lets through",
         [chosen_rows(True, accuser, n) for n in range(N_TRIES)], "hidden triggers counted as misses"))]
    lines.append(best_key(accuser, by_queries, N_EPOCHS))
    lines += [grinding(accuser, by_queries, 2**exponent) for exponent in (10, 20)]
    inside = [insider(accuser, number) for number in range(N_INSIDER)]
    lines.append(row(accuser, "queries made with the key in hand", inside, fixed, "nothing stops it here"))
    lines.append(row(accuser, "queries made with the key in hand, a judge's 20 models asked too", inside,
                     fixed | {"judge": lambda claim: is_peculiar(claim, accuser)}, "independent models"))
    return lines


def best_key(accuser: Accuser, claims: Sequence[Claim], n_keys: int) -> dict[str, object]:
    """The best of some keys that were all committed to, drawn at random from those of `claims`."""
    rng = generator(SEED, "epochs")
    chosen = rng.integers(0, len(claims), (N_TRIES, n_keys))
    p = np.array([claim.marking.examine(claim.held, accuser.suspect, decoys=0).p_value for claim in claims])
    accepted = int((p[chosen].min(axis=1) * n_keys <= ALPHA).sum())
    return {"bed": accuser.bed.name, "accuser": f"the best of {n_keys} committed keys", "tries": N_TRIES,
            "triggers": None, "small_p": accepted, "refused_by": "", "accepted": accepted,
            "upper_bound": round(bound(accepted, N_TRIES), 5), "needs": "all commitments counted (Holm)"}


def grinding(accuser: Accuser, claims: Sequence[Claim], n_keys: int) -> dict[str, object]:
    """The best of many keys that were tried before one was committed to, with the suspect in hand: computed.

    The level that the test attains, given how many answers differ, averaged over the keys of `claims`.
    """
    levels = []
    for claim in claims[:200]:
        trials = claim.marking.examine(claim.held, accuser.suspect, decoys=0).trials
        tails = [statistics.binomial_tail(hits, trials, 1.0 / (accuser.bed.classes - 1))
                 for hits in range(trials + 1)]
        levels.append(max((tail for tail in tails if tail <= ALPHA), default=0.0))
    accepted = float(-np.expm1(n_keys * np.log1p(-np.mean(levels))))
    return {"bed": accuser.bed.name, "accuser": f"the best of 2^{n_keys.bit_length() - 1} keys, then committed",
            "tries": None, "triggers": None, "small_p": None, "refused_by": "", "accepted": round(accepted, 6),
            "upper_bound": None, "needs": "commitment timed before the suspect"}


def price(theft: Theft) -> dict[str, object]:
    """What it costs a true claim to count triggers that may have been hidden as misses."""
    evidence = theft.marking.examine(served([theft.asked]), labels_only(theft.network.answer), decoys=0)
    n_shown, n_answers = theft.asked.n_triggers, len(theft.inputs)
    return {"bed": theft.bed.name, "rate": theft.rate, "answers": n_answers, "triggers": n_shown,
            "may_be_hidden": max(statistics.most_hits(n_answers, theft.rate, ALPHA / 2) - n_shown, 0),
            "p_value": shortened(evidence.p_value),
            "p_with_hidden": shortened(with_hidden(evidence, n_shown, n_answers, theft.rate, ALPHA))}


def run(beds: tuple[str, ...] = marks_beds.NAMES) -> tuple[results.Result, ...]:
    nulls, claims, prices = [], [], []
    for bed in beds:
        prices.append(price(Theft(bed, min(QUERIES), SEED)))
        theft = Theft(bed, RATE, SEED)
        prices.append(price(theft))
        nulls += independent(theft) + wrong_keys(theft)
        claims += accusers(bed)
    return (results.Result("marks_null", nulls), results.Result("marks_false_claims", claims),
            results.Result("marks_hidden", prices))


if __name__ == "__main__":
    for found in run():
        results.show(found)
