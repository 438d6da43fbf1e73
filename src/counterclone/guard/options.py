"""What a guard does, resolved from the configuration."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from counterclone.budgets import Limit
from counterclone.guard import asgi
from counterclone.guard.acceptance import Acceptance
from counterclone.guard.identity import Identity
from counterclone.guard.marking import Marking
from counterclone.guard.metrics import Metrics
from counterclone.guard.naming import Naming
from counterclone.guard.release import Terms
from counterclone.guard.tiers import Tiers
from counterclone.journal import JournalWriter
from counterclone.protocols import Dialect, Flagging, LimitStore, Rule
from counterclone.randomness import Prf

NO_DIALECT = "none"
ROUTES_KEPT = 1024

_UNCLEAR = re.compile(r"//|[. ](?:/|$)|[\\;%\x00-\x1f\x7f\ufffd]")
"""What is left of a path that another server may read as another one: empty steps, dots, parameters, escapes."""
_ESCAPED_STEP = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)


class Route(NamedTuple):
    """Who reads a request.

    Attributes:
        kind: of the dialect, "none" where none does.
        dialect: that dialect.
        model: the model that the path names, "" for none.
    """

    kind: str
    dialect: Dialect | None
    model: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a guard does; it holds no state of a request.

    Attributes:
        dialects: wire formats by kind, the first that knows a path reads it.
        identity: request headers to an account.
        terms: policies and limits by account class, "" for everybody else.
        tiers: what accounts get by their risk, None for the same as others.
        rules: what comes in, applied in order.
        store: where limits are counted.
        total_limits: limits on all accounts together.
        noise: the PRF of a model's epoch.
        marking: puts marks into answers, None for none.
        naming: tells the model server whom an answer is for, None for nobody.
        acceptance: tells the terms that callers accepted, for the marks' ledger; None for nobody.
        journal: where exchanges go, None for nowhere.
        metrics: what is counted.
        scores: the output that holds probabilities, "" to find it.
        paths: shell patterns of the guarded paths.
        enforce: False decides, counts and journals, and changes nothing (shadow mode).
        blocks_unknown: whether what can't be read is blocked rather than passed unscanned.
        blocks_uncleaned: whether an answer that can't be cleaned is a 502 rather than passed.
        limit_body_bytes: the largest request body.
        limit_answer_bytes: the most of an answer that is held back to clean it, or kept to read it.
        limit_in_flight: requests under way at once.
        clock: seconds since 1970.
    """

    dialects: Mapping[str, Dialect]
    identity: Identity
    terms: Mapping[str, Terms]
    tiers: Tiers | None = None
    rules: Sequence[Rule] = ()
    store: LimitStore
    total_limits: Sequence[Limit] = ()
    noise: Callable[[str], Prf]
    marking: Marking | None = None
    naming: Naming | None = None
    acceptance: Acceptance | None = None
    journal: JournalWriter | None
    metrics: Metrics
    scores: str = ""
    paths: Sequence[str] = ("*",)
    enforce: bool = True
    blocks_unknown: bool = True
    blocks_uncleaned: bool = True
    limit_body_bytes: int = 10_000_000
    limit_answer_bytes: int = 50_000_000
    limit_in_flight: int = 1000
    clock: Callable[[], float] = time.time

    @cached_property
    def route(self) -> Callable[[str, str, str, bytes], Route | None]:
        """Who reads a request, by its method, its path, the prefix that the app is mounted at and the raw path.

        None where the path isn't guarded, as the server or as the app sees it, or may see it.
        """
        return lru_cache(maxsize=ROUTES_KEPT)(self._find_route)

    @cached_property
    def flagging(self) -> Sequence[Flagging]:
        """The rules that flag what they admit."""
        return [rule for rule in self.rules if isinstance(rule, Flagging)]

    def _find_route(self, method: str, path: str, root: str, raw_path: bytes) -> Route | None:
        own_path = asgi.path_below(path, root)
        if not (self._guards(path) or self._guards(own_path) or _is_unclear(path, raw_path)):
            return None
        for kind, dialect in self.dialects.items():
            model = dialect.model(method, own_path)
            if model is not None:
                return Route(kind, dialect, model.encode(errors="replace").decode())  # it may be half a character
        return Route(NO_DIALECT, None, "")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, self.paths)), re.IGNORECASE)

    def _guards(self, path: str) -> bool:
        """Whether a path is guarded; its case and a slash at its end don't count, as on many servers."""
        return self._pattern.match(path) is not None or self._pattern.match(path.rstrip("/")) is not None


def _is_unclear(path: str, raw_path: bytes) -> bool:
    """Whether a path, without the escapes of its raw form, may be read as another one, and so as a guarded one."""
    return _UNCLEAR.search(path) is not None or _ESCAPED_STEP.search(raw_path) is not None
