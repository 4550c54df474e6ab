"""One meeting of a client and a server: both are started, watched to their end, and asked what they saw."""

import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import readers  # noqa: F401 - makes the recorder of the sample captures importable
from recorder import namespace
from scenarios import Settings
from stacks import BUILT, Side, Stack

PATIENCE = 25.0  # seconds for a client to come to its end


@dataclass
class Met:
    """One connection of a meeting, with both accounts as they were read."""

    capture: str
    scenario: str
    version: str
    pin: str
    turn: int
    client_stack: str
    server_stack: str
    client_port: int
    server_port: int
    keys: bool
    client: dict[str, object]
    server: dict[str, object]

    def row(self) -> dict[str, object]:
        """Give it as JSON has it."""
        return asdict(self)


@dataclass
class Table:
    """Where meetings take place: the folder of the certificates, and ports that no other meeting had."""

    directory: Path
    capture: str
    next_client: int = 20000
    next_server: int = 8000

    def ports(self) -> tuple[int, int]:
        """Give a client's port (and the one after it) and a server's."""
        self.next_client += 3
        self.next_server += 1
        return self.next_client, self.next_server


def start(side: Side, own: Settings, stack: Stack, directory: Path, output: Path) -> "subprocess.Popen[bytes]":
    """Start one side; its output goes to a file."""
    environment = os.environ | stack.environment | ({"SSLKEYLOGFILE": own["keylog"]} if "keylog" in own else {})
    if not side.binds:
        environment |= {"LD_PRELOAD": str(BUILT / "bindport.so"), "LAB_LOCAL_PORT": own["local"]}
        environment |= {"LAB_TARGET_PORT": own["port"]}
    asked = output.with_suffix(".stdin")
    asked.write_bytes(side.stdin(own) or b"")
    with output.open("wb") as log, asked.open("rb") as given:
        return subprocess.Popen(
            side.command(own, directory), stdout=log, stderr=log, cwd=directory, env=environment, stdin=given,
            start_new_session=True,
        )  # fmt: skip


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that the meeting started, and what it started itself."""
    for order, seconds in ((signal.SIGTERM, 1.5), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, order)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def meet(
    table: Table,
    ports_given: tuple[int, int],
    names: tuple[str, str, str],
    stacks: tuple[Stack, Stack],
    settings: tuple[Settings, Settings],
) -> list[Met]:
    """Bring a client and a server together; `names` are scenario, version and who pins it."""
    local, port = ports_given
    client, server = stacks
    assert client.client is not None
    assert server.server is not None
    key_log = table.directory / f"{port}.keys"
    common = {"port": str(port), "keylog": str(key_log)}
    client_log, server_log = (table.directory / f"{port}.{side}.log" for side in ("client", "server"))
    serving = start(server.server, {"role": "server"} | settings[1] | common, server, table.directory, server_log)
    try:
        namespace.wait_until_listening("127.0.0.1", port)
        own = {"role": "client", "local": str(local)} | settings[0] | common
        calling = start(client.client, own, client, table.directory, client_log)
        _wait(calling)
        _settle(local)
        _await_account(server.server, server_log, local)
    finally:
        end(serving)
    ports = [local, local + 1] if settings[0].get("again") == "1" else [local]
    texts = [log.read_text(errors="replace") for log in (client_log, server_log)]
    accounts = client.client.read(texts[0], ports), server.server.read(texts[1], ports)
    keys = key_log.exists() and key_log.stat().st_size > 0
    stack_names = f"{client.name} {client.version()}", f"{server.name} {server.version()}"
    return [
        Met(table.capture, *names, turn, *stack_names, ports[turn], port, keys, accounts[0][turn], accounts[1][turn])
        for turn in range(len(ports))
    ]


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        end(process)


def _await_account(side: Side, log: Path, local: int) -> None:
    """Give a slow server time to say what it saw."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        account = side.read(log.read_text(errors="replace"), [local])[0]
        if account["done"] is not None or account.get("error"):
            return
        time.sleep(0.1)


def _settle(local: int) -> None:
    """Give the server time to see the end."""
    try:
        namespace.wait_until_closed(local)
    except TimeoutError:
        return
    time.sleep(0.06)
