"""Target: hellos and their extensions, read and, by a writer of our own, written again; and their fingerprints."""

from collections.abc import Callable

from tls_bytes import u16s, vector

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.tls import fingerprints
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.extensions import CLIENT_READERS, SERVER_READERS, Extensions
from tlspcap.tls.hellos import ClientHello, ServerHello
from tlspcap.tls.names import is_grease

LONGEST = 16_384
_CLIENT, _SERVER, _RETRY = 0, 1, 2


def check(data: bytes) -> None:
    """What is read holds every byte of the message once; what cannot be read of an extension is named."""
    read = Input(data)
    kind, body = read.u8() % 3, read.take(LONGEST)
    try:
        hello = _READERS[kind](body)
    except Malformed:
        return
    for name in dir(hello):
        if not name.startswith("_"):
            getattr(hello, name)
    if isinstance(hello, ClientHello):
        assert _written(hello, body) == body
        _check_client(hello)
    else:
        assert fingerprints.ja3s(hello).isalnum()
        assert kind == _RETRY or hello.legacy_version >> 8 == 0x7F or _written_by_server(hello, body) == body
        assert set(hello.malformed_extensions) <= SERVER_READERS.keys()


_READERS: dict[int, Callable[[bytes], ClientHello | ServerHello]] = {
    _CLIENT: ClientHello.parse,
    _SERVER: ServerHello.parse,
    _RETRY: ServerHello.parse_draft_retry,
}


def _check_client(hello: ClientHello) -> None:
    assert set(hello.malformed_extensions) <= CLIENT_READERS.keys()
    for codes in (hello.offered_versions[1:], hello.groups, hello.key_share_groups, hello.signature_schemes):
        assert not any(map(is_grease, codes))
    assert len(fingerprints.ja3(hello)) == 32
    ja4 = fingerprints.ja4(hello)
    assert ja4.isascii()
    assert [len(part) for part in ja4.split("_")] == [10, 12, 12]
    assert [len(part) for part in fingerprints.ja4_o(hello).split("_")] == [10, 12, 12]
    fingerprints.ja3_text(hello), fingerprints.ja4_r(hello), fingerprints.ja4_ro(hello)


def _written(hello: ClientHello, body: bytes) -> bytes:
    start = u16s(hello.legacy_version) + hello.random + vector(1, hello.session_id)
    start += vector(2, u16s(*hello.cipher_suites)) + vector(1, hello.compression_methods)
    return start + _block(hello.extensions, len(body) > len(start)) + hello.trailing


def _written_by_server(hello: ServerHello, body: bytes) -> bytes:
    start = u16s(hello.legacy_version) + hello.random + vector(1, hello.session_id)
    start += u16s(hello.cipher_suite) + bytes([hello.compression_method])
    return start + _block(hello.extensions, len(body) > len(start)) + hello.trailing


def _block(extensions: Extensions, present: bool) -> bytes:
    return vector(2, *(u16s(code) + vector(2, content) for code, content in extensions.raw)) if present else b""


def seeds() -> list[bytes]:
    """Every hello of the samples."""
    kinds = {1: _CLIENT, 2: _SERVER, 6: _RETRY}
    found = [bytes([kinds[raw.code]]) + raw.body for _, raw in samples.messages() if raw.code in kinds]
    draft = b"\x02\x7f\x12" + vector(2, u16s(51) + vector(2, u16s(29)))
    return samples.distinct([*found, draft], LONGEST)
