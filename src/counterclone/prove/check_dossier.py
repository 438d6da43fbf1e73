"""Computes a dossier again with the standard library and numpy alone, apart from the code that wrote it.

    python3 check_dossier.py DOSSIER.zip [COMMITMENT.json]

It knows the marks `triggers` and `greenlist`, and ends with 0 where everything comes out as the dossier says,
whatever its verdict. Of texts it counts the tokens that are in the file; whether they are those of the texts only
their tokenizer tells.
"""

import hashlib
import json
import math
import struct
import sys
import unicodedata
import zipfile
from typing import Any

import numpy as np

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # of Ed25519, RFC 8032 section 5.1
D = -121665 * pow(121666, P - 2, P) % P
GRID = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)  # shares of marks taken up that the e-value averages over
LEANINGS = (2.0, 4.0, 8.0, 16.0, 32.0)  # the same for green tokens, in standard deviations of their weights
NOTHING = 1e-200  # below it libraries round tails to nothing
ANSWER, TERMS = 1, 3  # kinds of records
TOKEN_BITS = 20
REFERENCES = {"unique": 0, "difference": 1, "mixture": 2, "both": 2}
Json = dict[str, Any]
Numbers = Any  # an array
Point = tuple[int, int, int, int]


def require(holds: bool, what: str) -> None:
    """Print what was checked; end where it doesn't hold."""
    print(("holds  " if holds else "FAILS  ") + what)
    if not holds:
        sys.exit(1)


def point(encoded: bytes) -> Point:
    """A point of the curve."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or y >= P:
        raise ValueError("no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


def added(a: Point, b: Point) -> Point:
    """The sum of two points, each as (X, Y, Z, T) with x = X/Z, y = Y/Z and xy = T/Z."""
    low, high = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    t, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = high - low, z - t, z + t, high + low
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n: int, a: Point) -> Point:
    """A multiple of a point."""
    found: Point = (0, 1, 1, 0)
    for bit in bin(n)[2:]:
        found = added(found, found)
        found = added(found, a) if bit == "1" else found
    return found


def is_signed(signed: Json, signer: str) -> bool:
    """Whether a statement has a signature of a key (Ed25519)."""
    key, signature = bytes.fromhex(signer), bytes.fromhex(signed["signature"])
    s = int.from_bytes(signature[32:], "little")
    challenge = hashlib.sha512(signature[:32] + key + signed["statement"].encode()).digest()
    k = int.from_bytes(challenge, "little") % L
    base = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    one, other = times(s, base), added(point(signature[:32]), times(k, point(key)))
    return s < L and not any((one[i] * other[2] - other[i] * one[2]) % P for i in (0, 1))


def sha256(content: bytes) -> bytes:
    """A hash."""
    return hashlib.sha256(content).digest()


def subkey(key: bytes, label: str) -> bytes:
    """A key derived for one purpose (keyed BLAKE2b)."""
    return hashlib.blake2b(label.encode(), digest_size=32, key=key).digest()


def number(key: bytes, data: bytes) -> int:
    """A key's draw for some data."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=key).digest(), "little")


def root_of(leaf: bytes, index: int, size: int, path: list[str]) -> bytes:
    """The root that a path leads to (RFC 9162, section 2.1.3.2)."""
    last = size - 1
    for step in map(bytes.fromhex, path):
        if index & 1 or index == last:
            leaf = sha256(b"\x01" + step + leaf)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            leaf = sha256(b"\x01" + leaf + step)
        index, last = index >> 1, last >> 1
    return leaf if last == 0 else b""


def canonical(query: Json) -> bytes:
    """The canonical form of a query, which the key's draws are made for."""
    if "text" in query:
        text = " ".join(unicodedata.normalize("NFKC", query["text"]).casefold().split())
        return json.dumps(text, ensure_ascii=False).encode()
    single = np.array(query["features"], dtype=np.float64).clip(-1e38, 1e38).astype("<f4")
    single[np.abs(single) < 2.0**-10] = 0.0
    return ((single.view("<u4") + np.uint32(0x8000)) >> np.uint32(16)).astype("<u2").tobytes()


