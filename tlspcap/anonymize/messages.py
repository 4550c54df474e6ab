"""Handshake messages, replaced in place. What is not listed here becomes noise."""

from collections.abc import Callable
from typing import NamedTuple

from tlspcap.anonymize import asn1, hellos
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.anonymize.redaction import Redaction, each, keep, redact
from tlspcap.tls import ssl2
from tlspcap.tls.ciphers import Suite
from tlspcap.tls.names import SSL30, TLS12, HandshakeType

_NAMED_CURVE = 3  # ECCurveType (RFC 8422 5.4)
_SEQUENCE = 0x30


class Choice(NamedTuple):
    """What the server chose, as far as it is known: other messages are read by it."""

    version: int | None = None
    suite: Suite | None = None

    @property
    def names_schemes(self) -> bool:
        """Whether a signature's scheme stands before it (RFC 5246 7.4.3)."""
        return self.version is None or self.version >= TLS12

    @property
    def exchange(self) -> str:
        """The key exchange of the suite."""
        return self.suite.key_exchange if self.suite else ""


_Work = Callable[[Redaction, Choice], object]


def message(code: int, body: bytes, choice: Choice, names: Pseudonyms) -> bytes:
    """Replace the body of a handshake message."""
    work = _MESSAGES.get(code)
    return names.noise(body) if work is None else redact(body, names, lambda found: work(found, choice))


def ssl2_message(content: bytes, names: Pseudonyms) -> bytes:
    """Replace a message of SSL 2.0 that is sent in clear (SSL 2.0 2.5, 2.6, 2.7)."""
    work = _SSL2.get(content[0]) if content else None
    return names.noise(content) if work is None else redact(content, names, work)


def _certificate(found: Redaction, choice: Choice) -> None:
    """Certificate (RFC 5246 7.4.2), or a raw public key (RFC 7250 3)."""
    names = found.names
    if found.read.data[3:4] == bytes([_SEQUENCE]):
        found.vector(3, lambda key: asn1.replaced(key, names))
    else:
        found.vector(3, each(names, lambda one: one.vector(3, lambda der: asn1.certificate(der, names))))


def _certificate_status(found: Redaction, choice: Choice) -> None:
    """CertificateStatus (RFC 6066 8)."""
    found.keep(1)
    if not found.at_end:
        found.vector(3, lambda response: asn1.replaced(response, found.names))


def _server_key_exchange(found: Redaction, choice: Choice) -> None:
    """ServerKeyExchange (RFC 5246 7.4.3, RFC 8422 5.4, RFC 4279 2): groups, primes and schemes stay."""
    exchange = choice.exchange
    if exchange.endswith("_PSK"):
        found.vector(2)  # identity hint
    if exchange.startswith("ECDH") and found.keep(1)[0] == _NAMED_CURVE:
        found.keep(2)
        found.vector(1)
    elif exchange.startswith("DH"):
        found.vector(2, keep)
        found.vector(2, keep)
        found.vector(2)
    else:
        return
    if not found.at_end:
        _signature(found, choice)


def _signature(found: Redaction, choice: Choice) -> None:
    if choice.names_schemes:
        found.keep(2)
    found.vector(2)


def _certificate_request(found: Redaction, choice: Choice) -> None:
    """CertificateRequest (RFC 5246 7.4.4)."""
    found.vector(1, keep)
    if choice.names_schemes:
        found.vector(2, keep)
    hellos.authorities(found)


def _client_key_exchange(found: Redaction, choice: Choice) -> None:
    """ClientKeyExchange (RFC 5246 7.4.7): only lengths stay; SSL 3.0 sends an RSA secret without one."""
    if choice.exchange.startswith("ECDH"):
        found.vector(1)
    elif choice.version != SSL30:
        found.vector(2)


def _ticket(found: Redaction, choice: Choice) -> None:
    """NewSessionTicket (RFC 5077 3.3); equal tickets stay equal."""
    found.keep(4)
    found.vector(2)


_MESSAGES: dict[int, _Work] = {
    HandshakeType.CLIENT_HELLO: lambda found, _: hellos.client_hello(found),
    HandshakeType.SERVER_HELLO: lambda found, _: hellos.server_hello(found),
    HandshakeType.HELLO_RETRY_REQUEST: lambda found, _: hellos.draft_retry(found),
    HandshakeType.NEW_SESSION_TICKET: _ticket,
    HandshakeType.CERTIFICATE: _certificate,
    HandshakeType.SERVER_KEY_EXCHANGE: _server_key_exchange,
    HandshakeType.CERTIFICATE_REQUEST: _certificate_request,
    HandshakeType.CERTIFICATE_VERIFY: _signature,
    HandshakeType.CLIENT_KEY_EXCHANGE: _client_key_exchange,
    HandshakeType.CERTIFICATE_STATUS: _certificate_status,
}


# -- SSL 2.0 ------------------------------------------------------------------------------------------------------


def _ssl2_client_hello(found: Redaction) -> None:
    found.keep(3)
    ciphers, session, challenge = (int.from_bytes(found.keep(2)) for _ in range(3))
    found.keep(ciphers)
    found.replace(session)
    found.replace(challenge)


def _ssl2_server_hello(found: Redaction) -> None:
    found.keep(5)
    certificate, ciphers, connection = (int.from_bytes(found.keep(2)) for _ in range(3))
    found.replace(certificate, lambda der: asn1.certificate(der, found.names))
    found.keep(ciphers)
    found.replace(connection)


_SSL2: dict[int, Callable[[Redaction], object]] = {
    ssl2.ERROR: lambda found: found.keep(3),
    ssl2.CLIENT_HELLO: _ssl2_client_hello,
    ssl2.CLIENT_MASTER_KEY: lambda found: found.keep(10),
    ssl2.SERVER_HELLO: _ssl2_server_hello,
}
