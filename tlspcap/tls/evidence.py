"""What the rules of `outcome` look at: one account, read once. Readings only; every verdict is in `outcome`."""

from dataclasses import dataclass

from tlspcap.tls import flights
from tlspcap.tls.account import CLIENT, SERVER, Account, Opened, SeenAlert
from tlspcap.tls.flights import ClientFlight
from tlspcap.tls.names import is_tls13
from tlspcap.tls.records import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from tlspcap.transport import Closed

WARNING, FATAL = 1, 2
CLOSE_NOTIFY, HANDSHAKE_FAILURE, NO_CERTIFICATE, USER_CANCELED, NO_RENEGOTIATION = 0, 40, 41, 90, 100
# Alerts that end nothing by themselves: RFC 8446 6.1, RFC 5246 7.2.2; SSL 3.0's empty certificate, RFC 6101 5.4.2
BENIGN = frozenset((CLOSE_NOTIFY, NO_CERTIFICATE, USER_CANCELED, NO_RENEGOTIATION))
OF_FINISHED = frozenset((20, 21, 51))  # bad_record_mac, decryption_failed, decrypt_error: what spoils a Finished
# What stacks answer a FIN with that came without close_notify: OpenSSL decode_error, GnuTLS unexpected_message, Java
# handshake_failure or internal_error, rustls close_notify
AT_CLOSE = frozenset((CLOSE_NOTIFY, 10, 40, 50, 80))


@dataclass(slots=True, eq=False)  # never changed; frozen, it would take three times as long to make
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
        return not self.tls13 and self.account.client.finished is not None and self.account.server.finished is not None

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
            return self.flight.auth != "none" or self.account.certificate_request is not None
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
        """Whether an alert ends the handshake: by level up to TLS 1.2, by its code in TLS 1.3 (RFC 8446 6)."""
        if self.answers_close(alert) or (alert.decrypted and self.is_late(alert)):
            return False
        if (alert.code in BENIGN and alert.level != FATAL) or alert.code == CLOSE_NOTIFY:
            return False
        if alert.level == FATAL:
            return True
        if not self.account.is_tls13 or alert.code in BENIGN or self.went_on(alert):
            return False
        return self.closed is not None or self.silent  # until then a server may go on behind a warning, as up to 1.2

    def opened(self, role: str, record: Record) -> Opened | None:
        """What keys showed of a sealed record."""
        return self.account.side(role).opened.get(record.end)

    @property
    def all_opened(self) -> bool:
        """TLS 1.3: keys showed every sealed record, so that none of them hides an alert."""
        sides = (self.account.client, self.account.server)
        return all(record.end in side.opened for side in sides for record in side.sealed)

    def accepts(self, record: Record) -> bool:
        """TLS 1.3: whether a record of the server, behind the client's flight, shows that it took the Finished.

        Only a peer that goes on, or closes in peace, does; an alert that keys did not open may be either.
        """
        opened = self.opened(SERVER, record)
        if opened is None:
            return False
        return opened.content_type != ALERT or all(
            alert.code in BENIGN
            for alert in self.account.alerts
            if self._record_of(alert).end == record.end and alert.sender == SERVER
        )

    def is_late(self, alert: SeenAlert) -> bool:
        """Whether an alert that keys opened came when the handshake was over for its sender."""
        return self._is_late13(alert) if self.tls13 else self._is_late12(alert)

    def _is_late13(self, alert: SeenAlert) -> bool:
        """Behind the client's own Finished; of the server's, behind what it accepted it with, or in answer to a FIN."""
        if self.flight.kind != "finished" or self.flight.end is None:
            return False
        end = self._record_of(alert).end
        if alert.sender == CLIENT:
            return end > self.flight.end.end
        return any(self.accepts(record) and record.end < end for record in self.after)

    def _is_late12(self, alert: SeenAlert) -> bool:
        """Behind both Finished, unless it is the answer to the last one (RFC 5246 7.4.9)."""
        client, server = self._place_of_finished(CLIENT), self._place_of_finished(SERVER)
        if client is None or server is None or max(client, server) > alert.position:
            return False
        spoke = self.account.client.application is not None or self.account.server.application is not None
        last = CLIENT if client > server else SERVER
        if spoke or alert.sender == last:
            return True
        return alert.sender == CLIENT and alert.code not in OF_FINISHED

    def answers_close(self, alert: SeenAlert) -> bool:
        """Whether an alert complains of nothing but the other side's FIN, which came before it."""
        if alert.code not in AT_CLOSE:
            return False
        choosing = self.account.server_hello is None and alert.code == HANDSHAKE_FAILURE  # it may be of the offer
        if alert.sender == SERVER and (choosing or self.flight.auth == "empty"):
            return False
        role = SERVER if alert.sender == CLIENT else CLIENT
        side, closed = self.account.side(role), self.account.side(role).closed
        if closed is None or closed.how != "fin":
            return False
        if closed.acked > alert.data.offset:  # the FIN acknowledges the alert, which came late into the capture
            return False
        came = closed.frame < alert.data.frame and alert.data.acked >= self.account.conversation.side(side.number).sent
        return came or self.covers_end(alert.data.acked, role)

    def _record_of(self, alert: SeenAlert) -> Record:
        return self.account.records[alert.position].record

    def _place_of_finished(self, role: str) -> int | None:
        """Which of all records holds a side's Finished."""
        finished = self.account.side(role).finished
        places = (
            place
            for place, seen in enumerate(self.account.records)
            if finished is not None and seen.sender == role and seen.record.end == finished.end
        )
        return next(places, None)


def evidence(account: Account, clock: int, timeout: int) -> Evidence:
    """Read an account, with the capture's clock and the time-out in ns."""
    tls13 = is_tls13(account.version)
    flight = flights.client_flight(account) if tls13 else ClientFlight("none")
    after = tuple(flights.server_records_after(account, flight)) if flight.kind == "finished" else ()
    closer = _closer(account)
    closed = account.side(closer).closed if closer else None
    return Evidence(account, clock, timeout, tls13, flight, after, closed, closer)


def _closer(account: Account) -> str:
    """Who sent the first FIN or RST: who does not acknowledge that of the other side, else who is seen first."""
    client, server = account.client.closed, account.server.closed
    if client is None or server is None:
        return CLIENT if client else SERVER if server else ""
    of_client = _covers_end(account, client.acked, SERVER), client.frame, CLIENT
    return min(of_client, (_covers_end(account, server.acked, CLIENT), server.frame, SERVER))[2]


def _covers_end(account: Account, acked: int, role: str) -> bool:
    """Whether an ACK number counts more than all bytes that a side sent (see `Evidence.covers_end`)."""
    return acked > account.conversation.side(account.side(role).number).sent
