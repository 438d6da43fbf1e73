from __future__ import annotations

import base64
import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from counterclone.errors import ConfigError, Unauthenticated
from counterclone.guard.identity import (
    PREFIX_BITS,
    SHARED_BUCKETS,
    Identity,
    KeyTable,
    ListedKeys,
    OpenKeys,
    ProxyHeader,
    Source,
    TokenClaim,
    account_id,
    network,
)
from counterclone.guard.keys import KeyRing
from counterclone.queries import Account
from counterclone.randomness import Prf, generator

if TYPE_CHECKING:
    from tests.conftest import Clock

PRF = Prf.from_secret("identity")
HOME = "192.0.2.7"


def bearer(key: str | bytes) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + (key.encode() if isinstance(key, str) else key)}


# Open keys

@pytest.mark.parametrize(("value", "name"), [
    (b"Bearer abc", b"key:abc"), (b"bearer abc", b"key:abc"), (b"BEARER   abc  ", b"key:abc"),
    (b"Bearer \xff\x00", b"key:\xff\x00"), (b"Bearer ", b""), (b"Bearer", b""), (b"Basic abc", b""), (b"", b""),
], ids=["plain", "lower case", "spaces", "any bytes", "empty", "no space", "basic", "nothing"])
def test_an_open_key_is_a_name(value: bytes, name: bytes) -> None:
    assert OpenKeys().name({b"authorization": value}, HOME) == name


def test_no_header_is_no_name() -> None:
    assert OpenKeys().name({}, HOME) == b""


# Listed keys

@pytest.fixture(name="ring")
def fixture_ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.json", PRF)


def test_a_listed_key_is_named_by_its_visible_part(ring: KeyRing) -> None:
    key = ring.create("alice")
    assert ListedKeys(ring).name(bearer(key), HOME) == f"key:{ring.records[0].id}".encode()


@pytest.mark.parametrize(("headers", "message"), [
    ({}, "no API key; send one as `Authorization: Bearer <key>`"),
    (bearer("cc_live_00000000_00"), "unknown API key; check it for mistakes or ask the API's owner for one"),
    (bearer(b"\xff\xfe"), "unknown API key; check it for mistakes or ask the API's owner for one"),
], ids=["none", "unknown", "not ASCII"])
def test_another_key_is_refused(ring: KeyRing, headers: dict[bytes, bytes], message: str) -> None:
    ring.create("alice")
    with pytest.raises(Unauthenticated) as caught:
        ListedKeys(ring).name(headers, HOME)
    assert str(caught.value) == message


# A header of a trusted proxy

PROXIES = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "2001:db8::/32")]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "2001:db8::5", "::ffff:127.0.0.1"],
                         ids=["IPv4", "same network", "IPv6", "IPv6 network", "IPv4 mapped into IPv6"])
def test_a_trusted_proxy_names_the_account(address: str) -> None:
    source = ProxyHeader("X-Account", PROXIES)
    for _ in range(2):  # the second time from memory
        assert source.name({b"x-account": b"alice"}, address) == b"header:alice"


@pytest.mark.parametrize("address", ["192.0.2.1", "::2", "::ffff:192.0.2.1", "", "testclient", "/run/app.sock"],
                         ids=["IPv4", "IPv6", "mapped", "none", "a word", "a path"])
def test_nobody_else_does(address: str) -> None:
    source = ProxyHeader("x-account", PROXIES)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="didn't come through the proxy that names accounts"):
            source.name({b"x-account": b"alice"}, address)


def test_the_proxy_must_set_the_header() -> None:
    with pytest.raises(Unauthenticated, match="no x-account header; the proxy must set it"):
        ProxyHeader("x-account", PROXIES).name({}, "::1")


def test_addresses_that_were_judged_are_forgotten() -> None:
    source = ProxyHeader("x-account", [ipaddress.ip_network("0.0.0.0/0")])
    for number in range(SHARED_BUCKETS + 100):
        source.name({b"x-account": b"a"}, str(ipaddress.IPv4Address(number)))
    assert len(source._is_trusted) == SHARED_BUCKETS


# A claim of a token

