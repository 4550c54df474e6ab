"""The certificates of the lab: two small authorities, and leaves for everything that can be wrong with one."""

import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Authority = tuple[x509.Certificate, Key, bytes]  # certificate, key, PEM of what a server sends above its leaf


def make(directory: Path) -> None:
    """Write every certificate and key of the lab as PEM files."""
    root, other = _authority("Lab Root"), _authority("Other Root")
    (directory / "ca.pem").write_bytes(_pem(root[0]))
    (directory / "other_ca.pem").write_bytes(_pem(other[0]))
    _leaf(directory / "server", root, "lab.example")
    _leaf(directory / "expired", root, "lab.example", to_day=-5)
    _leaf(directory / "untrusted", other, "lab.example")
    _leaf(directory / "selfsigned", None, "lab.example")
    _leaf(directory / "client", root, "device-7", client=True)
    _leaf(directory / "client_other", other, "device-8", client=True)
    _leaf(directory / "client_expired", root, "device-9", to_day=-5, client=True)
    above = _authority("Lab Policy CA", root, big=True)
    _leaf(directory / "long", _authority("Lab Issuing CA", above, big=True), "lab.example", big=True)
    _nss_database(directory)


def _nss_database(directory: Path) -> None:
    """Make a database for NSS of each leaf and the trusted root (one holds only one certificate of a name)."""
    for key_file in (None, *sorted(directory.glob("*.key"))):
        stem = key_file.stem if key_file else "none"
        database = directory / f"nss_{stem}"
        database.mkdir()
        quiet = {"cwd": directory, "check": True, "capture_output": True}
        subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], **quiet)
        trust = ["-n", "ca", "-t", "CT,,", "-a", "-i", "ca.pem"]
        subprocess.run(["certutil", "-A", "-d", f"sql:{database}", *trust], **quiet)
        if key_file is None:
            continue
        chain = x509.load_pem_x509_certificates(key_file.with_suffix(".pem").read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        packed = pkcs12.serialize_key_and_certificates(
            stem.encode(), key, chain[0], chain[1:], serialization.BestAvailableEncryption(b"lab")
        )
        (directory / f"{stem}.p12").write_bytes(packed)
        subprocess.run(["pk12util", "-i", f"{stem}.p12", "-d", f"sql:{database}", "-W", "lab", "-K", ""], **quiet)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key(big: bool) -> Key:
    return rsa.generate_private_key(65537, 2048) if big else ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(subject: str, issuer: x509.Name, key: Key, to_day: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - 40 * DAY).not_valid_after(now + to_day * DAY)


def _usage(authority: bool, encipherment: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not authority, False, encipherment, False, False, authority, authority, False, False)


def _authority(name: str, above: Authority | None = None, big: bool = False) -> Authority:
    key = _key(big)
    issuer, signer = (above[0].subject, above[1]) if above else (_name(name), key)
    builder = _builder(name, issuer, key, 3000)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    builder = builder.add_extension(_usage(True, False), True)
    certificate = _signed(builder, key, signer)
    return certificate, key, (_pem(certificate) + above[2]) if above else b""


def _leaf(
    path: Path, authority: Authority | None, name: str, to_day: int = 3000, client: bool = False, big: bool = False
) -> None:
    key = _key(big)
    issuer, signer, above = (authority[0].subject, authority[1], authority[2]) if authority else (_name(name), key, b"")
    builder = _builder(name, issuer, key, to_day)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = builder.add_extension(x509.BasicConstraints(False, None), True).add_extension(_usage(False, big), True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    certificate = _signed(builder, key, signer)
    path.with_suffix(".pem").write_bytes(_pem(certificate) + above)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(secret)


def _signed(builder: x509.CertificateBuilder, key: Key, signer: Key) -> x509.Certificate:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(own, False).add_extension(issuer, False).sign(signer, hashes.SHA256())
