"""What a running guard knows and does, for the console of its owner."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from counterclone.audit import Audit
from counterclone.compose import audited, in_place, latest, mark_keys
from counterclone.compose import cases as composed_cases
from counterclone.compose.guard import HISTORY_FILE, Guard
from counterclone.compose.posture import posture
from counterclone.compose.versions import versions
from counterclone.config import restoring
from counterclone.console.desk import Unknown
from counterclone.console.sheets import (
    AccountRow,
    AccountSheet,
    AccountsPage,
    CaseRow,
    CaseSheet,
    Configuration,
    Epoch,
    Marks,
    Overview,
    Study,
    Tie,
)
from counterclone.errors import ConfigError, CountercloneError
from counterclone.guard.metrics import Metrics
from counterclone.report import audit as audit_report
from counterclone.report import cases as case_report
from counterclone.report import posture as posture_report
from counterclone.report import tune as tune_report
from counterclone.report import watch as watch_report
from counterclone.report.page import Figure, Table
from counterclone.tune import Tuned
from counterclone.watch import explanation
from counterclone.watch.calibration import CHECKPOINTS
from counterclone.watch.cases import DECISIONS, Case, Decision
from counterclone.watch.engine import Engine
from counterclone.watch.ranking import SUSPECTED_RISK, ranked
from counterclone.watch.result import Account, Watched

ROWS_A_PAGE = 50
SUSPECTS, CAMPAIGNS = 5, 5
"""On the overview."""
_LEAST_RISK = 1e-9

T = TypeVar("T")


class GuardDesk:
    """What a running guard knows, for the console (`console.desk.Desk`).

    Args:
        guard: that runs.
        path: its configuration's file.
        metrics: its counts.
    """

    def __init__(self, guard: Guard, path: Path, metrics: Metrics) -> None:
        self._guard, self._path, self._metrics = guard, path, metrics
        self._cases = composed_cases.case_file(path.parent)
        self._studies: dict[Path, tuple[object, Study | None]] = {}

    # Accounts

    def overview(self) -> Overview:
        """How things stand."""
        config, totals, cases = self._guard.config, self._metrics.totals(), self.cases()
        engine = self._engine
        found = [] if engine is None else ranked(
            engine.monitor, self._guard.watching.campaigns, least=_LEAST_RISK, count=SUSPECTS).accounts
        campaigns = sorted((case for case in cases if case.is_campaign),
                           key=lambda case: (case.decision is not None, -(case.risk or 0.0)))
        return Overview(
            target=config.target.url, is_enforced=config.guard.enforce, decisions=totals.decisions,
            queries=totals.queries, leaked_bits=totals.leaked_bits, alarms=totals.alarms,
            overhead_seconds=totals.overhead_seconds, overhead_seconds_most=totals.overhead_seconds_most,
            suspects=list(self._rows(found)), campaigns=campaigns[:CAMPAIGNS],
            n_open=sum(case.decision is None for case in cases), troubles=self._guard.troubles(),
            is_watched=engine is not None, level=0.0 if engine is None else engine.monitor.level)

    def accounts(self, containing: str, *, suspected: bool, page: int) -> AccountsPage:
        """A page of accounts, the riskiest first."""
        engine = self._engine
        if engine is None:
            return AccountsPage(rows=[], n_found=0, n_known=None, page=1, n_pages=1, level=0.0, problems=[])
        found, n_found = ranked(
            engine.monitor, self._guard.watching.campaigns, containing=containing,
            least=SUSPECTED_RISK if suspected else 0.0, first=(max(page, 1) - 1) * ROWS_A_PAGE, count=ROWS_A_PAGE)
        n_pages = max(-(-n_found // ROWS_A_PAGE), 1)
        return AccountsPage(
            rows=list(self._rows(found)), n_found=n_found, n_known=len(engine.monitor.table),
            page=min(max(page, 1), n_pages), n_pages=n_pages, level=engine.monitor.level, problems=engine.problems)

    def account(self, name: str) -> AccountSheet:
        """An account.

        Raises:
            Unknown: nothing is known of it.
        """
        decision = self.decision(name)
        row = next(self._rows([(name, self._guard.watching.risk(name))]), None)
        return AccountSheet(row=row, name=name, parts=self._explained(name, row), decision=decision,
                            cases=[case for case in self.cases() if name in case.accounts])

    def decision(self, account: str) -> Decision | None:
        """What was decided of an account, None before the first time.

        Raises:
            Unknown: nothing is known of it.
        """
        engine = self._engine
        is_watched = engine is not None and account in engine.monitor.table
        if not is_watched and not any(account in case.accounts for case in self._cases.all()):
            raise Unknown(f"nothing is known of an account '{account}'; the list of accounts has those that are "
                          "remembered")
        return self._cases.decision(account)

    def _rows(self, found: Sequence[tuple[str, float]]) -> Iterator[AccountRow]:
        """Accounts as rows of a list; one that was forgotten meanwhile is left out."""
        engine, members = self._engine, self._guard.watching.campaigns
        for name, risk in found:
            known = engine.account(name) if engine is not None else None
            if engine is None or known is None:
                continue
            yield AccountRow(
                name=name, queries=known.queries, risk=risk, alarm_at_query=known.alarm_at_query,
                is_member=name in members, leaked_bits=known.leaked_bits,
                reason=known.reasons[0].partition(" (")[0] if known.reasons else "",
                course=_course(engine, name, known), decision=self._cases.decision(name),
                last_time=known.last_time)

    def _explained(self, name: str, row: AccountRow | None) -> list[Table | Figure]:
        engine = self._engine
        known = engine.account(name) if engine is not None else None
        if engine is None or known is None or row is None:
            return []
        watched = Watched(
            false_alarms_per_year=self._guard.config.watch.false_alarms_per_year, lines_skipped=0,
            accounts={name: msgspec.structs.replace(known, risk=row.risk)}, campaigns=engine.campaigns,
            problems=engine.problems)
        return watch_report.parts(explanation.explain(name, engine, watched, None, None))

    @property
    def _engine(self) -> Engine | None:
        engine = self._guard.watching.engine
        return engine if isinstance(engine, Engine) else None

    # Cases

    def cases(self) -> list[CaseRow]:
        """All cases, the newest first."""
        return [_case_row(case) for case in reversed(self._cases.all())]

    def case(self, name: str) -> CaseSheet:
        """A case by its id.

        Raises:
            Unknown: there is none.
        """
        case = self._case(name)
        ties = [Tie(kind=tie.kind, accounts=tie.accounts, weight=tie.weight)
                for evidence in case.evidence for tie in evidence.ties]
        return CaseSheet(row=_case_row(case), table=case_report.table(case), ties=ties)

    def take_up(self, account: str, *, by: str) -> str:
        """The id of the case of an account alone, opened where there is none."""
        return self._cases.take_up(account, by=by).id

    def decide(self, case: str, decision: str, *, by: str) -> None:
        """Decide what the accounts of a case get.

        Raises:
            ConfigError: there is no such decision, or nothing says how to throttle.
        """
        composed_cases.decide(self._guard.config, self._cases, case, _decision(decision), by=by)

    def note(self, case: str, text: str, *, by: str) -> None:
        """Write something down."""
        self._cases.note(case, text, by=by)

    def hold(self, case: str, *, is_held: bool, by: str) -> None:
        """Keep what the accounts of a case asked, whatever the journal's retention says, or no longer."""
        self._cases.hold(case, is_held=is_held, by=by)

    def export(self, case: str) -> bytes:
        """A case and what was journalled of its accounts, as a ZIP file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.zip"
            composed_cases.export(self._guard.config, self._path.parent, self._case(case), path)
            return path.read_bytes()

    def _case(self, name: str) -> Case:
        case = next((each for each in self._cases.all() if each.id == name), None)
        if case is None:
            raise Unknown(f"there is no case '{name}'; the list of cases has them all")
        return case

    # Audit, settings, marks

    def audit(self) -> Study | None:
        """The last audit."""
        def study(found: latest.Latest[Audit]) -> Study:
            guard = self._guard.config.guard
            now = audited.key_of(guard.policy, guard.rule)
            return Study(title=f"What a copy of {found.result.target} costs", time=found.time,
                         is_stale=found.surface != now if found.surface else None,
                         parts=audit_report.parts(found.result))
        return self._study(latest.AUDIT_FILE, Audit, study)

    def tune(self) -> Study | None:
        """The last sweep of settings."""
        def study(found: latest.Latest[Tuned]) -> Study:
            return Study(title=f"Settings for {found.result.target}", time=found.time, is_stale=None,
                         parts=tune_report.parts(found.result))
        return self._study(latest.TUNE_FILE, Tuned, study)

    def _study(self, name: str, kind: type[T], study: Callable[[latest.Latest[T]], Study]) -> Study | None:
        """What a verb found, drawn once for each file and configuration."""
        path = self._path.parent / name
        seen = path.stat().st_mtime_ns if path.exists() else 0, self._guard.config.digest()
        known = self._studies.get(path)
        if known is None or known[0] != seen:
            found = latest.load(path, kind)
            known = self._studies[path] = seen, None if found is None else study(found)
        return known[1]

    def posture(self) -> Study:
        """What is done about model stealing, and what is left, as it is now."""
        found = posture(self._path, time.time())
        return Study(title="What is done about model stealing", time=found.facts.time, is_stale=False,
                     parts=posture_report.parts(found))

    def marks(self) -> Marks:
        """What could be proven."""
        totals, config, problem = self._metrics.totals(), self._guard.config, ""
        epochs: list[mark_keys.Committed] = []
        if config.mark or (self._path.parent / config.prove.keys).exists():
            try:
                epochs = mark_keys.commitments(str(self._path))
            except CountercloneError as error:
                problem = str(error)
        return Marks(
            marks=in_place.tables(config.mark), marked=totals.marked, unmarked=totals.unmarked,
            problem=problem, epochs=[
                Epoch(number=each.number, created=each.created, digest=each.digest,
                      marks=in_place.tables(each.marks),
                      timestamp=each.timestamp.time if each.timestamp else None) for each in reversed(epochs)])

    # Configuration

    def configuration(self) -> Configuration:
        """The file and those before it."""
        text, live = self._text(), self._guard.config.digest()
        refused = [trouble for trouble in self._guard.troubles() if trouble.startswith("configuration: ")]
        return Configuration(path=self._path.name, text=text, seen=restoring.digest_of(text), digest=live,
                             versions=versions(self._path.parent / HISTORY_FILE, live),
                             problem=refused[0] if refused else "")

    def restore(self, digest: str, *, seen: str) -> None:
        """Put an earlier file in the place of the present one.

        Raises:
            Unknown: nobody kept that file.
            Conflict: somebody changed the file since.
            ConfigError: it isn't a configuration any longer, or can't be written.
        """
        found = next((version for version in self.configuration().versions
                      if version.digest == digest and version.text), None)
        if found is None:
            raise Unknown(f"there is no earlier file of the settings '{digest}'")
        restoring.restore(self._path, found.text, seen=seen)

    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; let the file be read") from None


def _course(engine: Engine, name: str, known: Account) -> list[tuple[int, float]]:
    """An account's p-value as it grew."""
    row = engine.monitor.table.row(name)
    if row is None:
        return []
    course = engine.monitor.table.columns.course[row].tolist()
    return [(point, p_value) for point, p_value in zip(CHECKPOINTS.tolist(), course, strict=True)
            if point <= known.queries]


def _case_row(case: Case) -> CaseRow:
    risks = [each.risk for each in case.evidence if each.risk is not None]
    p_values = [each.p_value for each in case.evidence if each.p_value is not None]
    return CaseRow(
        id=case.id, opened=case.opened, kinds=list(dict.fromkeys(each.kind for each in case.evidence)),
        accounts=case.accounts, queries=max(each.queries for each in case.evidence), risk=max(risks, default=None),
        p_value=min(p_values, default=None), reasons=[text for each in case.evidence for text in each.reasons],
        decision=case.decision, is_held=case.is_held)


def _decision(name: str) -> Decision:
    found = next((each for each in DECISIONS if each == name), None)
    if found is None:
        raise ConfigError(f"there is no decision '{name}'; expected one of {', '.join(DECISIONS)}")
    return found
