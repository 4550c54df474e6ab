"""What a case has at hand: an authority, servers that are started for it, and clients that visit them."""

import contextlib
import itertools
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rule_authority import NAME, Authority, pem

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "sample_captures"))

from recorder import namespace
from recorder.python_tls import (
    Server,
    client_context,
    connected,
    error_text,
    request,
    server_context,
)

SERVER, CLIENT = "10.80.0.10", "10.80.1.5"
NODE = os.environ.get("NODE_26", "node")  # one with post-quantum groups
PORTS = itertools.count(33007, 7)
Session = ssl.SSLSession | None


class Bench:
    """One case: its folder, its authority of three levels, and what its clients said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Authority("Rule Root")
        self.policy = Authority("Rule Policy CA", self.root)
        self.issuing = Authority("Rule Issuing CA", self.policy)
        self.above = (self.issuing.certificate, self.policy.certificate)
        self.trust = folder / "root.pem"
        self.trust.write_bytes(pem(self.root.certificate))
        self.chain = folder / "above.pem"
        self.chain.write_bytes(pem(*self.above))
        self.said: list[str] = []
        self.hidden: set[str] = set()
        self.keeps_root = False

    def leaf(self, **how: Any) -> Path:
        """Write a leaf with its full chain."""
        return self.issuing.leaf(self.folder, how.pop("above", self.above), **how)

    def port(self) -> int:
        """Give a client's port that none had before, in any case: the kernel remembers what was closed."""
        return next(PORTS)

    @contextmanager
    def python(self, *contexts: ssl.SSLContext, address: str = SERVER, **more: Any) -> Iterator[None]:
        """Serve with Python's `ssl` on port 443, each connection with the next of some contexts."""
        namespace.add_address(address)
        turns = iter(range(1000))
        with Server((address, more.pop("port", 443)), lambda: contexts[next(turns) % len(contexts)], **more):
            yield

    @contextmanager
    def command(self, words: str, address: str = SERVER, port: int = 443) -> Iterator[None]:
        """Serve with a command until the end of the block."""
        namespace.add_address(address)
        with (self.folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                words.split(), stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        try:
            namespace.wait_until_listening(address, port)
            yield
        finally:
            time.sleep(0.2)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

    def visit(self, context: ssl.SSLContext, session: Session = None, **where: Any) -> Session:
        """Fetch a page with Python's `ssl`; return the session got. `where`: `address`, `port`, `client`, `name`."""
        namespace.add_address(client := where.get("client", CLIENT))
        target = where.get("address", SERVER), where.get("port", 443)
        name = where.get("name", NAME)
        got: Session = None
        with connected((client, self.port()), target) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=name, session=session) as tls:
                    tls.sendall(request(name))
                    while tls.recv(16384):
                        pass
                    got = tls.session
                    self.said.append(f"{tls.version()} {tls.cipher()[0]}{', resumed' * bool(tls.session_reused)}")  # type: ignore[index]
                    tls.unwrap()
            except OSError as error:
                if got is None:
                    self.said.append(error_text(error))
        time.sleep(0.05)
        return got

    def call(self, words: str, address: str = SERVER, client: str = CLIENT, lines: bytes = b"") -> None:
        """Run a client command, from an address and a port that the kernel is told to choose."""
        namespace.add_address(client)
        with namespace.next_connection_from(client, self.port(), address):
            process = subprocess.Popen(
                words.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder
            )
            time.sleep(1.0)
            told = process.communicate(lines, timeout=20)[0].decode(errors="replace").strip().splitlines()
        self.said.append(told[-1][:100] if told else "")
        time.sleep(0.05)

    def client(self, highest: str = "TLS 1.2", trusts: bool = True, **how: Any) -> ssl.SSLContext:
        """Make a client's context. `how`: `ciphers`, `lowest`."""
        context = client_context(self.trust if trusts else None, how.get("lowest", "TLS 1.2"), highest)
        if "ciphers" in how:
            context.set_ciphers(how["ciphers"])
        return context

    def server(self, chain: Path, highest: str = "TLS 1.3", **how: Any) -> ssl.SSLContext:
        """Make a server's context. `how`: `ciphers`, `curve`, `lowest`."""
        if "ciphers" not in how:
            context = server_context(chain, how.get("lowest", "TLS 1.2"), highest)
        else:  # before the chain, whose key the security level judges
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers(how["ciphers"])
            context.load_cert_chain(chain)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if "curve" in how:
            context.set_ecdh_curve(how["curve"])
        return context

    @contextmanager
    def balancer(self, *behind: str, address: str = SERVER) -> Iterator[None]:
        """HAProxy before servers at some addresses: each connection goes to the next of them, as it is."""
        self.hidden |= set(behind)
        targets = "\n".join(f"    server s{i} {one}:443" for i, one in enumerate(behind))
        timeouts = "".join(f"    timeout {what} 10s\n" for what in ("connect", "client", "server"))
        (self.folder / "haproxy.cfg").write_text(
            f"defaults\n    mode tcp\n{timeouts}listen all\n    bind {address}:443\n    balance roundrobin\n{targets}\n"
        )
        with self.command("haproxy -db -f haproxy.cfg", address):
            yield

    @contextmanager
    def nginx(self, chain: Path, tls: bool = True) -> Iterator[None]:
        """Serve with nginx on port 443, with TLS there or without."""
        secure = f"ssl_certificate {chain}; ssl_certificate_key {chain};" if tls else ""
        site = f"server {{ listen {SERVER}:443{' ssl' * tls}; {secure} return 200 ok; }}"
        logs = f"error_log {self.folder}/error.log; pid {self.folder}/nginx.pid;"
        http = f"access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};"
        (self.folder / "nginx.conf").write_text(
            f"daemon off; master_process off; {logs} events {{}} http {{ {http} {site} }}"
        )
        with self.command(f"nginx -p {self.folder} -c {self.folder}/nginx.conf"):
            yield

    @contextmanager
    def listener(self, handle: Callable[[socket.socket], None], address: str = SERVER) -> Iterator[None]:
        """Take connections on port 443, one after the other."""
        namespace.add_address(address)
        listening = socket.create_server((address, 443))

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:  # closed: the case is over
                    return
                with plain:
                    plain.settimeout(5)
                    with contextlib.suppress(OSError):
                        handle(plain)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    @contextmanager
    def greeter(self, words: bytes) -> Iterator[None]:
        """Serve what greets first, and closes when it has read something else than it waits for."""

        def greet(plain: socket.socket) -> None:
            plain.sendall(words)
            plain.recv(4096)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass

        with self.listener(greet):
            yield

    @contextmanager
    def middlebox(self, behind: str, takes_any: bool) -> Iterator[None]:
        """Pass connections on to a server, but reset those whose first segment holds a part of a record alone."""
        self.hidden.add(behind)

        def handle(plain: socket.socket) -> None:
            first = plain.recv(1448)  # what one segment carries
            if not takes_any and len(first) < 5 + int.from_bytes(first[3:5], "big"):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            with socket.create_connection((behind, 443)) as onward:
                onward.sendall(first)
                _pass_on(plain, onward)

        with self.listener(handle):
            yield

    def post_quantum(self) -> None:
        """Fetch a page with Node on OpenSSL 3.5, whose hello has a share of X25519MLKEM768."""
        script = (
            f"const t=require('tls').connect({{host:'{SERVER}',port:443,servername:'{NAME}',rejectUnauthorized:false}},"
            "()=>{console.log(t.getProtocol());t.end('GET / HTTP/1.0\\r\\n\\r\\n')});"
            "t.on('data',()=>{});t.on('error',e=>console.log(e.code))"
        )
        (self.folder / "visit.js").write_text(script)
        self.call(f"{NODE} visit.js")

    def java(self, program: Path, store: str) -> None:
        """Run both ends of one connection in one Java program."""
        for address in (SERVER, CLIENT):
            namespace.add_address(address)
        words = ["java", str(program), store, SERVER, CLIENT, str(self.port())]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, cwd=self.folder)
        self.said.append(done.stdout.strip())

    def run(self, words: str) -> None:
        """Run a command that must succeed."""
        subprocess.run(words.split(), check=True, capture_output=True, cwd=self.folder)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended."""
    open_ends = {one: other, other: one}
    while open_ends:
        for side in select.select(list(open_ends), [], [], 5)[0]:
            data = side.recv(65536)
            if data:
                open_ends[side].sendall(data)
            else:
                open_ends.pop(side).shutdown(socket.SHUT_WR)
