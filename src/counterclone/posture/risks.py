"""What remains, in plain words: from what is known, and from what no setting changes."""

from __future__ import annotations

from collections.abc import Iterator

from counterclone.audit.findings import COPY, dollars, duration
from counterclone.posture.facts import Facts, counted

ALWAYS = (
    "Nothing here prevents copying. Who asks what honest users ask, slowly, through many accounts, may go unseen.",
    "The audit's figures are those of known attacks with the inputs it was given; a better attack may need less.",
    "A proof takes a copy that learnt single answers. One trained on many other answers besides may not show it.")


def risks(facts: Facts) -> tuple[str, ...]:
    """The risks of this configuration, then those of every one."""
    return (*_known(facts), *ALWAYS)


def _known(facts: Facts) -> Iterator[str]:
    found = facts.in_place
    yield from _copied(facts)
    if not found.enforces:
        yield "Shadow mode: what the guard decides isn't done, so every answer leaves as the model gives it."
    if found.is_open:
        yield ("Anybody can have another account for the price of another key, so a limit of an account bounds "
               "nobody who takes the trouble.")
    if not found.is_watched:
        yield "The guard compares nobody with honest users, so a copier is noticed only by who looks for one."
    if facts.open_cases:
        yield f"Waiting for somebody's decision: {counted(len(facts.open_cases), 'case')}."
    if not any(each.found for each in facts.outlook):
        yield "A copy that turns up tomorrow may not be proven: no account was served enough marked answers yet."


def _copied(facts: Facts) -> Iterator[str]:
    audit = facts.audit
    if audit is None:
        yield "What a copy costs is unknown."
        return
    if not audit.is_current:
        yield "What a copy costs through the present policies is unknown: the audit saw others."
    copy = audit.copy(COPY)
    if copy is None:
        yield (f"The audit reached no 90 % copy; its nearest one agrees on {audit.fidelity:.1%}, against "
               f"{audit.control:.1%} without any answer. With more queries there may be one.")
        return
    price = f" or {dollars(copy.usd)}" if copy.usd else ""
    yield f"A 90 % copy takes {copy.queries:,} queries{price} by the cheapest attack tried, {copy.attack}."
    if copy.days is not None and copy.accounts is not None:
        yield (f"At the limits of the audit one account gathers them {duration(copy.days)}, and "
               f"{counted(copy.accounts, 'account')} in a day.")
    busiest = facts.traffic.busiest[0] if facts.traffic and facts.traffic.busiest else None
    if busiest is not None and busiest.copy_share is not None and busiest.copy_share >= 1.0:
        yield (f"Account {busiest.account} was answered {busiest.queries:,} different queries, "
               f"{busiest.copy_share:.1f} times what such a copy takes.")
