"""From both endpoints' accounts to the truth about each connection; no packet is looked at here.

A handshake is established when both endpoints say that it was done (in TLS 1.3 the server's word decides: a client is
done before its certificate was judged). A server that says so has had the client's Finished, whatever the client's
application then made of the certificate. Else it failed, and the side is the one that the scenario set up to refuse,
which must be in accord with the accounts: it must not say that it received the refusal. What the accounts leave open
is null and not scored; what contradicts the scenario is decided by the accounts, with `as_planned` false.
"""

import argparse
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt
from scenarios import LOOKS, NEW, NO_TLS, SCENARIOS, Scenario

SCENARIO = {scenario.name: scenario for scenario in (*SCENARIOS, *NO_TLS.values(), *LOOKS.values(), *NEW)}
ALERTS = {
    10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 90: "user_canceled",
    109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip
# How stacks put "I received this alert" in words; the group is the alert's name or number.
RECEIVED = (
    r"[Rr]eceived fatal alert: ([A-Za-z_]+)",  # Java, rustls
    r"alert has been received\.: \((\d+)\)",  # GnuTLS
    r"SSL alert number (\d+)",  # OpenSSL
    r"(?:TLSV1|TLSV13|SSLV3|TLS)_ALERT_([A-Z_]+)",  # Python on OpenSSL, BoringSSL
    r"SSL_ERROR_([A-Z_]+)_ALERT",  # NSS
    r"TLSV1_(UNRECOGNIZED_NAME|UNSUPPORTED_EXTENSION)",
    r"remote error: tls: ([a-z ]+)",  # Go
    r"(?:tlsv1|tlsv13|sslv3|tls) alert ([a-z ]+)",  # OpenSSL's words
    r"TlsFatalAlertReceived: ([a-z_]+)",  # Bouncy Castle
    r"AlertLevel_Fatal,([A-Za-z]+)|received fatal error: ([A-Za-z]+)",  # Haskell
)
FIRST_CLIENT_PORT = 20000  # of meeting.Table; the browser's are the kernel's, and higher
CLOSED = (
    r"EOF|END_OF_FILE|unexpected eof|end of file|\bclosed\b|Closed"
    r"|non-proper|premature|disconnect|hang up|terminated|Abrupt"
)
RESET = r"errno=104|errno=32|[Rr]eset|RESET|pull function|ECONNABORTED|EPIPE|[Bb]roken pipe|abort"
# Words for an end that leave open what brought it, those for an alert in clear that was deciphered among them
VAGUE = (
    r"SHUTDOWN_WHILE_IN_INIT|SYSCALL|Empty reply|error state on socket|fatal alert"
    r"|parse error on header|handshake failure; -|bad record MAC|BAD_PACKET_LENGTH|Decryption has failed"
    r"|TlsFatalAlert: handshake_failure\(40\)$"  # which Bouncy Castle raises at a FIN, too
    r"|ERR_SSL_PROTOCOL|ERR_BAD_SSL_CLIENT|VERSION_OR_CIPHER|NAME_ALERT|record_type_mismatch,21"
)
AT_HELLO = "no ciphersuites in common|Processing of the ClientHello|not within min/max"  # Mbed TLS names the step
SILENT = r"[Tt]imed? ?out|TimedOut|ETIMEDOUT|temporarily unavailable|WouldBlock"


@dataclass(frozen=True)
class Truth:
    """The part of the truth that the accounts and the scenario decide."""

    outcome: str | None  # null: there is no TLS handshake
    side: str | None = None
    mechanism: str | None = None
    alert: str | None = None
    phase: str | None = None
    cause: str | None = None
    as_planned: bool = True


def has_both_accounts(row: dict[str, Any]) -> bool:
    """Tell whether both endpoints said something; one that was ended before it could leaves no truth behind."""
    client, server = row["client"], row["server"]
    if re.search("NO_CIPHERS_AVAILABLE|NO_CIPHER_MATCH", str(client.get("error"))):
        return False  # it could not make a hello
    if row["client_stack"].startswith("chromium") and row["turn"] > 2:
        return False  # the browser tries again and again; three are enough
    return all(own.get("done") is not None or own.get("error") for own in (client, server)) or bool(client.get("got"))


def alert_name(value: object) -> str | None:
    """Return the registry's name of an alert that a stack gave as number, words or camel case."""
    text = str(value)
    if value is None or text in ("0", "close_notify"):
        return None
    if text.isdigit():
        return ALERTS.get(int(text), f"unknown_{text}")
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower().strip().replace(" ", "_")
    snake = {"unrecognised_name": "unrecognized_name", "unknown_certificate_authority": "unknown_ca",
             "unknown_certificate": "certificate_unknown",
             "expired_certificate": "certificate_expired", "revoked_certificate": "certificate_revoked",
             "unknown_c_a": "unknown_ca", "certificate_unknown_c_a": "unknown_ca",
             "protocol_version_not_supported": "protocol_version", "no_application_protocol": "no_application_protocol",
             "error_decoding_message": "decode_error", "error_decrypting_message": "decrypt_error",
             "bad_certificate_received": "bad_certificate"}.get(snake, snake)  # fmt: skip
    return next((name for name in sorted(ALERTS.values(), key=len, reverse=True) if snake.startswith(name)), None)


def received(account: dict[str, Any]) -> str | None:
    """Return the alert that an endpoint says it received."""
    if named := alert_name(account.get("alert_received")):
        return named
    error = str(account.get("error") or "")
    if error.startswith("ERR_SSL_") and not re.search("SSL routines|fatal alert", error):
        return None  # Deno gives its own decisions the codes of alerts
    for pattern in RECEIVED:
        if match := re.search(pattern, error):
            return alert_name(match[match.lastindex or 1])
    return None


def sent(account: dict[str, Any]) -> str | None:
    """Return the alert that an endpoint says it sent."""
    return alert_name(account.get("alert_sent"))


def judge(row: dict[str, Any]) -> Truth:
    """Decide about one connection."""
    scenario = SCENARIO[row["scenario"]]
    client, server = row["client"], row["server"]
    if row["server_stack"].startswith("nobody"):
        return _without_server(scenario, client, server)
    if row["client_stack"].startswith("nobody"):
        return _looked(scenario)
    if server["done"]:
        return Truth("established", cause=scenario.cause, as_planned=scenario.side is None)
    if server["done"] is None and client["done"] and client.get("got"):
        return Truth("established", cause=scenario.cause, as_planned=scenario.side is None)
    return _failed(scenario, client, server)


def _without_server(scenario: Scenario, client: dict[str, Any], server: dict[str, Any]) -> Truth:
    if scenario.name in ("silence", "impatient") and "timed out" in str(server.get("error")):
        return Truth("failed", "server", "close", None, scenario.phase, "server_silent")
    mechanism = {"silence": "timeout", "reset": "reset", "close": "close", "http": "not_tls", "ssh": "not_tls"}
    return Truth(
        "failed", scenario.side, mechanism.get(scenario.name), None, scenario.phase, scenario.cause, not client["done"]
    )


def _looked(scenario: Scenario) -> Truth:
    """Judge a client that never meant to shake hands; plain HTTP is no handshake at all."""
    if scenario.name == "plain_http":
        return Truth(None, cause=scenario.cause)
    # A FIN straight behind the hello is a half-close, which servers answer with their flight or with an alert.
    mechanism = {"hello_then_fin": None, "flight_then_close": "close"}.get(scenario.name, "reset")
    return Truth("failed", "client" if mechanism else None, mechanism, cause=scenario.cause)


def _failed(scenario: Scenario, client: dict[str, Any], server: dict[str, Any]) -> Truth:
    if client.get("error") == "ERR_SSL_CLIENT_AUTH_CERT_NEEDED":  # the browser leaves, and comes again with its choice
        return Truth("failed", "client", "close", cause="client_certificate_missing", as_planned=False)
    side = _side(scenario, client, server)
    if side is None:
        return Truth("failed", as_planned=False)
    refuser, other = (client, server) if side == "client" else (server, client)
    alert = sent(refuser) or received(other)
    mechanism = "alert" if alert else _ending(other)
    planned = side == scenario.side and side is not None
    if scenario.phase == "client_auth" and re.search(AT_HELLO, str(server.get("error"))):
        return Truth("failed", side, mechanism, alert, "client_hello", as_planned=False)
    phase, cause = (scenario.phase, scenario.cause) if planned else (_unplanned(side, alert), None)
    return Truth("failed", side, mechanism, alert, phase, cause, planned)


def _side(scenario: Scenario, client: dict[str, Any], server: dict[str, Any]) -> str | None:
    """Tell who refused: whoever was set up to and says so, else who sent an alert by either's word."""
    if scenario.name == "unrecognized_name_warning":  # the server's warning refuses nothing; what fails is the client's
        return "client"
    told = {"client": client, "server": server}
    named = {
        who for who, own, other in (("client", client, server), ("server", server, client)) if _refused(own, other)
    }
    decided = {who for who, own in told.items() if _decided(own)}
    if len(decided) == 2:  # both refused, each for reasons of its own: a server that did so at the hello was first
        return "server" if scenario.phase == "client_hello" else None
    for found in (decided, named):
        if found:
            return scenario.side if scenario.side in found else min(found)
    return scenario.side


def _decided(account: dict[str, Any]) -> bool:
    """Tell whether an endpoint's error is a decision of its own, not what the other side did to it."""
    error = str(account.get("error") or "")
    return bool(error) and not received(account) and not re.search(f"{CLOSED}|{RESET}|{SILENT}|{VAGUE}", error)


def _unplanned(side: str | None, alert: str | None) -> str | None:
    """Give the phase of a refusal that no scenario asked for, as far as the alert's name tells."""
    if side == "server" and alert in ("certificate_required", "bad_certificate", "unknown_ca"):
        return "client_auth"
    return "server_hello" if side == "client" and alert == "protocol_version" else None


def _refused(account: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether an endpoint refused by an alert, by either's word; one about a close of the other is none."""
    ended_on_it = re.search(f"{CLOSED}|{RESET}", str(account.get("error") or ""))
    own = sent(account) not in (None, "decode_error")  # which OpenSSL sends to a peer that closed
    return bool((own and not ended_on_it) or received(other))


def _ending(account: dict[str, Any]) -> str | None:
    """Tell how the other side ended it, from what its victim saw; None where its words do not tell."""
    error = str(account.get("error") or "")
    if "hang up" in error or "network socket disconnected" in error:  # Node's words for a FIN, with the code ECONNRESET
        return "close"
    if error == "closed":  # Erlang's word for a FIN and for a reset
        return None
    for pattern, mechanism in ((SILENT, "timeout"), (RESET, "reset"), (CLOSED, "close")):
        if re.search(pattern, error):
            return mechanism
    return None


VERSION = re.compile(r"(?:TLS|tls)\D{0,5}1[._]([0-3])|(0x30[1-4])|TLSv?(1)$")


def version(row: dict[str, Any]) -> str | None:
    """Return the version that the endpoints agreed on, by the word of either."""
    for account in (row["client"], row["server"]):
        if match := VERSION.search(str(account.get("version") or "")):
            return f"TLS 1.{match[1] or (int(match[2], 16) - 0x301 if match[2] else 0)}"
    return None


def of(row: dict[str, Any]) -> dict[str, Any]:
    """Make the line of the truth file from the line of a recording."""
    truth = judge(row)
    short = {
        side: {k: v[:160] if isinstance(v, str) else v for k, v in row[side].items() if v not in (None, "")}
        for side in ("client", "server")
    }
    return {
        "capture": row["capture"],
        "scenario": row["scenario"] + (":second" if row["turn"] else ""),
        "asked_version": row["version"],
        "client_stack": row["client_stack"],
        "server_stack": row["server_stack"],
        "client_ip": "127.0.0.1",
        "client_port": row["client_port"],
        "server_ip": "127.0.0.1",
        "server_port": row["server_port"],
        "version": version(row) if truth.outcome == "established" else None,
        **truth.__dict__,
        "keys": row["keys"],
        "client": short["client"],
        "server": short["server"],
    }


def sent_by_tshark(capture: Path) -> dict[tuple[int, int], list[tuple[str, str]]]:
    """Return the alerts that tshark reads with the keys: by client's and server's port, (sender, name) in order."""
    command = ["tshark", "-r", str(capture), "-d", "tcp.port==8001-9999,tls"]
    command += ["-o", f"tls.keylog_file:{capture.with_suffix('.keys')}"]
    command += ["-Y", "tls.alert_message.desc", "-T", "fields"]
    for name in ("tcp.srcport", "tcp.dstport", "tls.alert_message.desc"):
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for source, target, codes in (line.split("\t") for line in done.stdout.splitlines()):
        from_client = int(source) >= FIRST_CLIENT_PORT
        key = (int(source), int(target)) if from_client else (int(target), int(source))
        alerts = [
            ("client" if from_client else "server", alert_name(int(code, 0)) or "farewell") for code in codes.split(",")
        ]
        found.setdefault(key, []).extend(one for one in alerts if one[1] not in ("farewell", "user_canceled"))
    return found


def client_randoms(capture: Path) -> dict[str, tuple[int, int]]:
    """Return whose ClientHello has which random, by which a key log names a connection."""
    command = ["tshark", "-r", str(capture), "-d", "tcp.port==8001-9999,tls", "-Y", "tls.handshake.type == 1"]
    command += ["-T", "fields", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tls.handshake.random"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return {random.split(",")[0].lower(): (int(source), int(target)) for source, target, random in rows}


def keep_keys(source: Path, capture: Path) -> set[tuple[int, int]]:
    """Copy the lines of a key log that are of a capture's connections, and return the connections that have any."""
    known = client_randoms(capture)
    lines = [
        line
        for line in source.read_text().splitlines()
        if len(words := line.split()) == 3 and words[1].lower() in known
    ]
    capture.with_suffix(".keys").write_text("\n".join(lines) + "\n")
    return {known[line.split()[1].lower()] for line in lines}


def complete(row: dict[str, Any], alerts: list[tuple[str, str]]) -> None:
    """Fill in a refusal of which the accounts do not tell how it came: tshark, with the keys, had no part in any of it.

    A reset may have eaten an alert that was sent; where there are no keys to look for it, the mechanism stays open.
    """
    if row["outcome"] != "failed" or row["mechanism"] not in (None, "close", "reset") or row["side"] is None:
        return
    names = [name for sender, name in alerts if sender == row["side"]]
    if names:
        row.update(mechanism="alert", alert=names[0], completed=True)
    elif row["mechanism"] == "reset" and not row["keys"] and row["cause"] not in ("server_ended", "client_left"):
        row["mechanism"] = None


def keep(source: Path, target: Path, known: set[tuple[int, int]]) -> None:
    """Copy a capture without the connections of which an account is missing (an endpoint was ended by force)."""
    with source.open("rb") as read, target.open("wb") as written:
        packets = dpkt.pcap.Reader(read)
        writer = dpkt.pcap.Writer(written, snaplen=packets.snaplen, linktype=packets.datalink())
        for time, data in packets:
            tcp = data[14 + 4 * (data[14] & 15) :]  # Ethernet, IPv4
            ports = int.from_bytes(tcp[:2], "big"), int.from_bytes(tcp[2:4], "big")
            if ports in known or ports[::-1] in known:
                writer.writepkt(data, time)


def main() -> None:
    """Bring what was recorded into the lab's captures, with the truth beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path)
    parser.add_argument("captures", type=Path, nargs="?", default=Path(__file__).parent / "captures")
    asked = parser.parse_args()
    asked.captures.mkdir(exist_ok=True)
    truth = asked.captures / "truth.jsonl"
    rows: dict[str, list[dict[str, Any]]] = {}  # of every capture; those that were not recorded anew stay as they are
    for row in map(json.loads, truth.read_text().splitlines() if truth.exists() else []):
        rows.setdefault(row["capture"], []).append(row)
    for raw in sorted(asked.recorded.glob("*.raw.jsonl")):
        rows[raw.name.removesuffix(".raw.jsonl") + ".pcap"] = brought(raw, asked.captures)
    truth.write_text("".join(line(row) for name in sorted(rows) for row in rows[name]))


def line(row: dict[str, Any]) -> str:
    """Write a line of the truth as small as it goes: what is null is left out."""
    return json.dumps({name: value for name, value in row.items() if value is not None}, separators=(",", ":")) + "\n"


def brought(raw: Path, captures: Path) -> list[dict[str, Any]]:
    """Bring one capture and its keys, and give its lines of the truth."""
    capture = captures / raw.name.replace(".raw.jsonl", ".pcap")
    made = [of(row) for line in raw.read_text().splitlines() if has_both_accounts(row := json.loads(line))]
    keep(raw.with_name(capture.name), capture, {_ports(row) for row in made})
    keyed = keep_keys(raw.with_name(capture.stem + ".keys"), capture)
    seen = sent_by_tshark(capture)
    for row in made:
        row["keys"] = _ports(row) in keyed
        complete(row, seen.get(_ports(row), []))
    return made


def _ports(row: dict[str, Any]) -> tuple[int, int]:
    return row["client_port"], row["server_port"]


if __name__ == "__main__":
    main()
