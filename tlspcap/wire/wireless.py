"""802.11 frames, recorded by a card in monitor mode: scapy finds what they carry, where it is installed.

scapy is an extra, and slow to import: it is imported when the first such packet comes.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from tlspcap.wire import links
from tlspcap.wire.columns import CUT_HEADERS
from tlspcap.wire.single import Layer, Packet, Stopped

NO_SCAPY = "802.11: needs scapy (pip install 'tlspcap[scapy]')"
UNREADABLE = "802.11: damaged header"
SEALED = "802.11: encrypted"
AGGREGATED = "802.11: several frames in one"
KIND = "802.11"  # of frames that carry nothing of IP: beacons and the like

_HEADERS = 512  # bytes that radiotap's, 802.11's and LLC's headers fit into
_DATA = 2  # type of 802.11 frames (IEEE 802.11 9.2.4.1)


def without_radio(packet: Packet, link: int) -> Layer:
    """Step over the headers of radiotap, 802.11 and LLC. Raises Stopped where no ethertype follows."""
    head = packet.captured[:_HEADERS]
    at = _radio_header(head, link)
    if _dot11() is None:
        raise Stopped(unread=NO_SCAPY)
    try:
        frame = _dot11()(head[at:])
        layers = {type(layer).__name__: layer for layer in _layers(frame)}
    except Exception as error:  # whatever scapy raises: it makes no promise for damaged packets
        raise Stopped(unread=UNREADABLE) from error
    if frame.type != _DATA:
        raise Stopped(KIND)
    if "protected" in frame.FCfield:
        raise Stopped(KIND, SEALED)
    if getattr(layers.get("Dot11QoS"), "A_MSDU_Present", 0):
        raise Stopped(KIND, AGGREGATED)
    snap = layers.get("SNAP")
    if snap is None or snap.OUI:
        raise Stopped(KIND)
    return Layer(int(snap.code), at + len(frame.original) - len(snap.payload.original))


def _radio_header(head: bytes, link: int) -> int:
    """Return the size of what the capturing machine put before the frame: radiotap tells its own."""
    size = int.from_bytes(head[2:4], "little") if link == links.RADIOTAP else 0
    if size >= len(head):
        raise Stopped(unread=CUT_HEADERS)
    return size


def _layers(frame: Any) -> Iterator[Any]:
    while frame:
        yield frame
        frame = frame.payload


@cache
def _dot11() -> Any:
    """Return scapy's class for 802.11 frames, None where scapy is not installed."""
    try:
        from scapy.layers.dot11 import Dot11
    except ImportError:
        return None
    return Dot11
