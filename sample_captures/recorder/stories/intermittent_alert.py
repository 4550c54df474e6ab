"""An API server calls an external API whose front end fails some TLS 1.2 handshakes, and never a TLS 1.3 one."""

import ssl
from collections.abc import Sequence
from functools import partial

from recorder import python_tls
from recorder.bench import Bench
from recorder.pki import Leaf

CLIENTS = ("10.20.0.5", "10.20.0.6")
SERVER = ("203.0.113.10", 443)
NAME = "api.partner.example"
ADDRESSES = (*CLIENTS, SERVER[0])
BODY = b'{"orders":[' + b",".join(b'{"id":%d,"state":"shipped","total":"19.90"}' % n for n in range(1001, 1013)) + b"]}"
LABELS = {"TLS 1.2": "worker pinned to TLS 1.2", "TLS 1.3": "worker with TLS 1.3"}


def run(bench: Bench) -> None:
    """Record ten connections of each version, interleaved; the server refuses three of the TLS 1.2 ones."""
    calls = [(client, version) for version in LABELS for client in CLIENTS * 5]
    bench.random.shuffle(calls)
    old = [place for place, (_, version) in enumerate(calls) if version == "TLS 1.2"]
    _record(bench, calls, refused=bench.random.sample(old, 3))


def run_after(bench: Bench) -> None:
    """Record the same two clients after the fix: every worker pinned to TLS 1.3."""
    _record(bench, [(client, "TLS 1.3") for client in CLIENTS * 10], refused=())


def _record(bench: Bench, calls: Sequence[tuple[str, str]], refused: Sequence[int]) -> None:
    root = bench.pki.root("Partner Trust")
    authority = bench.pki.intermediate(root, "Partner Trust")
    trust = bench.pki.trust("partner-root", root)
    credential = bench.pki.issue("partner", Leaf(NAME), authority)
    ports = [bench.next_port() for _ in calls]
    unlucky = {ports[place] for place in refused}

    def context() -> ssl.SSLContext:
        made = python_tls.server_context(credential.chain)
        python_tls.refuse(made, ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, unlucky)
        return made

    # Every flight costs the front end some milliseconds, so TLS 1.2, which has one more, takes longer as in life.
    bench.pause = (0.2, 1.2)
    with python_tls.Server(SERVER, context, BODY, think=lambda: bench.random.uniform(0.006, 0.018)) as server:
        for (client, version), port in zip(calls, ports, strict=True):
            caller = python_tls.Client(partial(python_tls.client_context, trust, highest=version), version)
            bench.meet(_label(version, port in unlucky), caller, client, server, NAME, port=port)


def _label(version: str, refused: bool) -> str:
    return LABELS[version] + (", refused by the server" if refused else "")
