"""From what a program printed to the accounts of its connections, as dictionaries of JSON."""

import itertools
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "sample_captures"))
from recorder import transcripts

Account = dict[str, object]


def lines(text: str, ports: list[int]) -> list[Account]:
    """Read the lab's own programs: one line of JSON for each connection, which names the client's port."""
    made: dict[int, Account] = {}
    for line in text.splitlines():
        if line.startswith("{") and '"peer"' in line:
            account = json.loads(line)
            made.setdefault(account.pop("peer"), account)
    return [made.get(port, {"done": None, "error": _last_line(text)}) for port in ports]


def haproxy(text: str, ports: list[int]) -> list[Account]:
    """Read HAProxy's log, in which an error that is "Success" is one of HTTP: the handshake was done."""
    return [
        account | {"done": True} if str(account.get("error")).startswith("Success") else account
        for account in lines(text, ports)
    ]


def _last_line(text: str) -> str | None:
    kept = [line for line in text.splitlines() if line.strip()]
    return kept[-1][:200] if kept else None


def s_client(text: str, ports: list[int]) -> list[Account]:
    """Read `openssl s_client -msg`."""
    account = _openssl(text)
    account["got"] = len(re.findall(r"^HTTP/1", text, re.MULTILINE))
    verify = re.search(r"^verify error:(.*)$", text, re.MULTILINE)
    account["error"] = "; ".join(filter(None, (str(account["error"] or ""), verify[0] if verify else ""))) or None
    return [account] * len(ports)


def s_server(text: str, ports: list[int]) -> list[Account]:
    """Read `openssl s_server -msg` of a run with one connection, or split it where the next ClientHello begins."""
    starts = [match.start() for match in re.finditer(r"^<<< [^\n]*ClientHello", text, re.MULTILINE)]
    if len(ports) > 1 and len(starts) >= len(ports):
        cuts = [0, *starts[1 : len(ports)], len(text)]
        return [_openssl(text[begin:end]) for begin, end in itertools.pairwise(cuts)]
    return [_openssl(text)] * len(ports)


def _openssl(text: str) -> Account:
    account = transcripts.openssl(text)
    errors = re.findall(r"^[0-9A-F]+:(error:.*)$", text, re.MULTILINE)
    errors = errors or re.findall(r"^ERROR.*$|^read:.*$|.*errno.*", text, re.MULTILINE)
    error = "; ".join(re.sub(r":\.\./[^:]*:\d+:", ": ", line) for line in errors[:3])
    return {
        "done": account.handshake_done,
        "version": account.version,
        "resumed": account.resumed,
        "alert_sent": account.alert_sent,
        "alert_received": account.alert_received,
        "sealed": account.alert_sealed,
        "error": error or None,
    }


def nginx(text: str, ports: list[int]) -> list[Account]:
    """Read nginx's debug log, in which every line of a connection has its number."""
    made = []
    for port in ports:
        accepted = re.search(rf"\*(\d+) accept: \S+:{port} fd", text)
        log = "\n".join(line for line in text.splitlines() if f" *{accepted[1]} " in line) if accepted else ""
        account = transcripts.nginx(log)
        error = account.error or _search(
            r"(SSL_do_handshake\(\) failed.*|peer closed connection in SSL handshake|client sent .*certificate.*)", log
        )
        made.append({
            "done": account.handshake_done if accepted else None, "version": account.version,
            "resumed": account.resumed, "got": int("http request line" in log), "error": error,
            "alert_received": account.alert_received,
        })  # fmt: skip
    return made


def _search(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1][:200] if found else None


def stunnel(text: str, ports: list[int]) -> list[Account]:
    """Read stunnel's log of debug level 7."""
    blocks = re.split(r"(?=Service \[lab\] accepted connection)", text)  # connections come one after another
    made = []
    for port in ports:
        log = next((block for block in blocks if re.match(rf"Service.* from 127\.0\.0\.1:{port}\b", block)), "")
        made.append({
            "done": "TLS accepted" in log if log else None,
            "version": _search(r"(TLSv1(?:\.\d)?) ciphersuite", log),
            "resumed": "session reused" in log,
            "alert_sent": _stunnel_alert("write", log),
            "alert_received": _stunnel_alert("read", log),
            "error": _search(r"(SSL_accept: .*|SSL_read: .*|.*rejected by.*)", log),
            "got": int(_search(r"(\d+) byte\(s\) sent to socket", log) or 0),
        })  # fmt: skip
    return made


def _stunnel_alert(way: str, log: str) -> str | None:
    found = re.findall(rf"(?:TLS|SSL) alert \({way}\): (?:fatal|warning): (.*)", log)
    return next((name for name in found if "close notify" not in name), None)


def curl(text: str, ports: list[int]) -> list[Account]:
    """Read `curl --trace -`."""
    account = transcripts.curl(text)
    return [{
        "done": account.handshake_done, "version": account.version, "got": int(bool(account.data_received)),
        "alert_sent": account.alert_sent, "alert_received": account.alert_received, "sealed": account.alert_sealed,
        "error": account.error,
    }] * len(ports)  # fmt: skip
