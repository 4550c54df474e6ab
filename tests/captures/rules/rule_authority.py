"""A small authority of three levels for the captures of this folder, with keys of EC, so that chains stay small."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NAME = "shop.example"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(*certificates: x509.Certificate) -> bytes:
    """Give certificates one behind the other, as servers want them in a file."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def make_key(rsa_bits: int = 0) -> Key:
    """Make a key: EC, or RSA of some size."""
    return rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A certificate that signs others: a root, or an intermediate below another."""

    def __init__(self, name: str, above: "Authority | None" = None, rsa_bits: int = 0) -> None:
        self.key, self.name = make_key(rsa_bits), _name(name)
        builder = _builder(self.name, (above or self).name, self.key, (-400, 3000))
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(_usage(authority=True), True)
        self.certificate = _signed(builder, self.key, (above or self).key)

    def leaf(self, folder: Path, above: tuple[x509.Certificate, ...], **how: Any) -> Path:
        """Write a leaf, what a server sends above it, and its key into a new file.

        `how`: `days` it begins and ends from now, `names`, `rsa_bits`, `aia`, `sha1`.
        """
        key, names = make_key(how.get("rsa_bits", 0)), how.get("names", (NAME,))
        builder = _builder(_name(names[0]), self.name, key, how.get("days", (-30, 60)))
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        builder = builder.add_extension(_usage(authority=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        if "aia" in how:
            place = x509.UniformResourceIdentifier(how["aia"])
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        certificate = _signed(builder, key, self.key)
        path = folder / f"{certificate.serial_number}.pem"
        path.write_bytes(pem(certificate, *above) + _secret(key))
        return path


def self_signed(folder: Path) -> Path:
    """Write a certificate that only itself signs, and its key."""
    key = make_key()
    builder = _builder(_name(NAME), _name(NAME), key, (-30, 60))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
    path = folder / "self-signed.pem"
    path.write_bytes(pem(_signed(builder, key, key)) + _secret(key))
    return path


def _secret(key: Key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: tuple[float, float]) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)


def _usage(authority: bool) -> x509.KeyUsage:
    """Say what the key may do (RFC 5280 4.2.1.3): sign certificates, or sign handshakes and decipher keys."""
    return x509.KeyUsage(not authority, False, not authority, False, False, authority, authority, False, False)


def _signed(builder: x509.CertificateBuilder, key: Key, signer: Key) -> x509.Certificate:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(own, False).add_extension(issuer, False).sign(signer, hashes.SHA256())
