"""Servers that ask for a client certificate, and clients with a right one, none, and several wrong ones."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder import daemons, python_tls
from recorder.bench import Bench, Client, Server
from recorder.commands import Curl, GnutlsCli, SClient
from recorder.pki import Authority, Credential, Leaf

CLIENT_IPS = {"python": "10.50.1.11", "openssl": "10.50.1.12", "curl": "10.50.1.13", "gnutls": "10.50.1.14"}
SERVERS = {
    "python": ("10.50.0.10", 443),
    "without-tickets": ("10.50.0.11", 443),
    "optional": ("10.50.0.12", 443),
    "openssl": ("10.50.0.20", 443),
    "gnutls": ("10.50.0.30", 5556),
    "nginx": ("10.50.0.40", 443),
}
ADDRESSES = (*CLIENT_IPS.values(), *(ip for ip, _ in SERVERS.values()))
VERSIONS = ("TLS 1.2", "TLS 1.3")
NUMBERS = {"TLS 1.2": "1.2", "TLS 1.3": "1.3"}


@dataclass(frozen=True)
class Files:
    """The servers' certificate, whom servers and clients trust, and the clients' certificates by what is wrong."""

    server: Credential
    server_root: Path
    client_root: Path
    clients: dict[str, Credential | None]


def run(bench: Bench) -> None:
    """Record every certificate with every stack on both sides, in both versions."""
    files = _files(bench)
    with ExitStack() as stack:
        servers = dict(_servers(bench, files, stack))
        for version in VERSIONS:
            for certificate in files.clients:
                for name in ("python", "openssl", "gnutls"):
                    _meet_all(bench, files, certificate, version, name, servers[name])
                _meet_all(bench, files, certificate, version, "nginx", servers["nginx"], ("python", "curl"))
            for certificate in ("right certificate", "no certificate"):
                _meet_all(bench, files, certificate, version, "without-tickets", servers["without-tickets"])
                _meet_all(bench, files, certificate, version, "optional", servers["optional"])


def _meet_all(
    bench: Bench,
    files: Files,
    certificate: str,
    version: str,
    name: str,
    server: Server,
    only: tuple[str, ...] = tuple(CLIENT_IPS),
) -> None:
    for client_name, client in _clients(bench, files, files.clients[certificate], version).items():
        if client_name in only:
            label = f"{certificate}, {name}, {version}"
            bench.meet(label, client, CLIENT_IPS[client_name], server, f"{name}.mutual.example")


def _clients(bench: Bench, files: Files, own: Credential | None, version: str) -> dict[str, Client]:
    """Return one client of each stack that offers exactly this version and presents this certificate, if any."""
    number, keys, root = NUMBERS[version], bench.key_log, str(files.server_root)
    pair = (str(own.certificate), str(own.key)) if own else None
    openssl = ("-cert", pair[0], "-key", pair[1]) if pair else ()
    curl = ("--cert", pair[0], "--key", pair[1]) if pair else ()
    gnutls = (f"--x509certfile={pair[0]}", f"--x509keyfile={pair[1]}") if pair else ()
    return {
        "python": python_tls.Client(partial(_client_context, files.server_root, version, own, keys), version),
        "openssl": SClient((f"-tls{number.replace('.', '_')}", "-CAfile", root, *openssl), version, keys),
        "curl": Curl((f"--tlsv{number}", "--tls-max", number, "--cacert", root, *curl), version, keys),
        "gnutls": GnutlsCli((f"--x509cafile={root}", *gnutls), f"NORMAL:-VERS-ALL:+VERS-TLS{number}", version, keys),
    }


def _client_context(trust: Path, version: str, own: Credential | None, key_log: Path | None) -> ssl.SSLContext:
    context = python_tls.client_context(trust, version, version)
    if own:
        context.load_cert_chain(own.certificate, own.key)
    if key_log:
        context.keylog_filename = str(key_log)
    return context


def _servers(bench: Bench, files: Files, stack: ExitStack) -> Iterator[tuple[str, Server]]:
    directory, chain = bench.pki.directory, files.server.chain
    for name, mode, tickets in (
        ("python", ssl.CERT_REQUIRED, 2),
        ("without-tickets", ssl.CERT_REQUIRED, 0),
        ("optional", ssl.CERT_OPTIONAL, 2),
    ):
        make = partial(_server_context, files, mode, tickets)
        yield name, stack.enter_context(python_tls.Server(SERVERS[name], make))
    verify = ("-Verify", "1", "-verify_return_error", "-CAfile", str(files.client_root))
    yield "openssl", stack.enter_context(daemons.s_server(SERVERS["openssl"], directory, chain, *verify))
    demand = ("--require-client-cert", "--verify-client-cert", f"--x509cafile={files.client_root}")
    yield "gnutls", stack.enter_context(daemons.gnutls_serv(SERVERS["gnutls"], directory, chain, *demand))
    nginx = daemons.Nginx(directory)
    key = f"ssl_certificate {chain}; ssl_certificate_key {chain}; ssl_protocols TLSv1.2 TLSv1.3;"
    site = nginx.site(SERVERS["nginx"], f"{key} ssl_client_certificate {files.client_root}; ssl_verify_client on;")
    stack.enter_context(nginx)
    yield "nginx", site


def _server_context(files: Files, mode: ssl.VerifyMode, tickets: int) -> ssl.SSLContext:
    context = python_tls.server_context(files.server.chain)
    context.verify_mode = mode
    context.load_verify_locations(files.client_root)
    context.num_tickets = tickets
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


def _files(bench: Bench) -> Files:
    pki = bench.pki
    server_root, client_root, stranger = (pki.root(name) for name in ("Mesh Servers", "Mesh Clients", "Stranger"))
    names = tuple(f"{name}.mutual.example" for name in SERVERS)
    server = pki.issue("mutual-server", Leaf(names[0], names), server_root)

    def client(name: str, authority: Authority, to_day: float = 60, for_client: bool = True) -> Credential:
        leaf = Leaf(f"{name}.clients.mutual.example", to_day=to_day, for_client=for_client)
        return pki.issue(f"client-{name}", leaf, authority)

    return Files(
        server,
        pki.trust("mutual-server-root", server_root),
        pki.trust("mutual-client-root", client_root),
        {
            "right certificate": client("right", client_root),
            "no certificate": None,
            "certificate of another authority": client("stranger", stranger),
            "expired certificate": client("expired", client_root, to_day=-2),
            "certificate not for clients": client("server-only", client_root, for_client=False),
        },
    )
