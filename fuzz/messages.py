"""Target: one handshake message of any type, as any version (SSL 2.0 too) and cipher suite would have it read."""

import contextlib

import ssl2_bytes

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.tls import ssl2
from tlspcap.tls.ciphers import suite
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.messages import parse

LONGEST = 8_192
VERSIONS = (None, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7F12, 0x7F1C, 0x7E01, 0xFB17)
# One of each key exchange: TLS 1.3, RSA, DHE, ECDHE, PSK, DHE_PSK, RSA_PSK, ECDHE_PSK, ECDH, anonymous
SUITES = (None, *map(suite, (0x1301, 0x002F, 0x0033, 0xC02F, 0x008C, 0x00AA, 0x00AC, 0xCCAC, 0xC004, 0x0034)))

_SSL2 = 255  # stands for a record of SSL 2.0


def check(data: bytes) -> None:
    """It is read, and so is every property of it, or it is Malformed."""
    read = Input(data)
    code, version, chosen = read.u8(), VERSIONS[read.u8() % len(VERSIONS)], SUITES[read.u8() % len(SUITES)]
    body = read.take(LONGEST)
    with contextlib.suppress(Malformed):
        message = ssl2.parse(body) if code == _SSL2 else parse(code, body, version, chosen)
        for name in dir(message):
            if not name.startswith("_"):
                getattr(message, name)
        hash(message)


def seeds() -> list[bytes]:
    """Every message in clear of the samples, as its own version and as TLS 1.3 would have it read."""
    found = []
    for follower, raw in samples.messages():
        account = follower.account
        version = account.version if account and account.version in VERSIONS else 0x0303
        found += [bytes([raw.code, VERSIONS.index(one), 4]) + raw.body for one in (version, 0x0304)]
    old = (ssl2_bytes.client_hello(), ssl2_bytes.server_hello(), ssl2_bytes.master_key(), ssl2_bytes.error(1))
    found += [bytes([_SSL2, 0, 0]) + record[2:] for record in old]
    return samples.distinct(found, LONGEST)
