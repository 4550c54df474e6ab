"""An nginx with its certificates set up in every wrong way that people meet, beside one that is right."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder import python_tls
from recorder.bench import Bench, Client
from recorder.commands import Curl, GnutlsCli, PlainHttp, SClient
from recorder.daemons import Nginx, Site
from recorder.pki import Credential, Leaf
from recorder.verdict import Ending

CLIENT_IPS = {"curl": "10.60.1.11", "python": "10.60.1.12", "openssl": "10.60.1.13", "gnutls": "10.60.1.14"}
HOME = ("10.60.0.10", 80)
INCOMPLETE = ("10.60.0.20", 443)
EXPIRED = ("10.60.0.30", 443)
GOOD = ("10.60.0.40", 443)
PLAIN = ("10.60.0.50", 8080)
ADDRESSES = (*CLIENT_IPS.values(), *(ip for ip, _ in (HOME, INCOMPLETE, EXPIRED, GOOD, PLAIN)))
NAMES = {address: f"{name}.example" for address, name in {
    HOME: "home", INCOMPLETE: "incomplete", EXPIRED: "expired", GOOD: "good", PLAIN: "plain",
}.items()}  # fmt: skip
OTHER_NAME = "mail.example"  # in no certificate

# The server that prefers RSA key exchange and still speaks TLS 1.0.
WEAK = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_prefer_server_ciphers on; " + (
    "ssl_ciphers AES128-SHA:AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0;"
)
STRONG = "ssl_protocols TLSv1.2 TLSv1.3;"
ClientsByStack = Callable[[str, str], dict[str, Client]]


@dataclass(frozen=True)
class Sites:
    """The servers of this story, all of one nginx."""

    home: Site
    incomplete: Site
    expired: Site
    good: Site
    plain: Site


def run(bench: Bench) -> None:
    """Record each fault with every client, then what happens when one side does not speak TLS at all."""
    root = bench.pki.root("Home Trust")
    authority = bench.pki.intermediate(root, "Home Trust")
    trust = bench.pki.trust("home-root", root)

    def issue(name: str, to_day: float = 60) -> Credential:
        return bench.pki.issue(name, Leaf(f"{name}.example", to_day=to_day), authority)

    nginx = Nginx(bench.pki.directory)
    sites = Sites(
        home=nginx.site(HOME, WEAK + _key(issue("home", to_day=5).chain)),
        incomplete=nginx.site(INCOMPLETE, STRONG + _key(issue("incomplete").bare)),
        expired=nginx.site(EXPIRED, STRONG + _key(issue("expired", to_day=-3).chain)),
        good=nginx.site(GOOD, STRONG + _key(issue("good").chain)),
        plain=nginx.site(PLAIN, "", tls=False),
    )
    with nginx:
        clients = partial(_verifying_clients, trust)
        _weak_server(bench, sites.home, clients, trust)
        for version in ("TLS 1.2", "TLS 1.3"):
            _faults(bench, sites, clients, version)
        _resumption(bench, sites.good, trust)
        nameless = SClient(("-CAfile", str(trust), "-verify_return_error"))
        bench.meet("no server name", nameless, CLIENT_IPS["openssl"], sites.good, None)
        _other_protocols(bench, sites, clients)


def _key(certificate: Path) -> str:
    return f" ssl_certificate {certificate}; ssl_certificate_key {certificate};"


def _weak_server(bench: Bench, home: Site, clients: ClientsByStack, trust: Path) -> None:
    name = NAMES[HOME]
    for stack, client in clients("TLS 1.2", name).items():
        bench.meet("TLS on port 80", client, CLIENT_IPS[stack], home, name)
    for version in ("TLS 1.0", "TLS 1.1"):
        client = python_tls.Client(partial(python_tls.client_context, trust, version, version), version)
        bench.meet(f"TLS on port 80, {version}", client, CLIENT_IPS["python"], home, name)
    for stack, client in clients("TLS 1.2", OTHER_NAME).items():
        bench.meet("wrong name, TLS 1.2", client, CLIENT_IPS[stack], home, OTHER_NAME)


def _faults(bench: Bench, sites: Sites, clients: ClientsByStack, version: str) -> None:
    faults = (("leaf without its intermediate", sites.incomplete), ("expired leaf", sites.expired))
    for label, site in (*faults, ("healthy", sites.good)):
        name = NAMES[site.address]
        for stack, client in clients(version, name).items():
            bench.meet(f"{label}, {version}", client, CLIENT_IPS[stack], site, name)
    if version == "TLS 1.3":
        for stack, client in clients(version, OTHER_NAME).items():
            bench.meet(f"wrong name, {version}", client, CLIENT_IPS[stack], sites.good, OTHER_NAME)


def _resumption(bench: Bench, good: Site, trust: Path) -> None:
    for flag, version in (("-tls1_2", "TLS 1.2"), ("-tls1_3", "TLS 1.3")):
        session = str(bench.pki.directory / f"session{flag}")
        common = (flag, "-CAfile", str(trust), "-verify_return_error")
        for label, arguments in (("first visit", ("-sess_out", session)), ("resumed", ("-sess_in", session))):
            client = SClient((*common, *arguments), version)
            bench.meet(f"{label}, {version}", client, CLIENT_IPS["openssl"], good, NAMES[GOOD])


def _other_protocols(bench: Bench, sites: Sites, clients: ClientsByStack) -> None:
    plain_clients: dict[str, Client] = {"curl": Curl(scheme="http"), "python": PlainHttp()}
    for site in (sites.home, sites.good):
        for stack, client in plain_clients.items():
            label = "plain HTTP to a TLS port"
            bench.meet_without_tls(label, client, CLIENT_IPS[stack], site, NAMES[site.address])
    # nginx answers a ClientHello on a plain port with HTTP's 400, in clear.
    answered = Ending("server", "not_tls", "client_hello")
    for version in ("TLS 1.2", "TLS 1.3"):
        for stack, client in clients(version, NAMES[PLAIN]).items():
            label = f"TLS to a plain HTTP port, {version}"
            bench.meet(label, client, CLIENT_IPS[stack], sites.plain, NAMES[PLAIN], ending=answered)


def _verifying_clients(trust: Path, version: str, name: str) -> dict[str, Client]:
    """Return one client of each stack that offers exactly this version and checks chain, dates and name."""
    number, root = version.split(" ")[1], str(trust)
    check = ("-CAfile", root, "-verify_return_error", "-verify_hostname", name)
    return {
        "curl": Curl((f"--tlsv{number}", "--tls-max", number, "--cacert", root), version),
        "python": python_tls.Client(partial(python_tls.client_context, trust, version, version), version),
        "openssl": SClient((f"-tls{number.replace('.', '_')}", *check), version),
        "gnutls": GnutlsCli((f"--x509cafile={root}",), f"NORMAL:-VERS-ALL:+VERS-TLS{number}", version),
    }
