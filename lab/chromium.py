"""Chromium as a client: one run makes as many connections as it likes; its net log accounts for each."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from meeting import Met, Table, end, namespace, start
from scenarios import SCENARIOS, Scenario, settings
from stacks import STACKS, Stack, features

SERVERS = ("python-ssl", "go-1.27", "gnutls", "nss", "java-25", "rustls", "nginx")
TRIED = (
    "full", "long_chain", "hello_retry", "no_tickets", "certificate_not_needed", "untrusted", "expired", "wrong_name",
    "self_signed", "no_client_certificate", "unrecognized_name", "internal_error",
)  # fmt: skip
COMMAND = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-proxy-server", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * 127.0.0.1", "--timeout=2500", "--virtual-time-budget=1500", "--dump-dom",
)  # fmt: skip


def version() -> str:
    """Return the browser's version."""
    done = subprocess.run(["chromium", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.split()[1]


def planned() -> list[tuple[Stack, Scenario, str]]:
    """Give every meeting: server, scenario, version (held by the server)."""
    found = []
    for name in SERVERS:
        server = STACKS[name]
        assert server.server is not None
        for scenario in (one for one in SCENARIOS if one.name in TRIED):
            for held in scenario.versions:
                own = settings(scenario, held, "server")[1]
                if not features(own, "server") & server.server.lacks and held not in server.server.lacks:
                    found.append((server, scenario, held))
    return found


def home(directory: Path) -> Path:
    """Make a home with a certificate store that trusts the lab."""
    made = directory / "home"
    store = made / ".pki/nssdb"
    store.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "-d", f"sql:{store}", "--empty-password"], check=True, capture_output=True)
    trust = ["-n", "ca", "-t", "CT,,", "-a", "-i", str(directory / "ca.pem")]
    subprocess.run(["certutil", "-A", "-d", f"sql:{store}", *trust], check=True, capture_output=True)
    return made


def accounts(log: Path, port: int) -> dict[int, dict[str, Any]]:
    """Read the net log: by local port, whether TLS was set up, and the error if not."""
    text = log.read_text(errors="replace").rstrip().rstrip(",")
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        parsed = json.loads(text + "]}")  # the browser was ended while it wrote
    names = {number: name for name, number in parsed["constants"]["logEventTypes"].items()}
    errors = {number: name for name, number in parsed["constants"]["netError"].items()}
    local: dict[int, int] = {}
    made: dict[int, dict[str, Any]] = {}
    for event in parsed["events"]:
        name, source, told = names[event["type"]], event["source"]["id"], event.get("params", {})
        if name == "TCP_CONNECT" and str(told.get("remote_address", "")).endswith(f":{port}"):
            local[source] = int(told["local_address"].rsplit(":", 1)[1])
        if name == "SSL_CONNECT" and event["phase"] == 2 and source in local:
            failed = told.get("net_error", 0)
            account: dict[str, Any] = {"done": not failed, "version": told.get("version")}
            made[local[source]] = account | ({"error": errors.get(failed, str(failed))} if failed else {})
        if name in ("SSL_ALERT_RECEIVED", "SSL_ALERT_SENT") and source in local:
            body = told.get("bytes", "")
            made.setdefault(local[source], {"done": False})["alert_bytes"] = body
    return made


def meet(table: Table, server: Stack, scenario: Scenario, held: str) -> list[Met]:
    """Let the browser fetch one page."""
    local, port = table.ports()
    table.next_client += 20
    assert server.server is not None
    wanted = settings(scenario, held, "server")
    key_log = table.directory / f"{port}.keys"
    serving = start(
        server.server,
        {"role": "server"} | wanted[1] | {"port": str(port), "keylog": str(key_log)},
        server,
        table.directory,
        table.directory / f"{port}.server.log",
    )
    try:
        namespace.wait_until_listening("127.0.0.1", port)
        log = table.directory / f"{port}.netlog"
        profile = tempfile.mkdtemp(dir=table.directory)
        environment = os.environ | {"HOME": str(table.directory / "home"), "SSLKEYLOGFILE": str(key_log)}
        command = [
            *COMMAND,
            f"--user-data-dir={profile}",
            f"--log-net-log={log}",
            f"https://{wanted[0]['sni']}:{port}/",
        ]
        with (table.directory / f"{port}.client.log").open("wb") as output:
            browser = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        try:
            browser.wait(12)
        except subprocess.TimeoutExpired:
            end(browser)
    finally:
        end(serving)
    return _rows(table, (server, scenario, held, local, port), accounts(log, port))


def _rows(table: Table, what: tuple[Stack, Scenario, str, int, int], told: dict[int, dict[str, Any]]) -> list[Met]:
    server, scenario, held, _, port = what
    assert server.server is not None
    text = (table.directory / f"{port}.server.log").read_text(errors="replace")
    keys = (table.directory / f"{port}.keys").exists()
    seen = server.server.read(text, list(told))
    names = f"chromium {version()}", f"{server.name} {server.version()}"
    return [
        Met(table.capture, scenario.name, held, "server", turn, *names, client, port, keys, told[client], seen[turn])
        for turn, client in enumerate(told)
    ]
