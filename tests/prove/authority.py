"""A timestamp authority of our own (RFC 3161): it listens on the loopback, and signs as others do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """A root, a certificate under it that signs timestamps, and what it answers.

    Attributes:
        roots: the root's certificate, PEM.
        now: the time that it says.
        is_down: whether it answers 503.
        is_refusing: whether it grants nothing.
        repeats: whether it answers every question as it answered the first.
        asked: how many questions it was sent.
    """

    def __init__(self, name: str = "test authority") -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
        self.is_down = self.is_refusing = self.repeats = False
        self.asked = 0
        self._first = b""
        root_key, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = self._root = _certificate(f"{name} root", root_key, f"{name} root", root_key)
        self._leaf = _certificate(name, self._key, f"{name} root", root_key)
        self.roots = root.public_bytes(Encoding.PEM)

    def answer(self, question: bytes) -> bytes:
        """What it answers, DER."""
        self.asked += 1
        if self.is_refusing:
            return bytes.fromhex("3005 3003 020102")  # a status, 2 for rejection, and no token
        if not (self.repeats and self._first):
            self._first = self._granted(tsp.TimeStampReq.load(question))
        return self._first

    def _granted(self, request: Any) -> bytes:
        info = tsp.TSTInfo({
            "version": "v1", "policy": "1.2.3.4", "message_imprint": request["message_imprint"],
            "serial_number": self.asked, "gen_time": self.now, "nonce": request["nonce"]}).dump()
        leaf, root = (asn1_x509.Certificate.load(each.public_bytes(Encoding.DER))
                      for each in (self._leaf, self._root))
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        signed = cms.CMSAttributes([
            {"type": "content_type", "values": ["tst_info"]},
            {"type": "message_digest", "values": [hashlib.sha256(info).digest()]},
            {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({
                "certs": [tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(leaf.dump()).digest()})]})]}])
        signer = cms.SignerInfo({
            "version": "v1", "digest_algorithm": sha256, "signed_attrs": signed,
            "sid": cms.SignerIdentifier("issuer_and_serial_number", cms.IssuerAndSerialNumber({
                "issuer": leaf.issuer, "serial_number": leaf.serial_number})),
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self._key.sign(signed.dump(), ec.ECDSA(hashes.SHA256()))})
        token = cms.SignedData({
            "version": "v3", "digest_algorithms": [sha256], "certificates": [leaf, root], "signer_infos": [signer],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info)}})
        answer = bytes(tsp.TimeStampResp({
            "status": {"status": "granted"},
            "time_stamp_token": {"content_type": "signed_data", "content": token}}).dump())
        first, second = sorted([leaf.dump(), root.dump()])
        return answer.replace(first + second, second + first)  # many authorities don't sort them, as DER has it


@contextlib.contextmanager
def listening(authority: Authority) -> Iterator[str]:
    """Its address, while it listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/timestamp-query"
            question = self.rfile.read(int(self.headers["content-length"]))
            content = b"busy" if authority.is_down else authority.answer(question)
            self.send_response(503 if authority.is_down else 200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/tsr"
        finally:
            server.shutdown()
            thread.join()


def _certificate(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str,
                 issuer_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    is_root = subject == issuer
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        issuer_name=_name(issuer), subject_name=_name(subject), public_key=key.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=begin,
        not_valid_after=begin + timedelta(days=36_500))
    builder = builder.add_extension(x509.BasicConstraints(is_root, None), critical=True)
    if not is_root:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
