"""What was set up for each capture: a rule's cause alone, and its twin with that set right.

The docstring of a case says what is wrong in it, and how the capture knows.
"""

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rule_authority import Authority, self_signed
from rule_bench import NAME, SERVER, Bench

HERE = Path(__file__).resolve().parent
Run = Callable[[Bench, bool], None]
THIRD = "10.80.0.30"


@dataclass(frozen=True)
class Case:
    """One case: its rule, the name of its captures, and what makes the connections."""

    rule: str
    name: str
    run: Run
    has_twin: bool


CASES: list[Case] = []


def case(rule: str, variant: str = "", twin: bool = True) -> Callable[[Run], Run]:
    """Enter a case into the list; a variant shares the healthy twin of its rule."""

    def enter(run: Run) -> Run:
        name = rule.replace("_", "-") + (f"-{variant}" if variant else "")
        CASES.append(Case(rule, name, run, twin))
        return run

    return enter


# -- no TLS on one side -------------------------------------------------------------------------------------------


@case("tls_to_plain_port", "http")
def plain_http(bench: Bench, healthy: bool) -> None:
    """An nginx has `listen 443` without `ssl`: Python's ssl says WRONG_VERSION_NUMBER."""
    with bench.nginx(bench.leaf(), tls=healthy):
        bench.visit(bench.client())
        bench.visit(bench.client("TLS 1.3"))


