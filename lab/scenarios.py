"""What is tried: each scenario says how client and server are set up, and what must come of it if both do as told.

Settings are those of endpoints/endpoint.h. `{v}` in a setting stands for the version under test.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Settings = dict[str, str]
TRUSTED = {"ca": "ca.pem", "verify": "1", "sni": "lab.example"}
SERVER = {"cert": "server.pem", "key": "server.key"}
MUTUAL = {"auth": "require", "ca": "ca.pem"}
CLIENT_CERT = {"cert": "client.pem", "key": "client.key"}


@dataclass(frozen=True)
class Scenario:
    """One thing to try; `side`, `phase` and `cause` are of the refusal that it provokes (None: it should succeed)."""

    name: str
    client: Settings = field(default_factory=dict)
    server: Settings = field(default_factory=dict)
    versions: tuple[str, ...] = ("1.3", "1.2")
    side: str | None = None
    phase: str | None = None
    cause: str | None = None
    share: int = 2  # how many partners each stack tries it with
    pinned: bool = True  # the version is held by both, or either, of the two


def _refused_by_client(name: str, cause: str, client: Settings, server: Settings, share: int = 2) -> Scenario:
    return Scenario(name, client, server, side="client", phase="server_certificate", cause=cause, share=share)


def _refused_client(name: str, cause: str, client: Settings, share: int = 3) -> Scenario:
    return Scenario(name, client, MUTUAL, side="server", phase="client_auth", cause=cause, share=share)


def certificate(name: str) -> Settings:
    """The settings that present a certificate of the PKI."""
    return {"cert": f"{name}.pem", "key": f"{name}.key"}


NO_COMMON = {"side": "server", "phase": "client_hello", "pinned": False, "share": 2}
SCENARIOS = (
    Scenario("full", share=99),
    Scenario("full_old", versions=("1.0", "1.1"), share=2),
    Scenario("long_chain", server=certificate("long"), share=1),
    Scenario("aes128", {"ciphers": "aes128"}, share=1),
    Scenario("chacha", {"ciphers": "chacha"}, share=1),
    Scenario("cbc", {"ciphers": "cbc"}, versions=("1.2",), share=2),
    Scenario("ccm8", {"ciphers": "ccm8"}, {"ciphers": "ccm8"}, versions=("1.2",), share=1),
    Scenario("close_at_once", {"leave": "1"}, share=3),
    Scenario("resumed", {"again": "1"}, share=2),
    Scenario("resumed_by_id", {"again": "1"}, {"tickets": "0"}, versions=("1.2",), share=1),
    Scenario("hello_retry", {}, {"groups": "P-384"}, versions=("1.3",), share=3),
    Scenario("no_tickets", {}, {"tickets": "0"}, versions=("1.3",), share=2),
    Scenario("no_tickets_close_at_once", {"leave": "1"}, {"tickets": "0"}, versions=("1.3",), share=2),
    Scenario("mutual", CLIENT_CERT, MUTUAL, share=3),
    Scenario("mutual_close_at_once", CLIENT_CERT | {"leave": "1"}, MUTUAL, share=2),
    Scenario("mutual_no_tickets", CLIENT_CERT, MUTUAL | {"tickets": "0"}, versions=("1.3",), share=2),
    Scenario("certificate_not_needed", {}, {"auth": "request", "ca": "ca.pem"}, share=2),
    Scenario("certificate_not_needed_close", {"leave": "1"}, {"auth": "request", "ca": "ca.pem"}, share=1),
    Scenario("server_first", {"first": "1"}, {"first": "1"}, share=2),
    Scenario("alpn", {"alpn": "h2"}, {"alpn": "h2"}, share=1),
    _refused_by_client("untrusted", "server_certificate_untrusted", {}, certificate("untrusted"), 3),
    _refused_by_client("expired", "server_certificate_expired", {}, certificate("expired")),
    _refused_by_client("wrong_name", "server_certificate_name", {"sni": "other.example"}, {}),
    _refused_by_client("self_signed", "server_certificate_self_signed", {}, certificate("selfsigned")),
    _refused_client("no_client_certificate", "client_certificate_missing", {}, 3),
    _refused_client("no_client_certificate_close", "client_certificate_missing", {"leave": "1"}, 2),
    _refused_client("wrong_client_ca", "client_certificate_untrusted", certificate("client_other")),
    _refused_client("expired_client_certificate", "client_certificate_expired", certificate("client_expired"), 2),
    _refused_client(
        "wrong_client_ca_close",
        "client_certificate_untrusted",
        certificate("client_other") | {"leave": "1"},
        2,
    ),
    Scenario("no_common_version", {"max": "1.2"}, {"min": "1.3"}, ("1.3",), cause="no_common_version", **NO_COMMON),
    Scenario("no_common_version_13", {"min": "1.3"}, {"max": "1.2"}, ("1.2",), cause="no_common_version", **NO_COMMON),
    Scenario(
        "no_common_version_old", {"min": "1.0", "max": "1.1"}, {}, ("1.2",), cause="no_common_version", **NO_COMMON
    ),
    Scenario(
        "no_common_cipher",
        {"ciphers": "chacha", "max": "1.2"},
        {"ciphers": "aes256", "max": "1.2"},
        ("1.2",),
        cause="no_common_cipher",
        **NO_COMMON,
    ),
    Scenario(
        "no_common_group",
        {"groups": "P-256", "min": "1.3"},
        {"groups": "P-384", "min": "1.3"},
        ("1.3",),
        cause="no_common_group",
        **NO_COMMON,
    ),
    Scenario(
        "no_common_group_12",
        {"groups": "P-256", "max": "1.2"},
        {"groups": "P-384", "max": "1.2"},
        ("1.2",),
        cause="no_common_group",
        **(NO_COMMON | {"phase": None}),  # Mbed TLS says so only behind its ServerHello
    ),
    Scenario(
        "no_common_alpn",
        {"alpn": "h2"},
        {"alpn": "mqtt"},
        side="server",
        phase=None,  # before or after the ServerHello, as the stack likes
        cause="no_common_protocol",
    ),
    Scenario(
        "unrecognized_name",
        {},
        {"alert": "unrecognized_name"},
        side="server",
        phase="client_hello",
        cause="name_unknown",
        share=4,
    ),
    Scenario(
        "unrecognized_name_warning",
        {},
        {"alert": "unrecognized_warning"},
        versions=("1.2",),
        share=12,
    ),
    Scenario(
        "internal_error",
        {},
        {"alert": "internal_error"},
        side="server",
        phase="client_hello",
        cause="server_error",
        share=4,
    ),
)  # fmt: skip

# Servers that are no TLS servers, tried by every client: what they do, and the verdict that follows.
NO_TLS = {
    "silence": Scenario(
        "silence", {"wait": "13"}, {"do": "silence"}, ("1.3",), "server", "client_hello", "server_silent"
    ),
    "impatient": Scenario(
        "impatient", {"wait": "3"}, {"do": "silence"}, ("1.3",), "client", "client_hello", "server_silent"
    ),
    "reset": Scenario("reset", {}, {"do": "reset"}, ("1.3",), "server", "client_hello", "server_ended"),
    "close": Scenario("close", {}, {"do": "close"}, ("1.3",), "server", "client_hello", "server_ended"),
    "http": Scenario("http", {}, {"do": "http"}, ("1.3",), "server", "client_hello", "not_tls"),
    "ssh": Scenario("ssh", {}, {"do": "ssh"}, ("1.3",), "server", "client_hello", "not_tls"),
}
# Clients that do not mean it, tried at some servers.
LOOKS = {
    "plain_http": Scenario("plain_http", {"do": "plain_http"}, side="client", cause="not_tls"),
    "hello_then_reset": Scenario("hello_then_reset", {"do": "hello_then_reset"}, side="client", cause="client_left"),
    "hello_then_fin": Scenario("hello_then_fin", {"do": "hello_then_fin"}, side="client", cause="client_left"),
    "flight_then_close": Scenario("flight_then_close", {"do": "flight_then_close"}, side="client", cause="client_left"),
    "flight_then_reset": Scenario("flight_then_reset", {"do": "flight_then_reset"}, side="client", cause="client_left"),
}

# What only some newcomer can do, tried by nobody else.
NEW = (
    Scenario(
        "called_off",
        {},
        {"alert": "user_canceled"},
        side="server",
        phase="client_hello",
        cause="server_error",
    ),
)


def settings(scenario: Scenario, version: str, pin: str) -> tuple[Settings, Settings]:
    """Give both sides' settings; `pin` says who holds the version: client, server or both."""
    client = TRUSTED | scenario.client
    server = SERVER | scenario.server
    held = {"min": version if version < "1.2" else "1.2", "max": version}
    if scenario.pinned and version != "1.3":
        client = held | client if pin in ("client", "both") or version < "1.2" else client
        server = held | server if pin in ("server", "both") or version < "1.2" else server
    elif scenario.pinned and version == "1.3" and pin == "both":
        client = {"min": "1.3"} | client
    return client, server


def every(scenarios: Iterable[Scenario] = SCENARIOS) -> Iterator[tuple[Scenario, str]]:
    """Give every scenario with every version that it is tried in."""
    for scenario in scenarios:
        for version in scenario.versions:
            yield scenario, version
