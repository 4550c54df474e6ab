"""What many handshakes share, kept once: certificates, hellos, certificate requests, and when each was seen.

The order of handshakes makes no difference, so that pieces of a reading, merged, are equal to the whole.
"""

import binascii
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from tlspcap import rows
from tlspcap.offer_rows import Row, client_hello_cells, request_cells, server_hello_cells, texts
from tlspcap.rows import Finished
from tlspcap.tls import certificates
from tlspcap.tls.certificates import Facts

MAX_DER = 65_536  # bytes of a certificate that its row repeats; those in use have one or two thousand
MAX_SNIS = 100  # distinct names kept per certificate: those that sort first

K = TypeVar("K")
T = TypeVar("T")


class Appearance(NamedTuple):
    """Where something was seen first. Appearances compare by time, then frame, then place in the message."""

    time: int
    frame: int
    number: int  # place of a certificate in its chain; of the ClientHello 0, of the ServerHello 1
    id: str
    capture: str
    stream: int


_NOWHERE = Appearance((1 << 63) - 1, 0, 0, "", "", 0)


class Sighting(Generic[T]):
    """One thing, how many handshakes showed it, and when."""

    __slots__ = ("count", "crowded", "first", "last", "snis", "thing")

    def __init__(self, thing: T) -> None:
        self.thing = thing
        self.count = 0
        self.first, self.last = _NOWHERE, -(1 << 63)
        self.snis: set[str] = set()
        self.crowded = False  # there were more names than are kept

    def seen(self, done: Finished, number: int = 0, sni: str | None = None) -> None:
        """Take one handshake that showed it."""
        hello = done.account.hello_first
        self.count += 1
        self.last = max(self.last, hello.time)
        if hello.time <= self.first.time:
            capture, stream, _ = done.account.conversation.place(hello.frame)
            self.first = min(self.first, Appearance(hello.time, hello.frame, number, done.id, capture, stream))
        if sni is not None:
            self._named(sni)

    def merge(self, other: "Sighting[T]") -> None:
        """Take over what was seen elsewhere."""
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.crowded |= other.crowded
        for sni in other.snis:
            self._named(sni)

    def _named(self, sni: str) -> None:
        """Keep a name; of too many, those that sort first."""
        self.snis.add(sni)
        if len(self.snis) > MAX_SNIS:
            self.snis.remove(max(self.snis))
            self.crowded = True

    @property
    def when(self) -> Row:
        """The columns that say when and how often."""
        return {"first_seen": self.first.time, "last_seen": self.last, "handshakes": self.count}


class Sightings(Generic[K, T]):
    """Distinct things by their keys."""

    def __init__(self) -> None:
        self._seen: dict[K, Sighting[T]] = {}

    def get(self, key: K) -> Sighting[T] | None:
        """The entry of a key, if there is one."""
        return self._seen.get(key)

    def new(self, key: K, thing: T) -> Sighting[T]:
        """A new entry."""
        entry = self._seen[key] = Sighting(thing)
        return entry

    def merge(self, other: "Sightings[K, T]") -> None:
        """Take over what was seen elsewhere."""
        for key, theirs in other._seen.items():
            mine = self._seen.setdefault(key, theirs)
            if mine is not theirs:
                mine.merge(theirs)

    def in_order(self) -> Iterator[tuple[K, Sighting[T]]]:
        """All of them, in order of first appearance, then of their keys."""
        yield from sorted(self._seen.items(), key=lambda item: (item[1].first, item[0]))


class Certificates(Sightings[tuple[str, str], bytes]):
    """Distinct certificates, of each role, as DER bytes; each is described once."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles: list[Row] = []  # notes on what was odd, each at the handshake that showed it first

    def add(self, done: Finished, row: Row) -> None:
        """Take the certificates of one handshake."""
        account = done.account
        for role, chain in (("server", account.chain), ("client", account.client_chain)):
            for number, der in enumerate(chain or ()):
                key = (rows.fingerprint(der), role)
                (self.get(key) or self.new(key, der)).seen(done, number, row["sni"])

    def rows(self) -> Iterator[Row]:
        """The rows of the `certificates` table."""
        self.troubles = []
        for (sha256, role), entry in self.in_order():
            facts = certificates.describe(entry.thing)
            if facts.trouble:
                self._note("odd_certificate", f"certificate {sha256}: {facts.trouble}", entry.first)
            if entry.crowded:
                detail = f"certificate {sha256}: for more than {MAX_SNIS} names; those that sort first are listed"
                self._note("cap_reached", detail, entry.first)
            own = {"snis": texts(sorted(entry.snis)), "der": _base64(entry.thing)}
            yield {"sha256": sha256, "role": role, **_facts(facts), **entry.when, **own}

    def _note(self, kind: str, detail: str, at: Appearance) -> None:
        where = {"id": at.id, "capture": at.capture, "stream": at.stream, "frame": at.frame, "time": at.time}
        self.troubles.append({"kind": kind, "detail": detail, **where})


def _base64(der: bytes) -> str | None:
    """A certificate as text, so that what reads only the tables can check its signature."""
    return binascii.b2a_base64(der, newline=False).decode("ascii") if len(der) <= MAX_DER else None


def _facts(facts: Facts) -> Row:
    return {
        "subject": facts.subject, "issuer": facts.issuer, "serial": facts.serial, "san": texts(facts.san),
        "not_before": facts.not_before, "not_after": facts.not_after,
        "key_type": facts.key_type, "key_bits": facts.key_bits, "signature_algorithm": facts.signature_algorithm,
        "self_signed": facts.self_signed, "is_ca": facts.is_ca,
    }  # fmt: skip


class Hellos(Sightings[str, Row]):
    """Distinct hellos of both sides, as cells."""

    def add(self, done: Finished, row: Row) -> None:
        """Take the first ClientHello and the ServerHello of one handshake."""
        offered, chosen = done.account.hello, done.account.server_hello
        if offered is not None:
            key = row["client_hello_digest"]
            (self.get(key) or self.new(key, client_hello_cells(offered))).seen(done)
        if chosen is not None:
            key = row["server_hello_digest"]
            (self.get(key) or self.new(key, server_hello_cells(chosen))).seen(done, 1)

    def rows(self) -> Iterator[Row]:
        """The rows of the `hellos` table."""
        for _, entry in self.in_order():
            yield {**entry.thing, **entry.when}


class Requests(Sightings[str, Row]):
    """Distinct certificate requests, as cells."""

    def add(self, done: Finished, row: Row) -> None:
        """Take the certificate request of one handshake, if it was seen."""
        request = done.account.certificate_request
        if request is not None:
            key = row["certificate_request_digest"]
            (self.get(key) or self.new(key, request_cells(request))).seen(done)

    def rows(self) -> Iterator[Row]:
        """The rows of the `certificate_requests` table."""
        for _, entry in self.in_order():
            yield {**entry.thing, **entry.when}
