"""Servers that are programs: nginx, OpenSSL's s_server, GnuTLS' gnutls-serv."""

import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from recorder import namespace, transcripts
from recorder.accounts import Account
from recorder.bench import Address
from recorder.commands import version_of

PATIENCE = 10.0  # seconds
PAGE = b'{"status":"ok"}\n'


@dataclass
class Daemon:
    """A server process whose output is read connection by connection, since connections come one after another."""

    address: Address
    command: list[str]
    read: Callable[[str], Account]
    stack: str
    directory: Path
    _read_so_far: int = 0

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self._log = self.directory / f"{self.command[0].replace('/', '-')}-{self.address[0]}-{self.address[1]}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["stdbuf", "-oL", *self.command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory
            )
        _ready(self._process, [self.address])
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def account_of(self, client: Address) -> Account:
        """Return the account of the connection that has just ended."""
        namespace.wait_until_closed(client[1])
        time.sleep(0.1)  # for the last lines of its output
        output = self._log.read_bytes()
        text = output[self._read_so_far :].decode(errors="replace")
        self._read_so_far = len(output)
        return self.read(text)


def _ready(process: "subprocess.Popen[bytes]", addresses: list[Address]) -> None:
    """Wait until a new server listens, or end it."""
    try:
        for address in addresses:
            namespace.wait_until_listening(*address)
    except TimeoutError:
        process.kill()
        process.wait(PATIENCE)
        raise


def s_server(address: Address, directory: Path, certificate: Path, *arguments: str) -> Daemon:
    """Make OpenSSL's test server, serving a small file."""
    (directory / "v1").mkdir(exist_ok=True)
    (directory / "v1" / "orders").write_bytes(PAGE)
    listen = "[{}]:{}" if ":" in address[0] else "{}:{}"
    command = ["openssl", "s_server", "-msg", "-WWW", "-accept", listen.format(*address), "-cert", str(certificate)]
    stack = "openssl s_server, " + " ".join(version_of("openssl", "version").split()[:2])
    return Daemon(address, [*command, *arguments], _s_server_account, stack, directory)


def _s_server_account(text: str) -> Account:
    account = transcripts.openssl(text)
    account.data_received = "FILE:" in text
    return account


def gnutls_serv(address: Address, directory: Path, certificate: Path, *arguments: str) -> Daemon:
    """Make GnuTLS' test server, serving a small file; it listens on every address."""
    page = directory / "gnutls-page"
    page.write_bytes(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + PAGE)
    command = ["gnutls-serv", "--debug=5", "--http", "--httpdata", str(page), "--port", str(address[1])]
    command += ["--x509certfile", str(certificate), "--x509keyfile", str(certificate)]
    return Daemon(
        address, [*command, *arguments], transcripts.gnutls, version_of("gnutls-serv", "--version"), directory
    )


NGINX = """daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.log debug; user root;
events {{ worker_connections 128; }}
http {{ access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  default_type application/json;
{servers}
}}
"""


@dataclass(frozen=True)
class Site:
    """One `server` block of nginx, seen as a server of its own."""

    address: Address
    directives: str
    nginx: "Nginx"

    @property
    def stack(self) -> str:
        """Name and version of the software."""
        return f"{version_of('nginx', '-v').removeprefix('nginx version: ')}, {ssl.OPENSSL_VERSION}"

    def account_of(self, client: Address) -> Account:
        """Return what the debug log says of the connection that has just ended."""
        return self.nginx.account_of(client)


@dataclass
class Nginx:
    """One nginx with any number of sites."""

    directory: Path
    sites: list[Site] = field(default_factory=list)

    def site(self, address: Address, directives: str, tls: bool = True) -> Site:
        """Add a site; `directives` are nginx's own."""
        listen = ("[{}]:{}" if ":" in address[0] else "{}:{}").format(*address) + (" ssl" if tls else "")
        block = f"  server {{ listen {listen}; {directives} location / {{ return 200 '{PAGE.decode().strip()}'; }} }}"
        made = Site(address, block, self)
        self.sites.append(made)
        return made

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self._log = self.directory / "nginx.log"
        configuration = self.directory / "nginx.conf"
        servers = "\n".join(site.directives for site in self.sites)
        configuration.write_text(NGINX.format(directory=self.directory, servers=servers))
        command = ["nginx", "-p", str(self.directory), "-c", str(configuration), "-e", str(self._log)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _ready(self._process, [site.address for site in self.sites])
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def account_of(self, client: Address) -> Account:
        """Return the account of a client's connection as soon as nginx has closed it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            log = self._lines_about(client)
            if "close http connection" in log:
                namespace.wait_until_closed(client[1])
                return transcripts.nginx(self._lines_about(client))
            time.sleep(0.02)
        raise TimeoutError(f"nginx never closed {client}")

    def _lines_about(self, client: Address) -> str:
        """Return the lines of one connection: nginx numbers its connections and says the number in every line."""
        log = self._log.read_text(errors="replace")
        accepted = re.search(rf"\*(\d+) accept: \S+:{client[1]} fd", log)
        return "\n".join(line for line in log.splitlines() if f" *{accepted[1]} " in line) if accepted else ""
