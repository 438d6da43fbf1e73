"""The error tree. Every message says where, what was expected, and what to do.

CountercloneError
├── ConfigError              the file, the environment or a command line is wrong (exit 2)
├── BudgetExhausted          an attack may ask no more; thrown into it once
├── SourceError              a journal or an exchange file can't be read (exit 2)
├── WatchError               a reference of honest traffic is too small or can't be compared (exit 2)
├── LedgerError              the ledger can't be written or doesn't hold together (exit 2)
├── DossierError             a dossier can't be read, or something in it was changed (exit 1)
├── Conflict                 somebody else changed meanwhile what was to be changed (409 in the console)
├── WorkerFailed             one of several gateways didn't start; carries its exit code
├── StoreUnavailable         the server where guards count together doesn't answer; each goes on by itself
├── TargetUnreachable        a verb that calls the target gets no answer (exit 3)
├── AnswerError              the target's answer can't be cleaned: 502, never served as it is
└── RequestError             the caller's request isn't served; carries an HTTP status
    ├── Unauthenticated      401
    ├── Blocked              403, the account's tier, or its owner's word
    ├── UnknownFormat        400, decided by `[guard] unknown`
    ├── Refused              400, a rule's word: field and remedy
    ├── TooLarge             413
    ├── LimitExceeded        429, with the seconds to wait
    ├── Busy                 503, as many requests are under way as the guard takes
    └── TargetError          502, the target didn't answer as HTTP has it
        └── TargetSlow       504, it took too long
"""

from __future__ import annotations


class CountercloneError(Exception):
    """Anything that counterclone says went wrong."""


class ConfigError(CountercloneError):
    """The configuration is wrong; `problems` has one line for each mistake."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BudgetExhausted(CountercloneError):
    """The budget doesn't reach for the queries just asked: none of them was sent.

    It is thrown into an attack once; what the attack returns then is its surrogate.
    """


class SourceError(CountercloneError):
    """A journal folder or an exchange file can't be read."""


class WatchError(CountercloneError):
    """A reference of honest traffic is too small, or holds nothing that accounts can be compared by."""


class LedgerError(CountercloneError):
    """The ledger, its keys or its commitments can't be written or read, or were changed."""


class DossierError(CountercloneError):
    """A dossier can't be read, or something in it was changed."""


class Conflict(CountercloneError):
    """Somebody else changed meanwhile what was to be changed, so it was left alone."""


class WorkerFailed(CountercloneError):
    """One of several gateways didn't start.

    Args:
        message: in words.
        exit_code: the process's own.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StoreUnavailable(CountercloneError):
    """The server where guards count together doesn't answer."""


class TargetUnreachable(CountercloneError):
    """A verb calls the target, and nobody answers there."""


class AnswerError(CountercloneError):
    """The target's answer can't be cleaned, so it isn't served."""


class RequestError(CountercloneError):
    """A request that isn't served.

    Attributes:
        status: the HTTP status that the caller gets.
        code: the machine-readable reason that the caller gets.
        decision: what journal and metrics call it.
    """

    status = 400
    code = "invalid_request"
    decision = "refused"


class Unauthenticated(RequestError):
    """No key, an unknown key or a token that doesn't verify."""

    status = 401
    code = "invalid_api_key"
    decision = "unauthenticated"


class Blocked(RequestError):
    """The account gets no answers."""

    status = 403
    code = "account_blocked"
    decision = "blocked"


class UnknownFormat(RequestError):
    """A body that no dialect reads."""

    code = "unknown_format"


class Refused(RequestError):
    """A rule refused the query; the message names the field and the remedy."""

    code = "query_refused"


class TooLarge(RequestError):
    """A body over `limit_body_bytes`."""

    status = 413
    code = "body_too_large"


class LimitExceeded(RequestError):
    """Over a limit; `retry_after_seconds` is None where waiting can't help."""

    status = 429
    code = "rate_limit_exceeded"
    decision = "limited"

    def __init__(self, message: str, *, limit: str, quota: float, period_seconds: float,
                 retry_after_seconds: float | None) -> None:
        super().__init__(message)
        self.limit = limit
        self.quota = quota
        self.period_seconds = period_seconds
        self.retry_after_seconds = retry_after_seconds


class Busy(RequestError):
    """As many requests are under way as the guard takes; another second may do."""

    status = 503
    code = "guard_full"
    decision = "busy"


class TargetError(RequestError):
    """The target is down, or doesn't speak HTTP as it should.

    Attributes:
        has_begun: whether a part of its answer went on before.
    """

    status = 502
    code = "target_down"
    decision = "failed"
    has_begun = False


class TargetSlow(TargetError):
    """The target took longer than it may."""

    status = 504
    code = "target_slow"
