"""The step at which a handshake ended: what its ender had last been given, refined by the alert's name."""

from tlspcap.tls.account import CLIENT, SERVER, Account
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.verdict import Phase

# Alerts about a certificate (RFC 8446 6.2): they name the step at which their sender stopped
CERTIFICATE_ALERTS = frozenset((41, 42, 43, 44, 45, 46, 48, 49, 111, 113, 114, 116))
# Alerts about what the ServerHello chose
SERVER_HELLO_ALERTS = frozenset((47, 70, 71, 109, 110))
OF_SERVER_HELLO = frozenset((70, 110))  # protocol_version, unsupported_extension: of it in any version (RFC 5246 7.2)
NO_APPLICATION_PROTOCOL = 120  # of what the ClientHello offered none will do, though some say so behind a ServerHello


def phase_of_alert(sender: str, alert: int) -> Phase | None:
    """The step that an alert's own name tells; None where the name may belong to any."""
    if alert in CERTIFICATE_ALERTS:
        return Phase.SERVER_CERTIFICATE if sender == CLIENT else Phase.CLIENT_AUTH
    return None


def phase_of(seen: Evidence, ender: str, alert: int | None) -> Phase:
    """The step at which a handshake ended: what its ender had last been given, refined by the alert's name."""
    account = seen.account
    if account.server_hello is None:
        return Phase.SERVER_HELLO if account.retry is not None and ender == CLIENT else Phase.CLIENT_HELLO
    if ender == SERVER and alert == NO_APPLICATION_PROTOCOL:
        return Phase.CLIENT_HELLO
    if ender == SERVER:
        return _server_phase13(seen) if seen.tls13 else _server_phase12(seen, alert)
    if alert in CERTIFICATE_ALERTS:
        return Phase.SERVER_CERTIFICATE
    if alert in OF_SERVER_HELLO:
        return Phase.SERVER_HELLO
    if seen.tls13:
        return (
            Phase.SERVER_HELLO
            if alert in SERVER_HELLO_ALERTS or not account.server.sealed
            else Phase.SERVER_CERTIFICATE
        )
    return _client_phase12(account)


def _client_phase12(account: Account) -> Phase:
    if account.server.finished is not None:
        return Phase.FINISHED
    if "client_key_exchange" in account.client.steps or "client_master_key" in account.client.steps:
        return Phase.KEY_EXCHANGE
    if "certificate" in account.server.steps or (account.is_ssl2 and account.chain):
        return Phase.SERVER_CERTIFICATE
    return Phase.KEY_EXCHANGE if "server_hello_done" in account.server.steps else Phase.SERVER_HELLO


def _server_phase12(seen: Evidence, alert: int | None = None) -> Phase:
    client = seen.account.client
    spoke = not {"certificate", "client_key_exchange", "client_master_key"}.isdisjoint(client.steps)
    if alert in CERTIFICATE_ALERTS or (seen.client_auth and spoke and alert not in (20, 51)):
        return Phase.CLIENT_AUTH
    if client.finished is not None:
        return Phase.FINISHED
    if spoke:
        return Phase.KEY_EXCHANGE
    return Phase.SERVER_HELLO if alert is None else Phase.CLIENT_HELLO  # it has been given nothing else


def _server_phase13(seen: Evidence) -> Phase:
    if seen.flight.opened and seen.client_auth:
        return Phase.CLIENT_AUTH
    if seen.flight.kind != "finished":
        return Phase.SERVER_HELLO
    return Phase.CLIENT_AUTH if seen.client_auth else Phase.FINISHED


_STEP_WORDS = {
    (SERVER, Phase.CLIENT_HELLO): "after the ClientHello",
    (CLIENT, Phase.CLIENT_HELLO): "after its own ClientHello",
    (SERVER, Phase.SERVER_HELLO): "after its own ServerHello",
    (CLIENT, Phase.SERVER_HELLO): "after the ServerHello",
    (CLIENT, Phase.SERVER_CERTIFICATE): "after the server's certificate",
    (SERVER, Phase.CLIENT_AUTH): "after the client's answer to the certificate request",
    (SERVER, Phase.KEY_EXCHANGE): "after the client's key exchange",
    (CLIENT, Phase.KEY_EXCHANGE): "after its own key exchange",
    (SERVER, Phase.FINISHED): "after the client's Finished",
    (CLIENT, Phase.FINISHED): "after the server's Finished",
}


def step_words(ender: str, phase: Phase) -> str:
    """Where in the handshake somebody ended it, as the end of a sentence."""
    return _STEP_WORDS.get((ender, phase), f"at {phase.value}")
