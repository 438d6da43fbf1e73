"""Computes a dossier again with the standard library and numpy alone, apart from the code that wrote it.

    python3 check_dossier.py DOSSIER.zip [COMMITMENT.json]

It knows the mark `triggers`, and ends with 0 where everything comes out as the dossier says, whatever its verdict.
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
ANSWER, TERMS = 1, 3  # kinds of records
Json = dict[str, Any]
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


def tail(hits: int, trials: int, n: int) -> float:
    """P(Binomial(trials, 1/n) >= hits), in whole numbers."""
    ways = sum(math.comb(trials, k) * int(n - 1)**(trials - k) for k in range(hits, trials + 1))
    return float(ways / int(n)**trials)


def split_tail(hits: int, marked: int, controls: int, differing: int) -> float:
    """P(at least `hits` of the differing rows are marked), where the draw marked so many of all."""
    ways = sum(math.comb(marked, k) * math.comb(controls, differing - k)
               for k in range(hits, min(marked, differing) + 1) if differing - k <= controls)
    return ways / math.comb(marked + controls, differing)


def e_value(hits: int, trials: int, null: float) -> float:
    """The likelihood ratio of a marked student, averaged over `GRID`, to an independent suspect."""
    grid = [q for q in GRID if q > null] or [(1 + null) / 2]
    logs = [hits * math.log(q / null) + (trials - hits) * math.log((1 - q) / (1 - null)) for q in grid]
    return math.exp(min(max(logs) + math.log(sum(math.exp(x - max(logs)) for x in logs) / len(grid)), 690.0))


class Test:
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
            return tail(n_hits, len(told), self.n), len(told), n_hits
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


def check_draws(test: Test, options: Json, key: bytes) -> None:
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


def figures(test: Test, said: list[list[int]], scope: Json, least: int, decoys: int) -> Json:
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


def compare(found: Json, verdict: Json, alpha: float) -> None:
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
        is_same = here == there or (None not in (here, there) and math.isclose(here, there, rel_tol=1e-9))
        require(is_same, f"{what}: {here} here, {there} in the dossier")
    require(verdict["verdict"] == ("proven" if is_proven else "not-proven"), f"verdict: {verdict['verdict']}")


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
    signed = json.loads(files["heads.json"])
    require(all(is_signed(each, signer) for each in signed), f"{len(signed)} heads of the ledger are signed")
    heads = {head["ledger"]: head for head in (json.loads(each["statement"]) for each in signed)}
    terms = statement["terms"]
    options, = terms["marks"]
    require(options["kind"] == "triggers", "the mark is `triggers`, which this script knows")
    shown, wanted = json.loads(files["rows.json"]), set(scope["accounts"])
    check_records(shown, heads, ANSWER, key["commitment"])
    check_records(json.loads(files["terms.json"]), heads, TERMS, key["commitment"])
    rows = [row for row in opened_rows(shown) if not wanted or wanted & set(row["accounts"])]
    whole = Test(rows, options, epoch)
    check_draws(whole, options, subkey(epoch, "mark/triggers"))
    order = subkey(subkey(epoch, "order"), "rows")
    asked = sorted((row for row in rows if row["role"] == "marked" or whole.n == 1),
                   key=lambda row: number(order, bytes.fromhex(row["cell"])))[:terms["budget"]]
    answers = json.loads(files["answers.json"])["triggers"]
    require((len(answers) == len(asked) or scope["stops_early"])
            and [each["cell"] for each in answers] == [row["cell"] for row in asked][:len(answers)],
            f"{len(answers)} answers are to the queries that the key puts, in its order")
    test = Test(asked[:len(answers)], options, epoch)
    least = 1 if scope["accounts"] else terms["least_trials"]
    compare(figures(test, test.readings(answers), scope, least, terms["decoys"]), verdict, terms["alpha"])


if __name__ == "__main__":
    main(*sys.argv[1:])
