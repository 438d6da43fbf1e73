"""One request's way in: who asks, what is asked, and what is taken from the limits for it."""

from __future__ import annotations

from collections.abc import Mapping

from counterclone.errors import LimitExceeded, Unauthenticated, UnknownFormat
from counterclone.guard import asgi, encodings
from counterclone.guard.options import Options
from counterclone.protocols import Body
from counterclone.queries import Account, Query

ALL_ACCOUNTS = "all"
ANONYMOUS = Account("")


class Admission:
    """What is known about a request by the time that the app gets it.

    Attributes:
        account: who asks.
        terms: the policies and limits of the account.
        route: the format that reads it, and the model that it names.
        query: what is asked, as the model gets it; None where it wasn't read.
    """

    _reserved_queries = 0
    _reserved_bits = 0.0
    account: Account = ANONYMOUS
    query: Query | None = None

    def __init__(self, options: Options, scope: asgi.Scope, headers: Mapping[bytes, bytes]) -> None:
        self._options = options
        self._scope = scope
        self._headers = headers
        self.terms = options.terms[""]
        self.route = options.route(scope["method"], asgi.app_path(scope))

    def identify(self) -> None:
        """Find the account.

        Raises:
            Unauthenticated: a credential is missing or doesn't verify; the account is then its network's.
        """
        client = self._scope.get("client")
        address = client[0] if client else ""
        try:
            account = self.account = self._options.identity.account(self._headers, address)
        except Unauthenticated:
            self.account = self._options.identity.shared(address)
            raise
        if account.account_class:
            self.terms = self._options.terms[account.account_class]

    def admit(self, content: bytes) -> Body:
        """The body as the app gets it, with the headers to set instead; the same bytes where nothing changes it.

        Raises:
            UnknownFormat: no dialect reads it.
            TooLarge: it is compressed, and unpacks to more than a body may have.
            Refused: a rule doesn't admit it.
            LimitExceeded: the account, or all together, are over a limit.
        """
        options, (_, dialect, model) = self._options, self.route
        if dialect is None:
            raise UnknownFormat(f"{self._scope['method']} {self._scope['path']} is no inference request of "
                                f"{', '.join(options.dialects)}; the API's owner can leave the path out with "
                                "[guard] paths")
        asked, changed = content, dict[bytes, bytes]()
        encoding = self._headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            asked = encodings.unpacked(content, encoding, options.limit_body_bytes)
            changed[b"content-encoding"] = b""
        body = Body(asked, self._headers)
        admitted = query = self.query = dialect.read_query(body, model)
        for rule in options.rules:
            admitted = rule.admit(admitted)
        self._reserve(query.n_rows, self.terms.expected_bits(model) * query.n_rows)
        if not options.enforce:
            return Body(content)
        if admitted is not query:
            self.query = admitted
            asked, headers = dialect.write_query(body, admitted)
            changed.update(headers)
        return Body(asked, changed)

    def admit_unread(self) -> None:
        """Admit a body that no dialect reads, as one row.

        Raises:
            LimitExceeded: as in `admit`.
        """
        self._reserve(1, 0.0)

    def settle(self, bits: float, *, is_used: bool) -> None:
        """Turn what was reserved into what was used; an answer that wasn't served costs nothing.

        Args:
            bits: bits that were released.
            is_used: whether the query was answered.
        """
        queries = 0 if is_used else -self._reserved_queries
        bits -= self._reserved_bits
        if self._reserved_queries and (queries or bits):
            self._options.store.settle(self.account.id, self.terms.limits, self.terms.costs(queries, bits))
            if queries and self._options.total_limits:
                self._options.store.settle(ALL_ACCOUNTS, self._options.total_limits, self._total(queries))
        self._reserved_queries = 0

    def _reserve(self, n_rows: int, bits: float) -> None:
        options, terms = self._options, self.terms
        costs = terms.costs(n_rows, bits)
        options.store.reserve(self.account.id, terms.limits, costs)
        if options.total_limits:
            try:
                options.store.reserve(ALL_ACCOUNTS, options.total_limits, self._total(n_rows))
            except LimitExceeded:
                options.store.settle(self.account.id, terms.limits, [-cost for cost in costs])
                raise
        self._reserved_queries, self._reserved_bits = n_rows, bits

    def _total(self, queries: int) -> list[float]:
        return [queries] * len(self._options.total_limits)
