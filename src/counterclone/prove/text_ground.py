"""A dossier's list of marked texts: whom they were for is the owner's word, what is computed from it isn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from counterclone import plugins
from counterclone.errors import DossierError
from counterclone.evidence import Evidence
from counterclone.marks.canaries import Canaries
from counterclone.marks.greenlist import Greenlist
from counterclone.prove import written
from counterclone.prove.commitments import Commitment
from counterclone.prove.custody import mark_key
from counterclone.prove.dossier import MARK_PREFIX, TEXTS, TOKENS, Answered, Dossier, Tokens
from counterclone.prove.ground import Check
from counterclone.prove.questions import question
from counterclone.prove.transcript import Replay
from counterclone.prove.verification import Question
from counterclone.prove.written import TextMark
from counterclone.queries import Inputs


class TextGround:
    """The texts that a server marked without the guard's ledger.

    Args:
        dossier: that holds the list.
        commitment: that they were marked under.
        key: of its epoch.
        folder: an empty one, for the mark's files: those that a commitment names may be anything where it is
            checked.

    Raises:
        DossierError: the commitment has no mark for texts, or a file of the mark's isn't there.
    """

    def __init__(self, dossier: Dossier, commitment: Commitment, key: bytes, folder: Path) -> None:
        mark = written.mark_of(commitment.statement)
        if mark is None:
            raise DossierError(f"{TEXTS} is there, and texts carry no mark of commitment {commitment.number}")
        if not is_held(mark):
            raise DossierError(f"{TEXTS} is there, and commitment {commitment.number} has a test of probabilities")
        self._dossier, self._commitment, self._key = dossier, commitment, key
        self._mark = _with_files(mark, dossier.mark_files, folder) if isinstance(mark, Greenlist) else mark
        self._lines = written.read(dossier.texts, mark, dossier.trial.scope.accounts, TEXTS)

    @cached_property
    def questions(self) -> Sequence[Question]:
        """That of the mark."""
        key = mark_key(self._key, plugins.kind_of(self._mark))
        served = written.served(self._lines, self._mark, key, TEXTS)
        return [question(self._commitment.statement, self._key, self._mark, served, self._dossier.trial.scope)]

    def checks(self) -> Iterator[Check]:
        """The list and the mark's files."""
        yield self._texts()
        if isinstance(self._mark, Greenlist):
            yield self._files(self._mark)

    def beyond(self, evidence: Sequence[Evidence], replays: Mapping[str, Replay]) -> Iterator[Check]:
        """Whether the tokens are those of the texts; and what can't be ruled out."""
        if isinstance(self._mark, Greenlist):
            for kind, replay in replays.items():
                yield self._tokens(tokens(self._mark, replay.asked, self._dossier.answers[kind]))
        yield Check("omissions", True, "can't be ruled out: the list of texts is the owner's own, so prompts that "
                    "the suspect fails may have been left out. Ask it again, and others")

    def _texts(self) -> Check:
        if self._dossier.rows or self._dossier.terms or self._dossier.heads or self._dossier.logs:
            return Check("texts", False, "there are records of a ledger beside them, which say nothing of texts")
        served = self.questions[0].case.served
        names = {name for accounts in served.accounts for name in accounts}
        return Check("texts", True, f"{len(served):,} for {len(names):,} accounts, by the owner's own list: whom "
                     "they were for is its word, whose key a suspect's texts have follows from the commitment")

    def _files(self, mark: Greenlist) -> Check:
        if not mark.files:
            return Check("the mark's files", True, "it has none")
        digest = mark.measured()
        holds = digest == mark.digest
        return Check("the mark's files", holds, f"{', '.join(mark.files)} have the digest {digest}, which is "
                     f"{'' if holds else 'NOT '}the one committed to")

    def _tokens(self, found: Tokens) -> Check:
        if found != self._dossier.tokens:
            return Check("tokens", False, f"{TOKENS} isn't what the tokenizer makes of prompts, answers and "
                         "references")
        return Check("tokens", True, f"{sum(map(len, found.answers)):,} of the suspect's, as the mark's tokenizer "
                     "makes them of its texts")


def is_held(mark: TextMark) -> bool:
    """Whether a dossier holds what the test of a mark takes; a suspect's probabilities are too many."""
    return isinstance(mark, Canaries) or mark.test != "open"


def tokens(mark: Greenlist, asked: Sequence[Inputs], answers: Sequence[Answered]) -> Tokens:
    """What is counted by the test of a green list.

    Args:
        mark: the green list.
        asked: the prompts, a batch each.
        answers: to these, in their order.

    Raises:
        ConfigError: the mark's files aren't those of its digest.
    """
    prompts = [str(prompt) for batch in asked for prompt in batch]
    return Tokens(
        prompts=[each.tolist() for each in mark.encoded(prompts)],
        answers=[each.tolist() for each in mark.encoded([answer.text for answer in answers])],
        references=[[each.tolist() for each in texts] for texts in mark.references()])


def _with_files(mark: Greenlist, files: Mapping[str, bytes], folder: Path) -> Greenlist:
    """The mark with files that are enclosed.

    Raises:
        DossierError: one isn't.
    """
    paths = {option: folder / option for option in mark.files}
    for option, path in paths.items():
        if option not in files:
            raise DossierError(f"{MARK_PREFIX}{option} is missing; expected the file that the mark's test needs; "
                               "get the dossier again")
        path.write_bytes(files[option])
    return msgspec.structs.replace(mark, **{option: str(path) for option, path in paths.items()})