def choice(scores: list[float], others: list[int], true: int, *, second: bool) -> int:
    """What a suspect chose: its label, or what it ranks first among the labels that the key draws from."""
    if not second:
        label = int(np.argmax(scores))
        return label if label in others else true
    ranked = sorted(((scores[label], -label) for label in others if label != true), reverse=True)
    return -ranked[0][1] if ranked[0][0] > ranked[1][0] else true


def tail(hits: int, trials: int, part: int, whole: int) -> float:
    """P(Binomial(trials, part / whole) >= hits), its largest term in whole numbers, the others by their ratios."""
    is_upper = hits * whole > trials * part
    k = hits if is_upper else hits - 1
    if not 0 <= k <= trials:
        return 1.0
    term = math.comb(trials, k) * part**k * (whole - part)**(trials - k) / whole**trials
    total, odds = 0.0, part / (whole - part)
    while term > total * 1e-18:
        total += term
        term *= (trials - k) / (k + 1) * odds if is_upper else k / (trials - k + 1) / odds
        k += 1 if is_upper else -1
    return total if is_upper else 1.0 - total


def split_tail(hits: int, marked: int, controls: int, differing: int) -> float:
    """P(at least `hits` of the differing rows are marked), where the draw marked so many of all."""
    ways = sum(math.comb(marked, k) * math.comb(controls, differing - k)
               for k in range(hits, min(marked, differing) + 1) if differing - k <= controls)
    return ways / math.comb(marked + controls, differing)


def e_value(hits: int, trials: int, null: float) -> float:
    """The likelihood ratio of a marked student, averaged over `GRID`, to an independent suspect."""
    grid = [q for q in GRID if q > null] or [(1 + null) / 2]
    return mean_of([hits * math.log(q / null) + (trials - hits) * math.log((1 - q) / (1 - null)) for q in grid])


def mean_of(logs: list[float]) -> float:
    """The mean of numbers whose logarithms these are, below what a float can't hold."""
    return math.exp(min(max(logs) + math.log(sum(math.exp(x - max(logs)) for x in logs) / len(logs)), 690.0))


class Triggers:
    """The marked queries that were asked, in order, and the suspect's choices."""

    def __init__(self, rows: list[Json], options: Json, epoch: bytes) -> None:
        self.rows, self.order = rows, subkey(epoch, "order")
        excluded = set(options["exclude_classes"])
        self.others = [label for label in range(rows[0]["classes"]) if label not in excluded]
        self.n = len(self.others) - 1
        self.null = 1 / self.n if self.n > 1 else 1 / (1 + options["controls"])

    def drawn(self, key: bytes, row: Json) -> int:
        """The label that a key of choices draws for a row."""
        place = number(key, bytes.fromhex(row["cell"])) % self.n
        return self.others[place + (place >= self.others.index(row["true"]))]

    def marked(self, key: bytes) -> list[bool]:
        """The rows that a decoy marks with two labels: of each account's own as many as were."""
        found, strata = [False] * len(self.rows), {tuple(row["accounts"]): 0 for row in self.rows}
        for stratum in strata:
            inside = [i for i, row in enumerate(self.rows) if tuple(row["accounts"]) == stratum]
            n_marked = sum(self.rows[i]["role"] == "marked" for i in inside)
            for i in sorted(inside, key=lambda i: number(key, bytes.fromhex(self.rows[i]["cell"])))[:n_marked]:
                found[i] = True
        return found

    def hits(self, said: list[int], decoy: int | None = None) -> list[bool]:
        """Which rows meet the key, or a decoy."""
        key = subkey(self.order, f"decoy/{decoy}")
        if self.n > 1:
            labels = [row["label"] if decoy is None else self.drawn(key, row) for row in self.rows]
            return [one == label for one, label in zip(said, labels, strict=True)]
        return [row["role"] == "marked" for row in self.rows] if decoy is None else self.marked(key)

    def readings(self, answers: list[Json]) -> list[list[int]]:
        """What the suspect says, and what it says second; the second left out where it says the same."""
        pairs = list(zip((answer["scores"] for answer in answers), self.rows, strict=True))
        if self.n == 1:
            return [[int(np.argmax(scores)) for scores, _ in pairs]]
        said, second = ([choice(scores, self.others, row["true"], second=second) for scores, row in pairs]
                        for second in (False, True))
        return [said] if said == second else [said, second]

    def p_value(self, said: list[int], hits: list[bool], group: list[int]) -> tuple[float, int, int]:
        """A group's p-value, trials and hits."""
        told = [i for i in group if said[i] != self.rows[i]["true"]]
        n_hits = sum(hits[i] for i in told)
        if self.n > 1:
            return tail(n_hits, len(told), 1, self.n), len(told), n_hits
        n_marked = sum(self.rows[i]["role"] == "marked" for i in group)
        return split_tail(n_hits, n_marked, len(group) - n_marked, len(told)), len(told), n_hits


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for each other (Holm 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, p_values[i] * (len(p_values) - rank))
        adjusted[i] = min(largest, 1.0)
    return adjusted


