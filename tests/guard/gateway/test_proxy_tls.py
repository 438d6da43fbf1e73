"""Targets over TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from tests.guard.gateway.conftest import Running, Start, Upstream
from tests.guard.gateway.proxied import DOWN, REQUESTS, check_error


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Makes a certificate for an address, signed by itself or by an authority in `authority.pem` beside it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key, "authority", authority_key, is_authority=True)
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))

    def make(address: str, is_signed: bool) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = ("authority", authority_key) if is_signed else (address, key)
        path = folder / f"{address}-{is_signed}.pem"
        path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption())
            + _certificate(address, key, issuer, signer).public_bytes(serialization.Encoding.PEM))
        return path

    return make


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *,
                 is_authority: bool = False) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True))
    if not is_authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), critical=False)
    return builder.sign(signer, hashes.SHA256())


@contextlib.contextmanager
def over_tls(certificate: Path, make: Callable[..., Upstream]) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with contextlib.closing(make(context)) as upstream:
        yield upstream


@pytest.mark.parametrize(("address", "is_signed", "reason"), [
    ("127.0.0.1", True, ""), ("192.0.2.1", True, "IP address mismatch"), ("127.0.0.1", False, "self-signed"),
], ids=["good", "another's", "self-signed"])
def test_a_target_over_tls_must_show_its_certificate(
        start: Start, gateway: Running, certificates: Callable[[str, bool], Path], monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture, address: str, is_signed: bool, reason: str) -> None:
    path = certificates(address, is_signed)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED",
                        ssl.create_default_context(cafile=path.parent / "authority.pem"))
    with over_tls(path, type(gateway.upstream)) as upstream:
        running = start(upstream=upstream)
        for kind, request in REQUESTS.items():
            answer = running.ask(request)
            if reason:
                check_error(kind, answer, 502, "target_down", DOWN)
            else:
                assert answer.status == (502 if kind == "oip" else 200)  # the answer is of the other dialect
    logged = " ".join(record.getMessage() for record in caplog.records if record.name.endswith("proxy"))
    assert (reason in logged) if reason else not logged