SECRET = "0123456789abcdef0123456789abcdef"
FOREIGN = "f" * 32
NOW = int(time.time())
Signer = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def public(key: Signer) -> str:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**others: Any) -> dict[str, Any]:
    return {"sub": "alice", "exp": NOW + 3600, **others}


def signed(algorithm: str, key: Any, **others: Any) -> str:
    return jwt.encode(claims(**others), key, algorithm=algorithm)


@pytest.mark.parametrize(("algorithm", "signer", "verifier"), [
    ("HS256", SECRET, SECRET), ("HS512", SECRET * 2, SECRET * 2), ("RS256", RSA, public(RSA)),
    ("PS256", RSA, public(RSA)), ("ES256", CURVE, public(CURVE)),
], ids=["HS256", "HS512", "RS256", "PS256", "ES256"])
def test_a_verified_token_names_the_account(algorithm: str, signer: Any, verifier: str) -> None:
    source = TokenClaim(verifier, [algorithm], "sub", None)
    assert source.name(bearer(signed(algorithm, signer)), HOME) == b"sub:alice"


def test_another_claim_may_name_it() -> None:
    source = TokenClaim(SECRET, ["HS256"], "client_id", None)
    assert source.name(bearer(signed("HS256", SECRET, client_id="café")), HOME) == "client_id:café".encode()


@pytest.mark.parametrize("audience", ["api", ["other", "api"]], ids=["one", "among others"])
def test_a_token_for_us_is_taken(audience: str | list[str]) -> None:
    source = TokenClaim(SECRET, ["HS256"], "sub", "api")
    assert source.name(bearer(signed("HS256", SECRET, aud=audience)), HOME) == b"sub:alice"


def test_without_an_audience_any_is_taken() -> None:
    source = TokenClaim(SECRET, ["HS256"], "sub", None)
    assert source.name(bearer(signed("HS256", SECRET, aud="somebody")), HOME) == b"sub:alice"


def part(value: Any) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def unsigned(header: Any, payload: Any) -> bytes:
    return b".".join([part(header), part(payload), b""])


def tampered() -> str:
    head, _, signature = signed("HS256", SECRET).split(".")
    return ".".join([head, part(claims(sub="mallory")).decode(), signature])


def confused() -> bytes:
    """A token that is signed with the public key as if it were a secret."""
    body = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    signature = jwt.get_algorithm_by_name("HS256").sign(body, public(RSA).encode())
    return body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


@pytest.mark.parametrize("token", [
    signed("HS256", SECRET, exp=NOW - 10), signed("HS256", SECRET, nbf=NOW + 600), signed("HS256", FOREIGN),
    tampered(), unsigned({"alg": "none"}, claims()), unsigned({"alg": "None"}, claims()),
    unsigned({"alg": "HS256"}, claims()), signed("HS512", SECRET * 2), b"abc", b"a.b.c", b"\xff\xfe.\xff.\xff",
    unsigned(b"[" * 48_000, claims()), unsigned([1], claims()), unsigned({"alg": ["HS256"]}, claims()),
    signed("HS256", SECRET, exp="never"),
], ids=["expired", "not yet valid", "signed by another", "tampered with", "alg none", "alg None", "no signature",
        "another algorithm", "one part", "no JSON", "not ASCII", "deep header", "header a list", "alg a list",
        "odd expiry"])
def test_a_token_that_does_not_verify_is_refused(token: str | bytes) -> None:
    with pytest.raises(Unauthenticated, match=r"^the token doesn't verify \(.+\); get a new one$") as caught:
        TokenClaim(SECRET, ["HS256"], "sub", None).name(bearer(token), HOME)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", [signed("HS256", SECRET), signed("HS256", SECRET, aud="other"),
                                   signed("HS256", SECRET, aud=[])], ids=["none", "another", "empty"])
def test_a_token_for_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated, match="the token doesn't verify"):
        TokenClaim(SECRET, ["HS256"], "sub", "api").name(bearer(token), HOME)


@pytest.mark.parametrize("algorithms", [["RS256"], ["RS256", "PS256"]], ids=["one", "two of one key"])
def test_a_public_key_is_no_secret(algorithms: list[str]) -> None:
    with pytest.raises(Unauthenticated, match="the token doesn't verify"):
        TokenClaim(public(RSA), algorithms, "sub", None).name(bearer(confused()), HOME)


