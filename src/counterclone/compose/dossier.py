"""A verdict and what it was computed from into a dossier, and a dossier computed again."""

from __future__ import annotations

import datetime
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import msgspec

from counterclone.compose import callables
from counterclone.config import read_history
from counterclone.errors import ConfigError, DossierError
from counterclone.prove import bundle, checking, timestamps
from counterclone.prove.checking import Verification
from counterclone.prove.claims import Measure, claims
from counterclone.prove.commitments import Commitment
from counterclone.prove.custody import Custody
from counterclone.prove.dossier import (
    MARK_PREFIX,
    TEXTS,
    Answered,
    Dossier,
    Key,
    Row,
    Tokens,
    Trial,
    with_manifest,
)
from counterclone.prove.ledger import Head
from counterclone.prove.merkle import Tree
from counterclone.prove.opened import Opened
from counterclone.prove.questions import Scope
from counterclone.prove.reading import Part
from counterclone.prove.records import Kind
from counterclone.prove.signed import Signed, read_signed
from counterclone.prove.timestamps import Roots
from counterclone.prove.verification import Question, Verdict
from counterclone.report import dossier as page
from counterclone.targets.local import Local

CHECKER = "check_dossier.py"
ANSWER_SECONDS = 60.0
PAGE, MEASURES, README = "report.html", "measures.json", "README.txt"
HOW_TO_CHECK = """\
This is the evidence that counterclone found on one suspect model. Read report.html first.

To compute every figure again without trusting whoever made this file:
    counterclone verify THIS.zip --commitment COMMITMENT.json
or, with nothing but Python and numpy:
    python3 check_dossier.py THIS.zip
Take check_dossier.py from a release of counterclone rather than from here: a forger could have changed it.

Where there are timestamps, an authority (RFC 3161) says when it had a commitment's digest, the SHA-256 of its
statement in commitments.json. With the root certificate that the authority publishes:
    openssl ts -verify -digest DIGEST -in timestamps/NUMBER.tsr -CAfile ROOT.pem
"""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A test that has ended.

    Attributes:
        keys: of the ledger.
        chain: all commitments.
        commitment: that was tested under.
        parts: of the ledger, none where texts that it doesn't hold were tested.
        asked: what was asked.
        answers: of the suspect, by mark.
        scope: what was decided beforehand.
        verdict: what was found.
        began: seconds since 1970.
        ended: likewise.
        folder: of the keys, where timestamps are.
        texts: the owner's list of them, where these were tested.
        tokens: of them, where the mark is one in tokens.
        mark_files: that this mark needs, by its options.
    """

    keys: Custody
    chain: Sequence[Commitment]
    commitment: Commitment
    parts: Sequence[Part]
    asked: Sequence[Question]
    answers: Mapping[str, Sequence[Answered]]
    scope: Scope
    verdict: Verdict
    began: float
    ended: float
    folder: Path
    texts: bytes = b""
    tokens: Tokens | None = None
    mark_files: Mapping[str, bytes] = field(default_factory=dict)


def write(path: Path, tested: Tested, history: Path, *, with_log: bool) -> None:
    """Write a dossier.

    Args:
        path: the file; one that is there is replaced.
        tested: what goes in.
        history: of the guard's configurations.
        with_log: whether the whole log goes in, so that others can see that no marked query was left out.
    """
    parts = [part for part in tested.parts if len(part.records)]
    heads = {part.id: _head(part, tested.keys, tested.ended) for part in parts}
    trial = Trial(version=metadata.version("counterclone"), suspect=tested.verdict.suspect,
                  basis=tested.verdict.basis, began=tested.began, ended=tested.ended, scope=tested.scope)
    dossier = Dossier(
        commitments=[each.signed for each in tested.chain],
        key=Key(tested.commitment.number, tested.keys.epoch_key(tested.commitment.number).hex()),
        heads=list(heads.values()), rows=_rows(tested, parts), terms=_terms(tested, parts),
        answers=tested.answers, trial=trial, verdict=tested.verdict,
        logs={part.id: part.records.tobytes() for part in parts} if with_log else {},
        stamps=_stamps(tested.folder, parts if with_log else ()),
        texts=tested.texts, tokens=tested.tokens, mark_files=tested.mark_files)
    measures = _measures(history, tested)
    grounds = claims(tested.verdict, _accepted(dossier.terms), measures, in_ledger=not tested.texts)
    files = {**dossier.files(), MEASURES: msgspec.json.format(msgspec.json.encode(measures), indent=1),
             PAGE: page.page(dossier, tested.commitment, grounds, measures).encode(),
             CHECKER: checker(), README: HOW_TO_CHECK.encode()}
    bundle.write(path, with_manifest(files, tested.keys))


def verify(path: Path, commitment: Path | None, independent: Sequence[str] = (),
           roots: Path | None = None) -> Verification:
    """Compute a dossier again.

    Args:
        path: the dossier.
        commitment: the file with it, as its reader got it before; None to use the enclosed one.
        independent: `pkg.mod:model`, or a list of models there, that never saw an answer; of functions that write
            texts where the dossier is of texts.
        roots: the certificates that the authority of its timestamps must lead to, None to leave these unchecked.

    Raises:
        ConfigError: there are no such models.
        LedgerError: there are no such certificates.
        DossierError: it can't be read, or it isn't one.
        TargetError: an independent model doesn't answer as it should.
    """
    given = None
    if commitment is not None:
        try:
            given = read_signed(commitment.read_bytes(), str(commitment))
        except OSError as error:
            raise DossierError(f"{commitment}: {error.strerror or error}; expected a commitment") from None
    files = bundle.read(path)
    _check_tokenizer(files)
    writes = TEXTS in files
    method = "generate" if writes else "predict_proba"
    models = [Local(predict, returns="texts" if writes else "scores", seconds=ANSWER_SECONDS)
              for name in independent for predict in callables.several(name, "--independent", method)]
    try:
        return checking.check(files, given, models, None if roots is None else Roots.load(roots))
    finally:
        for model in models:
            model.close()


def checker() -> bytes:
    """The script that checks a dossier with the standard library and numpy alone."""
    return resources.files("counterclone.prove").joinpath(CHECKER).read_bytes()


def _check_tokenizer(files: Mapping[str, bytes]) -> None:
    """That what an enclosed tokenizer takes is installed: without it nothing is told, for or against the dossier.

    Raises:
        ConfigError: it isn't.
    """
    if MARK_PREFIX + "tokenizer" in files and importlib.util.find_spec("tokenizers") is None:
        raise ConfigError("verify: the dossier's tokenizer needs the library `tokenizers`; install "
                          f"counterclone[llm], or run {CHECKER}, which counts the tokens that are in the file")


def _head(part: Part, keys: Custody, now: float) -> Signed:
    """The last head of a part; where a guard has written since, one of what is there now."""
    if part.heads and part.heads[-1].read(Head, "a head").size == len(part.records):
        return part.heads[-1]
    return Signed.of(Head(part.id, len(part.records), part.tree().root(len(part.records)).hex(), now), keys)


def _stamps(folder: Path, parts: Sequence[Part]) -> dict[str, bytes]:
    """The timestamps of the commitments, and of heads of the parts that are shown."""
    found = timestamps.of_commitments(folder)
    for part in parts:
        found |= timestamps.of_heads(part.folder, part.id, part.heads)
    return found


def _rows(tested: Tested, parts: Sequence[Part]) -> list[Row]:
    return _shown([record for question in tested.asked for record in question.records], parts)


def _terms(tested: Tested, parts: Sequence[Part]) -> list[Row]:
    """What the named accounts accepted, by records of the ledger."""
    named = {name for each in tested.verdict.accounts for name in each.account.split("+")}
    records = [record for part in parts for record in part.opened(Kind.TERMS) if record.account in named]
    return _shown(records, parts)


def _shown(records: Sequence[Opened], parts: Sequence[Part]) -> list[Row]:
    trees = {part.id: part.tree() for part in parts}
    return [Row(record.ledger, record.index, record.record.hex(), record.salt.hex(), record.payload.decode(),
                _path(trees[record.ledger], record.index)) for record in records]


def _path(tree: Tree, index: int) -> tuple[str, ...]:
    return tuple(step.hex() for step in tree.inclusion(index, tree.size))


def _accepted(terms: Sequence[Row]) -> list[str]:
    found = []
    for row in terms:
        opened = row.opened()
        accepted = opened.accepted()
        day = datetime.datetime.fromtimestamp(opened.time, datetime.UTC).date()
        found.append(f"{opened.account} accepted {accepted.version} (by {accepted.by}) on {day}")
    return found


def _measures(history: Path, tested: Tested) -> list[Measure]:
    """The configurations that were in force while the asked queries were served, as far as records say when."""
    times = [record.time for question in tested.asked for record in question.records]
    if not times:
        return []
    live = [event for event in read_history(history) if event.get("event") == "live"]
    before = [event for event in live if event["time"] <= min(times)][-1:]
    during = [event for event in live if min(times) < event["time"] <= max(times)]
    return [Measure(float(event["time"]), str(event.get("digest", "")), _restrictions(event.get("config", {})))
            for event in (*before, *during)]


def _restrictions(config: Mapping[str, Any]) -> str:
    guard = config.get("guard", {})
    found = [f"{name.removeprefix('limit_').replace('_', ' ')} {amount:,}" for name, amount in guard.items()
             if name.startswith("limit_") and isinstance(amount, int | float) and amount]
    found += [f"policy {table.get('kind')}" for table in guard.get("policy", [])]
    found += [f"rule {table.get('kind')}" for table in guard.get("rule", [])]
    found.append(f"keys {config.get('accounts', {}).get('api_keys', 'open')}")
    if not guard.get("enforce", True):
        found.append("shadow mode: nothing was enforced")
    return ", ".join(found)
