"""Follows a handshake of SSL 2.0, record by record, behind what `handshake` does for every version.

Messages behind the keys are sealed and have no type. But a record's header says how much of it is padding, and the MAC
has 16 bytes: so the length of what is sealed is known to the byte, and each message that may come has its own.
"""

from tlspcap.tls import ssl2
from tlspcap.tls.account import CLIENT, Account, SeenAlert, SeenMessage, SeenRecord, SideAccount, Ssl2Account
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.keeping import keep
from tlspcap.tls.names import SSL20
from tlspcap.tls.noting import history, odd, step
from tlspcap.tls.records import RawMessage, Record

_OF_CLIENT = frozenset((ssl2.ERROR, ssl2.CLIENT_HELLO, ssl2.CLIENT_MASTER_KEY))
_OF_SERVER = frozenset((ssl2.ERROR, ssl2.SERVER_HELLO))


def take(account: Account, role: str, record: Record) -> None:
    """Take one record of SSL 2.0."""
    side = account.side(role)
    account.ssl2 = account.ssl2 or Ssl2Account()
    message = _in_clear(account, role, record)
    account.records.append(SeenRecord(record, role, message is None))
    if side.finished is not None:
        side.after += 1
    if message is None:
        account.ssl2.goes_on = True
        if record.fragment and not _has_keys(account) and not (account.client.gaps or account.server.gaps):
            odd(account, "bad_message", record.first, f"a record of the {role} before the keys is no SSL 2.0 message")
        _sealed(account, account.ssl2, role, side, record)
    else:
        _clear(account, account.ssl2, role, message, record)


def _has_keys(account: Account) -> bool:
    """Whether both sides have keys: the client sent its master key, or the server took up a session."""
    hello = account.ssl2.server_hello if account.ssl2 else None
    return "client_master_key" in account.client.steps or (hello is not None and hello.session_id_hit)


def _in_clear(account: Account, role: str, record: Record) -> ssl2.Message | None:
    """The message in clear that a record holds; None where it is sealed, or cannot be read."""
    content = record.fragment
    if not content or (_has_keys(account) and len(content) != ssl2.ERROR_LENGTH):
        return None
    try:
        message = ssl2.parse(content)
    except Malformed:
        return None
    return message if content[0] in (_OF_CLIENT if role == CLIENT else _OF_SERVER) else None


def _clear(account: Account, old: Ssl2Account, role: str, message: ssl2.Message, record: Record) -> None:
    content = record.fragment or b""
    code, length = content[0], len(content) - 1
    raw = RawMessage(code, content[1:], record.first, record.last, SSL20)
    name = ssl2.MESSAGE_NAMES[code]
    account.messages.append(SeenMessage(record.first, role, name, length, SSL20))
    old.goes_on = old.goes_on or code != ssl2.CLIENT_HELLO
    if isinstance(message, ssl2.Error):
        account.alerts.append(SeenAlert(record.first, role, None, message.code, len(account.records) - 1))
        history(account, role, "alert", record.first)
        return
    if code == ssl2.CLIENT_HELLO:
        old.challenge = int.from_bytes(content[7:9])
    history(account, role, "client_key_exchange" if code == ssl2.CLIENT_MASTER_KEY else name, record.first)
    step(account, role, name, record.first)
    keep(account, role, message, raw)


def _sealed(account: Account, old: Ssl2Account, role: str, side: SideAccount, record: Record) -> None:
    """Tell a sealed message by its place and length; behind both Finished comes application data."""
    ready = account.client.finished is not None and account.server.finished is not None
    name = "sealed" if not ready else "application_data" if side.application is None else ""
    if name:
        account.messages.append(SeenMessage(record.first, role, name, record.length, SSL20))
    if ready:
        side.application = side.application or record
        return
    length = len(record.fragment or b"") - ssl2.MAC_LENGTH
    expected = _client_message(old, side, length) if role == CLIENT else _server_message(old, side, length)
    if expected:
        step(account, role, expected, record.first)
    if expected in ("client_finished", "server_finished"):
        side.finished = record
    elif length == ssl2.ERROR_LENGTH:
        side.sealed_alerts.append(SeenAlert(record.first, role, None, None, len(account.records) - 1))


def _client_message(old: Ssl2Account, side: SideAccount, length: int) -> str:
    """CLIENT-FINISHED returns the connection id; a CLIENT-CERTIFICATE is the only other."""
    if "client_finished" not in side.steps:
        ids = ssl2.CONNECTION_ID_LENGTHS if old.server_hello is None else (len(old.server_hello.connection_id),)
        return "client_finished" if length - 1 in ids else ""
    return "client_certificate" if length > ssl2.ERROR_LENGTH else ""


def _server_message(old: Ssl2Account, side: SideAccount, length: int) -> str:
    """SERVER-VERIFY returns the challenge, SERVER-FINISHED has a session id, REQUEST-CERTIFICATE a challenge and more.

    The shortest REQUEST-CERTIFICATE is one byte longer than a SERVER-FINISHED.
    """
    if "server_verify" not in side.steps:
        challenges = (old.challenge,) if old.challenge else ssl2.CHALLENGE_LENGTHS
        return "server_verify" if length - 1 in challenges else ""
    if length - 1 == ssl2.SESSION_ID_LENGTH:
        return "server_finished"
    return "request_certificate" if length - 2 in ssl2.CHALLENGE_LENGTHS else ""