def read(path: str) -> dict[str, bytes]:
    """The dossier's files, each as its owner listed and signed them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        require(len({each.filename for each in members}) == len(members), "no file is there twice")
        require(all(each.compress_type == zipfile.ZIP_STORED for each in members), "files are stored as they are")
        return {each.filename: archive.read(each) for each in members}


def check_records(rows: list[Json], heads: Json, kind: int, commitment: int) -> None:
    """That the records of some rows open to what is shown, and are in the signed ledger."""
    require(len({(row["ledger"], row["index"]) for row in rows}) == len(rows), "no record is there twice")
    for row in rows:
        payload, record, salt = json.loads(row["payload"]), *map(bytes.fromhex, (row["record"], row["salt"]))
        version, of, under, _, _, *hashes = struct.unpack("<BBId8s32s32s32s", record)
        opened = [b"", row["payload"].encode(), row["payload"].encode()]
        if kind == ANSWER:
            opened[:2] = bytes.fromhex(payload["cell"]), np.array(payload["answer"]["scores"], "<f8").tobytes()
        head = heads[row["ledger"]]
        root = root_of(sha256(b"\x00" + record), row["index"], head["size"], row["path"]).hex()
        if ((version, of) != (1, kind) or (kind == ANSWER and under != commitment)
                or hashes != [sha256(salt + part) for part in opened] or root != head["root"]):
            require(False, f"record {row['index']} is in the signed ledger and opens to what is shown")
    what = "answers" if kind == ANSWER else "accepted terms"
    require(True, f"{len(rows)} records of {what} are in the signed ledger")


def opened_rows(rows: list[Json]) -> list[Json]:
    """The marked queries and controls by their payloads, each once."""
    found: dict[str, Json] = {}
    for row in rows:
        payload = json.loads(row["payload"])
        if canonical(payload["query"]).hex() != payload["cell"]:
            require(False, f"the draw of record {row['index']} was made for its query")
        new = {**payload, "label": payload["answer"]["label"], "accounts": set()}
        found.setdefault(payload["cell"], new)["accounts"].add(row["record"][28:44])
    return [{**row, "accounts": sorted(row["accounts"])} for _, row in sorted(found.items())]


def check_draws(test: Triggers, options: Json, key: bytes) -> None:
    """That the key draws these rows, and these labels for them."""
    rate = options["rate"]
    most = min(round(rate * (1.0 + (options["controls"] if test.n == 1 else 0.0)) * 2**64), 2**64)
    for row in test.rows:
        drawn = number(subkey(key, "select"), bytes.fromhex(row["cell"]))
        role = "marked" if drawn < round(rate * 2**64) else "control" if drawn < most else "none"
        label = test.drawn(subkey(key, "label"), row) if role == "marked" else row["true"]
        if (role, label) != (row["role"], row["label"]):
            require(False, f"the key draws the mark of {row['cell'][:16]}")
    require(True, "the key draws these marks and labels")


def groups_of(rows: list[Json], campaigns: list[list[str]]) -> dict[str, list[int]]:
    """All rows, those that each account alone was served, and those that nobody outside each campaign was."""
    own = sorted({row["accounts"][0] for row in rows if len(row["accounts"]) == 1})
    groups = {"": list(range(len(rows)))}
    groups |= {name: [i for i, row in enumerate(rows) if row["accounts"] == [name]] for name in own}
    return groups | {"+".join(sorted(campaign)): [i for i, row in enumerate(rows)
                                                  if set(row["accounts"]) <= set(campaign)]
                     for campaign in campaigns}


def figures(test: Triggers, said: list[list[int]], scope: Json, least: int, decoys: int) -> Json:
    """Every figure, from what the suspect said."""
    groups = groups_of(test.rows, scope["campaigns"])
    met = [test.hits(one) for one in said]
    found = {name: [test.p_value(one, hits, group) for one, hits in zip(said, met, strict=True)]
             for name, group in groups.items()}
    best = {name: min(each, key=lambda one: one[0]) for name, each in found.items()}
    tells = any(one[1] for one in found[""])
    rank, smallest = 0, min(p for p, _, _ in best.values())
    for decoy in range(decoys if tells else 0):
        p_values = [test.p_value(one, hits, group)[0] for one in said for hits in [test.hits(one, decoy)]
                    for group in groups.values()]
        rank += min(p_values) <= smallest * (1 + 1e-12)
    e_values = {name: sum(e_value(hits, trials, test.null) for _, trials, hits in each) / len(each)
                for name, each in found.items()}
    tests = {name: min(1.0, best[name][0] * len(said)) for name, group in groups.items()
             if not name or "+" in name or sum(test.rows[i]["role"] == "marked" for i in group) >= least}
    if scope["stops_early"]:  # exact p-values are those of a budget that is spent in any case
        tests = {"": min(1.0, 1.0 / e_values[""])}
    return {"p_values": dict(zip(tests, holm(list(tests.values())), strict=True)),
            "e_value": sum(e_values[name] for name in tests) / len(tests), "trials": best[""][1],
            "hits": best[""][2], "p_decoy": (1 + rank) / (1 + decoys) if tells and decoys else None}


def compare(found: Json, verdict: Json, alpha: float, tolerance: float = 1e-9) -> None:
    """That the dossier states these figures, and the verdict that follows."""
    p_values, decoy, mark = found["p_values"], found["p_decoy"], verdict["marks"][0]
    is_proven = min(p_values.values()) <= alpha and decoy is not None and decoy <= 0.05
    named = {name: p for name, p in p_values.items() if name and p <= alpha and is_proven}
    accounts = {each["account"]: each["p_adjusted"] for each in verdict["accounts"]}
    pairs = [("p-value", min(p_values.values()), verdict["p_value"]), ("decoy rank", decoy, verdict["p_decoy"]),
             ("e-value", found["e_value"], verdict["e_value"]), ("trials", found["trials"], mark["trials"]),
             ("hits", found["hits"], mark["hits"]), ("tests", len(p_values), verdict["tested"])]
    pairs += [(f"account {name}", named.get(name), accounts.get(name))
              for name in sorted(named.keys() | accounts.keys())]
    for what, here, there in pairs:
        is_same = here == there or (isinstance(here, float) and isinstance(there, float)
                                    and math.isclose(here, there, rel_tol=tolerance, abs_tol=NOTHING))
        require(is_same, f"{what}: {here} here, {there} in the dossier")
    require(verdict["verdict"] == ("proven" if is_proven else "not-proven"), f"verdict: {verdict['verdict']}")


def check_triggers(files: dict[str, bytes], terms: Json, signer: str, scope: Json, verdict: Json) -> None:
    """A dossier of records of the ledger."""
    key = json.loads(files["key.json"])
    epoch = bytes.fromhex(key["key"])
    signed = json.loads(files["heads.json"])
    require(all(is_signed(each, signer) for each in signed), f"{len(signed)} heads of the ledger are signed")
    heads = {head["ledger"]: head for head in (json.loads(each["statement"]) for each in signed)}
    options, = terms["marks"]
    require(options["kind"] == "triggers", "the mark is `triggers`, which this script knows")
    shown, wanted = json.loads(files["rows.json"]), set(scope["accounts"])
    check_records(shown, heads, ANSWER, key["commitment"])
    check_records(json.loads(files["terms.json"]), heads, TERMS, key["commitment"])
    rows = [row for row in opened_rows(shown) if not wanted or wanted & set(row["accounts"])]
    whole = Triggers(rows, options, epoch)
    check_draws(whole, options, subkey(epoch, "mark/triggers"))
    order = subkey(subkey(epoch, "order"), "rows")
    asked = sorted((row for row in rows if row["role"] == "marked" or whole.n == 1),
                   key=lambda row: number(order, bytes.fromhex(row["cell"])))[:terms["budget"]]
    answers = json.loads(files["answers.json"])["triggers"]
    require((len(answers) == len(asked) or scope["stops_early"])
            and [each["cell"] for each in answers] == [row["cell"] for row in asked][:len(answers)],
            f"{len(answers)} answers are to the queries that the key puts, in its order")
    test = Triggers(asked[:len(answers)], options, epoch)
    least = 1 if scope["accounts"] else terms["least_trials"]
    compare(figures(test, test.readings(answers), scope, least, terms["decoys"]), verdict, terms["alpha"])


def codes_of(tokens: list[int], n: int) -> Numbers:
    """Every `n` tokens in a row as one number."""
    found = np.zeros(max(len(tokens) - n + 1, 0), dtype=np.int64)
    for place in range(n):
        found = found << TOKEN_BITS | np.array(tokens, dtype=np.int64)[place:place + len(found)]
    return found


def scored(answer: list[int], prompt: list[int], context: int) -> Numbers:
    """The pairs of context and token of an answer, but those whose context is in its prompt."""
    codes = codes_of(answer, context + 1)
    return codes[~np.isin(codes >> TOKEN_BITS, codes_of(prompt, context))]


def counted(parts: list[Numbers], most: int | None = None) -> dict[int, int]:
    """The first `most` pairs, each with its count."""
    codes, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *parts])[:most], return_counts=True)
    return dict(zip(codes.tolist(), counts.tolist(), strict=True))


def weights_of(codes: list[int], suspect: dict[int, int], own: dict[int, int],
               base: dict[int, int] | None = None) -> Numbers:
    """What each pair counts: how much more often the suspect writes it than the owner's unmarked model does."""
    def shares(pairs: dict[int, int], unseen: float = 0.0) -> Numbers:
        return np.array([pairs.get(code, 0) + unseen for code in codes]) / max(sum(pairs.values()), 1)

    if base is None:
        return shares(suspect) - shares(own)
    apart, beyond = shares(own) - shares(base), shares(suspect) - shares(base)
    share = min(max(float(beyond @ apart) / max(float(apart @ apart), 1e-300), 0.0), 1.0)
    ours, theirs = shares(own, 0.5), shares(base, 0.5)
    return (beyond - share * apart) * ours / (share * ours + (1 - share) * theirs)


