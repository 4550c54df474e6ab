"""The bounds on what is kept or read, as one table: values are read off the code, so that it cannot say otherwise."""

from importlib import import_module
from typing import NamedTuple

NOTE = "`cap_reached`"


class Bound(NamedTuple):
    """One bound: the constant that holds it, and what happens beyond."""

    where: str  # module below the package, then the constant's name
    what: str  # as in "at most so many …"
    beyond: str
    told: str = ""  # kind of note, or nothing where nothing is lost

    @property
    def value(self) -> int:
        """What the code says."""
        module, name = self.where.rsplit(".", 1)
        value = getattr(import_module(f"tlspcap.{module}"), name)
        assert isinstance(value, int)
        return value


BOUNDS = (
    Bound("wire.files.CHUNK_BYTES", "bytes of a capture in memory at once", "the next are read when these are done"),
    Bound("wire.files.LARGEST_CHUNK", "bytes of one pcapng block", "reading stops there", "`truncated_file`"),
    Bound("wire.pcap.ROWS", "packets worked on at once", "the next follow when these are done"),
    Bound(
        "wire.pieces.MOST_ROWS",
        "packets of a piece of a file that processes share",
        "each process reads on alone",
    ),
    Bound("wire.columns.MAX_PACKET", "captured bytes of a packet", "the file is damaged there", "`truncated_file`"),
    Bound(
        "wire.pcapng.MOST_INTERFACES",
        "interfaces of a section",
        "packets of further ones are not read",
        "`unreadable_packets`",
    ),
    Bound("wire.pcapng.MOST_SECRETS", "bytes of key logs inside a pcapng", "further ones are left out", NOTE),
    Bound("wire.links.MOST_TUNNELS", "tunnels in one another", "deeper packets are not read", "`unreadable_packets`"),
    Bound("wire.fragments.MOST_DATAGRAMS", "IP packets in fragments that wait", "the oldest is given up", NOTE),
    Bound("wire.fragments.MOST_BYTES", "captured bytes of them", "the oldest is given up", NOTE),
    Bound("wire.fragments.MOST_FRAGMENTS", "fragments of one IP packet", "it is given up", NOTE),
    Bound(
        "wire.fragments.LARGEST_DATAGRAM",
        "bytes of an IP packet in fragments (RFC 791 3.1)",
        "it is given up",
        "`unreadable_packets`",
    ),
    Bound(
        "wire.waiting.MAX_WAITING_PACKETS",
        "packets of conversations not yet known to be TLS or not",
        "the oldest are let go; a handshake found later seems to begin in mid-stream",
        NOTE,
    ),
    Bound("wire.waiting.MAX_WAITING_BYTES", "captured payload bytes of them", "the same", NOTE),
    Bound("wire.undecided.MAX_YOUNG_BYTES", "payload bytes of a conversation before its hello", "it is not TLS"),
    Bound("wire.undecided.MAX_YOUNG_PACKETS", "packets of a conversation before its hello", "it is not TLS"),
    Bound(
        "wire.undecided.MAX_SAMPLES",
        "conversations without a hello that are looked at for notes",
        "further ones leave no note",
        NOTE,
    ),
    Bound(
        "wire.flows.MAX_FOLLOWED",
        "conversations followed at once, in each process",
        "those that are idle longest end, the ones that have exchanged data first",
        NOTE,
    ),
    Bound("wire.flows.MAX_CONFLICTS", "notes `conflicting_retransmission` of a file", "further ones are counted", NOTE),
    Bound("wire.direction.MAX_HELD_SEGMENTS", "segments of a side held behind a hole", "the hole counts as lost", NOTE),
    Bound("wire.direction.MAX_HELD_BYTES", "captured bytes of them", "the hole counts as lost", NOTE),
    Bound(
        "tls.causality.MAX_HELD",
        "events of a conversation that wait for what they acknowledge",
        "they pass in capture order",
    ),
    Bound(
        "tls.dialogue.MAX_BYTES",
        "bytes said before the hello, where TLS was asked for or may be",
        "no hello is looked for",
    ),
    Bound("tls.dialogue.MAX_PACKETS", "packets of them", "no hello is looked for"),
    Bound("tls.remembering.ENTRIES", "lists of each kind in hellos that are remembered", "they are read again"),
    Bound("tls.remembering.LONGEST", "items of a list that is remembered", "it is read each time"),
    Bound("tls.extensions.LONGEST", "bytes of the extensions of a hello whose layout is remembered", "it is cut anew"),
    Bound("tls.extensions.MOST_OF_LAYOUT", "extensions of it", "it is cut anew"),
    Bound("tls.messages.CHAINS", "chains of certificates remembered as they were sent", "they are read again"),
    Bound("tls.records.MAX_MESSAGE", "bytes of a handshake message in several records", "it is passed over", NOTE),
    Bound("tls.handshake.MAX_RECORDS", "records of a handshake", "the rest is not followed", NOTE),
    Bound(
        "tls.handshake.MAX_RECORDS_AFTER",
        "records of a side behind its Finished",
        "the verdict is settled; only alerts and closes count",
    ),
    Bound("tls.handshake.MAX_BYTES_AFTER", "bytes of them", "the same"),
    Bound("tls.handshake.MAX_MESSAGES", "messages of a handshake in clear", "the rest is not followed", NOTE),
    Bound("tls.taking.MAX_ALERTS", "alerts of a handshake", "the rest is not kept", NOTE),
    Bound("tls.keylog.MOST_BYTES", "bytes of a key log", "the rest is not read; a `key_log` note says so"),
    Bound("tls.keylog.MOST_CANDIDATES", "different secrets of one label and handshake", "further ones are not tried"),
    Bound("tls.opening.MAX_MESSAGES", "messages of a handshake that keys opened", "the rest is not read", NOTE),
    Bound("tls.unseal.MOST_SKIPPED", "sealed records that a gap may hide, with keys", "what follows stays sealed"),
    Bound("tls.unseal.MOST_FAILURES", "records of a side that its keys do not open", "the rest stays sealed"),
    Bound("tls.handshake.MAX_GAPS", "gaps of a side", "the rest is not noted", NOTE),
    Bound("tls.handshake.MAX_TURNS", "packets with data whose times are kept", "the rest is not timed", NOTE),
    Bound("tls.noting.MAX_ODDITIES", "notes of a handshake", "the rest is not noted", NOTE),
    Bound(
        "anonymize.conversations.MOST_BYTES",
        "payload bytes of a conversation that are held until its handshake is over, to be anonymized",
        "of what comes behind only record headers are kept",
    ),
    Bound("anonymize.conversations.MOST_RECORDS", "record headers of them", "the rest is zeros"),
    Bound("anonymize.plans.MOST_AT_HAND", "anonymized conversations in memory at once", "the others wait in a file"),
    Bound("anonymize.asn1.MOST_NESTED", "elements in one another in a certificate", "deeper ones become noise"),
    Bound("reading.MAX_PIECE", "rows of all tables in a piece of `scan`", "the next piece begins"),
    Bound("file_notes.MAX_REFUSED", "notes `starttls_refused` of a file", "further ones are counted", NOTE),
    Bound("distinct.MAX_DER", "bytes of a certificate that its row repeats", "its column `der` is NA"),
    Bound("distinct.MAX_SNIS", "names listed of a certificate", "those that sort first are listed", NOTE),
    Bound(
        "tables.MAX_SERVERS",
        "servers remembered, to tell plain HTTP to a TLS port",
        "plain HTTP to others is not noted",
        NOTE,
    ),
)


def table() -> str:
    """List every bound."""
    lines = ["| at most | of | beyond | told by | constant |", "| ---: | --- | --- | --- | --- |"]
    for bound in BOUNDS:
        module, name = bound.where.rsplit(".", 1)
        path = f"[{name}](../tlspcap/{module.replace('.', '/')}.py)"
        lines.append(f"| {bound.value:,} | {bound.what} | {bound.beyond} | {bound.told} | {path} |")
    return "\n".join(lines)
