"""What frameworks ask of those who serve a model, and how far the facts show it.

OWASP AISVS by the numbers of its drafts, in brackets those of the published 1.0 where it kept the requirement;
MITRE ATLAS AML.T0024.002 (Extract AI Model) with the mitigation; NIST AI 100-2 where it names limits on queries
and the detection of suspicious ones, and says that both can be got round. All in our words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from counterclone.budgets import DAY
from counterclone.posture.facts import Control, Facts, Standing, counted

ATLAS, NIST = "MITRE ATLAS AML.T0024.002", "NIST AI 100-2, model extraction"
EXTRACTION = ("alarm", "campaign")
LATELY_DAYS = 90.0


class _Found(NamedTuple):
    """How a control stands, why, and what to do."""

    standing: Standing
    why: str
    remedy: str = ""


def controls(facts: Facts) -> tuple[Control, ...]:
    """Every control, in the order of a request's path and then of what surrounds it."""
    return tuple(Control(name=name, references=references, **look(facts)._asdict())
                 for name, references, look in _CONTROLS)


def _audited(facts: Facts) -> _Found:
    audit = facts.audit
    if audit is None:
        return _Found("missing", "No audit of this file has run.", "Run `counterclone audit`.")
    tried = f"Tried through '{audit.surface}': {', '.join(audit.attacks)}"
    if not audit.is_current:
        return _Found("partly", f"{tried}; policies or rules have changed since.",
                      "Run `counterclone audit` again.")
    days = (facts.time - audit.time) / DAY
    if days > LATELY_DAYS:
        return _Found("partly", f"{tried}; {days:,.0f} days ago.",
                      "Run `counterclone audit` again, with each release of the model.")
    return _Found("in place", f"{tried}; callers still see that surface.")


def _known(facts: Facts) -> _Found:
    if facts.in_place.is_open:
        return _Found("partly", f"{facts.in_place.callers}; anybody makes as many accounts as they like.",
                      'Set [accounts] api_keys = "listed", or another source.')
    return _Found("in place", f"{facts.in_place.callers}.")


def _limited(facts: Facts) -> _Found:
    found = facts.in_place
    if not found.limits and not found.total_limits:
        return _Found("missing", "No limit is set.",
                      "Set [guard] limit_queries_per_day and, after an audit, limit_copy_share_per_day.")
    lacking = {
        "none is sized by an audit of these policies": "limit_copy_share_per_day" not in found.limits,
        "there is none of all accounts together": not found.total_limits,
        "shadow mode enforces none": not found.enforces}
    problems = [text for text, is_so in lacking.items() if is_so]
    if problems:
        return _Found("partly", f"There are limits, but {'; '.join(problems)}.",
                      "Set limit_copy_share_per_day and limit_total_queries_per_day, run an audit, and "
                      "enforce.")
    return _Found("in place", f"An account may ask {found.copy_share:.1%} of the cheapest audited copy in a day; "
                              "all together are limited too.")


def _coarse(facts: Facts) -> _Found:
    found, audit = facts.in_place, facts.audit
    if not found.policies:
        return _Found("missing", "Answers leave as the model gives them.",
                      "Run `counterclone tune`, which chooses policies on your own model.")
    applied = f"Answers pass {', '.join(found.policies)}"
    if not found.enforces:
        return _Found("partly", f"{applied} in shadow mode, which changes nothing.", "Set [guard] enforce = true.")
    if audit is None or not audit.is_current:
        return _Found("partly", f"{applied}; what that is worth isn't measured.", "Run `counterclone audit`.")
    return _Found("in place", f"{applied}, and an audit measured it.")


def _logged(facts: Facts) -> _Found:
    if not facts.in_place.journal:
        return _Found("missing", "No journal is kept.", "Set [journal] path.")
    if facts.traffic is None:
        return _Found("partly", f"A journal is configured ({facts.in_place.journal}), and nothing is in it.",
                      "Run `counterclone guard` before the model.")
    asked = f"{counted(facts.traffic.rows, 'row')} of {counted(facts.traffic.accounts, 'account')}"
    return _Found("in place", f"{asked}, as hashes, kept {facts.in_place.journal}.")


def _detected(facts: Facts) -> _Found:
    found = facts.in_place
    if found.is_watched:
        return _Found("in place", "Accounts are compared with honest ones, and campaigns looked for daily, at "
                                  f"{found.false_alarms_per_year:g} false alarms a year.")
    if found.journal:
        return _Found("partly", "There is a journal that `counterclone watch` can read; the guard doesn't watch.",
                      "Name honest traffic in [watch] benign.")
    return _Found("missing", "Nothing is journalled or watched.", "Set [journal] path and [watch] benign.")


