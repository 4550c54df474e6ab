"""Clients that are commands: curl, OpenSSL's s_client and GnuTLS' gnutls-cli."""

import functools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from recorder import namespace, python_tls, transcripts
from recorder.accounts import Account
from recorder.bench import Address

PATIENCE = 15.0  # seconds


@functools.cache
def version_of(command: str, *arguments: str) -> str:
    """Return the first words that a command prints about its version."""
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0]


@dataclass(frozen=True)
class Curl:
    """curl on OpenSSL; `arguments` are its own, `port` is the page's where a proxy stands before it."""

    arguments: tuple[str, ...] = ()
    offered: str = "TLS 1.3"
    key_log: Path | None = None
    scheme: str = "https"
    port: int | None = None

    @property
    def stack(self) -> str:
        """Name and version of the software."""
        return " ".join(version_of("curl", "--version").split()[:2] + version_of("curl", "--version").split()[4:5])

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Fetch one page from a given address."""
        host, port = sni or target[0], str(self.port or target[1])
        command = [
            "curl",
            "--trace",
            "-",
            "--no-progress-meter",
            "--show-error",
            "--output",
            os.devnull,
            "--max-time",
            str(PATIENCE),
        ]
        command += ["--interface", source[0], "--local-port", str(source[1])]
        command += ["--resolve", f"{host}:{port}:{target[0]}", *self.arguments]
        done = _run([*command, f"{self.scheme}://{host}:{port}/v1/orders"], b"", self.key_log)
        return transcripts.curl((done.stdout + done.stderr).decode(errors="replace"))


@dataclass(frozen=True)
class SClient:
    """OpenSSL's s_client, with the trace of its messages switched on."""

    arguments: tuple[str, ...] = ()
    offered: str = "TLS 1.3"
    key_log: Path | None = None

    @property
    def stack(self) -> str:
        """Name and version of the software."""
        return "openssl s_client, " + " ".join(version_of("openssl", "version").split()[:2])

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Send one request from a given address and wait for the server to close."""
        brackets = "[{}]:{}" if ":" in target[0] else "{}:{}"
        command = ["openssl", "s_client", "-msg", "-ign_eof", "-connect", brackets.format(*target)]
        command += ["-bind", brackets.format(*source), *self.arguments]
        command += ["-servername", sni] if sni else ["-noservername"]
        command += ["-keylogfile", str(self.key_log)] if self.key_log else []
        done = _run(command, python_tls.request(sni or target[0]))
        account = transcripts.openssl(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))
        account.data_received = b"\nHTTP/1." in done.stdout
        return account


@dataclass(frozen=True)
class GnutlsCli:
    """GnuTLS' client, with its debug log switched on."""

    arguments: tuple[str, ...] = ("--insecure",)
    priority: str = "NORMAL"
    offered: str = "TLS 1.3"
    key_log: Path | None = None

    @property
    def stack(self) -> str:
        """Name and version of the software."""
        return version_of("gnutls-cli", "--version")

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Send one request from a given address and wait for the server to close."""
        command = ["gnutls-cli", "--debug=5", "--port", str(target[1]), "--priority", self.priority, *self.arguments]
        command += ["--sni-hostname", sni, "--verify-hostname", sni] if sni else ["--disable-sni"]
        with namespace.next_connection_from(*source, target[0]):
            done = _run([*command, target[0]], python_tls.request(sni or target[0]), self.key_log)
        account = transcripts.gnutls((done.stderr + done.stdout).decode(errors="replace"))
        account.data_received = b"\nHTTP/1." in done.stdout
        return account


@dataclass(frozen=True)
class PlainHttp:
    """A client that speaks HTTP without TLS."""

    stack: str = "HTTP over a bare socket"
    offered: str = ""

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Send one request in clear."""
        with python_tls.connected(source, target) as plain:
            plain.sendall(python_tls.request(sni or target[0]))
            account = Account(data_received=bool(plain.recv(16384)))
            while plain.recv(16384):
                pass
        return account


def _run(command: list[str], request: bytes, key_log: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    """Run a client to its end; key logs that are asked for through the environment are asked for here."""
    environment = os.environ | ({"SSLKEYLOGFILE": str(key_log)} if key_log else {})
    return subprocess.run(
        command, input=request, capture_output=True, timeout=PATIENCE + 5, check=False, env=environment
    )
