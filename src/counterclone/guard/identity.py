"""Who is calling: request headers to an account, hashed the moment they arrive."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Protocol

import jwt

from counterclone.errors import ConfigError, Unauthenticated
from counterclone.guard.keys import KeyRing
from counterclone.queries import Account
from counterclone.randomness import Prf

ID_BYTES = 8
SHARED_BUCKETS = 65_536
PREFIX_BITS = {4: 24, 6: 48}
ACCOUNTS_KEPT = 1024
LONGEST_KEPT = 512
"""Callers choose how long their names are; longer ones are hashed each time."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Source(Protocol):
    """Where the caller's name comes from.

    Attributes:
        is_vouched: whether the owner or an issuer vouches for names, so that nobody can make them up.
    """

    is_vouched: ClassVar[bool]

    def name(self, headers: Mapping[bytes, bytes], address: str) -> bytes:
        """The caller's name, for example `key:cc_live_7f3a12bc`; empty for no credential.

        Args:
            headers: of the request, names in lower case.
            address: where it comes from.

        Raises:
            Unauthenticated: a credential is needed and missing, or it doesn't verify.
        """
        ...


class OpenKeys:
    """Bearer keys that nobody listed: each is an account of its own; no key is an account of its network."""

    is_vouched: ClassVar[bool] = False

    def name(self, headers: Mapping[bytes, bytes], address: str) -> bytes:
        """The key as a name."""
        key = _bearer(headers)
        return b"key:" + key if key else b""


class ListedKeys:
    """Bearer keys that `counterclone keys create` made."""

    is_vouched: ClassVar[bool] = True

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def name(self, headers: Mapping[bytes, bytes], address: str) -> bytes:
        """The key's visible part as a name.

        Raises:
            Unauthenticated: no key, or one that isn't listed.
        """
        key = _bearer(headers)
        if not key:
            raise Unauthenticated("no API key; send one as `Authorization: Bearer <key>`")
        record = self._ring.find(key.decode("latin-1"))
        if record is None:
            raise Unauthenticated("unknown API key; check it for mistakes or ask the API's owner for one")
        return f"key:{record.id}".encode()


class ProxyHeader:
    """A header that a trusted proxy sets after it has authenticated the caller."""

    is_vouched: ClassVar[bool] = True

    def __init__(self, header: str, proxies: Sequence[Network]) -> None:
        self._header = header.lower().encode()
        self._proxies = proxies
        self._is_trusted: OrderedDict[str, bool] = OrderedDict()

    def name(self, headers: Mapping[bytes, bytes], address: str) -> bytes:
        """The header's value as a name.

        Raises:
            Unauthenticated: the header is missing, or the request didn't come through a trusted proxy.
        """
        if not self._trusts(address):
            raise Unauthenticated("this request didn't come through the proxy that names accounts; call the "
                                  "API at its public address")
        value = headers.get(self._header)
        if not value:
            raise Unauthenticated(f"no {self._header.decode()} header; the proxy must set it")
        return b"header:" + value

    def _trusts(self, address: str) -> bool:
        known = self._is_trusted.get(address)
        if known is None:
            known = self._is_trusted[address] = _is_in(address, self._proxies)
            if len(self._is_trusted) > SHARED_BUCKETS:
                self._is_trusted.popitem(last=False)
        return known