@pytest.mark.parametrize("others", [{"client": ""}, {"client": 7}, {"client": ["a"]}, {}],
                         ids=["empty", "a number", "a list", "missing"])
def test_a_token_without_the_claim_is_refused(others: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="the token has no `client` claim; get one that names its subject"):
        TokenClaim(SECRET, ["HS256"], "client", None).name(bearer(signed("HS256", SECRET, **others)), HOME)


def test_no_token_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="no token; send one as `Authorization: Bearer <token>`"):
        TokenClaim(SECRET, ["HS256"], "sub", None).name({}, HOME)


@pytest.mark.parametrize(("key", "algorithms"), [
    (SECRET, ["RS256"]), (SECRET, ["ES256"]), (SECRET, ["EdDSA"]), (SECRET, ["HS256", "PS256"]),
    (public(RSA), ["HS256"]), (public(RSA), ["RS256", "HS256"]), (public(CURVE), ["RS256"]),
], ids=["secret as RSA", "secret as curve", "secret as Edwards curve", "secret as both", "public as secret",
        "public as both", "curve as RSA"])
def test_a_key_that_cannot_verify_is_a_mistake_of_the_configuration(key: str, algorithms: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^the tokens' key doesn't fit .*; expected a secret for HS") as caught:
        TokenClaim(key, algorithms, "sub", None)
    assert len(caught.value.problems) == 1
    assert key not in str(caught.value)


# Accounts

def identity(source: Source | None = None, classes: Mapping[str, str] | None = None, *, capacity: int = 100,
             clock: Callable[[], float] = time.monotonic) -> Identity:
    return Identity(source or OpenKeys(), PRF, classes or {}, KeyTable(capacity, 60.0, clock))


def test_an_account_is_a_hash() -> None:
    account = identity().account(bearer("sk-very-secret"), HOME)
    assert account == Account(PRF.digest(b"key:sk-very-secret", 8).hex(), "")
    assert "secret" not in repr(account)


def test_the_same_key_is_the_same_account_from_anywhere() -> None:
    who = identity()
    assert who.account(bearer("a"), HOME) == who.account(bearer("a"), "2001:db8::1")
    assert who.account(bearer("a"), HOME) != who.account(bearer("b"), HOME)


def test_another_secret_gives_other_accounts() -> None:
    other = Identity(OpenKeys(), Prf.from_secret("other"), {}, KeyTable(9, 60.0))
    assert other.account(bearer("a"), HOME) != identity().account(bearer("a"), HOME)


class Named(NamedTuple):
    source: Source
    headers: dict[bytes, bytes]
    name: str


@pytest.mark.parametrize("named", [
    Named(OpenKeys(), bearer("abc"), "key:abc"),
    Named(ProxyHeader("x-account", PROXIES), {b"x-account": b"alice"}, "header:alice"),
    Named(TokenClaim(SECRET, ["HS256"], "sub", None), bearer(signed("HS256", SECRET)), "sub:alice"),
], ids=["key", "header", "claim"])
def test_a_class_is_found_by_name_and_by_id(named: Named) -> None:
    plain = identity(named.source).account(named.headers, "::1")
    for name in (named.name, f"account:{plain.id}"):
        who = identity(named.source, {account_id(PRF, name): "partners"})
        assert who.account(named.headers, "::1") == Account(plain.id, "partners")


def test_a_listed_key_has_a_class_by_its_visible_part(ring: KeyRing) -> None:
    key = ring.create("alice")
    classes = {account_id(PRF, f"key:{ring.records[0].id}"): "partners"}
    assert identity(ListedKeys(ring), classes).account(bearer(key), HOME).account_class == "partners"


def test_nobody_else_is_in_a_class() -> None:
    who = identity(classes={account_id(PRF, "key:a"): "partners"})
    assert who.account(bearer("b"), HOME).account_class == ""
    assert who.account({}, HOME).account_class == ""


# Callers without a name share one by network

@pytest.mark.parametrize(("one", "other", "is_shared"), [
    ("192.0.2.7", "192.0.2.200", True), ("192.0.2.7", "192.0.3.7", False),
    ("2001:db8:1:2::1", "2001:db8:1:ffff::9", True), ("2001:db8:1::1", "2001:db8:2::1", False),
    ("192.0.2.7", "::ffff:192.0.2.9", True), ("", "", True), ("", "192.0.2.7", False),
], ids=["one /24", "two /24", "one /48", "two /48", "mapped", "no address", "none and one"])
def test_callers_of_a_network_share_an_account(one: str, other: str, is_shared: bool) -> None:
    who = identity()
    assert (who.account({}, one) == who.account({}, other)) == is_shared
    assert who.account({}, one) == who.shared(one)


@pytest.mark.parametrize(("address", "expected"), [
    ("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2::1", "2001:db8:1::/48"), ("::ffff:192.0.2.7", "192.0.2.0/24"),
    ("fe80::1%eth0", "fe80::/48"), ("unix", "unix"), ("", ""),
], ids=["IPv4", "IPv6", "mapped", "zone", "a word", "none"])
def test_networks(address: str, expected: str) -> None:
    assert network(address) == expected
    assert PREFIX_BITS == {4: 24, 6: 48}


def test_shared_accounts_are_bounded_and_hide_the_network() -> None:
    who = identity()
    seen = {who.shared(f"10.{number >> 8 & 255}.{number & 255}.1").id for number in range(65_536)}
    assert 0.5 * SHARED_BUCKETS < len(seen) < SHARED_BUCKETS
    ids = {account_id(PRF, f"bucket:{bucket}") for bucket in range(SHARED_BUCKETS)}
    assert seen <= ids


def test_names_that_cannot_be_made_up_need_no_room() -> None:
    who = identity(ProxyHeader("x-account", PROXIES), capacity=1)
    accounts = {who.account({b"x-account": b"%d" % number}, "::1") for number in range(100)}
    assert len(accounts) == 100


def test_a_class_needs_no_room() -> None:
    who = identity(classes={account_id(PRF, "key:partner"): "partners"}, capacity=1)
    who.account(bearer("first"), HOME)
    assert who.account(bearer("partner"), HOME).account_class == "partners"
    assert who.account(bearer("second"), HOME) == who.shared(HOME)


# The table of open keys

def test_a_full_table_sends_new_keys_to_their_network(clock: Clock) -> None:
    who = identity(capacity=2, clock=clock)
    first, second = (who.account(bearer(key), HOME) for key in ("first", "second"))
    assert who.account(bearer("third"), HOME) == who.shared(HOME)
    assert (who.account(bearer("first"), HOME), who.account(bearer("second"), HOME)) == (first, second)


def test_a_key_that_was_idle_long_enough_makes_room(clock: Clock) -> None:
    table = KeyTable(2, 60.0, clock)
    assert table.admit("idle")
    clock.now += 30.0
    assert table.admit("busy")
    clock.now += 29.9
    assert not table.admit("new")
    clock.now += 0.1
    assert table.admit("new")
    assert not table.admit("idle")
    assert table.admit("busy")
    assert len(table) == 2


def test_a_key_in_use_keeps_its_place(clock: Clock) -> None:
    table = KeyTable(2, 60.0, clock)
    for step in range(100):
        clock.now += 20.0
        assert table.admit("used")
        table.admit(f"other {step}")
    assert table.admit("used")


def test_a_million_random_keys_stay_bounded(clock: Clock) -> None:
    rng = generator(0, "keys")
    table = KeyTable(1000, 60.0, clock)
    n_admitted = n_kept = 0
    for key in map(str, rng.integers(2**62, size=1_000_000).tolist()):
        clock.now += 1e-3
        n_admitted += table.admit(key)
        n_kept += table.admit("mine")
        if len(table) > 1000:
            break
    assert len(table) == 1000
    assert n_kept == 1_000_000
    # 999 places, each free again a minute after it was taken, for 1,000 seconds
    assert n_admitted == pytest.approx(999 * 1000 / 60, rel=0.1)


def test_random_keys_make_few_accounts() -> None:
    who = identity(capacity=1000)
    accounts = set()
    for number in range(100_000):
        accounts.add(who.account(bearer(b"%x" % number), f"198.51.{number % 4}.{number % 251}"))
    assert len(accounts) == 1000 + 4
