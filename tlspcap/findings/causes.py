"""Why a handshake fails: the closed list of causes that findings name."""

from enum import StrEnum


class Cause(StrEnum):
    """One reason for which a handshake fails."""

    NO_COMMON_VERSION = "no_common_version"
    NO_COMMON_CIPHER = "no_common_cipher"
    NO_COMMON_GROUP = "no_common_group"
    NO_COMMON_SIGNATURE = "no_common_signature"
    NO_COMMON_PROTOCOL = "no_common_protocol"
    NAME_UNKNOWN = "name_unknown"
    SERVER_CERTIFICATE_UNTRUSTED = "server_certificate_untrusted"
    SERVER_CERTIFICATE_SELF_SIGNED = "server_certificate_self_signed"
    SERVER_CERTIFICATE_EXPIRED = "server_certificate_expired"
    SERVER_CERTIFICATE_NAME = "server_certificate_name"
    SERVER_CERTIFICATE_UNFIT = "server_certificate_unfit"
    CLIENT_CERTIFICATE_MISSING = "client_certificate_missing"
    CLIENT_CERTIFICATE_UNTRUSTED = "client_certificate_untrusted"
    CLIENT_CERTIFICATE_EXPIRED = "client_certificate_expired"
    CLIENT_CERTIFICATE_UNFIT = "client_certificate_unfit"
    WEAK_SETTING = "weak_setting"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"
    NOT_TLS = "not_tls"
    PROTOCOL_VIOLATION = "protocol_violation"
    SERVER_SILENT = "server_silent"
    SERVER_ENDED = "server_ended"
    CLIENT_LEFT = "client_left"
    PATH = "path"


MEANING: dict[Cause, str] = {
    Cause.NO_COMMON_VERSION: "no version of TLS that both sides allow",
    Cause.NO_COMMON_CIPHER: "no cipher suite that both sides allow",
    Cause.NO_COMMON_GROUP: "no group (curve) for the key exchange that both sides allow",
    Cause.NO_COMMON_SIGNATURE: "no signature scheme that both sides allow and the server's certificate can make",
    Cause.NO_COMMON_PROTOCOL: "no application protocol (ALPN) that both sides allow",
    Cause.NAME_UNKNOWN: "the server does not serve the name asked for (SNI)",
    Cause.SERVER_CERTIFICATE_UNTRUSTED: "the server's certificate leads to no authority that the client trusts",
    Cause.SERVER_CERTIFICATE_SELF_SIGNED: "the server's certificate is self-signed, and the client does not know it",
    Cause.SERVER_CERTIFICATE_EXPIRED: "the server's certificate has expired, or is not valid yet",
    Cause.SERVER_CERTIFICATE_NAME: "the server's certificate is for another name",
    Cause.SERVER_CERTIFICATE_UNFIT: "the server's certificate is revoked, damaged, weak, or not meant for that use",
    Cause.CLIENT_CERTIFICATE_MISSING: "the server wants a client certificate, and the client has none that fits",
    Cause.CLIENT_CERTIFICATE_UNTRUSTED: "the client's certificate leads to no authority that the server trusts",
    Cause.CLIENT_CERTIFICATE_EXPIRED: "the client's certificate has expired, or is not valid yet",
    Cause.CLIENT_CERTIFICATE_UNFIT: "the client's certificate is revoked, damaged, weak, or not meant for that use",
    Cause.WEAK_SETTING: "the server insists on something so weak that the client refuses it",
    Cause.SERVER_ERROR: "a fault inside of the server, which the wire does not show",
    Cause.CLIENT_ERROR: "a fault inside of the client, which the wire does not show",
    Cause.NOT_TLS: "one side does not speak TLS on that port",
    Cause.PROTOCOL_VIOLATION: "one side sent what the protocol does not allow, or the other took it so",
    Cause.SERVER_SILENT: "the server took the hello and never answered",
    Cause.SERVER_ENDED: "the server ended the connection without a word",
    Cause.CLIENT_LEFT: "the client left before it was done: a time-out of its own, a scan, a user",
    Cause.PATH: "packets get lost, or are dropped, between the two",
}
