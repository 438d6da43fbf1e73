"""What is known of a configuration and its traffic; nothing in it is secret, accounts are hashed."""

from __future__ import annotations

from typing import Literal

import msgspec

from counterclone.audit.curve import Reach
from counterclone.audit.findings import Finding
from counterclone.prove.outlook import Outlook
from counterclone.prove.timestamps import Stamp
from counterclone.watch.cases import Case

Standing = Literal["in place", "partly", "missing"]


def counted(number: int, noun: str) -> str:
    """`1 case`, `1,234 cases`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """The last audit.

    Attributes:
        target: what was audited.
        time: when, seconds since 1970.
        config_digest: of the configuration then.
        is_current: whether callers still see what was audited.
        surface: what callers saw, as the audit calls it.
        attacks: that were tried on it.
        fidelity: of the nearest copy through it.
        control: what a copier has without answers.
        copies: the cheapest ways to each level through it.
        findings: the gravest first.
        training_cost_usd: what the model cost, 0 where nobody says.
    """

    target: str
    time: float
    config_digest: str
    is_current: bool
    surface: str
    attacks: tuple[str, ...]
    fidelity: float
    control: float
    copies: tuple[Reach, ...]
    findings: tuple[Finding, ...]
    training_cost_usd: float

    def copy(self, fidelity: float) -> Reach | None:
        """The cheapest copy of a level, None where none was reached."""
        return next((each for each in self.copies if each.fidelity == fidelity), None)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What the last sweep of settings came to.

    Attributes:
        time: when, seconds since 1970.
        name: of the setting that was chosen, "" for none.
        reason: why that one, or why none.
        is_in_place: whether the file has its policies.
    """

    time: float
    name: str
    reason: str
    is_in_place: bool


class InPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard's file says.

    Attributes:
        enforces: whether what it decides is done.
        callers: how they are told apart, in words.
        is_open: whether anybody makes accounts.
        limits: of an account, by their keys; none that are off.
        copy_share: the part of an audited copy that an account may ask in a day, as it is configured.
        total_limits: of all accounts together.
        policies: what leaves, in order, each with its options.
        rules: what comes in, likewise.
        tiers: what risky accounts get, from low risk to high.
        acts: whether a tier changes what they get.
        classes: of accounts with terms of their own; who is in them isn't told.
        marks: what is put into answers, each with its options.
        journal: how long exchanges are kept, in words; "" where they aren't.
        is_watched: whether the guard compares its accounts with honest ones.
        false_alarms_per_year: at which rate.
        told: where alarms go beside the cases.
        is_writable_by_others: whether others than the file's owner may write it.
    """

    enforces: bool
    callers: str
    is_open: bool
    limits: dict[str, float]
    copy_share: float
    total_limits: dict[str, float]
    policies: tuple[str, ...]
    rules: tuple[str, ...]
    tiers: tuple[str, ...]
    acts: bool
    classes: tuple[str, ...]
    marks: tuple[str, ...]
    journal: str
    is_watched: bool
    false_alarms_per_year: float
    told: tuple[str, ...]
    is_writable_by_others: bool


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that came into force.

    Attributes:
        since: seconds since 1970.
        digest: of the whole of it.
        changed: the keys that differ from the one before.
    """

    since: float
    digest: str
    changed: tuple[str, ...]


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """An account that got many answers.

    Attributes:
        account: its hash.
        queries: different ones that were answered.
        bits: that its answers released, at most.
        copy_share: its queries over those of the cheapest audited 90 % copy; None where no such copy is known.
    """

    account: str
    queries: int
    bits: float
    copy_share: float | None = None


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds.

    Attributes:
        rows: of queries.
        answered: of these.
        accounts: that asked.
        first_time: seconds since 1970; None where it holds nothing.
        last_time: likewise.
        bits: that answers released, at most.
        decisions: rows by what became of them.
        models: the names that callers asked for most.
        busiest: the accounts with the most different answers.
    """

    rows: int
    answered: int
    accounts: int
    first_time: float | None
    last_time: float | None
    bits: float
    decisions: dict[str, int]
    models: tuple[str, ...]
    busiest: tuple[Busy, ...]


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment to a mark key.

    Attributes:
        number: its place in the chain.
        created: seconds since 1970, by the owner's clock.
        digest: what is published or timestamped.
        marks: each with its options.
        timestamp: of an authority, None where it has none or nothing checks it.
    """

    number: int
    created: float
    digest: str
    marks: tuple[str, ...]
    timestamp: Stamp | None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known.

    Attributes:
        time: when it was gathered, seconds since 1970.
        version: of counterclone.
        file: the configuration's name.
        config_digest: of it now.
        target: the model's address; "" where the guard is in its process.
        task: what it does.
        epoch: the model's release.
        audit: the last one, None where none has run.
        chosen: what the last sweep of settings came to, likewise.
        in_place: what the file says.
        history: the last configurations that came into force, the first first.
        n_versions: how many did.
        traffic: None where nothing was journalled.
        cases: all of them, oldest first.
        epochs: commitments, the first first.
        outlook: what could be proven by what was served, by commitment and mark.
        problems: what is missing or couldn't be read, and what to do.
    """

    time: float
    version: str
    file: str
    config_digest: str
    target: str
    task: str
    epoch: str
    audit: Audited | None
    chosen: Chosen | None
    in_place: InPlace
    history: tuple[Version, ...]
    n_versions: int
    traffic: Traffic | None
    cases: tuple[Case, ...]
    epochs: tuple[Epoch, ...]
    outlook: tuple[Outlook, ...]
    problems: tuple[str, ...]

    def of_kind(self, *kinds: str) -> list[Case]:
        """The cases with evidence of some kinds."""
        return [case for case in self.cases if any(each.kind in kinds for each in case.evidence)]

    @property
    def put_back(self) -> Version | None:
        """The last version that had been in force before, None where none had."""
        digests = [version.digest for version in self.history]
        return next((self.history[place] for place in reversed(range(len(digests)))
                     if digests[place] in digests[:place]), None)

    @property
    def open_cases(self) -> list[Case]:
        """Those that nobody has decided on."""
        return [case for case in self.cases if case.decision is None]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What frameworks ask for, and how it stands.

    Attributes:
        name: in short.
        references: where frameworks ask for it.
        standing: in place, partly or missing.
        why: what says so.
        remedy: what to do, "" where it is in place.
    """

    name: str
    references: tuple[str, ...]
    standing: Standing
    why: str
    remedy: str = ""


class Posture(msgspec.Struct, frozen=True, kw_only=True):
    """A report.

    Attributes:
        facts: what is known.
        controls: what frameworks ask for.
        risks: what remains, in plain words.
    """

    facts: Facts
    controls: tuple[Control, ...]
    risks: tuple[str, ...]
