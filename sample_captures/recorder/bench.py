"""What every story needs while it is recorded: addresses, ports, the PKI, and the list of connections made."""

import json
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recorder import verdict
from recorder.accounts import Account
from recorder.pki import Pki

FIRST_PORT, LAST_PORT = 33000, 60000


@dataclass(frozen=True)
class Case:
    """Who speaks with whom, and what for; `offered` is the highest version in the ClientHello."""

    label: str
    client_stack: str
    server_stack: str
    client_ip: str
    server_ip: str
    server_port: int
    sni: str | None
    offered: str | None


@dataclass
class Bench:
    """One story's recording: hands out ports and collects the truth."""

    pki: Pki
    random: random.Random
    truth: list[dict[str, object]] = field(default_factory=list)
    _port: int = FIRST_PORT

    def next_port(self) -> int:
        """Return a client port that no connection of this recording had before."""
        self._port += self.random.randint(2, 60)
        if self._port > LAST_PORT:
            raise RuntimeError("too many connections for one recording")
        return self._port

    def tell(
        self, case: Case, port: int, client: Account, server: Account, ending: verdict.Ending | None = None
    ) -> None:
        """Add one TLS connection to the truth."""
        self._add(case, port, client, server, verdict.expected(client, server, ending))

    def tell_not_tls(self, case: Case, port: int, client: Account, server: Account) -> None:
        """Add one connection in which nobody spoke TLS."""
        self._add(case, port, client, server, asdict(verdict.Expected()))

    def _add(self, case: Case, port: int, client: Account, server: Account, expected: dict[str, object]) -> None:
        self.truth.append(
            {
                "case": case.label,
                "client_stack": case.client_stack,
                "server_stack": case.server_stack,
                "client_ip": case.client_ip,
                "client_port": port,
                "server_ip": case.server_ip,
                "server_port": case.server_port,
                "sni": case.sni,
                "offered_version_max": case.offered,
                "client": asdict(client),
                "server": asdict(server),
                "expected": expected,
            }
        )

    def write_truth(self, path: Path) -> None:
        """Write what both endpoints said, beside the capture."""
        path.write_text(json.dumps(self.truth, indent=1) + "\n")
