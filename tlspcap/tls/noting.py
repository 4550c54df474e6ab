"""What a follower writes down of each message beside its content: the step, the letter of the history, what was odd."""

from tlspcap.tls import figures
from tlspcap.tls.account import CLIENT, SERVER, Account, Oddity
from tlspcap.transport import Data, Gap

MAX_ODDITIES = 16  # kept of a handshake

# Letters of Zeek's ssl_history (base/protocols/ssl); capitals are the client's.
HISTORY_LETTERS = {
    "hello_request": "h", "client_hello": "c", "server_hello": "s", "hello_verify_request": "v",
    "new_session_ticket": "t", "end_of_early_data": "e", "hello_retry_request": "j", "encrypted_extensions": "o",
    "certificate": "x", "server_key_exchange": "k", "certificate_request": "r", "server_hello_done": "n",
    "certificate_verify": "y", "client_key_exchange": "g", "finished": "f", "certificate_url": "w",
    "certificate_status": "u", "supplemental_data": "a", "key_update": "p", "change_cipher_spec": "i",
    "alert": "l", "application_data": "d", "heartbeat": "b",
}  # fmt: skip
OTHER_MESSAGE = "z"
_LETTERS = {CLIENT: {name: letter.upper() for name, letter in HISTORY_LETTERS.items()}, SERVER: HISTORY_LETTERS}
_OTHERS = {CLIENT: OTHER_MESSAGE.upper(), SERVER: OTHER_MESSAGE}


def step(account: Account, role: str, name: str, data: Data) -> None:
    """Move a side along the figures; what they do not allow is noted and moves nothing."""
    side, other = (account.client, account.server) if role == CLIENT else (account.server, account.client)
    moved = figures.move(role, side.state, other.state, name)
    if moved is None:
        expected = ", ".join(figures.TABLE.expected[role, side.state]) or "nothing more"
        odd(account, "unexpected_message", data, f"{name} from the {role}; expected: {expected}")
        return
    side.steps.append(name)
    side.state, other.state = moved


def odd(account: Account, kind: str, data: Data | Gap, detail: str) -> None:
    """Keep something for the `notes` table; of each cap that is reached, the first time."""
    oddities = account.oddities
    if kind == "cap_reached" and any(oddity.detail == detail for oddity in oddities):
        return
    if len(oddities) < MAX_ODDITIES:
        oddities.append(Oddity(kind, data, detail))
    elif len(oddities) == MAX_ODDITIES:
        oddities.append(Oddity("cap_reached", data, f"more than {MAX_ODDITIES} oddities; the rest is not noted"))


def history(account: Account, role: str, name: str, data: Data) -> None:
    """Add a message's letter to the history."""
    account.history.append((_LETTERS[role].get(name) or _OTHERS[role], data.time))
