"""The truth beside each sample capture, checked against tshark: a reader that had no part in writing either."""

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).resolve().parent.parent / "sample_captures"
TRUTHS = sorted(SAMPLES.glob("*.truth.json"))
Connection = tuple[str, int, str, int]

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

FIELDS = (
    "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.flags.syn", "tcp.flags.ack",
    "tls.handshake.type", "tls.handshake.version", "tls.handshake.extensions.supported_version",
    "tls.handshake.ciphersuite", "tls.handshake.extensions_server_name", "tls.alert_message.desc",
)  # fmt: skip
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
CLIENT_HELLO, SERVER_HELLO = "1", "2"
# What tshark calls the protocols from which it finds its own way into TLS. It does not from IRC and ManageSieve.
DISSECTORS = {
    "smtp": "smtp", "imap": "imap", "pop3": "pop", "ftp": "ftp", "xmpp": "xmpp", "ldap": "ldap", "postgresql": "pgsql",
    "mysql": "mysql", "nntp": "nntp", "connect": "http", "socks4": "socks", "socks5": "socks",
}  # fmt: skip


@dataclass
class Seen:
    """What tshark saw of one connection: alerts are (sender, name) in order, farewells left out."""

    sni: str | None = None
    offered: str | None = None
    version: str | None = None
    cipher: str | None = None
    alerts: list[tuple[str, str]] = field(default_factory=list)


@functools.cache
def truth(path: Path) -> list[dict[str, Any]]:
    """Return the connections of a truth file in the order made."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def capture(path: Path) -> Path:
    """Return the capture that a truth file belongs to."""
    stem = path.name.removesuffix(".truth.json")
    return next(file for suffix in ("pcap", "pcapng") if (file := SAMPLES / f"{stem}.{suffix}").exists())


def key(row: dict[str, Any]) -> Connection:
    """Return client and server of a truth row as one key."""
    return row["client_ip"], row["client_port"], row["server_ip"], row["server_port"]


@functools.cache
def seen(path: Path, with_keys: bool = False) -> dict[Connection, Seen]:
    """Read a capture with tshark; with its key log, alerts that were sealed are seen too."""
    spoken = {row["server_port"]: row["case"].split()[0] for row in truth(path) if row["expected"]["outcome"]}
    command = ["tshark", "-r", str(capture(path)), "-T", "fields", "-o", "tcp.reassemble_out_of_order:TRUE"]
    command += ["-Y", "tcp.flags.syn == 1 or tls.handshake or tls.alert_message"]
    for port, protocol in spoken.items():  # tshark takes port 80 for HTTP whatever it carries
        command += ["-d", f"tcp.port=={port},{DISSECTORS.get(protocol, 'tls')}"]
    command += [part for name in FIELDS for part in ("-e", name)]
    if with_keys:
        command += ["-o", f"tls.keylog_file:{capture(path).with_suffix('.keys')}"]
    connections: dict[Connection, Seen] = {}
    for line in _output(command):
        _take_in(connections, dict(zip(FIELDS, line.split("\t"), strict=True)))
    return connections


def _take_in(connections: dict[Connection, Seen], row: dict[str, str]) -> None:
    source = (row["ip.src"] or row["ipv6.src"], int(row["tcp.srcport"]))
    target = (row["ip.dst"] or row["ipv6.dst"], int(row["tcp.dstport"]))
    if _is_set(row["tcp.flags.syn"]) and not _is_set(row["tcp.flags.ack"]):
        assert (*source, *target) not in connections, "a connection is in the capture once"
        connections[*source, *target] = Seen()
    sender = "client" if (*source, *target) in connections else "server"
    connection = connections[(*source, *target) if sender == "client" else (*target, *source)]
    types = row["tls.handshake.type"].split(",")
    if sender == "client" and CLIENT_HELLO in types:
        connection.sni = row["tls.handshake.extensions_server_name"] or None
        connection.offered = _highest(row)
    if sender == "server" and SERVER_HELLO in types:
        connection.version = _highest(row)
        connection.cipher = _names("tls.handshake.ciphersuite")[int(row["tls.handshake.ciphersuite"], 0)]
    for code in filter(None, row["tls.alert_message.desc"].split(",")):
        name = _names("tls.alert_message.desc")[int(code, 0)].lower().replace(" ", "_")
        if name != "close_notify":
            connection.alerts.append((sender, name))


def _is_set(flag: str) -> bool:
    return flag in ("1", "True")


def _highest(row: dict[str, str]) -> str:
    """Return the highest of supported_versions, else the version field of the hello."""
    listed = row["tls.handshake.extensions.supported_version"] or row["tls.handshake.version"].split(",")[0]
    return VERSIONS[max(number for code in listed.split(",") if (number := int(code, 0)) in VERSIONS)]


@functools.cache
def _names(wanted: str) -> dict[int, str]:
    """Return tshark's own names for the values of a field."""
    rows = (line.split("\t") for line in _all_names() if line.startswith(f"V\t{wanted}\t"))
    return {int(code, 0): name for _, _, code, name in rows}


