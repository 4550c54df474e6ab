"""Every version against servers of every policy, then cipher by cipher: what succeeds, and which alert says no."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder import daemons, python_tls
from recorder.bench import Bench, Client, Server
from recorder.commands import GnutlsCli, SClient
from recorder.pki import Leaf

VERSIONS = ("TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")
CLIENT_IPS = {"python": "10.30.1.11", "openssl": "10.30.1.12", "gnutls": "10.30.1.13"}
SERVERS = {
    "legacy": ("10.30.0.10", 443),
    "modern": ("10.30.0.20", 443),
    "strict": ("10.30.0.30", 443),
    "single": ("10.30.0.40", 443),
    "gnutls": ("10.30.0.50", 8443),
    "broken": ("10.30.0.60", 443),
}
ADDRESSES = (*CLIENT_IPS.values(), *(ip for ip, _ in SERVERS.values()))
OLD = "ALL:@SECLEVEL=0"  # OpenSSL 3 counts the SHA-1 of TLS 1.0 and 1.1 among what level 0 alone allows

# Offered one at a time as TLS 1.2, by OpenSSL's names.
TLS12_CIPHERS = (
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM8", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA256", "AES128-GCM-SHA256", "AES256-SHA256",
    "AES128-SHA", "AES256-SHA", "CAMELLIA128-SHA",
)  # fmt: skip
TLS13_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
# OpenSSL as Debian builds it has neither 3DES nor RC4; GnuTLS still has both.
GNUTLS_CIPHERS = ("3DES-CBC", "ARCFOUR-128", "AES-128-CBC", "AES-256-CCM", "CHACHA20-POLY1305")


@dataclass(frozen=True)
class Credentials:
    """Where the servers' certificates lie."""

    trust: Path
    rsa: Path
    ecdsa: Path


def run(bench: Bench) -> None:
    """Record the whole matrix."""
    with ExitStack() as stack:
        refused: set[int] = set()
        servers = dict(_servers(bench, stack, refused))
        for version in VERSIONS:
            for name, server in servers.items():
                for client_name, client in _clients(version).items():
                    _meet(bench, f"{version} to {name}", client_name, client, server, name, refused)
        for cipher in TLS12_CIPHERS:
            client = SClient(("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0"), "TLS 1.2")
            for name in ("legacy", "modern", "single"):
                _meet(bench, f"{cipher} to {name}", "openssl", client, servers[name], name, refused)
        for cipher in TLS13_CIPHERS:
            client = SClient(("-tls1_3", "-ciphersuites", cipher))
            for name in ("modern", "strict", "gnutls"):
                _meet(bench, f"{cipher} to {name}", "openssl", client, servers[name], name, refused)
        for cipher in GNUTLS_CIPHERS:
            offer = GnutlsCli(
                priority=f"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+{cipher}:+SHA1:+MD5", offered="TLS 1.2"
            )
            for name in ("legacy", "gnutls"):
                _meet(bench, f"{cipher} to {name}", "gnutls", offer, servers[name], name, refused)


def _meet(
    bench: Bench, label: str, client_name: str, client: Client, server: Server, name: str, refused: set[int]
) -> None:
    port = bench.next_port()
    # The broken server stumbles over every hello that does not reach TLS 1.3.
    if name == "broken" and client.offered != "TLS 1.3":
        refused.add(port)
    bench.meet(label, client, CLIENT_IPS[client_name], server, f"{name}.matrix.example", port=port)


def _clients(version: str) -> dict[str, Client]:
    """Return one client of each stack that offers exactly this version."""
    number = version.split(" ")[1]
    flag = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}[number]
    return {
        "python": python_tls.Client(partial(python_tls.client_context, None, version, version), version),
        "openssl": SClient((flag, "-cipher", OLD), version),
        "gnutls": GnutlsCli(priority=f"NORMAL:-VERS-ALL:+VERS-TLS{number}", offered=version),
    }


def _servers(bench: Bench, stack: ExitStack, refused: set[int]) -> Iterator[tuple[str, Server]]:
    keys = _credentials(bench)
    directory = bench.pki.directory
    yield (
        "legacy",
        stack.enter_context(daemons.s_server(SERVERS["legacy"], directory, keys.rsa, "-no_tls1_3", "-cipher", OLD)),
    )
    nginx = daemons.Nginx(directory)
    pair = "".join(f"ssl_certificate {pem}; ssl_certificate_key {pem}; " for pem in (keys.rsa, keys.ecdsa))
    modern = nginx.site(
        SERVERS["modern"], f"{pair} ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers 'HIGH:!kRSA:!SHA1:!CAMELLIA';"
    )
    stack.enter_context(nginx)
    yield "modern", modern
    yield (
        "strict",
        stack.enter_context(
            python_tls.Server(SERVERS["strict"], partial(python_tls.server_context, keys.rsa, "TLS 1.3"))
        ),
    )
    single = ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    yield "single", stack.enter_context(daemons.s_server(SERVERS["single"], directory, keys.rsa, *single))
    yield (
        "gnutls",
        stack.enter_context(
            daemons.gnutls_serv(
                SERVERS["gnutls"],
                directory,
                keys.rsa,
                "--disable-client-cert",
                "--priority",
                "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:+3DES-CBC:+ARCFOUR-128",
            )
        ),
    )
    yield (
        "broken",
        stack.enter_context(python_tls.Server(SERVERS["broken"], partial(_stumbling_context, keys.rsa, refused))),
    )


def _stumbling_context(chain: Path, refused: set[int]) -> ssl.SSLContext:
    context = python_tls.server_context(chain, "TLS 1.0", "TLS 1.3")
    python_tls.refuse(context, ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, refused)
    return context


def _credentials(bench: Bench) -> Credentials:
    root = bench.pki.root("Matrix Trust")
    authority = bench.pki.intermediate(root, "Matrix Trust")
    names = tuple(f"{name}.matrix.example" for name in SERVERS)
    rsa = bench.pki.issue("matrix-rsa", Leaf(names[0], names), authority)
    ecdsa = bench.pki.issue("matrix-ecdsa", Leaf(names[0], names, elliptic=True), authority)
    return Credentials(bench.pki.trust("matrix-root", root), rsa.chain, ecdsa.chain)
