"""The schema of every table, declared once: column -> dtype, unit, meaning, and whether it is filled yet.

docs/tables.md is generated from here, and `tables.py` builds every DataFrame from here. No column is named as
part of a table anywhere else.
"""

from dataclasses import dataclass
from enum import StrEnum

from tlspcap.tls import verdict

STRING = "string"
TIME = "datetime64[ns, UTC]"
DATE = "datetime64[us, UTC]"  # of certificates: they run to the year 9999, which nanoseconds cannot say
TRANSPORTS = ("tcp", "dtls", "quic")
STARTTLS = (
    "none", "smtp", "imap", "pop3", "ftp", "xmpp", "ldap", "postgresql", "mysql", "irc", "nntp", "sieve", "rdp",
    "connect", "socks4", "socks5",
)  # fmt: skip
SENDERS = ("client", "server")
NOTE_KINDS = {
    "tls_without_hello": "TLS records of a conversation whose hellos were not captured; no row is made of it",
    "http_on_tls_port": "plain HTTP sent to a server that speaks TLS on that port",
    "tls_to_plain_port": "a ClientHello answered by something that is not TLS",
    "starttls_refused": "a request for TLS (STARTTLS) or for a way through a proxy that the server declined",
    "gap": "bytes of a handshake that the capture does not hold",
    "conflicting_retransmission": "bytes sent again with other content; the first seen were used",
    "conflicting_fragments": "IP fragments that overlap in different bytes; the first seen were used",
    "unreadable_packets": "packets that could not be read, by link type and reason, with their count",
    "cut_packets": "packets of which the capture holds only the beginning (snapshot length), with their count",
    "truncated_file": "the file ends inside a packet, or holds bytes that are no packet; says the byte offset",
    "cap_reached": "a bound on buffers or counts was reached; says which",
    "files_overlap": "a file begins before the one before it ends: handshakes across them are not joined",
    "clock_stepped_back": "packet times that run backwards within the file",
    "bad_message": "a handshake message or record that does not parse",
    "unexpected_message": "a message that the RFC's message flow does not allow at that place",
    "keys_do_not_fit": "secrets of a key log that do not open a record of their handshake; it stays sealed",
    "keys_incomplete": "a key log lacks a secret of a handshake it knows, or the cipher suite cannot be opened",
    "key_log": "a key log that holds lines in no known form, or no secret of any handshake of the capture",
    "odd_certificate": "a certificate that breaks a rule, or of which something could not be read",
    "no_tls": "no TLS handshake was found; says what was there instead",
}


def _words(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in enum)


@dataclass(frozen=True)
class Column:
    """One column: its dtype (a category lists its values), unit and meaning."""

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    values: tuple[str, ...] = ()  # the closed list of a category, in order
    filled: bool = True  # False: reserved by the contract, NA for now

    @property
    def pandas_dtype(self) -> object:
        """The dtype to build a Series with."""
        import pandas as pd

        return pd.CategoricalDtype(list(self.values)) if self.values else self.dtype


@dataclass(frozen=True)
class Table:
    """One table: its columns in order, and what a row is."""

    name: str
    row: str
    columns: tuple[Column, ...]
    index: str | None = None
    key: tuple[str, ...] = ()  # of a table of what handshakes share, the columns that tell its rows apart

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        """Return the column called `name`."""
        return next(column for column in self.columns if column.name == name)


def _text(name: str, meaning: str, filled: bool = True) -> Column:
    return Column(name, STRING, meaning, filled=filled)


def _category(name: str, values: tuple[str, ...], meaning: str, filled: bool = True) -> Column:
    return Column(name, "category", meaning, values=values, filled=filled)


def _ms(name: str, meaning: str, filled: bool = True) -> Column:
    return Column(name, "float64", meaning, unit="ms", filled=filled)


ID = _text("id", "stable identity of the handshake: hash of the file's first packets, transport, stream, ordinal, time")
CAPTURE = _text("capture", "file that holds the first byte, as given")
STREAM = Column("stream", "int64", "conversation number, as Wireshark's tcp.stream for that file")
FRAME = Column("frame", "int64", "packet number, from 1, as Wireshark's frame.number, of the first byte")
WHEN = Column("time", TIME, "when that packet was captured")
HANDSHAKE = Column("handshake", "int64", "row of the handshakes table that it belongs to")
MAYBE_ID = _text("id", "identity of the handshake it belongs to; NA where there is none")
MAYBE_HANDSHAKE = Column("handshake", "Int64", "row of the handshakes table that it belongs to; NA where there is none")
OFFSET = _ms("offset_ms", "time since the ClientHello")
SENDER = _category("sender", SENDERS, "who sent it")
TRANSPORT = _category("transport", TRANSPORTS, "what carries the handshake")
FIRST_SEEN = Column("first_seen", TIME, "first handshake that showed it")
LAST_SEEN = Column("last_seen", TIME, "last handshake that showed it")
SHOWN = Column("handshakes", "int64", "handshakes that showed it")

