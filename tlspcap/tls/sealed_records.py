"""Takes sealed records into the account, by what shows of them without keys: type, length, and what came before."""

from tlspcap.tls.account import CLIENT, Account, SeenAlert, SeenMessage, SideAccount
from tlspcap.tls.noting import step
from tlspcap.tls.records import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from tlspcap.tls.taking import MAX_ALERTS
from tlspcap.transport import UNKNOWN

SHORTEST_SEALED_ALERT = 18  # bytes: 2, and a MAC of 16
LONGEST_FINISHED = 112  # bytes, sealed, without random padding: 16, and IV, MAC and padding of CBC with SHA-384
_new = tuple.__new__  # makes a NamedTuple without the detour through its own __new__


def is_sealed(account: Account, side: SideAccount, record: Record) -> bool:
    """By record type in TLS 1.3, by ChangeCipherSpec before it (RFC 8446 5.2, RFC 5246 7.1).

    Length tells only where a gap may hide the ChangeCipherSpec.
    """
    kind = record.content_type
    if kind == ALERT and side.gaps and record.length >= SHORTEST_SEALED_ALERT:
        return True
    if side.change_cipher_spec is None or account.is_tls13 or kind == CHANGE_CIPHER_SPEC:
        return False
    return account.suite is None or account.suite.encryption != "NULL"


def take(account: Account, role: str, side: SideAccount, record: Record) -> None:
    """Take a sealed record of a handshake, or a sealed alert."""
    if record.content_type == HANDSHAKE:
        # Behind a TLS 1.3 retry and its ChangeCipherSpec come hellos (RFC 8446 4.1.4); they are longer
        may_be_finished = account.server_hello is not None or record.length <= LONGEST_FINISHED
        if side.finished is None and may_be_finished:
            side.finished = record
            step(account, role, "finished", record.first)
        account.messages.append(SeenMessage(record.first, role, "sealed", record.length, record.version))
    elif record.content_type == ALERT and len(side.sealed_alerts) < MAX_ALERTS:
        side.sealed_alerts.append(SeenAlert(record.first, role, None, None, len(account.records) - 1))


def take_data(account: Account, role: str, side: SideAccount, record: Record) -> None:
    """Take a record of type application_data, which in TLS 1.3 may hold anything (RFC 8446 5.2)."""
    if not account.is_tls13:
        if side.application is not None:
            return
        side.application, name = record, "application_data"
    elif account.server_hello is None or (not side.sealed and _is_early(account, role, record)):
        side.early.append(record)
        if len(side.early) > 1:
            return
        name = "application_data"
    else:
        side.sealed.append(record)
        name = "sealed"
    account.messages.append(_new(SeenMessage, (record.pieces[0], role, name, record.length, record.version)))


def _is_early(account: Account, role: str, record: Record) -> bool:
    """Whether a client that announced early data sent a record before it had seen any of the ServerHello."""
    if role != CLIENT or account.hello is None or not account.hello.early_data or account.server_hello_first is None:
        return False
    return UNKNOWN != record.first.acked <= account.server_hello_first.offset
