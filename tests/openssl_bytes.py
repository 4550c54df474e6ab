"""Real TLS bytes without a network: Python's OpenSSL through memory BIOs, with a certificate made on the spot."""

import contextlib
import datetime
import ssl
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def certificate(key: Key, *names: str, subject: str = "localhost") -> bytes:
    """Return a self-signed certificate, DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(4711).not_valid_before(START).not_valid_after(START + datetime.timedelta(days=90))
    alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names or ("localhost",)])
    signed = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@cache
def key(kind: str) -> Key:
    """Return a private key, "EC" or "RSA"."""
    return ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)


def _server_context(kind: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    private = key(kind).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        Path(file.name).write_text(private.decode() + ssl.DER_cert_to_PEM_cert(certificate(key(kind))))
        context.load_cert_chain(file.name)
    return context


def client_context() -> ssl.SSLContext:
    """Return a client that believes any certificate, and offers TLS 1.2 and 1.3 whatever the system's settings are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:!PSK:!SRP")  # these two are only offered with keys of their kind
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello(context: ssl.SSLContext | None = None, name: str | None = "www.example.com") -> bytes:
    """Return the body of the ClientHello that OpenSSL sends."""
    outgoing = ssl.MemoryBIO()
    client = (context or client_context()).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[9:]


@dataclass
class Exchange:
    """A handshake and one message of application data, as each side's bytes."""

    client: bytearray = field(default_factory=bytearray)
    server: bytearray = field(default_factory=bytearray)
    data: bytes = b""  # what the client sent after the handshake
    cipher: str = ""


def exchange(version: ssl.TLSVersion, ciphers: str | None = None, kind: str = "EC", plain: int = 100) -> Exchange:
    """Let OpenSSL's client and server shake hands and send `plain` bytes."""
    server_side, client_side = _server_context(kind), client_context()
    for context in (server_side, client_side):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, which are wanted here
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
    to_server, to_client, result = ssl.MemoryBIO(), ssl.MemoryBIO(), Exchange()
    client = client_side.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side, sent, log in ((client, to_server, result.client), (server, to_client, result.server)):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            _pass_on(sent, log)
    result.cipher = client.cipher()[0]
    client.write(bytes(plain))
    result.data = to_server.read()
    return result


def _pass_on(sent: ssl.MemoryBIO, log: bytearray) -> None:
    chunk = sent.read()
    log += chunk
    sent.write(chunk)
