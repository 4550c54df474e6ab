"""What is kept of each handshake message in the account of its handshake."""

from collections.abc import Callable

from tlspcap.tls import figures, ssl2
from tlspcap.tls.account import CLIENT, SERVER, Account
from tlspcap.tls.ciphers import suite as suite_of
from tlspcap.tls.messages import (
    Certificate,
    CertificateRequest,
    CertificateStatus,
    CertificateVerify,
    ClientHello,
    ClientKeyExchange,
    CompressedCertificate,
    EncryptedExtensions,
    Message,
    NewSessionTicket,
    ServerHello,
    ServerKeyExchange,
)
from tlspcap.tls.noting import odd
from tlspcap.tls.records import RawMessage

EMPTY_CERTIFICATE = 4  # bytes: a context of no length, and a list of none


def keep(account: Account, role: str, message: Message | ssl2.Message, raw: RawMessage) -> None:
    """Keep what a message tells; the first of its kind counts."""
    keeper = _KEEPERS.get(type(message))
    if keeper is not None:
        keeper(account, role, message, raw)


def _keep_client_hello(account: Account, role: str, message: ClientHello, raw: RawMessage) -> None:
    if role != CLIENT:
        return
    if account.hello is None:
        account.hello, account.hello_last, account.offered_max = message, raw.last, message.offered_version_max
        account.decide_rules()
    elif account.second_hello is None and account.server_hello is None:
        account.second_hello = message


def _keep_server_hello(account: Account, role: str, message: ServerHello, raw: RawMessage) -> None:
    if role != SERVER:
        return
    if message.is_retry:
        account.retry = account.retry or message
        account.is_tls13 = True  # no other version has it, whether or not the hello before it was captured
    elif account.server_hello is None:
        account.server_hello, account.server_hello_first, account.version = message, raw.first, message.version
        account.decide_rules()
        account.suite = suite_of(message.cipher_suite)
    else:
        return
    family = "1.3" if account.is_tls13 else "1.2"
    account.server.state = figures.cue(account.server.state, family)
    account.client.state = figures.cue(account.client.state, family)


def _keep_certificate(account: Account, role: str, message: Certificate, raw: RawMessage) -> None:
    if role == SERVER and account.chain is None:
        account.chain = message.certificates
        account.stapled = account.stapled or message.ocsp_stapled
    elif role == CLIENT and account.client_chain is None:
        account.client_chain = message.certificates


def _keep_compressed(account: Account, role: str, message: CompressedCertificate, raw: RawMessage) -> None:
    """Of a compressed one no more than whether it holds any: an empty Certificate is 4 bytes (RFC 8446 4.4.2)."""
    if role == CLIENT and account.client_chain is None and message.uncompressed_length <= EMPTY_CERTIFICATE:
        account.client_chain = ()


def _keep_certificate_request(account: Account, role: str, message: CertificateRequest, raw: RawMessage) -> None:
    account.certificate_request = account.certificate_request or message


def _keep_encrypted_extensions(account: Account, role: str, message: EncryptedExtensions, raw: RawMessage) -> None:
    if role == SERVER:
        account.encrypted_extensions = account.encrypted_extensions or message


def _keep_certificate_verify(account: Account, role: str, message: CertificateVerify, raw: RawMessage) -> None:
    if role == SERVER and account.is_tls13 and account.server_signature is None:
        account.server_signature = message.signature_scheme


def _keep_key_exchange(account: Account, role: str, message: ServerKeyExchange, raw: RawMessage) -> None:
    account.key_exchange = account.key_exchange or message


def _keep_status(account: Account, role: str, message: CertificateStatus, raw: RawMessage) -> None:
    if message.has_response:
        account.stapled = True
    else:
        odd(account, "bad_message", raw.first, f"certificate_status from the {role} holds no OCSP response")


def _keep_ticket(account: Account, role: str, message: NewSessionTicket, raw: RawMessage) -> None:
    account.ticket_issued = True


def _keep_client_key_exchange(account: Account, role: str, message: ClientKeyExchange, raw: RawMessage) -> None:
    if account.server_hello is None:
        account.is_tls13 = False  # no TLS 1.3 client sends one: the ServerHello that the capture lacks chose less


def _keep_ssl2_server_hello(account: Account, role: str, message: ssl2.ServerHello, raw: RawMessage) -> None:
    """In the fields of later ones; the cipher is the client's to choose (SSL 2.0 2.5)."""
    if account.ssl2 is None or account.server_hello is not None:
        return
    account.ssl2.server_hello, account.server_hello_first, account.version = message, raw.first, message.version
    taken_up = account.hello.session_id if message.session_id_hit and account.hello else b""
    account.server_hello = ServerHello(message.version, message.connection_id, taken_up, ssl2.NO_KIND, 0)
    account.chain = (message.certificate,) if message.certificate else None
    account.decide_rules()
    account.server.state = figures.cue(account.server.state, "2.0")
    account.client.state = figures.cue(account.client.state, "2.0")


def _keep_client_master_key(account: Account, role: str, message: ssl2.ClientMasterKey, raw: RawMessage) -> None:
    if account.server_hello is not None:
        account.server_hello = account.server_hello._replace(cipher_suite=message.cipher_kind)


_KEEPERS: dict[type, Callable[..., None]] = {
    ClientHello: _keep_client_hello,
    ServerHello: _keep_server_hello,
    Certificate: _keep_certificate,
    CompressedCertificate: _keep_compressed,
    CertificateRequest: _keep_certificate_request,
    EncryptedExtensions: _keep_encrypted_extensions,
    CertificateVerify: _keep_certificate_verify,
    ServerKeyExchange: _keep_key_exchange,
    CertificateStatus: _keep_status,
    NewSessionTicket: _keep_ticket,
    ClientKeyExchange: _keep_client_key_exchange,
    ssl2.ServerHello: _keep_ssl2_server_hello,
    ssl2.ClientMasterKey: _keep_client_master_key,
}
