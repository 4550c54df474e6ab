"""The words of a verdict: closed lists, in the spelling of the tables, and the frozen noun that holds them."""

from dataclasses import dataclass
from enum import StrEnum

from tlspcap.transport import Closed, Data


class Outcome(StrEnum):
    """How a handshake ended, as far as the capture tells."""

    ESTABLISHED = "established"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Certainty(StrEnum):
    """Whether a verdict was seen in clear or with keys (certain), or inferred from sealed records (probable)."""

    CERTAIN = "certain"
    PROBABLE = "probable"


class Phase(StrEnum):
    """The step at which a handshake failed, in the order of the handshake."""

    CLIENT_HELLO = "client_hello"
    SERVER_HELLO = "server_hello"
    SERVER_CERTIFICATE = "server_certificate"
    KEY_EXCHANGE = "key_exchange"
    CLIENT_AUTH = "client_auth"
    FINISHED = "finished"


class Party(StrEnum):
    """Who ended a failed handshake."""

    CLIENT = "client"
    SERVER = "server"
    NETWORK = "network"


class Mechanism(StrEnum):
    """By what means a failed handshake was ended."""

    ALERT = "alert"
    HIDDEN_ALERT = "hidden_alert"
    RESET = "reset"
    CLOSE = "close"
    TIMEOUT = "timeout"
    NOT_TLS = "not_tls"
    VIOLATION = "violation"


class Completeness(StrEnum):
    """What the capture lacks for a handshake."""

    COMPLETE = "complete"
    GAP = "gap"
    ONE_SIDED = "one_sided"
    MID_STREAM = "mid_stream"
    CUT_OFF = "cut_off"
    SNAPLEN = "snaplen"


@dataclass(slots=True)  # never changed; frozen, it would take three times as long to make
class Verdict:
    """What is said of one handshake: the outcome, how sure, and one sentence that tells why."""

    outcome: Outcome
    reason: str
    rule: str  # name of the rule in outcome.py that decided
    certainty: Certainty | None = None  # None for unknown
    phase: Phase | None = None  # the four below: failed only
    side: Party | None = None
    mechanism: Mechanism | None = None
    alert: int | None = None  # the code of the alert that ended it; None for a hidden one
    end: Data | Closed | None = None  # the packet that ended the handshake; None for time-outs and unknown


def failed(
    rule: str,
    side: str,
    mechanism: Mechanism,
    phase: Phase | None,
    reason: str,
    end: Data | Closed | None,
    *,
    alert: int | None = None,
    probable: bool = False,
) -> Verdict:
    """A failed handshake."""
    certainty = Certainty.PROBABLE if probable else Certainty.CERTAIN
    return Verdict(Outcome.FAILED, reason, rule, certainty, phase, Party(side), mechanism, alert, end)


def established(rule: str, reason: str, end: Data | None, certainty: Certainty) -> Verdict:
    """An established handshake."""
    return Verdict(Outcome.ESTABLISHED, reason, rule, certainty, end=end)


def unknown(rule: str, reason: str) -> Verdict:
    """A handshake whose end the capture does not tell."""
    return Verdict(Outcome.UNKNOWN, reason, rule)
