"""What a finding is: one thing that is wrong (or worth knowing), said in words, with the evidence to check it."""

from dataclasses import dataclass
from enum import StrEnum

from tlspcap.escape import printable
from tlspcap.findings.causes import Cause


class Severity(StrEnum):
    """How bad it is, worst first."""

    ERROR = "error"  # explains handshakes that failed
    WARNING = "warning"  # nothing failed by it here; something will, or is unsafe
    INFO = "info"  # worth knowing


@dataclass(frozen=True)
class Finding:
    """One finding, in words that hold no control character whatever was on the wire."""

    id: str  # name of the rule, snake_case
    severity: Severity
    title: str  # one sentence, with names and numbers, without a full stop
    detail: tuple[str, ...]  # lines: what was seen, what speaks for it, what the capture cannot tell
    advice: str  # what to change, on which side
    causes: tuple[Cause, ...] = ()  # what is behind the failures; of several that fit, likeliest first
    handshakes: tuple[str, ...] = ()  # `id` of the handshakes; of an error, those that failed by it
    frames: tuple[int, ...] = ()  # where they (or what else is spoken of) begin, in the same order
    streams: tuple[int, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()  # file, and the display filter that shows its part in Wireshark

    def __post_init__(self) -> None:
        """Keep control characters out."""
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "advice", printable(self.advice))
        object.__setattr__(self, "detail", tuple(printable(line) for line in self.detail))
