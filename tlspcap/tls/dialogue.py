"""What the two sides of a conversation say before the hello: whether one asked for TLS, and what it was told.

Bytes are kept as they come, in whatever pieces. `starttls` knows the words.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tlspcap.tls import starttls
from tlspcap.tls.records import HANDSHAKE
from tlspcap.tls.starttls import Way
from tlspcap.transport import Data

MAX_BYTES = 65_536  # of both sides; behind them no hello is looked for
MAX_PACKETS = 4_096  # with data, the same
MAX_ANSWER = 1_024  # bytes behind a request in which its answer is looked for
MAX_PLACES = 8  # places within one packet that are tried as the begin of a hello
NOTHING = "none"  # value of `starttls` where nothing was said before the hello


class Asked(NamedTuple):
    """A side asked for TLS, or for a way through a proxy."""

    ways: tuple[Way, ...]  # several while it is not known which
    side: int
    text: str  # of the request, escaped
    heard: int  # bytes that the other side had said before


class Refusal(NamedTuple):
    """The other side said no."""

    name: str  # of the protocol, as in the `starttls` column; several, joined by "or", where it is not known which
    side: int  # who asked
    request: str  # escaped
    answer: str  # escaped
    data: Data  # the packet that completed the answer

    @property
    def words(self) -> str:
        """What was asked and answered."""
        return f"{self.request} ({self.name}) was refused with {self.answer}"


class Dialogue:
    """What was said before the hello. `take` what is no hello, in order of each side."""

    __slots__ = ("_asked", "_first", "_lost", "_packets", "_said", "_taken", "_waiting", "refusal")

    def __init__(self) -> None:
        self.refusal: Refusal | None = None  # the answer to the last request, where it was a no
        self._asked: Asked | None = None
        self._waiting = False  # the last request has no answer yet
        self._said = (bytearray(), bytearray())
        self._first: list[Data | None] = [None, None]  # what each side began with
        self._lost = [False, False]
        self._taken = self._packets = 0

    @property
    def spent(self) -> bool:
        """Whether so much was said that no hello is looked for any more."""
        return self._taken > MAX_BYTES or self._packets > MAX_PACKETS

    def lose(self, side: int) -> None:
        """Note that some bytes of a side are missing; what follows is taken as if it stood next."""
        self._lost[side] = True

    def spoken(self, client: int, hello: int) -> str | None:
        """The value of `starttls` for a handshake of this client, whose first hello seen is of side `hello`.

        None where the client said something that is not known. Where its own hello was not seen, lost bytes may be just
        that, unless the server spoke before its hello.
        """
        if self._asked is not None and self._asked.side == client:
            return self._asked.ways[0].name if len(self._asked.ways) == 1 else None
        said = bool(self._said[client])
        lost = self._lost[client] and (hello == client or self._said[1 - client])
        return None if said or lost else NOTHING

    def greeting(self, side: int) -> Data | None:
        """What a side said first of all, where nobody asked for TLS, and no lost bytes may have done so."""
        return self._first[side] if self._asked is None and not any(self._lost) else None

    def take(self, data: Data) -> int:
        """Take a payload that begins no hello, up to where one may begin within it; return how much was taken."""
        self._first[data.side] = self._first[data.side] or data
        said, payload = self._said[data.side], data.payload
        before = len(said)
        said += payload
        self._packets += 1
        header = starttls.proxy_header(said)
        if header:  # it says where the connection comes from, and nothing about what follows
            said.clear()
            return self._count(header - before)
        for at in _places(payload):
            if starttls.asked(said[: before + at], self._said[1 - data.side]):
                del said[before + at :]
                break
        self._hear(data)
        return self._count(len(said) - before)

    def _count(self, taken: int) -> int:
        self._taken += taken
        return taken

    def _hear(self, data: Data) -> None:
        """Note a request, or the answer to one."""
        side, said, other = data.side, self._said[data.side], self._said[1 - data.side]
        ways = starttls.asked(said, other)
        if ways:
            self._asked, self.refusal = Asked(ways, side, starttls.request_text(ways[0], said), len(other)), None
            self._waiting = True
        elif self._waiting and self._asked is not None and side != self._asked.side:
            self._answer(self._asked, data)

    def _answer(self, request: Asked, data: Data) -> None:
        """Note the answer to a request; it may tell the protocol too."""
        said = self._said[data.side][request.heard : request.heard + MAX_ANSWER]
        answers = [(way, answer) for way in request.ways if (answer := starttls.answered(way, said))]
        if not answers:
            return
        self._waiting, self._asked = False, request._replace(ways=tuple(way for way, _ in answers))
        answer = answers[0][1]
        if not answer.accepted:
            names = " or ".join(way.name for way, _ in answers)
            self.refusal = Refusal(names, request.side, request.text, answer.text, data)


def _places(payload: bytes) -> Iterator[int]:
    """Where in a payload, behind its start, a record with a hello may begin."""
    at = 0
    for _ in range(MAX_PLACES):
        at = payload.find(HANDSHAKE, at + 1)
        if at < 0:
            return
        if payload[at + 1 : at + 2] in (b"", b"\x03"):
            yield at
