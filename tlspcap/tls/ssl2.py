"""SSL 2.0: its messages and records, and the ClientHello in its form with which old clients begin SSL 3.0 and TLS.

Numbers behind "SSL 2.0" are sections of Netscape's "SSL 2.0 Protocol Specification", published as
draft-hickman-netscape-ssl-00. RFC 5246 E.2 tells of the hello that SSL 3.0 and TLS took over.

Records have no type, and nothing but a length in front. So they are read only in a conversation that begins with a
hello of this form, whose lengths all fit: in mid-stream they cannot be told from anything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from tlspcap.tls.cursor import Cursor, Malformed
from tlspcap.tls.hellos import ClientHello
from tlspcap.tls.names import SSL20, SSL30, TLS12

ERROR, CLIENT_HELLO, CLIENT_MASTER_KEY, CLIENT_FINISHED, SERVER_HELLO = 0, 1, 2, 3, 4  # SSL 2.0 C.3
SERVER_VERIFY, SERVER_FINISHED, REQUEST_CERTIFICATE, CLIENT_CERTIFICATE = 5, 6, 7, 8
MESSAGE_NAMES = {
    ERROR: "error", CLIENT_HELLO: "client_hello", CLIENT_MASTER_KEY: "client_master_key",
    CLIENT_FINISHED: "client_finished", SERVER_HELLO: "server_hello", SERVER_VERIFY: "server_verify",
    SERVER_FINISHED: "server_finished", REQUEST_CERTIFICATE: "request_certificate",
    CLIENT_CERTIFICATE: "client_certificate",
}  # fmt: skip
ERROR_NAMES = {  # SSL 2.0 C.8
    1: "SSL_PE_NO_CIPHER", 2: "SSL_PE_NO_CERTIFICATE", 4: "SSL_PE_BAD_CERTIFICATE",
    6: "SSL_PE_UNSUPPORTED_CERTIFICATE_TYPE",
}  # fmt: skip
LONG = 0x80  # set in the first byte of a header of two bytes; without it there are three
MAC_LENGTH = 16  # of MD5, which all kinds of cipher use (SSL 2.0 1.2)
SESSION_ID_LENGTH = 16  # SSL 2.0 C.7
CHALLENGE_LENGTHS = CONNECTION_ID_LENGTHS = range(16, 33)  # SSL 2.0 2.5, C.7; OpenSSL sends no other connection id
ERROR_LENGTH = 3
NO_KIND = 0  # of cipher: none has this number
HELLO_START = 13  # bytes that tell a hello: the client's takes 11
_X509 = 1  # CERTIFICATE-TYPE (SSL 2.0 C.5)
_CLIENT = Struct(">HBHHHH")  # record length, type, version; lengths of cipher specs, session id, challenge
_SERVER = Struct(">HBBBHHHH")  # length, type, hit, certificate type, version; certificate, cipher specs, connection id


def hello_type(content: bytes) -> int:
    """1 or 2, as TLS numbers them, where bytes begin with a ClientHello or a ServerHello whose lengths fit, else 0."""
    if len(content) < _CLIENT.size or content[0] < LONG:
        return 0
    if content[2] == CLIENT_HELLO:
        return 1 if _is_client_hello(*_CLIENT.unpack_from(content)) else 0
    if content[2] == SERVER_HELLO and len(content) >= _SERVER.size:
        return 2 if _is_server_hello(*_SERVER.unpack_from(content)) else 0
    return 0


def may_begin_hello(content: bytes) -> bool:
    """Whether bytes that are too few to tell may begin a hello."""
    if len(content) >= HELLO_START or content[0] < LONG:
        return False
    kind = content[2:3]
    return kind in (b"", bytes([SERVER_HELLO])) or (kind == bytes([CLIENT_HELLO]) and len(content) < _CLIENT.size)


def _is_client_hello(length: int, _: int, version: int, ciphers: int, session: int, challenge: int) -> bool:
    known = version == SSL20 or SSL30 <= version <= TLS12
    lengths = ciphers and ciphers % 3 == 0 and session in (0, SESSION_ID_LENGTH) and challenge in CHALLENGE_LENGTHS
    return bool(known and lengths) and length & 0x7FFF == 9 + ciphers + session + challenge


def _is_server_hello(
    length: int, _: int, hit: int, certificate_type: int, version: int, certificate: int, ciphers: int, connection: int
) -> bool:
    """A server that found the session sends neither certificate nor ciphers (SSL 2.0 2.6)."""
    fits = version == SSL20 and ciphers % 3 == 0 and connection in CONNECTION_ID_LENGTHS
    lengths = not (certificate_type or certificate or ciphers) if hit else certificate_type == _X509 and certificate > 0
    return fits and hit <= 1 and lengths and length & 0x7FFF == 11 + certificate + ciphers + connection


@dataclass(frozen=True, slots=True)
class ServerHello:
    """SERVER-HELLO (SSL 2.0 2.6). It chooses no cipher: the client does, among those that it lists."""

    session_id_hit: bool
    certificate_type: int
    version: int
    certificate: bytes
    cipher_kinds: tuple[int, ...]
    connection_id: bytes


@dataclass(frozen=True, slots=True)
class ClientMasterKey:
    """CLIENT-MASTER-KEY (SSL 2.0 2.5)."""

    cipher_kind: int
    clear_key: bytes
    encrypted_key: bytes
    key_argument: bytes


@dataclass(frozen=True, slots=True)
class Error:
    """ERROR (SSL 2.0 2.7)."""

    code: int


Message = ClientHello | ServerHello | ClientMasterKey | Error


def error_name(code: int) -> str:
    """Return the name of an error.

    >>> error_name(1), error_name(3)
    ('SSL_PE_NO_CIPHER', '0x0003')
    """
    return ERROR_NAMES.get(code) or f"0x{code:04x}"


def _kinds(data: bytes) -> tuple[int, ...]:
    """Cipher kinds, three bytes each; those of SSL 3.0 and TLS begin with a zero (RFC 5246 E.2)."""
    return tuple(int.from_bytes(data[at : at + 3]) for at in range(0, len(data) - 2, 3))


def _client_hello(read: Cursor) -> ClientHello:
    """CLIENT-HELLO, in the fields of later ones; the challenge stands at the end of their random (RFC 5246 E.2)."""
    version, ciphers, session, challenge = read.u16(), read.u16(), read.u16(), read.u16()
    kinds, session_id = _kinds(read.take(ciphers)), read.take(session)
    random = read.take(challenge).rjust(32, b"\0")
    return ClientHello(version, random, session_id, kinds, b"\0")


def _server_hello(read: Cursor) -> ServerHello:
    hit, certificate_type, version = read.u8() != 0, read.u8(), read.u16()
    certificate, ciphers, connection = read.u16(), read.u16(), read.u16()
    chain, kinds = read.take(certificate), _kinds(read.take(ciphers))
    return ServerHello(hit, certificate_type, version, chain, kinds, read.take(connection))


def _client_master_key(read: Cursor) -> ClientMasterKey:
    kind, clear, encrypted, argument = read.u24(), read.u16(), read.u16(), read.u16()
    return ClientMasterKey(kind, read.take(clear), read.take(encrypted), read.take(argument))


_PARSERS: dict[int, Callable[[Cursor], Message]] = {
    ERROR: lambda read: Error(read.u16()),
    CLIENT_HELLO: _client_hello,
    CLIENT_MASTER_KEY: _client_master_key,
    SERVER_HELLO: _server_hello,
}


def parse(content: bytes) -> Message:
    r"""Read a message that is sent in clear from the content of its record. Raises Malformed where it is none.

    >>> parse(b"\x00\x00\x01")
    Error(code=1)
    """
    read = Cursor(content, "SSL 2.0 message")
    parser = _PARSERS.get(read.u8())
    if parser is None:
        raise Malformed(read.where, 0)
    message = parser(read)
    if not read.at_end:
        raise Malformed(read.where, read.offset)
    return message
