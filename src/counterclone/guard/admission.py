"""One request's way in: who asks, what is asked, and what is taken from the limits for it."""

from __future__ import annotations

from collections.abc import Mapping

from counterclone.budgets import BYTES_PER_TOKEN
from counterclone.errors import (
    Blocked,
    Busy,
    LimitExceeded,
    RequestError,
    TooLarge,
    Unauthenticated,
    UnknownFormat,
)
from counterclone.guard import asgi, encodings
from counterclone.guard.options import Options, Route
from counterclone.protocols import Body
from counterclone.queries import Account, Query

ALL_ACCOUNTS = "all"
ANONYMOUS = Account("")
UNCHANGED: Mapping[bytes, bytes] = {}


class Admission:
    """What is known about a request by the time that the app gets it.

    Attributes:
        options: what is done to the request.
        scope: as the server has it.
        headers: of the request, by names in lower case.
        account: who asks.
        terms: the policies and limits of the account.
        route: the format that reads it, and the model that it names.
        query: what is asked, as the model gets it; None where it wasn't read.
        n_rows: rows of the query, 0 where it wasn't read.
        tokens_in: tokens of the query, estimated; counted where limits are on tokens.
        content: the body as the app gets it.
        changes: the request's headers that go with it, "" for none of that name.
        is_flagged: whether a rule flags what it admitted.
        is_gone: whether the client went away before its answer.
    """

    __slots__ = ("_is_replayed", "_receive", "_reserved_bits", "_reserved_queries", "_reserved_tokens", "account",
                 "changes", "content", "headers", "is_flagged", "is_gone", "n_rows", "options", "query", "route",
                 "scope", "terms", "tokens_in")

    def __init__(self, options: Options, route: Route, scope: asgi.Scope, receive: asgi.Receive) -> None:
        self.options = options
        self.scope = scope
        self._receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.account = ANONYMOUS
        self.terms = options.terms[""]
        self.route = route
        self.query: Query | None = None
        self.n_rows = 0
        self.content = b""
        self.changes = UNCHANGED
        self.is_flagged = self.is_gone = self._is_replayed = False
        self._reserved_queries = 0
        self._reserved_bits = self._reserved_tokens = self.tokens_in = 0.0

    def identify(self) -> None:
        """Find the account, and what it gets.

        Raises:
            Unauthenticated: a credential is missing or doesn't verify; the account is then its network's.
            Blocked: it gets nothing.
        """
        client, options = self.scope.get("client"), self.options
        address = client[0] if client else ""
        try:
            account = self.account = options.identity.account(self.headers, address)
        except Unauthenticated:
            self.account = options.identity.shared(address)
            raise
        terms = options.terms[account.account_class]
        self.terms = terms if options.tiers is None else options.tiers.terms(account.id, terms)
        if self.terms.is_blocked:
            raise Blocked("this account is blocked; ask the API's owner about it")

    async def read(self) -> bytes | None:
        """The whole body; None where the client went away.

        Raises:
            Busy: too many requests are under way.
            TooLarge: the body is.
        """
        options = self.options
        if options.metrics.in_flight > options.limit_in_flight:
            raise Busy(f"{options.limit_in_flight} requests are under way, no more are taken; try again")
        read = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            if len(read) + len(chunk) > options.limit_body_bytes:
                raise TooLarge(f"the body is over {options.limit_body_bytes} bytes; send fewer rows at a time")
            is_last = not message.get("more_body", False)
            if is_last and not read:
                return chunk
            read += chunk  # a list of chunks would take many times the bytes of a body that drips in
            if is_last:
                return bytes(read)

    async def admit(self, content: bytes) -> None:
        """Read the query and take what it costs; in shadow mode the app gets the very bytes that came.

        Raises:
            UnknownFormat: no dialect reads it.
            RequestError: a header is there twice, and the app may read the other one.
            TooLarge: it is compressed, and unpacks to more than a body may have.
            Refused: a rule doesn't admit it.
            LimitExceeded: the account, or all together, are over a limit.
        """
        self.content = content
        options, terms, (_, dialect, model) = self.options, self.terms, self.route
        headers = self.scope["headers"]
        if len(self.headers) < len(headers) and (twice := asgi.sent_twice(headers)):
            raise RequestError(f"there are two `{twice.decode()}` headers; send one of them")
        if dialect is None:
            raise UnknownFormat(f"{self.scope['method']} {self.scope['path']} is no inference request of "
                                f"{', '.join(options.dialects)}; the API's owner can leave the path out with "
                                "[guard] paths")
        asked, changes = content, UNCHANGED
        encoding = self.headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            asked = encodings.unpacked(content, encoding, options.limit_body_bytes)
            changes = {b"content-encoding": b""}
        body = Body(asked, self.headers)
        admitted = query = self.query = dialect.read_query(body, model)
        n_rows = self.n_rows = query.n_rows
        for rule in options.rules:
            admitted = rule.admit(admitted)
        if options.flagging:
            self.is_flagged = any(rule.flags(admitted) for rule in options.flagging)
        n_answers = n_rows if query.sampling is None else n_rows * query.sampling.n
        await self._reserve(n_answers, terms.expected_bits(query.model) * n_rows if terms.meters_bits else 0.0,
                            self._tokens(query, len(asked)) if terms.meters_tokens else 0.0)
        if not options.enforce:
            return
        if admitted is not query:
            self.query = admitted
            asked, new_headers = dialect.write_query(body, admitted)
            changes = {**changes, **new_headers}
        if options.naming is not None:
            asked, changes = options.naming.names(self.account.id if terms.is_marked else "", asked, changes)
        self.content, self.changes = asked, changes

    async def admit_unread(self) -> None:
        """Admit a body that no dialect reads, as one row.

        Raises:
            LimitExceeded: as in `admit`.
        """
        await self._reserve(1, 0.0, 0.0)
        if self.options.naming is not None:
            self.changes = self.options.naming.nobody

    async def replay(self) -> asgi.Message:
        """What the app receives: the body, then whatever the server has."""
        if self._is_replayed:
            message = await self._receive()
            self.is_gone |= message["type"] == "http.disconnect"
            return message
        self._is_replayed = True
        return {"type": "http.request", "body": self.content, "more_body": False}

    def settle(self, bits: float, tokens: float | None, *, is_used: bool) -> None:
        """Turn what was reserved into what was used; an answer that wasn't served costs nothing.

        Args:
            bits: bits that were released.
            tokens: tokens that were asked and answered, None where nobody knows more than was estimated.
            is_used: whether the query was answered.
        """
        queries = 0 if is_used else -self._reserved_queries
        bits = bits - self._reserved_bits if self.terms.meters_bits else 0.0
        if not self.terms.meters_tokens or (is_used and tokens is None):
            tokens = 0.0
        else:
            tokens = (tokens if is_used and tokens is not None else 0.0) - self._reserved_tokens
        if self._reserved_queries and (queries or bits or tokens):
            self.options.store.settle(self.account.id, self.terms.limits, self.terms.costs(queries, bits, tokens))
            if queries and self.options.total_limits:
                self.options.store.settle(ALL_ACCOUNTS, self.options.total_limits, self._total(queries))
        self._reserved_queries = 0

    def _tokens(self, query: Query, n_bytes: int) -> float:
        """Tokens that a request may cost: of its body, and as many as it lets the model write."""
        self.tokens_in = n_bytes / BYTES_PER_TOKEN
        sampling = query.sampling
        if sampling is None:
            return self.tokens_in
        if sampling.max_tokens is None:
            return max(self.tokens_in, self.terms.expected_tokens(query.model))
        return self.tokens_in + max(sampling.max_tokens, 0) * sampling.best_of * query.n_rows

    async def _reserve(self, queries: int, bits: float, tokens: float) -> None:
        options, terms = self.options, self.terms
        costs = terms.costs(queries, bits, tokens)
        if (reserving := options.store.reserve(self.account.id, terms.limits, costs)) is not None:
            await reserving
        if options.total_limits:
            try:
                if (reserving := options.store.reserve(
                        ALL_ACCOUNTS, options.total_limits, self._total(queries))) is not None:
                    await reserving
            except LimitExceeded:
                options.store.settle(self.account.id, terms.limits, [-cost for cost in costs])
                raise
        self._reserved_queries, self._reserved_bits, self._reserved_tokens = queries, bits, tokens

    def _total(self, queries: int) -> list[float]:
        return [queries] * len(self.options.total_limits)
