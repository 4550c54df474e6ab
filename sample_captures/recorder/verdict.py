"""The true verdict of a connection, from the accounts of its two endpoints alone; no packet is looked at here.

Who ended a handshake is who sent the alert that both stacks, or the one that can, report. A handshake is established
when both endpoints say that it was done: in TLS 1.3 a client says so before the server has judged its certificate, so
the server's word is needed too; and an alert that takes the place of any application data takes the handshake back.
"""

from dataclasses import asdict, dataclass

from recorder.accounts import Account

# These alerts are about the peer's certificate, whichever message the stack had read when it sent them (GnuTLS reads on
# to the Finished before it judges the certificate).
CERTIFICATE_ALERTS = frozenset(
    {
        "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired",
        "certificate_unknown", "unknown_ca", "certificate_required",
    }
)  # fmt: skip

PHASE_BY_LAST_RECEIVED = {
    "client": {
        None: "client_hello",
        "server_hello": "server_hello",
        "encrypted_extensions": "server_hello",
        "certificate": "server_certificate",
        "certificate_status": "server_certificate",
        "certificate_verify": "server_certificate",
        "server_key_exchange": "key_exchange",
        "certificate_request": "key_exchange",
        "server_hello_done": "key_exchange",
        "finished": "finished",
    },
    "server": {
        None: "client_hello",
        "client_hello": "client_hello",
        "certificate": "client_auth",
        "certificate_verify": "client_auth",
        "client_key_exchange": "key_exchange",
        "finished": "finished",
    },
}


@dataclass(frozen=True)
class Ending:
    """How a case ends that no alert ends; the story knows, since it arranged it.

    It goes before any alert: a client that takes HTTP for a record may still send one, but HTTP is what ended it.
    """

    side: str
    mechanism: str
    phase: str


@dataclass
class Expected:
    """The verdict that a reader of the capture should reach; every field None for a connection that is not TLS."""

    outcome: str | None = None
    version: str | None = None
    cipher: str | None = None
    side: str | None = None
    mechanism: str | None = None
    alert: str | None = None
    alert_sealed: bool = False
    phase: str | None = None


def expected(client: Account, server: Account, ending: Ending | None = None) -> dict[str, object]:
    """Return the verdict as it stands in a truth file.

    Raises:
        ValueError: the two accounts contradict each other, or neither tells who ended the handshake and how.
    """
    verdict = Expected(version=_agreed(client, server, "version"), cipher=_agreed(client, server, "cipher"))
    done = client.handshake_done and server.handshake_done
    if done and _alert_sender(client, server) is None:
        verdict.outcome = "established"
    else:
        verdict.outcome = "failed"
        _say_who_ended(verdict, client, server, ending)
    return asdict(verdict)


def _say_who_ended(verdict: Expected, client: Account, server: Account, ending: Ending | None) -> None:
    if ending is not None:
        verdict.side, verdict.mechanism, verdict.phase = ending.side, ending.mechanism, ending.phase
        return
    side = _alert_sender(client, server)
    if side is None:
        raise ValueError(f"neither endpoint tells who ended it: {client} {server}")
    sender, receiver = (client, server) if side == "client" else (server, client)
    verdict.side = side
    verdict.alert = sender.alert_sent or receiver.alert_received
    sealed = sender.alert_sealed if sender.alert_sealed is not None else receiver.alert_sealed
    if sealed is None:
        raise ValueError(f"neither endpoint tells whether {verdict.alert} was sealed: {client} {server}")
    verdict.alert_sealed = sealed
    verdict.mechanism = "hidden_alert" if verdict.alert_sealed else "alert"
    verdict.phase = _phase(side, verdict.alert, sender)


def _alert_sender(client: Account, server: Account) -> str | None:
    by_client, by_server = client.alert_sent or server.alert_received, server.alert_sent or client.alert_received
    if by_client and by_server:
        raise ValueError(f"both endpoints refused: {client} {server}")
    return "client" if by_client else "server" if by_server else None


def _phase(side: str, alert: str | None, sender: Account) -> str:
    if alert in CERTIFICATE_ALERTS and (side == "client" or sender.last_received not in (None, "client_hello")):
        return "server_certificate" if side == "client" else "client_auth"
    return PHASE_BY_LAST_RECEIVED[side][sender.last_received]


def _agreed(client: Account, server: Account, field: str) -> str | None:
    values = {getattr(account, field) for account in (client, server)} - {None}
    if len(values) > 1:
        raise ValueError(f"the endpoints disagree about the {field}: {values}")
    return values.pop() if values else None
