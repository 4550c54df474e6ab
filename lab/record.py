"""Records the lab: `python lab/record.py --server NAME [--out DIRECTORY]`, as root, with the stacks of README.md.

For each server stack one capture, in a network namespace of its own; a file beside it keeps what both
endpoints of every connection said. `truth.py` makes the truth of it.
"""

import argparse
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import chromium
import pki
from meeting import Met, Table, meet
from recorder import namespace
from scenarios import LOOKS, NEW, NO_TLS, SCENARIOS, Scenario, every, settings
from stacks import STACKS, Stack, features

SEED = 20261121
LOOKED_AT = ("openssl", "gnutls", "go-1.27", "java-25", "nginx", "node-26", "nss", "tlslite", "wolfssl", "rustls")
Meeting = tuple[Stack, Scenario, str, str]


def plan(server: Stack, chosen: random.Random) -> Iterator[Meeting]:
    """Choose who meets this server, in which scenario and version; `pin` is who holds the version."""
    assert server.server is not None
    if server.name == "nobody":
        yield from _without_tls([client for client in STACKS.values() if not client.newcomer])
        return
    for scenario, version in every():  # the same plan whatever is asked for
        able = []
        for client in STACKS.values():
            if client.name == "nobody" or client.newcomer:
                continue
            pins = _pins(client, server, scenario, version)
            if pins:
                able.append((client, chosen.choice(pins)))
        chosen.shuffle(able)
        for client, pin in able[: scenario.share]:
            yield client, scenario, version, pin


def _without_tls(clients: Iterable[Stack]) -> Iterator[Meeting]:
    """Clients with every peer that is no TLS server."""
    for scenario in NO_TLS.values():
        for client in clients:
            if (
                client.client
                and client.name != "nobody"
                and not features(scenario.client, "client") & client.client.lacks
            ):
                yield client, scenario, "1.3", "both" if "1.3" not in client.client.lacks else "client"


def _looks(names: Iterable[str]) -> Iterator[tuple[Stack, Meeting]]:
    """The client that does not mean it, with every scenario of its own, in both versions, at several servers."""
    for name in names:
        for scenario in LOOKS.values():
            for version in ("1.3", "1.2"):
                yield STACKS[name], (STACKS["nobody"], scenario, version, "server")


COSTLY = frozenset({"long_chain", "aes128", "chacha", "alpn"})  # large, and nothing of a newcomer's own in them


def _newcomer(own: Stack, chosen: random.Random) -> Iterator[tuple[Stack, Meeting]]:
    """One stack as server and as client in every scenario, each time with a partner that it has met least."""
    met: Counter[tuple[str, str]] = Counter()
    for scenario, version in every((*SCENARIOS, *NEW)):
        for role in ("server",) if scenario in NEW else ("server", "client"):
            able = []
            for other in STACKS.values():
                client, server = (other, own) if role == "server" else (own, other)
                if other.newcomer and other is not own:  # newcomers do not meet each other
                    continue
                if other.name != "nobody" and (pins := _pins(client, server, scenario, version)):
                    able.append((other, (server, (client, scenario, version, chosen.choice(pins)))))
            chosen.shuffle(able)
            able.sort(key=lambda one: met[role, one[0].name])
            for other, meeting in able[: 3 if scenario.name == "full" else 1]:
                met[role, other.name] += 1
                if scenario.name not in COSTLY:
                    yield meeting
    yield from ((STACKS["nobody"], meeting) for meeting in _without_tls([own]))
    yield from _looks([own.name])


def _pins(client: Stack, server: Stack, scenario: Scenario, version: str) -> list[str]:
    """Tell in which ways the two can be held at a version, if at all."""
    if client.client is None or server.server is None:
        return []
    if scenario.phase in ("server_certificate", "client_auth") and "verify" in {
        "client": client.client.lacks,
        "server": server.server.lacks,
    }.get(scenario.side or "", ()):
        return []
    found = []
    for pin in ("client", "server", "both"):
        own = settings(scenario, version, pin)
        if features(own[0], "client") & client.client.lacks or features(own[1], "server") & server.server.lacks:
            continue
        if version in client.client.lacks | server.server.lacks and scenario.side != "server":
            continue
        found.append(pin)
    return found


