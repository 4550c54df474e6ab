"""One old app cannot connect to a load balancer that takes TLS 1.2 and up; everybody else can."""

import ssl
from functools import partial
from pathlib import Path

from recorder import daemons, python_tls
from recorder.bench import Bench, Client
from recorder.commands import Curl, GnutlsCli, SClient
from recorder.pki import Leaf

BALANCER = ("10.40.0.10", 443)
BALANCER6 = ("fd40::10", 443)
OLD_SERVER = ("10.40.0.20", 443)
NAME, OLD_NAME = "shop.example", "archive.shop.example"
OLD_APPS = {"10.40.7.21": "TLS 1.0", "10.40.7.22": "TLS 1.0", "10.40.7.30": "TLS 1.1"}
OLD_APP6 = "fd40::7:21"
MODERN = ("10.40.3.11", "10.40.3.12", "10.40.3.13", "10.40.3.14")
MODERN6 = "fd40::3:11"
ADDRESSES = (BALANCER[0], BALANCER6[0], OLD_SERVER[0], *OLD_APPS, OLD_APP6, *MODERN, MODERN6)


def run(bench: Bench) -> None:
    """Record three rounds in which everybody calls the load balancer and the old apps also reach an old server."""
    root = bench.pki.root("Shop Trust")
    authority = bench.pki.intermediate(root, "Shop Trust")
    trust = bench.pki.trust("shop-root", root)
    credential = bench.pki.issue("shop", Leaf(NAME, (NAME, OLD_NAME)), authority)
    key = f"ssl_certificate {credential.chain}; ssl_certificate_key {credential.chain};"
    nginx = daemons.Nginx(bench.pki.directory)
    balancer = nginx.site(BALANCER, f"{key} ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off;")
    balancer6 = nginx.site(BALANCER6, f"{key} ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off;")
    with nginx, python_tls.Server(OLD_SERVER, partial(_old_context, credential.chain)) as old_server:
        for _ in range(3):
            for client_ip, version in OLD_APPS.items():
                bench.meet("old app, load balancer", _old_app(trust, version), client_ip, balancer, NAME)
            for label, client_ip, client in _modern_clients(trust):
                bench.meet(label, client, client_ip, balancer, NAME)
            bench.meet("old app, load balancer, IPv6", _old_app(trust, "TLS 1.0"), OLD_APP6, balancer6, NAME)
            bench.meet("modern client, IPv6", python_client(trust, "TLS 1.3"), MODERN6, balancer6, NAME)
            for client_ip, version in OLD_APPS.items():
                bench.meet("old app, old server", _old_app(trust, version), client_ip, old_server, OLD_NAME)


def _old_context(chain: Path) -> ssl.SSLContext:
    return python_tls.server_context(chain, "TLS 1.0", "TLS 1.2")


def python_client(trust: Path, highest: str) -> Client:
    """Return a client that allows every version from TLS 1.2 to this one."""
    return python_tls.Client(partial(python_tls.client_context, trust, "TLS 1.2", highest), highest)


def _old_app(trust: Path, version: str) -> Client:
    return python_tls.Client(partial(python_tls.client_context, trust, "TLS 1.0", version), version)


def _modern_clients(trust: Path) -> list[tuple[str, str, Client]]:
    return [
        ("modern client", MODERN[0], Curl(("--cacert", str(trust)))),
        ("modern client held at TLS 1.2", MODERN[1], python_client(trust, "TLS 1.2")),
        ("modern client", MODERN[2], GnutlsCli((f"--x509cafile={trust}",))),
        ("modern client held at TLS 1.2", MODERN[3], SClient(("-tls1_2", "-CAfile", str(trust)), "TLS 1.2")),
        ("modern client", MODERN[3], SClient(("-CAfile", str(trust), "-verify_return_error"))),
    ]
