"""What the sizes of sealed TLS 1.3 records say, without keys. Sizes argue, they do not prove: nothing here judges.

After the ServerHello every record is of type 23, and what it holds shows only in its length: content, one byte for
the true type, the tag (RFC 8446 5.2). A Finished is 4 bytes and a hash (4.4.4), an alert 2 (6), an empty client
Certificate 8 (4.4.2), an EndOfEarlyData 4 (4.5). Some stacks pad every record by 16 bytes, some put a whole flight
in one record.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from tlspcap.tls.account import Account
from tlspcap.tls.ciphers import sealed_length
from tlspcap.tls.ciphers import suite as suite_of
from tlspcap.tls.names import TLS13, is_tls13
from tlspcap.tls.records import ALERT, APPLICATION_DATA, Record
from tlspcap.transport import UNKNOWN

ALERT_BYTES, EMPTY_CERTIFICATE, END_OF_EARLY_DATA, MESSAGE_HEADER = 2, 8, 4, 4
PADDING = 16  # what Java adds to each record
USUAL_OVERHEAD = 17  # one byte of type, a tag of 16
SMALLEST_WITH_CERTIFICATE = 250  # bytes of a record with a certificate, a CertificateVerify and a Finished
LONGEST_FLIGHT = 8  # records of a client's flight: a long chain, a CertificateVerify, a Finished

Auth = Literal["none", "empty", "sent"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Record lengths to expect with the chosen cipher suite."""

    alert: int
    empty_certificate: int
    end_of_early_data: int
    finished: tuple[int, ...]  # one per hash that it may be

    def is_alert(self, record: Record, padded: bool = False) -> bool:
        """Whether a record is as long as one alert; `padded`: of a side that pads its records."""
        return record.length == self.alert or (padded and record.length == self.alert + PADDING)

    def is_finished(self, length: int) -> bool:
        """Whether a length is that of a Finished, padded or not."""
        return length in self.finished or length - PADDING in self.finished


@dataclass(slots=True)  # never changed; frozen, it would take three times as long to make
class ClientFlight:
    """The client's answer to the server's flight: what its sizes look like."""

    kind: Literal["none", "alert", "finished", "unclear"]
    end: Record | None = None  # its last record
    auth: Auth = "none"  # sign of client authentication: an empty certificate, one that holds something
    exact: bool = False  # each record has just the expected size, so no other reading fits
    index: int = -1  # of `end` among the client's sealed records
    early_accepted: bool = False  # an EndOfEarlyData stood before the Finished
    opened: bool = False  # keys showed it: nothing of this is read from sizes


def sizes(account: Account) -> Sizes:
    """The lengths to expect for the suite that the ServerHello chose; the usual ones where it is not known."""
    return _sizes(account.version, account.suite and account.suite.code)


@lru_cache(maxsize=256)
def _sizes(version: int | None, code: int | None) -> Sizes:
    suite = None if code is None else suite_of(code)
    overhead = USUAL_OVERHEAD
    hashes: tuple[int, ...] = (32, 48)
    if suite is not None:
        if is_tls13(version):
            overhead = sealed_length(TLS13, suite.code, 0) or USUAL_OVERHEAD
        hashes = {"SHA256": (32,), "SHA384": (48,)}.get(suite.hash, hashes)
    finished = tuple(MESSAGE_HEADER + size + overhead for size in hashes)
    return Sizes(ALERT_BYTES + overhead, EMPTY_CERTIFICATE + overhead, END_OF_EARLY_DATA + overhead, finished)


def client_flight(account: Account) -> ClientFlight:
    """Read the client's sealed records behind the ServerHello."""
    sealed, expect = account.client.sealed, sizes(account)
    if not sealed:
        return ClientFlight("none")
    if account.client.opened and (opened := _opened_flight(account)) is not None:
        return opened
    early = _behind_early_data(account, expect)
    if early is not None:
        return early
    first = sealed[0]
    if expect.is_alert(first, padded=True):
        return ClientFlight("alert", first, index=0)
    if expect.is_finished(first.length):
        return ClientFlight("finished", first, exact=first.length in expect.finished, index=0)
    return _with_certificate(account, expect)