HANDSHAKES = Table("handshakes", "one TLS handshake of which a ClientHello or a ServerHello was seen", (
    ID,
    _text("capture", "file that holds the hello's first byte, as given"),
    TRANSPORT,
    STREAM,
    Column("frame", "int64", "packet that carries the first byte of the ClientHello (else of the ServerHello)"),
    WHEN,
    _text("client_ip", "innermost address of who sent the ClientHello or got the ServerHello"),
    _text("server_ip", "innermost address of the other side"),
    Column("client_port", "int32", "TCP port of the client"),
    Column("server_port", "int32", "TCP port of the server"),
    _category("starttls", STARTTLS,
              "protocol that led to TLS before the hello; none: nothing was seen before it; NA: something else was"),
    _text("sni", "host name asked for"),
    _text("alpn_offered", "application protocols offered, comma-joined in order"),
    _text("alpn", "application protocol chosen; NA where it is sealed"),
    _text("offered_versions", "versions offered, comma-joined, highest first"),
    _text("offered_version_max", "highest version offered"),
    _text("negotiated_version", "version the server chose; NA without a ServerHello"),
    _text("version", "negotiated_version, else offered_version_max: the key of \"per version\""),
    _text("cipher", "cipher suite chosen"),
    Column("cipher_code", "Int32", "its code point"),
    _text("group", "named group of the key exchange; NA for static RSA"),
    Column("dh_bits", "Int16", "size of the prime of an explicit DH key exchange", unit="bits"),
    _text("signature_scheme", "of the server's key exchange, in TLS 1.3 of its CertificateVerify, where visible"),
    Column("forward_secrecy", "boolean", "recorded traffic stays safe if the server's key leaks; by cipher, version"),
    Column("hello_retry", "bool", "a HelloRetryRequest was seen"),
    _category("resumption", ("none", "declined", "session_id", "ticket", "psk"),
              "how an earlier session was taken up; an external PSK cannot be told apart"),
    Column("resumed", "bool", "resumption is session_id, ticket or psk"),
    _category("early_data", ("none", "offered", "accepted", "rejected", "unknown"), "what became of 0-RTT data"),
    Column("ech_offered", "bool", "an encrypted ClientHello extension was sent, a GREASE one included"),
    Column("ocsp_stapled", "boolean", "the server stapled an OCSP response, where visible"),
    Column("secure_renegotiation", "boolean", "both sides support RFC 5746, where visible"),
    _category("client_auth", ("not_requested", "requested", "no_certificate", "certificate", "hidden", "unknown"),
              "what became of client authentication; requested: no answer was seen; hidden: sealed"),
    _text("certificate_sha256", "server leaf, where visible; joins `certificates`"),
    _text("chain_sha256", "whole server chain as sent, comma-joined"),
    Column("chain_length", "Int16", "certificates in the server chain as sent"),
    Column("chain_bytes", "Int32", "their size as sent", unit="bytes"),
    _text("client_certificate_sha256", "client leaf, where visible"),
    _text("ja3", "JA3 of the first ClientHello"),
    _text("ja3s", "JA3S of the ServerHello"),
    _text("ja4", "JA4 of the first ClientHello"),
    Column("client_hello_length", "Int32", "length of the first ClientHello's body", unit="bytes"),
    _text("client_random", "of the first ClientHello, hexadecimal: its place in key logs and in other captures; in the "
          "form of SSL 2.0 the challenge, with zeros in front"),
    _text("server_random", "of the ServerHello, hexadecimal; of SSL 2.0 the connection id"),
    _text("history", "one letter per message seen until the end, in Zeek's ssl_history letters; capitals: client"),
    _category("outcome", _words(verdict.Outcome), "how the handshake ended, as far as the capture tells"),
    _category("certainty", _words(verdict.Certainty),
              "seen in clear or with keys, or inferred from sealed records; NA for unknown"),
    _category("failure_phase", _words(verdict.Phase), "the step at which it failed"),
    _category("failure_side", _words(verdict.Party), "who ended it"),
    _category("failure_mechanism", _words(verdict.Mechanism), "by what means"),
    _text("alert", "name of the alert that ended it; NA for a hidden one"),
    Column("alert_code", "Int16", "its code"),
    _category("completeness", _words(verdict.Completeness), "what the capture lacks for this handshake"),
    _text("reason", "one sentence: why this outcome"),
    _ms("client_rtt_ms", "SYN-ACK to ACK: round trip between the capture point and the client"),
    _ms("server_rtt_ms", "SYN to SYN-ACK: round trip between the capture point and the server"),
    _ms("tcp_rtt_ms", "client_rtt_ms and server_rtt_ms together"),
    _ms("server_hello_ms", "last byte of the ClientHello to the first byte of the server's answer"),
    _ms("handshake_ms", "first byte of the ClientHello to the packet that ended it; NaN for time-outs and unknown"),
    _ms("connect_ms", "first SYN to that same packet"),
    _ms("client_ms", "part of handshake_ms in which it was the client's turn"),
    _ms("server_ms", "part of handshake_ms in which it was the server's turn"),
    _ms("transfer_ms", "part of handshake_ms within one side's flight; the three add up to handshake_ms"),
    _ms("first_data_ms", "end of the handshake to the first application data from the server"),
    Column("retransmissions", "int32", "repeated segments seen before the handshake ended"),
    Column("syn_retransmissions", "int32", "repeated SYNs and SYN-ACKs"),
    Column("tcp_packets", "int32", "packets of the connection until the handshake ended"),
    _text("client_hello_digest", "what the first ClientHello offered; joins `hellos`"),
    _text("server_hello_digest", "what the ServerHello chose; joins `hellos`"),
    _text("certificate_request_digest",
          "what the server asked of a client certificate, where visible; joins `certificate_requests`"),
), index="handshake")  # fmt: skip