@case("tls_to_plain_port", "ssh", twin=False)
def plain_ssh(bench: Bench, healthy: bool) -> None:
    """The server greets as OpenSSH does (RFC 4253 4.2) and never speaks TLS."""
    with bench.greeter(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"):
        bench.visit(bench.client())
        bench.visit(bench.client("TLS 1.3"))


@case("http_on_tls_port")
def http_to_tls(bench: Bench, healthy: bool) -> None:
    """A curl is given http:// for the TLS port of nginx, of s_server and of gnutls-serv."""
    chain, scheme = bench.leaf(), "https" if healthy else "http"
    fetch = f"curl --silent --show-error --insecure --max-time 3 --resolve {NAME}:443:{SERVER} {scheme}://{NAME}:443/"
    with bench.nginx(chain):
        bench.call(fetch)
    with bench.command(f"openssl s_server -accept {SERVER}:443 -cert {chain} -cert_chain {bench.chain} -www"):
        bench.call(fetch)
    with bench.command(f"gnutls-serv --http -p 443 --x509certfile {chain} --x509keyfile {chain}"):
        bench.call(fetch)


# -- the server's certificate -------------------------------------------------------------------------------------


@case("missing_intermediate")
def no_intermediate(bench: Bench, healthy: bool) -> None:
    """One of two servers has cert.pem where fullchain.pem was meant; its client says unable to get local issuer."""
    lone = bench.leaf(above=bench.above if healthy else ())
    with (
        bench.python(bench.server(lone)),
        bench.python(bench.server(bench.leaf(names=("good.example",))), address=THIRD),
    ):
        bench.visit(bench.client(), address=THIRD, name="good.example")
        bench.visit(bench.client())
        bench.visit(bench.client())


@case("issuer_not_sent")
def lone_leaf(bench: Bench, healthy: bool) -> None:
    """A server sends its leaf alone, which says where its issuer's certificate is (caIssuers)."""
    place = "http://ca.example/issuing.cer"
    with bench.python(bench.server(bench.leaf(above=bench.above if healthy else (), aia=place))):
        bench.visit(bench.client())


@case("certificate_self_signed")
def alone(bench: Bench, healthy: bool) -> None:
    """The server's certificate is signed by its own key."""
    with bench.python(bench.server(bench.leaf() if healthy else self_signed(bench.folder))):
        bench.visit(bench.client())


@case("certificate_expired")
def expired(bench: Bench, healthy: bool) -> None:
    """The leaf ended three days before."""
    with bench.python(bench.server(bench.leaf(days=(-90, 60 if healthy else -3)))):
        bench.visit(bench.client())


@case("certificate_not_yet_valid")
def not_yet(bench: Bench, healthy: bool) -> None:
    """The leaf begins two days later."""
    with bench.python(bench.server(bench.leaf(days=(-2 if healthy else 2, 60)))):
        bench.visit(bench.client())


@case("certificate_expires_soon")
def ends_soon(bench: Bench, healthy: bool) -> None:
    """The leaf ends in five days, after 85; nobody fails by it yet."""
    with bench.python(bench.server(bench.leaf(days=(-85, 60 if healthy else 5)))):
        bench.visit(bench.client())


@case("certificate_name_mismatch")
def wrong_name(bench: Bench, healthy: bool) -> None:
    """The leaf is for other.example; the client asks for shop.example, and checks."""
    with bench.python(bench.server(bench.leaf(names=(NAME if healthy else "other.example",)))):
        bench.visit(bench.client())


@case("untrusted_chain")
def other_root(bench: Bench, healthy: bool) -> None:
    """The chain is whole, and leads to a root that the client does not have; its own is beside the capture."""
    bench.keeps_root = True
    other = Authority("Other Issuing CA", Authority("Other Root"))
    chain = bench.leaf() if healthy else other.leaf(bench.folder, (other.certificate,))
    with bench.python(bench.server(chain)):
        bench.visit(bench.client())


@case("chain_out_of_order")
def jumbled(bench: Bench, healthy: bool) -> None:
    """The two intermediates stand in the wrong order; OpenSSL sorts them and does not mind."""
    with bench.python(bench.server(bench.leaf(above=bench.above if healthy else bench.above[::-1]))):
        bench.visit(bench.client())


@case("needless_certificates")
def needless(bench: Bench, healthy: bool) -> None:
    """Behind the chain stands an intermediate of another authority."""
    stranger = () if healthy else (Authority("Old Issuing CA", Authority("Old Root")).certificate,)
    with bench.python(bench.server(bench.leaf(above=(*bench.above, *stranger)))):
        bench.visit(bench.client())


@case("root_sent")
def with_root(bench: Bench, healthy: bool) -> None:
    """The file of the chain ends with the root."""
    root = () if healthy else (bench.root.certificate,)
    with bench.python(bench.server(bench.leaf(above=(*bench.above, *root)))):
        bench.visit(bench.client())


@case("chain_over_initial_window")
def long_chain(bench: Bench, healthy: bool) -> None:
    """One certificate for 700 names: over 14,600 bytes."""
    names = (NAME, *(f"customer-{i:05}.example" for i in range(30 if healthy else 700)))
    with bench.python(bench.server(bench.leaf(names=names))):
        bench.visit(bench.client())


@case("weak_certificate", "refused")
def short_key(bench: Bench, healthy: bool) -> None:
    """The leaf has an RSA key of 1024 bits: OpenSSL's client says ee key too small."""
    chain = bench.leaf(rsa_bits=2048 if healthy else 1024)
    with bench.python(bench.server(chain, ciphers="ECDHE+AESGCM:@SECLEVEL=0")):
        bench.visit(bench.client())
        bench.visit(bench.client())


@case("weak_certificate", "taken", twin=False)
def short_key_taken(bench: Bench, healthy: bool) -> None:
    """The leaf has an RSA key of 1024 bits, and the client takes it (security level 0)."""
    with bench.python(bench.server(bench.leaf(rsa_bits=1024), ciphers="ECDHE+AESGCM:@SECLEVEL=0")):
        bench.visit(bench.client(ciphers="ECDHE+AESGCM:@SECLEVEL=0"))


@case("certificate_varies")
def now_this_now_that(bench: Bench, healthy: bool) -> None:
    """HAProxy balances over two servers, of which one still has the certificate before the last renewal."""
    new, old = bench.leaf(), bench.leaf(days=(-60, 30))
    behind = ("10.80.2.1", "10.80.2.2")
    with ExitStack() as all_of:
        all_of.enter_context(bench.python(bench.server(new), address=behind[0]))
        all_of.enter_context(bench.python(bench.server(new if healthy else old), address=behind[1]))
        all_of.enter_context(bench.balancer(*behind))
        for _ in range(4):
            bench.visit(bench.client())


# -- weak settings ------------------------------------------------------------------------------------------------


def suites(bench: Bench, ciphers: str, **how: str) -> None:
    """Let both sides take no more than some suites of OpenSSL."""
    weak = f"{ciphers}:@SECLEVEL=0"
    with bench.python(bench.server(bench.leaf(rsa_bits=2048), ciphers=weak, **how)):
        bench.visit(bench.client(ciphers=weak))
        bench.visit(bench.client(ciphers=weak))


@case("weak_cipher", "null")
def null(bench: Bench, healthy: bool) -> None:
    """Both sides allow suites without encryption alone."""
    suites(bench, "ECDHE+AESGCM" if healthy else "ECDHE-RSA-NULL-SHA")


@case("weak_cipher", "anonymous", twin=False)
def anonymous(bench: Bench, healthy: bool) -> None:
    """Both sides allow suites without authentication alone (ECDH_anon): no certificate is sent."""
    context = bench.client(trusts=False, ciphers="AECDH-AES128-SHA:@SECLEVEL=0")
    with bench.python(bench.server(bench.leaf(), ciphers="AECDH-AES128-SHA:@SECLEVEL=0")):
        bench.visit(context)
        bench.visit(context)


def gnutls(bench: Bench, added: str, client: str) -> None:
    """Let gnutls-serv allow more than it does, and gnutls-cli no more than that."""
    chain = bench.leaf(rsa_bits=2048)
    serve = f"gnutls-serv --http -p 443 --x509certfile {chain} --x509keyfile {chain} --priority NORMAL{added}"
    with bench.command(serve):
        bench.call(f"gnutls-cli -p 443 {SERVER} --insecure --sni-hostname={NAME} --priority {client}")


@case("weak_cipher", "rc4", twin=False)
def rc4(bench: Bench, healthy: bool) -> None:
    """gnutls-serv allows RC4, and gnutls-cli nothing else."""
    gnutls(bench, ":+ARCFOUR-128", "NORMAL:-CIPHER-ALL:+ARCFOUR-128:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA")


@case("weak_cipher", "3des", twin=False)
def triple_des(bench: Bench, healthy: bool) -> None:
    """gnutls-serv allows 3DES, and gnutls-cli nothing else."""
    gnutls(bench, ":+3DES-CBC", "NORMAL:-CIPHER-ALL:+3DES-CBC:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA")


@case("weak_cipher", "export", twin=False)
def export(bench: Bench, healthy: bool) -> None:
    """Java at both ends, with an export cipher as the only one and what Java switches off allowed again."""
    chain = bench.leaf(rsa_bits=2048)
    bench.run(f"openssl pkcs12 -export -in {chain} -out own.p12 -passout pass:secret")
    bench.java(HERE / "ExportEnds.java", "own.p12")


@case("no_forward_secrecy")
def static_rsa(bench: Bench, healthy: bool) -> None:
    """The server prefers RSA key exchange; the client would take ECDHE too, or first."""
    suites(bench, "ECDHE+AESGCM" if healthy else "AES128-GCM-SHA256")


@case("old_version")
def tls10(bench: Bench, healthy: bool) -> None:
    """The server takes TLS 1.0, and one client offers no more."""
    lowest = "TLS 1.2" if healthy else "TLS 1.0"
    with bench.python(bench.server(bench.leaf(), lowest=lowest)):
        bench.visit(bench.client(lowest=lowest, highest=lowest))
        bench.visit(bench.client("TLS 1.2"))


def small_group(bench: Bench, bits: int, level: int) -> None:
    """Exchange keys by DHE in a group of some size; the client's security level says what it takes."""
    generate = f"openssl dhparam -out dh.pem {bits}" if bits < 2048 else "openssl genpkey -genparam -out dh.pem"
    generate += "" if bits < 2048 else " -algorithm DH -pkeyopt group:ffdhe2048"
    bench.run(generate)
    chain = bench.leaf(rsa_bits=2048)
    serve = f"openssl s_server -accept {SERVER}:443 -cert {chain} -cert_chain {bench.chain} -www -dhparam dh.pem"
    with bench.command(f"{serve} -cipher DHE+AESGCM:@SECLEVEL=0 -tls1_2"):
        bench.visit(bench.client(ciphers=f"DHE+AESGCM:@SECLEVEL={level}"))
        bench.visit(bench.client(ciphers=f"DHE+AESGCM:@SECLEVEL={level}"))


@case("small_dh_group", "refused")
def small_group_refused(bench: Bench, healthy: bool) -> None:
    """The server has DH parameters of 1024 bits: OpenSSL's client says dh key too small."""
    small_group(bench, 2048 if healthy else 1024, 2)


@case("small_dh_group", "taken", twin=False)
def small_group_taken(bench: Bench, healthy: bool) -> None:
    """The server has DH parameters of 1024 bits, and the client takes them (security level 0)."""
    small_group(bench, 1024, 0)


@case("insecure_renegotiation", "refused")
def old_renegotiation(bench: Bench, healthy: bool) -> None:
    """gnutls-serv without RFC 5746: OpenSSL's client says unsafe legacy renegotiation disabled."""
    chain, odd = bench.leaf(), "" if healthy else ":%DISABLE_SAFE_RENEGOTIATION"
    serve = f"gnutls-serv --http -p 443 --x509certfile {chain} --x509keyfile {chain} --priority NORMAL{odd}"
    with bench.command(serve):
        bench.visit(bench.client())
        bench.visit(bench.client())


@case("insecure_renegotiation", "taken", twin=False)
def old_renegotiation_taken(bench: Bench, healthy: bool) -> None:
    """gnutls-serv without RFC 5746, which the client puts up with (legacy_server_connect)."""
    chain = bench.leaf()
    serve = f"gnutls-serv --http -p 443 --x509certfile {chain} --x509keyfile {chain}"
    with bench.command(f"{serve} --priority NORMAL:%DISABLE_SAFE_RENEGOTIATION"):
        context = bench.client()
        context.options |= 0x4  # SSL_OP_LEGACY_SERVER_CONNECT
        bench.visit(context)


# -- effort -------------------------------------------------------------------------------------------------------


def again(bench: Bench, context: ssl.SSLContext, addresses: tuple[str, ...]) -> None:
    """Visit addresses one after the other, each time with the session that the last visit got."""
    session = None
    for address in addresses:
        session = bench.visit(context, session, address=address) or session


@case("resumption_declined", "balancer")
def balanced_tickets(bench: Bench, healthy: bool) -> None:
    """HAProxy balances over two servers, each with ticket keys of its own: every ticket comes to the wrong one."""
    first, chain, behind = None, bench.leaf(), ("10.80.2.1", "10.80.2.2")
    with ExitStack() as all_of:
        for address in behind:
            first = first if healthy and first else bench.server(chain)
            all_of.enter_context(bench.python(first, address=address))
        all_of.enter_context(bench.balancer(*behind))
        again(bench, bench.client(), (SERVER,) * 5)


@case("resumption_declined", "forgotten", twin=False)
def forgotten_tickets(bench: Bench, healthy: bool) -> None:
    """The server changes its ticket keys for each connection."""
    chain = bench.leaf()
    with bench.python(*[bench.server(chain) for _ in range(5)]):
        again(bench, bench.client(), (SERVER,) * 5)


@case("tickets_not_shared")
def own_tickets(bench: Bench, healthy: bool) -> None:
    """One name, two addresses, each with ticket keys of its own; the client goes to them by turns."""
    first, chain = None, bench.leaf()
    with ExitStack() as all_of:
        for address in (SERVER, THIRD):
            first = first if healthy and first else bench.server(chain)
            all_of.enter_context(bench.python(first, address=address))
        again(bench, bench.client(), (SERVER, SERVER, THIRD, SERVER, THIRD))


@case("hello_retry_usual")
def one_group(bench: Bench, healthy: bool) -> None:
    """The server takes secp384r1 alone; OpenSSL's clients send a share of x25519."""
    how = {} if healthy else {"curve": "secp384r1"}
    with bench.python(bench.server(bench.leaf(), **how)):
        for _ in range(3):
            bench.visit(bench.client("TLS 1.3"))


@case("slow_server")
def slow(bench: Bench, healthy: bool) -> None:
    """The server takes 250 ms for each of its flights."""
    with bench.python(bench.server(bench.leaf()), think=lambda: 0.0 if healthy else 0.25):
        for _ in range(3):
            bench.visit(bench.client())


@case("large_hello_lost")
def two_segments(bench: Bench, healthy: bool) -> None:
    """A middlebox before the server resets what does not hold a whole ClientHello in its first segment."""
    with bench.python(bench.server(bench.leaf()), address="10.80.2.1"), bench.middlebox("10.80.2.1", bool(healthy)):
        bench.visit(bench.client("TLS 1.3"))
        for _ in range(2):
            bench.post_quantum()
