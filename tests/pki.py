"""A small authority and leaves for everything that can be wrong with one, and handshakes that show them."""

import base64
import datetime
from functools import cache
from typing import Any

import frames
import pandas as pd
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tlspcap.distinct import _facts
from tlspcap.tls.certificates import describe

NOW = frames.START.to_pydatetime()
DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Signer:
    """A certificate with its key, that can sign others."""

    def __init__(self, name: str, by: "Signer | None" = None, **how: Any) -> None:
        self.key: Key = how.get("key") or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self.name, (by or self).name, self.key, how.get("days", (-900, 900)))
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(_usage(True), True)
        self.der = _signed(builder, (by or self).key, self.key, how.get("hash", hashes.SHA256()))

    def leaf(self, *names: str, **how: Any) -> bytes:
        """A leaf for names; `days` it begins and ends from now, `key`, `hash`, `common_name`, `aia`."""
        key = how.get("key") or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, how.get("common_name", "leaf"))])
        builder = _builder(subject, self.name, key, how.get("days", (-30, 300)))
        builder = builder.add_extension(x509.BasicConstraints(False, None), True).add_extension(_usage(False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        if "aia" in how:
            place = x509.UniformResourceIdentifier(how["aia"])
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        return _signed(builder, self.key, key, how.get("hash", hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: tuple[float, float]) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(NOW + days[0] * DAY).not_valid_after(NOW + days[1] * DAY)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)


def _signed(builder: x509.CertificateBuilder, signer: Key, own: Key, how: Any) -> bytes:
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    return builder.sign(signer, how).public_bytes(serialization.Encoding.DER)


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key."""
    return rsa.generate_private_key(65537, bits)


ROOT = Signer("Test Root")
ISSUING = Signer("Test Issuing CA", ROOT)


def self_signed(*names: str) -> bytes:
    """A leaf that is its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    builder = _builder(subject, subject, key, (-30, 300))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return _signed(builder, key, key, hashes.SHA256())


def pem(*certificates: bytes) -> bytes:
    """Certificates as a file of roots holds them."""
    form = serialization.Encoding.PEM
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(form) for der in certificates)


def shown(*chain: bytes, **columns: Any) -> frames.Row:
    """A handshake that showed a chain, and succeeded unless told otherwise."""
    prints = [describe(der).sha256 for der in chain]
    told = {
        "certificate_sha256": prints[0],
        "chain_sha256": ",".join(prints),
        "chain_length": len(chain),
        "chain_bytes": sum(map(len, chain)),
        "chain": chain,
    }
    return {**frames.established(), **told, **columns}


def refused(*chain: bytes, alert: str | None = "bad_certificate", **columns: Any) -> frames.Row:
    """A handshake that the client ended at the server's certificate."""
    ended = {
        **frames.failed(alert=alert), "failure_side": "client", "failure_phase": "server_certificate",
        "negotiated_version": "TLS 1.2", "failure_mechanism": "alert" if alert else "close",
    }  # fmt: skip
    return (shown(*chain) if chain else {}) | ended | columns


def sealed(**columns: Any) -> frames.Row:
    """A handshake of TLS 1.3 that the client ended with an encrypted alert at a certificate that is sealed."""
    tls13 = {"version": "TLS 1.3", "negotiated_version": "TLS 1.3", "failure_mechanism": "hidden_alert"}
    return refused(alert=None) | tls13 | {"certainty": "probable"} | columns


def tables(*rows: frames.Row) -> dict[str, pd.DataFrame]:
    """The tables of handshakes, with the certificates that they showed."""
    ders = {describe(der).sha256: der for row in rows for der in row.get("chain", ())}
    certificates = [
        {
            "sha256": sha256, "role": "server", "handshakes": 1, "first_seen": frames.START, "last_seen": frames.START,
            "der": base64.b64encode(der).decode(), **_facts(describe(der)),
        }
        for sha256, der in ders.items()
    ]  # fmt: skip
    plain = [{name: value for name, value in row.items() if name != "chain"} for row in rows]
    return {"handshakes": frames.handshakes(plain), "certificates": frames.table("certificates", certificates)}