def bound(total: float, weights: Numbers, rate: float) -> float:
    """A bound on P(sum of weights x (B - rate) >= total) (Chernoff; what is left by Berry and Esseen)."""
    spread = math.sqrt(rate * (1 - rate) * float(weights @ weights))
    if total <= 0 or spread == 0:
        return 1.0
    weights, counts = np.unique(weights, return_counts=True)

    def log_chernoff(log_s: float) -> float:
        s = total / spread**2 * math.exp(log_s)
        return float(counts @ log_moments(s * weights, rate)) - s * total

    low, high = -3.0, 6.0
    for _ in range(80):  # it has one minimum, and holds at any s
        first, second = (2 * low + high) / 3, (low + 2 * high) / 3
        low, high = (low, second) if log_chernoff(first) < log_chernoff(second) else (first, high)
    s = total / spread**2 * math.exp(low)
    odds = rate * np.exp(np.clip(s * weights, -690, 690))
    hit = odds / (odds + 1 - rate)
    variance = float(counts @ (weights**2 * hit * (1 - hit)))
    third = float(counts @ (np.abs(weights)**3 * hit * (1 - hit) * (hit**2 + (1 - hit)**2)))
    cube = math.sqrt(variance)**3
    left = 1.0 if cube == 0 else min(1.0, 1 / math.sqrt(2 * math.pi * variance) / s + 2 * 0.56 * third / cube)
    return math.exp(min(log_chernoff(low), 0.0)) * left