@functools.cache
def _all_names() -> list[str]:
    return _output(["tshark", "-G", "values"])


def _output(command: list[str]) -> list[str]:
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    return done.stdout.splitlines()


samples = pytest.mark.parametrize("path", TRUTHS, ids=lambda path: path.name.removesuffix(".truth.json"))


def test_every_story_has_a_truth() -> None:
    """Every sample capture has a truth file and every truth file a capture."""
    captures = sorted(SAMPLES.glob("*.pcap")) + sorted(SAMPLES.glob("*.pcapng"))
    assert sorted(map(capture, TRUTHS)) == sorted(captures)
    assert len(captures) == 7


@samples
def test_truth_and_capture_hold_the_same_connections(path: Path) -> None:
    """Every connection of the truth is in the capture once, in the same order, and no other is."""
    assert list(seen(path)) == list(map(key, truth(path)))


@samples
def test_truth_names_what_was_asked_for(path: Path) -> None:
    """Server name and highest offered version are those of the ClientHello that tshark reads."""
    asked = {key(row): (row["sni"], row["offered_version_max"]) for row in truth(path) if row["expected"]["outcome"]}
    read = {there: (connection.sni, connection.offered) for there, connection in seen(path).items()}
    assert asked == {there: read[there] for there in asked}


@samples
def test_truth_names_what_the_server_chose(path: Path) -> None:
    """Version and cipher are those of the ServerHello that tshark reads, and empty where there is none."""
    chosen = {key(row): (row["expected"]["version"], row["expected"]["cipher"]) for row in truth(path)}
    assert chosen == {there: (connection.version, connection.cipher) for there, connection in seen(path).items()}


@samples
def test_truth_names_the_alert_in_clear(path: Path) -> None:
    """The first alert that anyone can read on the wire is the one that the truth says that side sent in clear."""
    clear = {
        key(row): [(row["expected"]["side"], row["expected"]["alert"])] * (row["expected"]["mechanism"] == "alert")
        for row in truth(path)
    }
    # gnutls-serv follows an access_denied with a second alert; the first is what ended the handshake.
    assert clear == {there: connection.alerts[:1] for there, connection in seen(path).items()}


def test_tshark_follows_the_dialogue_of_each_case() -> None:
    """Before each hello, tshark reads the protocol that the truth names, and finds its own way into TLS."""
    path = SAMPLES / "starttls.truth.json"
    rows = {row["server_port"]: row["case"] for row in truth(path) if row["expected"]["outcome"]}
    told = {port: name for port, case in rows.items() if (name := DISSECTORS.get(case.split()[0]))}
    command = ["tshark", "-r", str(capture(path)), "-T", "fields", "-e", "tcp.srcport", "-e", "tcp.dstport"]
    command += ["-e", "_ws.col.Protocol", "-e", "tls.handshake.type", "-Y", "tcp.len > 0"]
    command += [part for port, name in told.items() for part in ("-d", f"tcp.port=={port},{name}")]
    protocols: dict[int, list[str]] = {}
    for line in _output(command):
        source, target, protocol, types = line.split("\t")
        port = next(one for one in (int(source), int(target)) if one in rows or one < 33_000)
        protocols.setdefault(port, []).append("hello" if types else protocol.lower())
    before = {port: set(protocols[port][: protocols[port].index("hello")]) for port in told}
    wrong = {rows[port]: found for port, found in before.items() if not any(told[port] in one for one in found)}
    assert not wrong


@samples
def test_verdict_follows_from_the_accounts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected verdict is what the recorder's rules make of the two accounts that stand beside it."""
    monkeypatch.syspath_prepend(str(SAMPLES))
    from recorder.accounts import Account
    from recorder.verdict import Ending, expected

    answered = Ending("server", "not_tls", "client_hello")
    for row in truth(path):
        if row["expected"]["outcome"]:
            ending = answered if row["expected"]["mechanism"] == "not_tls" else None
            assert expected(Account(**row["client"]), Account(**row["server"]), ending) == row["expected"], row["case"]


def test_key_log_opens_the_hidden_alerts() -> None:
    """With the key log, tshark reads the very alert that the truth says was sealed, from the side that sent it."""
    path = SAMPLES / "mutual-tls.truth.json"
    hidden = {
        key(row): (row["expected"]["side"], row["expected"]["alert"])
        for row in truth(path)
        if row["expected"]["mechanism"] == "hidden_alert"
    }
    opened = {
        there: connection.alerts[0] for there, connection in seen(path, with_keys=True).items() if there in hidden
    }
    assert hidden
    assert opened == hidden