RECORDS = Table("records", "one TLS record, as far as the connection is followed", (
    ID, HANDSHAKE, FRAME, WHEN, OFFSET, SENDER,
    _text("content_type", "IANA name of the content type in the record's header; NA in SSL 2.0, which has none"),
    _text("record_version", "version in the record's header; SSL 2.0 where it has the form of that"),
    Column("length", "int32", "length in the record's header", unit="bytes"),
    Column("sealed", "bool", "the content is encrypted"),
))  # fmt: skip

MESSAGES = Table("messages", "one handshake message, ChangeCipherSpec, alert, or first application data of a side", (
    ID, HANDSHAKE, FRAME, WHEN, OFFSET, SENDER,
    _text("message", "IANA handshake type name (in SSL 2.0 that protocol's own), change_cipher_spec, alert or "
                     "application_data; sealed where it stays so"),
    Column("length", "int32", "length of its body", unit="bytes"),
    _text("record_version", "version in the header of the record that holds its first byte"),
))  # fmt: skip

ALERTS = Table("alerts", "one alert", (
    ID, HANDSHAKE, CAPTURE, TRANSPORT, STREAM, FRAME, WHEN, SENDER,
    _category("level", ("warning", "fatal"), "level sent; NA where it stays sealed"),
    _text("description", "IANA name, of an ERROR of SSL 2.0 its own (SSL_PE_…); NA where it stays sealed"),
    Column("code", "Int16", "its code"),
    Column("encrypted", "bool", "it was sealed on the wire"),
    Column("decrypted", "bool", "keys gave its content"),
    Column("inferred", "bool", "a sealed record that by size and place is an alert"),
    _category("phase", ("during", "after"), "during the handshake or after it"),
))  # fmt: skip

CERTIFICATES = Table("certificates", "one distinct certificate", (
    _text("sha256", "SHA-256 of its DER bytes"),
    _category("role", ("server", "client"), "who presented it"),
    _text("subject", "subject name, RFC 4514"),
    _text("issuer", "issuer name, RFC 4514"),
    _text("serial", "serial number, hexadecimal"),
    _text("san", "subject alternative names, comma-joined; a comma in one: `\\x2c`"),
    Column("not_before", DATE, "start of validity"),
    Column("not_after", DATE, "end of validity"),
    _text("key_type", "kind of public key"),
    Column("key_bits", "Int32", "its size", unit="bits"),
    _text("signature_algorithm", "algorithm of the issuer's signature"),
    Column("self_signed", "boolean", "issuer and subject are the same name"),
    Column("is_ca", "boolean", "basic constraints say CA"),
    FIRST_SEEN, LAST_SEEN, SHOWN,
    _text("snis", "distinct names asked for, comma-joined"),
    _text("der", "the certificate itself, its DER bytes in base64; NA where it is over 64 KB"),
), key=("sha256", "role"))  # fmt: skip