def _alerted(facts: Facts) -> _Found:
    found, n_cases = facts.in_place, len(facts.of_kind(*EXTRACTION))
    if found.is_watched and found.told:
        return _Found("in place", f"Alarms become cases and go to {' and '.join(found.told)}; {n_cases:,} so far.")
    if found.is_watched:
        return _Found("partly", f"Alarms become cases, {n_cases:,} so far, and nobody is told.",
                      "Set [watch] webhook_url or syslog.")
    remedy = "Set [watch] benign, and webhook_url or syslog."
    if n_cases:
        return _Found("partly", f"{counted(n_cases, 'case')} so far; the guard itself raises no alarm.", remedy)
    return _Found("missing", "Nothing raises alarms.", remedy)


def _answered(facts: Facts) -> _Found:
    found = facts.in_place
    waiting = sum(case.decision is None for case in facts.of_kind(*EXTRACTION))
    wait = f" Undecided: {counted(waiting, 'case')}." if waiting else ""
    if found.acts and found.is_watched and found.enforces:
        return _Found("in place", f"Risky accounts get coarser answers, a lower limit or none.{wait}",
                      "Decide the open cases: `counterclone cases list`." if waiting else "")
    return _Found("partly", "Only what somebody decides on a case (`counterclone cases decide`) changes "
                            f"anything.{wait}", "Add a [[guard.tier]] that acts, [watch] benign, and enforce.")


def _marked(facts: Facts) -> _Found:
    if not facts.in_place.marks:
        return _Found("missing", "No answer carries a mark, and no fingerprint is prepared.",
                      'Add a [[mark]], such as kind = "triggers".')
    if not facts.epochs:
        return _Found("partly", "Marks or fingerprints are configured, and no key was committed to.",
                      "Add a [[mark]] that answers carry, run `counterclone keys marks commit`, and the guard.")
    if not any(epoch.timestamp for epoch in facts.epochs):
        return _Found("partly", "Keys are committed to, and no authority says since when.",
                      "Publish the digests, or set [prove] timestamp_url and timestamp_roots.")
    if not any(each.found for each in facts.outlook):
        return _Found("partly", "Keys are committed to and timestamped; no account was served enough for a proof.",
                      "Let the guard serve, and keep one key for longer.")
    return _Found("in place", "Keys are committed to and timestamped, and accounts were served enough.")


def _followed(facts: Facts) -> _Found:
    if not facts.history:
        return _Found("partly", "A running guard follows its file; none has run, so no version is on record.",
                      "Run `counterclone guard`.")
    last = facts.history[-1].digest
    if last != facts.config_digest:
        return _Found("partly", f"The last version in force is {last}, the file is {facts.config_digest} now.",
                      "See that a guard runs with this file, and what its /readyz says.")
    return _Found("in place", "A running guard follows its file; on record, whole and with digests: "
                              f"{counted(facts.n_versions, 'version')}.")


def _checked(facts: Facts) -> _Found:
    others = " Others than its owner may write it." if facts.in_place.is_writable_by_others else ""
    return _Found("partly", "A file with mistakes changes nothing, and the console's changes take its token and "
                            f"leave a trail. The file isn't signed: who may write it decides.{others}",
                  "Keep it where only a reviewed change gets" + (", and `chmod go-w` it." if others else "."))


def _restored(facts: Facts) -> _Found:
    if facts.n_versions < 2:
        return _Found("missing", "No earlier version is on record here.",
                      "Run the guard: each version goes into its history.")
    if (version := facts.put_back) is not None:
        return _Found("in place", f"Earlier versions are in the history, whole; {version.digest} was put back.")
    return _Found("partly", "Earlier versions are in the history, whole; nothing shows that one was put back.",
                  "Try it: put one back in the console, and see that its digest is in force again.")


_CONTROLS: tuple[tuple[str, tuple[str, ...], Callable[[Facts], _Found]], ...] = (
    ("The model is attacked as others would, adaptively", (ATLAS,), _audited),
    ("Callers are known", ("MITRE ATLAS AML.T0024 (AML.M0019)",), _known),
    ("Limits for each caller and for all together, sized by what a copy takes",
     ("OWASP AISVS C11.5.1 (1.0: C11.2.2)", f"{ATLAS} (AML.M0004)", NIST), _limited),
    ("Answers show no more than users need", ("OWASP AISVS 1.0: C11.3.2", f"{ATLAS} (AML.M0002)"), _coarse),
    ("Who asked what is on record", (f"{ATLAS} (AML.M0024)",), _logged),
    ("Query patterns feed a detector of copying", ("OWASP AISVS C11.5.3 (1.0: C11.3.1)", NIST), _detected),
    ("Alerts say who, how much, and how the inputs are spread", ("OWASP AISVS C11.5.2",), _alerted),
    ("A suspicion has consequences", ("OWASP AISVS 1.0: C11.3.4",), _answered),
    ("Copies can be told from other models", ("OWASP AISVS C11.5.4 (1.0: C11.3.3)",), _marked),
    ("Settings change without a new deployment, and versions are kept", ("OWASP AISVS C11.7.1",), _followed),
    ("Changes are authorised, protected and checked before they apply", ("OWASP AISVS C11.7.2",), _checked),
    ("An earlier version can be put back", ("OWASP AISVS C11.7.3",), _restored),
)