class TokenClaim:
    """A claim of a signed JSON Web Token (RFC 7519)."""

    is_vouched: ClassVar[bool] = True

    def __init__(self, key: str, algorithms: Sequence[str], claim: str, audience: str | None) -> None:
        """Prepare to verify.

        Args:
            key: the secret or the public key.
            algorithms: the admitted signatures.
            claim: names the account.
            audience: that tokens must name, None for any.

        Raises:
            ConfigError: an algorithm can't verify with this key.
        """
        self._key = key
        self._algorithms = list(algorithms)
        self._claim = claim
        self._audience = audience
        for algorithm in algorithms:
            try:
                jwt.get_algorithm_by_name(algorithm).prepare_key(key)
            except (jwt.PyJWTError, ValueError, TypeError) as error:
                raise ConfigError(f"the tokens' key doesn't fit {algorithm} ({str(error).partition('.')[0]}); "
                                  "expected a secret for HS algorithms, a public key in PEM for the "
                                  "others") from None

    def name(self, headers: Mapping[bytes, bytes], address: str) -> bytes:
        """The claim's value as a name.

        Raises:
            Unauthenticated: no token, one that doesn't verify, or one without the claim.
        """
        token = _bearer(headers)
        if not token:
            raise Unauthenticated("no token; send one as `Authorization: Bearer <token>`")
        try:
            claims = jwt.decode(token, self._key, algorithms=self._algorithms, audience=self._audience,
                                options={"verify_aud": self._audience is not None})
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token doesn't verify ({error}); get a new one") from None
        value = claims.get(self._claim)
        if not isinstance(value, str) or not value:
            raise Unauthenticated(f"the token has no `{self._claim}` claim; get one that names its subject")
        return f"{self._claim}:{value}".encode()


class KeyTable:
    """The open keys that are accounts of their own, at most `capacity` of them.

    Once it is full, a new key takes the place of one that has been idle for `ttl_seconds`, which must
    be long enough for every limit to refill; where there is none, new keys share their network's account.
    """

    def __init__(self, capacity: int, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Keys that are accounts of their own."""
        return len(self._seen)

    def admit(self, account: str) -> bool:
        """Whether this key is an account of its own, from now on at the latest."""
        now = self._clock()
        if account in self._seen:
            self._seen.move_to_end(account)
        elif len(self._seen) >= self._capacity:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest] < self._ttl_seconds:
                return False
            del self._seen[oldest]
        self._seen[account] = now
        return True


class Identity:
    """Turns a request's credential into an account.

    Args:
        source: where the name comes from.
        prf: hashes names; nothing but the hash leaves this object.
        classes: account class by account id.
        table: bounds the accounts that open keys make.
    """

    def __init__(self, source: Source, prf: Prf, classes: Mapping[str, str], table: KeyTable) -> None:
        self._source = source
        self._prf = prf
        self._classes = classes
        self._table = table
        self._named = lru_cache(maxsize=ACCOUNTS_KEPT)(self._find_named)
        self._shared = lru_cache(maxsize=ACCOUNTS_KEPT)(self._find_shared)

    def account(self, headers: Mapping[bytes, bytes], address: str) -> Account:
        """The account of a request with these headers (lower-case names) from this address.

        Raises:
            Unauthenticated: a credential is needed and missing, or it doesn't verify.
        """
        name = self._source.name(headers, address)
        if not name:
            return self.shared(address)
        account = self._named(name) if len(name) <= LONGEST_KEPT else self._find_named(name)
        if account.account_class or self._source.is_vouched or self._table.admit(account.id):
            return account
        return self.shared(address)

    def shared(self, address: str) -> Account:
        """The account that callers of one network share: no key, or no room for another key."""
        return self._shared(address) if len(address) <= LONGEST_KEPT else self._find_shared(address)

    def _find_named(self, name: bytes) -> Account:
        account = self._prf.digest(name, ID_BYTES).hex()
        return Account(account, self._classes.get(account, ""))

    def _find_shared(self, address: str) -> Account:
        bucket = self._prf.number(b"network:" + network(address).encode()) % SHARED_BUCKETS
        return Account(account_id(self._prf, f"bucket:{bucket}"))


def account_id(prf: Prf, name: str) -> str:
    """The id of a named account, or the id itself in `account:<id>`, as journals print it."""
    kind, _, value = name.partition(":")
    return value if kind == "account" else prf.digest(name.encode(), ID_BYTES).hex()


def network(address: str) -> str:
    """The network of an address, /24 or /48; the address as it is where it is none."""
    parsed = _parsed(address)
    if parsed is None:
        return address
    return str(ipaddress.ip_network((parsed, PREFIX_BITS[parsed.version]), strict=False))


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(address: str) -> Address | None:
    """An address, as IPv4 where a socket of both kinds mapped it into IPv6; None where it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    value = headers.get(b"authorization", b"")
    return value[7:].strip() if value[:7].lower() == b"bearer " else b""