HELLOS = Table("hellos", "one distinct hello, apart from random values, keys, tickets, names and GREASE", (
    _text("digest", "the same for equal hellos, wherever and whenever they are seen"),
    _category("sender", SENDERS, "a client's offer, or a server's choice"),
    _text("versions", "versions offered, highest first; the one chosen"),
    _text("cipher_suites", "cipher suites offered, in order of preference; the one chosen"),
    _text("groups", "supported groups, in order of preference"),
    _text("key_shares", "groups that key shares were sent for"),
    _text("signature_schemes", "signature schemes, in order of preference"),
    _text("certificate_signature_schemes", "signature schemes for certificates, where they are told apart"),
    _text("alpn", "application protocols offered, in order; the one chosen, where visible; a comma in one: `\\x2c`"),
    _text("client_certificate_types", "types of certificate that the client can send; the one chosen"),
    _text("server_certificate_types", "types of certificate that the client can read; the one chosen"),
    _text("certificate_compressions", "algorithms that may compress the server's certificates"),
    _text("psk_modes", "key exchange modes that may go with a PSK"),
    _text("extensions", "extensions sent, in order of their numbers"),
    _text("ja4_r", "JA4_r of a ClientHello: JA4, lists in place of their hashes; NA where those exceed 1,000 codes"),
    FIRST_SEEN, LAST_SEEN, SHOWN,
), key=("digest",))  # fmt: skip

CERTIFICATE_REQUESTS = Table("certificate_requests", "one distinct request for a client certificate", (
    _text("digest", "the same for equal requests, wherever and whenever they are seen"),
    _text("certificate_types", "types of certificate asked for (up to TLS 1.2)"),
    _text("signature_schemes", "signature schemes asked for (from TLS 1.2 on), in order of preference"),
    _text("authorities", "names of acceptable CAs, RFC 4514, joined by a semicolon and a space; a semicolon in one: "
          "`\\3b`; NA: none are named, any will do"),
    Column("authority_count", "int32", "how many names they are"),
    FIRST_SEEN, LAST_SEEN, SHOWN,
), key=("digest",))  # fmt: skip

NOTES = Table("notes", "one thing that was odd", (
    MAYBE_ID, MAYBE_HANDSHAKE,
    _text("capture", "file it was seen in, as given"),
    TRANSPORT,
    Column("stream", "Int64", "conversation number; NA where none"),
    Column("frame", "Int64", "packet number; NA where none"),
    Column("time", TIME, "when; NaT where none"),
    _category("kind", tuple(NOTE_KINDS), "what kind of oddity, from a closed list"),
    _text("detail", "what was seen, where"),
))  # fmt: skip

FINDINGS = Table("findings", "one thing that is wrong or worth knowing, worst first", (
    _text("id", "name of the rule that found it; docs/findings.md tells what each looks for"),
    _category("severity", ("error", "warning", "info"), "error: it explains handshakes that failed"),
    _text("title", "one sentence"),
    _text("detail", "what was seen and what speaks for it, sentences on lines of their own"),
    _text("advice", "what to change, on which side"),
    _text("causes", "what is behind failures, from a closed list; where several fit: comma-joined, likeliest first"),
    Column("handshakes", "object", "list of the `id` of the handshakes; of an error, those that failed by it"),
    Column("frames", "object", "list of packet numbers, where they (or what else is spoken of) begin"),
    Column("streams", "object", "list of conversation numbers, in the same order"),
    _text("capture", "first of the files concerned"),
    _text("filter", "Wireshark display filter that shows its conversations in that file, 500 at most"),
))  # fmt: skip

TABLES: dict[str, Table] = {
    t.name: t for t in (HANDSHAKES, RECORDS, MESSAGES, ALERTS, CERTIFICATES, NOTES, HELLOS, CERTIFICATE_REQUESTS)
}
COMPUTED = {t.name: t for t in (FINDINGS,)}  # made from the others when asked for, not read
