"""Takes handshake messages and alerts into the account, whether they came in clear or keys opened them."""

from tlspcap.tls import names
from tlspcap.tls.account import Account, SeenAlert, SeenMessage
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.keeping import keep
from tlspcap.tls.messages import ServerHello, parse
from tlspcap.tls.noting import history, odd, step
from tlspcap.tls.records import RawMessage, Record

MAX_ALERTS = 64  # kept of a handshake
_new = tuple.__new__  # makes a NamedTuple without the detour through its own __new__
LEVELS = (1, 2)  # of alerts: warning, fatal; there are no others (RFC 8446 6)


def message(account: Account, role: str, raw: RawMessage) -> None:
    """Read a handshake message, and write down what it tells."""
    code, body, first, _, version = raw
    name, read = names.handshake_type_name(code), None
    try:
        read = parse(code, body, account.version, account.suite)
    except Malformed as trouble:
        odd(account, "bad_message", first, f"{name} from the {role} does not parse: {trouble}")
    if type(read) is ServerHello and read.is_retry:
        name = "hello_retry_request"
    account.messages.append(_new(SeenMessage, (first, role, name, len(body), version)))
    history(account, role, name, first)
    if account.side(role).finished is not None and not account.is_tls13:
        return  # of a renegotiation, in clear under a NULL cipher: the row is that of the first handshake
    step(account, role, name, first)
    if read is not None:
        keep(account, role, read, raw)


def alerts(account: Account, role: str, record: Record, content: bytes, decrypted: bool = False) -> bytes:
    """Write down the alerts of the newest record, two bytes each, and return what is left of `content`.

    A record may hold several, or half of one (RFC 8446 5.1 forbids it).
    """
    usable = len(content) & ~1
    for index in range(0, usable, 2):
        if len(account.alerts) >= MAX_ALERTS:
            odd(account, "cap_reached", record.first, f"more than {MAX_ALERTS} alerts; the rest was not kept")
            break
        level, code = content[index], content[index + 1]
        if level not in LEVELS:
            odd(account, "bad_message", record.first, f"an alert record from the {role} that holds no alert")
            break
        account.alerts.append(SeenAlert(record.first, role, level, code, len(account.records) - 1, decrypted))
        account.messages.append(SeenMessage(record.first, role, "alert", 2, record.version))
        history(account, role, "alert", record.first)
    return content[usable:]