def log_moments(weights: Numbers, rate: float) -> Numbers:
    """log E exp(weight x (B - rate)) of each."""
    return np.logaddexp(math.log(1 - rate), math.log(rate) + weights) - rate * weights


class Greenlist:
    """The pairs of context and token in the suspect's texts, and what a key says of them."""

    def __init__(self, options: Json, tokens: Json, *, stops_early: bool) -> None:
        self.test, self.context = "unique" if stops_early else options["test"], options["context"]
        self.parts = [scored(answer, prompt, self.context)
                      for answer, prompt in zip(tokens["answers"], tokens["prompts"], strict=True)]
        pairs = counted(self.parts, options["tokens"])
        own = [counted([scored(text, [], self.context) for text in texts]) for texts in tokens["references"]]
        own = own[:REFERENCES[self.test]]
        self.codes = sorted(set(pairs).union(*own))
        self.weights = weights_of(self.codes, pairs, *own) if own else np.zeros(len(self.codes))
        self.written = np.array([code in pairs for code in self.codes], dtype=bool)
        self.trials = len(pairs)
        self.part = min(max(round(options["gamma"] * 256), 1), 255)
        self.rate = self.part / 256

    def bits(self, key: bytes, context: list[int], n: int) -> Numbers:
        """Which of the first `n` tokens a key draws after a context."""
        width = 8 - (self.part & -self.part).bit_length() + 1
        data = np.array(context, "<u4").tobytes()
        seed = hashlib.blake2b(data, digest_size=32, key=subkey(key, "green")).digest()
        stream = np.frombuffer(hashlib.shake_128(seed).digest(-(-n * width // 8)), dtype=np.uint8)
        numbers = np.unpackbits(stream, count=n * width).reshape(n, width) @ (1 << np.arange(width))
        return numbers == 1 if width == 1 else numbers < self.part >> (8 - width)

    def green(self, key: bytes) -> Numbers:
        """Which pairs a key draws."""
        after: dict[int, list[int]] = {}
        for code in self.codes:
            after.setdefault(code >> TOKEN_BITS, []).append(code & (1 << TOKEN_BITS) - 1)
        found = [np.zeros(0, dtype=bool)]
        for context, tokens in after.items():
            before = [context >> TOKEN_BITS * place & (1 << TOKEN_BITS) - 1 for place in range(self.context)][::-1]
            found.append(self.bits(key, before, tokens[-1] + 1)[tokens])
        return np.concatenate(found)

    def score(self, green: Numbers) -> Numbers:
        """Distinct pairs of the suspect that are green, weights of green ones beyond what is expected, one key."""
        return np.array([np.count_nonzero(green & self.written),
                         self.weights[green].sum() - self.rate * self.weights.sum(), 1])

    def p_value(self, score: Numbers) -> float:
        """Of one key, or of several together."""
        hits, total, n = int(score[0]), float(score[1]), int(score[2])
        exact = tail(hits, n * self.trials, self.part, 256)
        bounded = 1.0 if self.test == "unique" else bound(total, np.tile(self.weights, n), self.rate)
        return {"unique": exact, "both": min(1.0, 2 * min(exact, bounded))}.get(self.test, bounded)

    def e_value(self, score: Numbers) -> float:
        """Likewise."""
        of_hits = e_value(int(score[0]), int(score[2]) * self.trials, self.rate)
        weights = np.tile(self.weights, int(score[2]))
        spread = math.sqrt(self.rate * (1 - self.rate) * float(weights @ weights))
        of_weights = 1.0 if spread == 0 else mean_of([
            lean / spread * float(score[1]) - float(log_moments(lean / spread * weights, self.rate).sum())
            for lean in LEANINGS])
        return {"unique": of_hits, "both": (of_hits + of_weights) / 2}.get(self.test, of_weights)

    def z(self, score: Numbers) -> float:
        """By what decoys are ranked."""
        hits, total, n = (float(each) for each in score)
        spread = math.sqrt(n * self.rate * (1 - self.rate))
        of_hits = (hits - n * self.trials * self.rate) / (spread * math.sqrt(max(self.trials, 1)))
        of_weights = total / (spread * max(float(np.linalg.norm(self.weights)), 1e-300))
        return float({"unique": of_hits, "both": max(of_hits, of_weights)}.get(self.test, of_weights))


def green_figures(test: Greenlist, epoch: bytes, accounts: list[str], scope: Json, terms: Json, *,
                  is_by_account: bool) -> Json:
    """Every figure of a green list, from the accounts that texts were for, one for each text."""
    names = sorted({*accounts, *(name for campaign in scope["campaigns"] for name in campaign)})
    key, order, decoys = subkey(epoch, "mark/greenlist"), subkey(epoch, "order"), terms["decoys"]
    keys = [subkey(key, f"account/{name}") for name in names] if is_by_account else [key]
    least = 1 if scope["accounts"] else terms["least_trials"]
    groups = {name: [i] for i, name in enumerate(names if is_by_account else [""])}
    campaigns = {"+".join(sorted(campaign)): [names.index(name) for name in campaign]
                 for campaign in scope["campaigns"] if is_by_account}
    groups |= campaigns

    def pooled(scores: list[Numbers]) -> dict[str, Numbers]:
        return {name: np.sum([scores[i] for i in places], axis=0) for name, places in groups.items()}

    single = [test.score(test.green(each)) for each in keys]
    scores = pooled(single)
    p_values, e_values = ({name: value(score) for name, score in scores.items()}
                          for value in (test.p_value, test.e_value))
    best = max(map(test.z, scores.values()))
    rank = 0
    for decoy in range(decoys if test.trials else 0):
        drawn = [test.score(test.bits(subkey(order, f"decoy/{decoy}"), [i], len(test.codes)))
                 for i in range(len(keys))]
        rank += max(map(test.z, pooled(drawn).values())) >= best - 1e-9
    tests, evidence = {"": min(holm(list(p_values.values())))}, {"": sum(e_values.values()) / len(e_values)}
    for name in groups:
        if name and (name in campaigns or accounts.count(name) >= least):
            tests[name], evidence[name] = p_values[name], e_values[name]
    if scope["stops_early"]:
        tests, evidence = {"": min(1.0, 1.0 / evidence[""])}, {"": evidence[""]}
    return {"p_values": dict(zip(tests, holm(list(tests.values())), strict=True)),
            "e_value": sum(evidence.values()) / len(evidence), "trials": test.trials,
            "hits": max(int(score[0]) for score in single),
            "p_decoy": (1 + rank) / (1 + decoys) if test.trials and decoys else None}


def check_greenlist(files: dict[str, bytes], terms: Json, epoch: bytes, scope: Json, verdict: Json) -> None:
    """A dossier of texts."""
    options = next(each for each in terms["marks"] if each["kind"] in ("greenlist", "canaries"))
    require(options["kind"] == "greenlist" and options["test"] in REFERENCES,
            "the mark is `greenlist`, with a test that this script knows")
    named = [name for name in ("tokenizer", "reference", "base") if options[name] not in ("", "whitespace")]
    require(not named or sha256(b"".join(files[f"mark/{name}"] for name in named)).hex() == options["digest"],
            "the mark's files are those that were committed to")
    lines = [json.loads(line) for line in files["texts.jsonl"].splitlines()]
    lines = [line for line in lines if not scope["accounts"] or line["account"] in scope["accounts"]]
    order = subkey(subkey(epoch, "order"), "rows")
    asked = sorted((canonical(line["query"]) for line in lines), key=lambda cell: number(order, cell))
    asked = asked[:terms["budget"]]
    answers, tokens = json.loads(files["answers.json"])["greenlist"], json.loads(files["tokens.json"])
    require([each["cell"] for each in answers] == [cell.hex() for cell in asked][:len(answers)],
            f"{len(answers)} answers are to the prompts that the key puts, in its order")
    require(len(tokens["prompts"]) == len(tokens["answers"]) == len(answers)
            and len(tokens["references"]) == REFERENCES[options["test"]], "there are tokens of each")
    print("note   the tokens are taken as they are; `counterclone verify` makes them again from the texts")
    test = Greenlist(options, tokens, stops_early=scope["stops_early"])
    require(scope["stops_early"] or len(answers) == len(asked) or sum(map(len, test.parts)) >= options["tokens"],
            "the suspect was asked as long as the commitment says")
    found = green_figures(test, epoch, [line["account"] for line in lines], scope, terms,
                          is_by_account=options["keys"] == "account")
    compare(found, verdict, terms["alpha"], 1e-9 if test.test == "unique" else 1e-4)  # bounds are searched for


def commitment_of(files: dict[str, bytes], place: int, given: str) -> tuple[Json, str]:
    """The commitment that was tested under, and who signed it and everything else."""
    chain, manifest = json.loads(files["commitments.json"]), json.loads(files["manifest.json"])
    statements = [json.loads(each["statement"]) for each in chain]
    signer = statements[0]["signer"]
    listed = {name: sha256(content).hex() for name, content in files.items() if name != "manifest.json"}
    require(json.loads(manifest["statement"])["files"] == listed and is_signed(manifest, signer),
            f"{len(listed)} files are those that the owner signed")
    digests = ["", *(sha256(each["statement"].encode()).hex() for each in chain)]
    links = [(told["previous"], told["number"]) for told in statements]
    require(all(is_signed(each, signer) for each in chain)
            and links == list(zip(digests, range(1, len(digests)), strict=False)),
            f"{len(chain)} commitments are signed, and chained")
    if given:
        with open(given, "rb") as file:
            require(json.loads(file.read()) == chain[place - 1], "the commitment is the given one")
    else:
        print(f"note   the enclosed commitment is used; compare its digest with one you trust: {digests[place]}")
    return statements[place - 1], signer


def main(path: str, given: str = "") -> None:
    """Check a dossier."""
    files = read(path)
    key, trial, verdict = (json.loads(files[name]) for name in ("key.json", "test.json", "verdict.json"))
    scope, epoch = trial["scope"], bytes.fromhex(key["key"])
    statement, signer = commitment_of(files, key["commitment"], given)
    require(sha256(b"counterclone/key/1" + epoch).hex() == statement["key"], "the key is the one committed to")
    if "texts.jsonl" in files:
        check_greenlist(files, statement["terms"], epoch, scope, verdict)
    else:
        check_triggers(files, statement["terms"], signer, scope, verdict)


if __name__ == "__main__":
    main(*sys.argv[1:])
