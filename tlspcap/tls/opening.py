"""Reads what keys open of one handshake: sealed records in, and messages and alerts as if they had come in clear."""

from functools import partial

from tlspcap.tls.account import CLIENT, SERVER, Account, Opened, SeenMessage
from tlspcap.tls.keylog import KeyLog
from tlspcap.tls.names import HandshakeType
from tlspcap.tls.noting import odd
from tlspcap.tls.protection import Plain
from tlspcap.tls.records import ALERT, APPLICATION_DATA, HANDSHAKE, MessageJoiner, Record
from tlspcap.tls.taking import alerts, message
from tlspcap.tls.unseal import Unsealer

MAX_MESSAGES = 2_000  # of a handshake; it has some 20, and tickets behind it


class Opening:
    """Takes the sealed records of one handshake, of each side in order, once they are in the account."""

    def __init__(self, account: Account, keys: KeyLog) -> None:
        self._account = account
        self._unsealer = Unsealer(account, keys, partial(odd, account))
        self._joiners = {CLIENT: MessageJoiner(), SERVER: MessageJoiner()}
        self._half_alerts = {CLIENT: b"", SERVER: b""}

    def take(self, role: str, record: Record) -> bool:
        """Open a record, and write down what it holds; False where it stays sealed."""
        plain = self._unsealer.open(role, record)
        if plain is None:
            self._joiners[role].lose()
            return False
        if self._account.is_tls13:
            self._account.side(role).sealed.append(record._replace(fragment=b""))
        self._read(role, record, plain)
        return True

    def lose(self, role: str) -> None:
        """Note that an unknown number of a side's records is missing."""
        self._unsealer.lose(role)
        self._joiners[role].lose()
        self._half_alerts[role] = b""

    def _read(self, role: str, record: Record, plain: Plain) -> None:
        account, before = self._account, len(self._account.messages)
        side, kind = account.side(role), plain.content_type
        inner = record._replace(content_type=kind, length=record.length - plain.lead, fragment=plain.content)
        if kind == HANDSHAKE:
            self._messages(role, inner)
        elif kind == ALERT:
            content = self._half_alerts[role] + plain.content
            self._half_alerts[role] = alerts(account, role, record, content, decrypted=True)
        elif kind == APPLICATION_DATA and side.application is None:
            side.application = record._replace(fragment=b"")
            data = SeenMessage(record.first, role, "application_data", record.length, record.version)
            account.messages.append(data)
        names = tuple(seen.name for seen in account.messages[before:])
        side.opened[record.end] = Opened(kind, names)

    def _messages(self, role: str, inner: Record) -> None:
        side = self._account.side(role)
        for raw in self._joiners[role].feed(inner):
            if len(self._account.messages) >= MAX_MESSAGES:
                detail = f"more than {MAX_MESSAGES} messages; the rest was not read"
                odd(self._account, "cap_reached", raw.first, detail)
                break
            message(self._account, role, raw)
            if raw.code == HandshakeType.FINISHED and side.finished is None:
                side.finished = inner._replace(fragment=b"")
            self._unsealer.passed(role, raw.code)
