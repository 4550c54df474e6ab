"""Realistic tables from keyword rows, with the dtypes of the contract: what a test of the measures starts from.

>>> table = handshakes(established(version="TLS 1.3"), failed(alert="internal_error", client_ip="10.0.0.7"))
>>> table[["version", "outcome", "client_ip"]].astype(str).to_numpy().tolist()
[['TLS 1.3', 'established', '192.0.2.10'], ['TLS 1.2', 'failed', '10.0.0.7']]
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from tlspcap import schema

Row = dict[str, Any]

START = pd.Timestamp("2026-11-03 02:00:00", tz="UTC")
ALERT_CODES = {
    "close_notify": 0,
    "handshake_failure": 40,
    "bad_certificate": 42,
    "certificate_expired": 45,
    "unknown_ca": 48,
    "protocol_version": 70,
    "internal_error": 80,
    "unrecognized_name": 112,
    "certificate_required": 116,
}
CIPHERS = {"TLS 1.3": ("TLS_AES_256_GCM_SHA384", 0x1302)}
OLD_CIPHER = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xC02F)


def table(name: str, rows: Iterable[Row]) -> pd.DataFrame:
    """Build the table called `name` from `rows`: columns in order, contract dtypes, NA where a row says nothing."""
    wanted = list(rows)
    columns = schema.TABLES[name].columns
    unknown = {key for row in wanted for key in row} - {column.name for column in columns}
    if unknown:
        raise KeyError(f"no such column in {name}: {sorted(unknown)}")
    frame = pd.DataFrame({column.name: _series(column, wanted) for column in columns})
    frame.index.name = schema.TABLES[name].index
    return frame


def _series(column: schema.Column, rows: list[Row]) -> "pd.Series[Any]":
    """One column; a row that does not say gets the dtype's own NA, or 0 and False where it has none."""
    dtype = column.pandas_dtype
    filler = {"bool": False, "int64": 0, "int32": 0}.get(column.dtype)
    values = [row.get(column.name, filler) for row in rows]
    return pd.Series(values, dtype=dtype)  # type: ignore[call-overload,no-any-return]


def handshakes(*rows: Row | Iterable[Row]) -> pd.DataFrame:
    """Build a handshakes table of the given rows (or lists of rows), a second apart unless they say when they were."""
    flat = [row for item in rows for row in ([item] if isinstance(item, dict) else item)]
    return table("handshakes", [_placed(i, row) for i, row in enumerate(flat)])


def _placed(i: int, row: Row) -> Row:
    """Fill in what every real row has: identity, place in the file, addresses."""
    return {
        "id": hashlib.sha256(f"handshake {i}".encode()).hexdigest()[:16],
        "capture": "night.pcap",
        "transport": "tcp",
        "stream": i,
        "frame": 4 + 12 * i,
        "time": START + pd.Timedelta(seconds=i),
        "client_ip": "192.0.2.10",
        "server_ip": "198.51.100.1",
        "client_port": 40_000 + i % 20_000,
        "server_port": 443,
        "sni": "api.example.com",
        "completeness": "complete",
        **row,
    }


def established(version: str = "TLS 1.2", **columns: Any) -> Row:
    """Describe a handshake that succeeded, in 24 ms of which half was the server's."""
    cipher, code = CIPHERS.get(version, OLD_CIPHER)
    return {
        "version": version,
        "negotiated_version": version,
        "offered_version_max": version,
        "cipher": cipher,
        "cipher_code": code,
        "outcome": "established",
        "certainty": "certain",
        "reason": "both sides sent Finished and application data followed",
        "client_rtt_ms": 1.0,
        "server_rtt_ms": 9.0,
        "tcp_rtt_ms": 10.0,
        "server_hello_ms": 11.0,
        "handshake_ms": 24.0,
        "connect_ms": 34.0,
        "client_ms": 8.0,
        "server_ms": 12.0,
        "transfer_ms": 4.0,
        "first_data_ms": 5.0,
        **columns,
    }


def failed(version: str = "TLS 1.2", alert: str | None = "internal_error", **columns: Any) -> Row:
    """Describe a handshake that the server ended after the ClientHello, by default with a fatal internal_error."""
    return {
        "version": version,
        "offered_version_max": version,
        "outcome": "failed",
        "certainty": "certain",
        "failure_phase": "client_hello",
        "failure_side": "server",
        "failure_mechanism": "alert" if alert else "reset",
        "alert": alert,
        "alert_code": ALERT_CODES.get(alert) if alert else None,
        "reason": f"the server sent a fatal {alert} after the ClientHello" if alert else "the server reset",
        "tcp_rtt_ms": 10.0,
        "handshake_ms": 11.0,
        **columns,
    }


def unknown(version: str = "TLS 1.2", completeness: str = "cut_off", **columns: Any) -> Row:
    """Describe a handshake whose end the capture does not hold."""
    return {
        "version": version,
        "offered_version_max": version,
        "outcome": "unknown",
        "completeness": completeness,
        "reason": "the capture ends before the handshake does",
        **columns,
    }


def intermittent() -> pd.DataFrame:
    """Tell the first story: of 10 TLS 1.2 handshakes the server failed 3 with internal_error, of 10 TLS 1.3 none."""
    twelve = [failed() if i in (2, 5, 9) else established(handshake_ms=24.0 + i) for i in range(10)]
    thirteen = [established("TLS 1.3", handshake_ms=13.0 + i / 2) for i in range(10)]
    return handshakes(twelve, thirteen)


def messages(*rows: tuple[float, str, str, int], frame: int = 4) -> pd.DataFrame:
    """Build the messages of one handshake from (offset_ms, sender, message, length) rows, a frame each."""
    return table("messages", [
        {
            "id": hashlib.sha256(b"handshake 0").hexdigest()[:16],
            "frame": frame + i,
            "time": START + pd.Timedelta(milliseconds=offset),
            "offset_ms": offset,
            "sender": sender,
            "message": message,
            "length": length,
            "record_version": "TLS 1.2",
        }
        for i, (offset, sender, message, length) in enumerate(rows)
    ])  # fmt: skip


def alerts(*rows: Row) -> pd.DataFrame:
    """Build an alerts table; each row says at least frame, sender and description."""
    plain = {
        "id": hashlib.sha256(b"handshake 0").hexdigest()[:16],
        "capture": "night.pcap",
        "transport": "tcp",
        "time": START,
        "level": "fatal",
        "phase": "during",
    }
    return table("alerts", [
        {**plain, "code": ALERT_CODES.get(row.get("description", "")), **row} for row in rows
    ])  # fmt: skip
