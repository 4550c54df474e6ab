"""What the rules of `outcome` look at: one account, read once. Readings only; every verdict is in `outcome`."""

from dataclasses import dataclass

from tlspcap.tls import flights
from tlspcap.tls.account import CLIENT, SERVER, Account, SeenAlert
from tlspcap.tls.flights import ClientFlight
from tlspcap.tls.names import is_tls13
from tlspcap.tls.records import CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from tlspcap.transport import Closed

WARNING, FATAL = 1, 2
CLOSE_NOTIFY, NO_CERTIFICATE, USER_CANCELED, NO_RENEGOTIATION = 0, 41, 90, 100
# Alerts that end nothing by themselves: RFC 8446 6.1, RFC 5246 7.2.2; SSL 3.0's empty certificate, RFC 6101 5.4.2
BENIGN = frozenset((CLOSE_NOTIFY, NO_CERTIFICATE, USER_CANCELED, NO_RENEGOTIATION))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One account with what follows from it. Times in ns."""

    account: Account
    clock: int  # the largest time seen in the capture
    timeout: int  # silence after which a peer is said not to answer
    tls13: bool  # the server chose TLS 1.3
    flight: ClientFlight  # TLS 1.3: the client's flight behind the ServerHello
    after: tuple[Record, ...]  # TLS 1.3: the server's records behind that flight
    closed: Closed | None  # the first FIN or RST of either side
    closer: str  # who sent it; "" for nobody

    @property
    def idle(self) -> int:
        """Capture time since the conversation's last packet."""
        return self.clock - self.account.conversation.last_time

    @property
    def silent(self) -> bool:
        """Nobody closed, and nothing came for as long as the time-out."""
        return self.closed is None and self.idle >= self.timeout

    @property
    def complete12(self) -> bool:
        """Both sides have sent ChangeCipherSpec and their Finished (RFC 5246 7.3)."""
        return self.account.client.finished is not None and self.account.server.finished is not None

    def has_finished(self, role: str) -> bool:
        """Whether a side may have sent its Finished: all that the handshake needs of it."""
        if self.tls13:
            return role == SERVER or self.flight.kind != "none"
        return self.account.side(role).finished is not None

    @property
    def gap(self) -> bool:
        """Bytes of either side are missing from the capture."""
        return bool(self.account.client.gaps or self.account.server.gaps)

    @property
    def broken(self) -> bool:
        """Bytes of either side are missing, or are no TLS: what they were cannot be told."""
        return self.gap or self.account.stray is not None

    @property
    def answer_broken(self) -> bool:
        """TLS 1.3: what is missing may be of the client's flight, or behind it.

        What the ServerHello acknowledged was sent before, and so was what the client's flight acknowledged.
        """
        account, sealed = self.account, self.account.client.sealed
        if account.server_hello_first is None or not sealed or account.stray is not None:
            return self.broken
        asked, answered = account.server_hello_first.acked, sealed[0].first.acked
        return any(gap.offset + gap.length > asked for gap in account.client.gaps) or any(
            gap.offset + gap.length > answered for gap in account.server.gaps
        )

    @property
    def one_sided(self) -> bool:
        """No packet of one side is in the capture."""
        conversation = self.account.conversation
        return not (conversation.opener.packets and conversation.other.packets)

    @property
    def whole(self) -> bool:
        """Packets of both sides are in the capture, and no bytes are missing or no TLS."""
        return not self.broken and not self.one_sided

    @property
    def client_auth(self) -> bool:
        """The client was asked for a certificate, as far as that shows."""
        if self.tls13:
            return self.flight.auth != "none"
        return self.account.certificate_request is not None

    def acknowledged(self, role: str) -> int:
        """How many bytes of a side's stream the other side's TCP acknowledged."""
        return self.account.conversation.side(self.account.side(role).number).acknowledged

    def all_acknowledged(self, role: str) -> bool:
        """The other side's TCP acknowledged all that a side sent."""
        return self.acknowledged(role) >= self.account.conversation.side(self.account.side(role).number).sent

    def covers_end(self, acked: int, role: str) -> bool:
        """Whether an ACK number covers a side's FIN that came into the capture later: it counts one more than bytes."""
        return _covers_end(self.account, acked, role)

    def went_on(self, alert: SeenAlert) -> bool:
        """Whether the handshake went on behind an alert: a message of its sender, or a ChangeCipherSpec, came later."""
        later = self.account.records[alert.position + 1 :]
        return any(
            seen.sender == alert.sender and seen.record.content_type in (HANDSHAKE, CHANGE_CIPHER_SPEC)
            for seen in later
        )

    def is_decisive(self, alert: SeenAlert) -> bool:
        """Whether a clear alert ends the handshake: by level up to TLS 1.2, by its code in TLS 1.3 (RFC 8446 6)."""
        if (alert.code in BENIGN and alert.level != FATAL) or alert.code == CLOSE_NOTIFY:
            return False
        if alert.level == FATAL:
            return True
        return self.account.is_tls13 and alert.code not in BENIGN and not self.went_on(alert)


def evidence(account: Account, clock: int, timeout: int) -> Evidence:
    """Read an account, with the capture's clock and the time-out in ns."""
    tls13 = is_tls13(account.version)
    flight = flights.client_flight(account) if tls13 else ClientFlight("none")
    after = tuple(flights.server_records_after(account, flight)) if flight.kind == "finished" else ()
    sides = ((CLIENT, account.client), (SERVER, account.server))
    closings = [
        (_covers_end(account, side.closed.acked, other), side.closed.frame, role)
        for (role, side), other in zip(sides, (SERVER, CLIENT), strict=True)
        if side.closed
    ]
    closer = min(closings)[2] if closings else ""
    closed = account.side(closer).closed if closer else None
    return Evidence(account, clock, timeout, tls13, flight, after, closed, closer)


def _covers_end(account: Account, acked: int, role: str) -> bool:
    """Whether an ACK number counts more than all bytes that a side sent (see `Evidence.covers_end`)."""
    return acked > account.conversation.side(account.side(role).number).sent
