"""Scapy's TLS layers, imported quietly, or the reason to skip."""

import warnings
from types import ModuleType

import pytest


def layers() -> ModuleType:
    """Return `scapy.layers.tls.all`."""
    pytest.importorskip("scapy", reason="scapy is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ciphers that `cryptography` moved
        import scapy.layers.tls.all as tls
    return tls


def ssl2_client_hello(ciphers: list[int], version: int, challenge: bytes) -> bytes:
    """Build a CLIENT-HELLO of SSL 2.0."""
    return bytes(layers().SSLv2ClientHello(version=version, ciphers=ciphers, challenge=challenge))


def ssl2_server_hello(certificate: bytes, ciphers: list[int], connection: bytes) -> bytes:
    """Build a SERVER-HELLO of SSL 2.0."""
    tls = layers()
    return bytes(tls.SSLv2ServerHello(cert=tls.Cert(certificate), ciphers=ciphers, connection_id=connection))


def ssl2_master_key(cipher: int, clear: bytes, encrypted: bytes, argument: bytes) -> bytes:
    """Build a CLIENT-MASTER-KEY of SSL 2.0."""
    return bytes(layers().SSLv2ClientMasterKey(cipher=cipher, clearkey=clear, encryptedkey=encrypted, keyarg=argument))