def record(name: str, out: Path, only: set[str], clients: set[str]) -> int:
    """Record one server stack with all the clients that were chosen for it, or `lookers` with several servers."""
    chosen = random.Random(f"{SEED} {name}")
    if name == "lookers":
        all_planned = _looks(LOOKED_AT)
    elif STACKS[name].newcomer:
        all_planned = _newcomer(STACKS[name], chosen)
    else:
        all_planned = ((STACKS[name], one) for one in plan(STACKS[name], chosen))
    planned = [
        (server, one)
        for server, one in all_planned
        if (not only or one[1].name in only) and (not clients or one[0].name in clients)
    ]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        pki.make(directory)
        namespace.enter()
        capture = f"{name}.pcap"
        with namespace.recording(out / capture):
            table = Table(directory, capture)
            meetings = [
                (table.ports(), (scenario.name, version, pin), (client, server), settings(scenario, version, pin))
                for server, (client, scenario, version, pin) in planned
            ]
            # Silence takes its time, so many wait at once; elsewhere one after another, for the logs' sake.
            with ThreadPoolExecutor(12 if name == "nobody" else 1) as pool:
                rows = [row for found in pool.map(lambda one: _try(table, *one), meetings) for row in found]
        _write(out, name, rows, directory)
    return len(rows)


def record_chromium(out: Path, only: set[str]) -> int:
    """Record the browser with the servers of its own list."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        pki.make(directory)
        chromium.home(directory)
        namespace.enter()
        rows: list[Met] = []
        with namespace.recording(out / "chromium.pcap"):
            table = Table(directory, "chromium.pcap")
            for server, scenario, version in chromium.planned():
                if not only or scenario.name in only:
                    try:
                        rows += chromium.meet(table, server, scenario, version)
                    except (OSError, ValueError, TimeoutError):
                        print(scenario.name, version, server.name, traceback.format_exc(limit=-2), file=sys.stderr)
        _write(out, "chromium", rows, directory)
    return len(rows)


def _write(out: Path, name: str, rows: list[Met], directory: Path) -> None:
    """Keep the accounts and the keys of a capture."""
    (out / f"{name}.raw.jsonl").write_text("".join(json.dumps(row.row()) + "\n" for row in rows))
    lines = {line for log in directory.glob("*.keys") for line in log.read_text(errors="replace").splitlines()}
    (out / f"{name}.keys").write_text("\n".join(sorted(line for line in lines if line[:1] != "#")) + "\n")


def _try(
    table: Table,
    ports: tuple[int, int],
    names: tuple[str, str, str],
    stacks: tuple[Stack, Stack],
    own: tuple[dict[str, str], dict[str, str]],
) -> list[Met]:
    """Hold a meeting; one that cannot be held is told on standard error and left out."""
    try:
        return meet(table, ports, names, stacks, own)
    except (OSError, ValueError, TimeoutError):
        print(names, *(stack.name for stack in stacks), traceback.format_exc(limit=-2), file=sys.stderr)
        return []


def main() -> None:
    """Record what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "captures")
    parser.add_argument("--scenarios", default="")
    parser.add_argument("--clients", default="")
    asked = parser.parse_args()
    asked.out.mkdir(exist_ok=True, parents=True)
    only, clients = ({name for name in text.split(",") if name} for text in (asked.scenarios, asked.clients))
    if asked.server == "chromium":
        print("chromium", record_chromium(asked.out.resolve(), only), "connections")
        return
    print(asked.server, record(asked.server, asked.out.resolve(), only, clients), "connections")


if __name__ == "__main__":
    main()