def _opened_flight(account: Account) -> ClientFlight | None:
    """The flight that keys showed; None where they opened too little of it to tell."""
    client = account.client
    if client.finished is not None:
        index = next((i for i, record in enumerate(client.sealed) if record.end == client.finished.end), -1)
        early = account.encrypted_extensions is not None and account.encrypted_extensions.early_data
        return ClientFlight("finished", client.finished, _opened_auth(account), True, index, early, opened=True)
    opened = takewhile(lambda record: record.end in client.opened, client.sealed)
    kinds = [client.opened[record.end].content_type for record in opened]
    if ALERT not in kinds and len(kinds) < len(client.sealed):
        return None
    begun = any(kind != APPLICATION_DATA for kind in kinds)  # else it is early data
    return ClientFlight("unclear" if begun else "none", client.sealed[0], _opened_auth(account), index=0, opened=True)


def _opened_auth(account: Account) -> Auth:
    if account.client_chain is not None:
        return "sent" if account.client_chain else "empty"
    return "sent" if "compressed_certificate" in account.client.steps else "none"


def _behind_early_data(account: Account, expect: Sizes) -> ClientFlight | None:
    """Early data goes on until an EndOfEarlyData and the Finished (RFC 8446 4.5); None where that pair is not seen."""
    if account.hello is None or not account.hello.early_data:
        return None
    sealed = account.client.sealed
    for index in range(len(sealed) - 1):
        ends = sealed[index].length in (expect.end_of_early_data, expect.end_of_early_data + PADDING)
        if ends and expect.is_finished(sealed[index + 1].length):
            return ClientFlight("finished", sealed[index + 1], index=index + 1, early_accepted=True)
    return None


def _with_certificate(account: Account, expect: Sizes) -> ClientFlight:
    """A first record that is neither alert nor Finished: a Certificate, alone or in one record with all else."""
    sealed = account.client.sealed
    first = sealed[0].length
    empty = first in (expect.empty_certificate, expect.empty_certificate + PADDING)
    for index in range(1, min(len(sealed), LONGEST_FLIGHT)):
        if sealed[index].end > _answered_up_to(account, sealed[0].end):
            break
        if expect.is_finished(sealed[index].length):
            exact = sealed[index].length in expect.finished
            return ClientFlight("finished", sealed[index], "empty" if empty else "sent", exact, index)
    if first - EMPTY_CERTIFICATE in expect.finished:
        return ClientFlight("finished", sealed[0], "empty", index=0)
    if first > min(expect.finished):  # Chrome's application settings add some 10 bytes, a certificate hundreds
        return ClientFlight("finished", sealed[0], "sent" if first >= SMALLEST_WITH_CERTIFICATE else "none", index=0)
    return ClientFlight("unclear", sealed[0], index=0)


def _answered_up_to(account: Account, end: int) -> int:
    """How much of the client's bytes the server had when it first sent something behind `end`; no bound before."""
    for record in account.server.sealed:
        if record.first.acked >= end:
            return record.first.acked
    return 1 << 62


def server_records_after(account: Account, flight: ClientFlight) -> list[Record]:
    """The server's sealed records in packets that acknowledge the client's whole flight.

    Order in the capture would not do: a server may send tickets and data of its own before it has seen the client's
    Finished (RFC 8446 4.4.4, 4.6.1).
    """
    if flight.end is None:
        return []
    return [record for record in account.server.sealed if _acknowledges(record, flight.end)]


def _acknowledges(record: Record, other: Record) -> bool:
    """Whether a record's packet acknowledges the other side's record; by frame where ACK numbers tell nothing."""
    acked = record.first.acked
    return record.first.frame > other.last.frame if acked == UNKNOWN else acked >= other.end


def server_pads(account: Account) -> bool:
    """Whether the server pads its records: its flight ends with a Finished that is 16 bytes too long."""
    finished = sizes(account).finished
    lengths = [record.length for record in account.server.sealed[:LONGEST_FLIGHT]]
    return any(length - PADDING in finished and length not in finished for length in lengths)


def server_may_pad(account: Account) -> bool:
    """Whether the server pads its records, or the Finished that would show whether it does may be lost."""
    return bool(account.server.gaps) or server_pads(account)


def exchanged(account: Account) -> bool:
    """Whether the client sent data behind its flight and the server answered it: one application exchange."""
    if account.server.sealed[-1].first.acked < account.client.sealed[1].end:
        return False  # the usual case, told without a closer look
    flight = client_flight(account)
    if flight.kind != "finished" or flight.index + 1 >= len(account.client.sealed):
        return False
    request, expect = account.client.sealed[flight.index + 1], sizes(account)
    return any(_acknowledges(r, request) and not expect.is_alert(r, True) for r in account.server.sealed)
