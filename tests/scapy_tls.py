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
