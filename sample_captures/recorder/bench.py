"""What every story needs while it is recorded: addresses, ports, the PKI, and the list of connections made."""

import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from recorder import verdict
from recorder.accounts import Account
from recorder.pki import Pki

FIRST_PORT, LAST_PORT = 33000, 60000


Address = tuple[str, int]


class Client(Protocol):
    """A way to make one connection; `offered` is the highest version in its ClientHello."""

    @property
    def stack(self) -> str:
        """Name and version of the software."""

    @property
    def offered(self) -> str:
        """The highest version in its ClientHello."""

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Connect from a given address and return the client's account."""


class Server(Protocol):
    """Something that listens and afterwards tells what it saw of each client."""

    @property
    def stack(self) -> str:
        """Name and version of the software."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    def account_of(self, client: Address) -> Account:
        """Return the account of a client's connection as soon as that is over."""


@dataclass
class Bench:
    """One story's recording: hands out ports, brings clients and servers together, and collects the truth."""

    pki: Pki
    random: random.Random
    truth: list[dict[str, object]] = field(default_factory=list)
    key_log: Path | None = None
    pause: tuple[float, float] = (0.02, 0.12)
    _port: int = FIRST_PORT

    def next_port(self) -> int:
        """Return a client port that no connection of this recording had before."""
        self._port += self.random.randint(2, 60)
        if self._port > LAST_PORT:
            raise RuntimeError("too many connections for one recording")
        return self._port

    def meet(
        self,
        label: str,
        client: Client,
        client_ip: str,
        server: Server,
        sni: str | None,
        *,
        port: int | None = None,
        ending: verdict.Ending | None = None,
    ) -> None:
        """Make one TLS connection and add it to the truth; `ending` is for those that end without an alert."""
        source = (client_ip, port or self.next_port())
        accounts = client.connect(source, server.address, sni), server.account_of(source)
        try:
            expected = verdict.expected(*accounts, ending)
        except (ValueError, KeyError) as error:
            raise RuntimeError(f"{label}: {client.stack} to {server.stack}") from error
        self._tell(label, client, source, server, sni, accounts, expected)

    def meet_without_tls(self, label: str, client: Client, client_ip: str, server: Server, sni: str | None) -> None:
        """Make one connection whose client does not speak TLS; there is nothing to expect of it."""
        source = (client_ip, self.next_port())
        accounts = client.connect(source, server.address, sni), server.account_of(source)
        self._tell(label, client, source, server, sni, accounts, asdict(verdict.Expected()))

    def _tell(
        self,
        label: str,
        client: Client,
        source: Address,
        server: Server,
        sni: str | None,
        accounts: tuple[Account, Account],
        expected: dict[str, object],
    ) -> None:
        self.truth.append(
            {
                "case": label,
                "client_stack": client.stack,
                "server_stack": server.stack,
                "client_ip": source[0],
                "client_port": source[1],
                "server_ip": server.address[0],
                "server_port": server.address[1],
                "sni": sni,
                "offered_version_max": client.offered if expected["outcome"] else None,
                "client": asdict(accounts[0]),
                "server": asdict(accounts[1]),
                "expected": expected,
            }
        )
        time.sleep(self.random.uniform(*self.pause))

    def write_truth(self, path: Path) -> None:
        """Write what both endpoints said, beside the capture."""
        path.write_text(json.dumps(self.truth, indent=1) + "\n")
