"""Columns: what stands between link header and IP packet, and the tunnels in IP packets, of many packets at once.

Each step goes from one layer to the next. It reads the shapes that are common, and leaves any other packet to `rare`,
whose `unwrap` says what is right: over any packet both find the same.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from tlspcap.wire import links
from tlspcap.wire.chunk import Chunk, Mask, Network, nothing
from tlspcap.wire.columns import Int64
from tlspcap.wire.distinct import among, distinct

MOST_STEPS = 6  # tags, labels and the like between a link header and IP; `rare` reads deeper stacks
MOST_LABELS = 4  # of MPLS, the same

_U8, _U16, _U32, _U64 = np.dtype("u1"), np.dtype(">u2"), np.dtype(">u4"), np.dtype(">u8")
_PORTS = np.dtype([("source", ">u2"), ("target", ">u2")])

_Step = Callable[[Chunk, Network], Network]


def to_ip(chunk: Chunk, network: Network) -> Network:
    """Step over everything that may stand before an IP packet; packets with none are counted."""
    found: list[Network] = []
    for _ in range(MOST_STEPS):
        is_ip = (network.ethertype == links.IPV4) | (network.ethertype == links.IPV6)
        if is_ip.all():
            break
        found.append(network.of(np.flatnonzero(is_ip)))
        network = _step(chunk, network.of(np.flatnonzero(~is_ip)))
    else:
        is_ip = (network.ethertype == links.IPV4) | (network.ethertype == links.IPV6)
        chunk.leave(network.row[~is_ip])
        network = network.of(np.flatnonzero(is_ip))
    return Network.together([*found, network])


def carried(chunk: Chunk, network: Network, protocol: npt.NDArray[np.uint8]) -> Network:
    """Return what IP packets carry that begins at the places given; packets that are no tunnels are counted."""
    known = among(protocol, _CARRIED)
    chunk.count_protocols(protocol[~known])
    numbers = np.flatnonzero(np.bincount(protocol[known])).tolist()
    parts = [_CARRIED_BY[number](chunk, network.of(np.flatnonzero(protocol == number))) for number in numbers]
    return Network.together(parts)


def _step(chunk: Chunk, network: Network) -> Network:
    """Step over one layer of each packet."""
    found, known = [], np.zeros(len(network.row), dtype=np.bool_)
    for ethertype in sorted(network.ethertype[distinct(network.ethertype)[1]].tolist()):
        step = _snap if ethertype < links.LENGTHS else _STEPS.get(ethertype)
        if step is not None:
            mine = network.ethertype == ethertype
            known |= mine
            found.append(step(chunk, network.of(np.flatnonzero(mine))))
    chunk.count_ethertypes(network.ethertype[~known])
    return Network.together(found)


def _captured(chunk: Chunk, network: Network, size: int) -> Network:
    """Keep the packets of which a header of some size was captured, and leave the others."""
    whole = chunk.is_captured(network.row, network.at + size)
    return _keep(chunk, network, whole)


def _keep(chunk: Chunk, network: Network, good: Mask) -> Network:
    """Keep some of the packets, and leave the others."""
    if good.all():
        return network
    chunk.leave(network.row[~good])
    return network.of(np.flatnonzero(good))


def _number(chunk: Chunk, at: Int64, dtype: np.dtype[np.generic]) -> Int64:
    """Return the number that stands at each place."""
    return chunk.gather(at, dtype).astype(np.int64)


# -- tags and labels ----------------------------------------------------------------------------------------------


def _frame(chunk: Chunk, network: Network) -> Network:
    network = _captured(chunk, network, 14)
    return Network(network.row, network.at + 14, _number(chunk, network.at + 12, _U16))


def _vlan(chunk: Chunk, network: Network) -> Network:
    """Step over a tag: 2 bytes, then the ethertype of what follows (IEEE 802.1Q 9.6)."""
    network = _captured(chunk, network, 4)
    return Network(network.row, network.at + 4, _number(chunk, network.at + 2, _U16))


def _snap(chunk: Chunk, network: Network) -> Network:
    captured = chunk.is_captured(network.row, network.at + 8)
    head = _number(chunk, np.where(captured, network.at, 0), _U64)
    is_snap = captured & (head >> 16 == _SNAP)
    chunk.count_ethertypes(np.zeros(np.count_nonzero(~is_snap), dtype=np.int64))
    rows = np.flatnonzero(is_snap)
    return Network(network.row[rows], network.at[rows] + 8, head[rows] & 0xFFFF)


def _pppoe(chunk: Chunk, network: Network) -> Network:
    network = _captured(chunk, network, 6)
    return Network(network.row, network.at + 6, np.full(len(network.row), links.PPP))


def _ppp(chunk: Chunk, network: Network) -> Network:
    network = _captured(chunk, network, 4)
    at = network.at + np.where(_number(chunk, network.at, _U16) == _PPP_ADDRESS, 2, 0)
    protocol = _number(chunk, at, _U16)
    ethertype = np.zeros(len(at), dtype=np.int64)
    for number, meant in links.PPP_PROTOCOLS.items():
        ethertype[protocol == number] = meant
    return _keep(chunk, Network(network.row, at + 2, ethertype), ethertype > 0)


def _mpls(chunk: Chunk, network: Network) -> Network:
    """Step over label stacks (RFC 3032 2.1) with IP behind them."""
    found = []
    for _ in range(MOST_LABELS):
        network = _captured(chunk, network, 5)
        bottom = chunk.buffer[network.at + 2] & 1 != 0
        network = Network(network.row, network.at + 4, network.ethertype)
        found.append(_by_version(chunk, network.of(np.flatnonzero(bottom))))
        network = network.of(np.flatnonzero(~bottom))
    chunk.leave(network.row)
    return Network.together(found)


def _by_version(chunk: Chunk, network: Network) -> Network:
    """Keep the packets at whose place IP begins by its version; one byte there must be captured."""
    version = chunk.buffer[network.at] >> 4
    ethertype = np.where(version == 4, links.IPV4, links.IPV6).astype(np.int64)
    return _keep(chunk, Network(network.row, network.at, ethertype), (version == 4) | (version == 6))


_SNAP = int.from_bytes(links.SNAP) - (1 << 48)  # as the upper bits of a signed number
_PPP_ADDRESS = 0xFF03
_STEPS: dict[int, _Step] = {links.FRAME: _frame, links.PPPOE: _pppoe, links.PPP: _ppp}
_STEPS |= dict.fromkeys(links.VLAN_TAGS, _vlan) | dict.fromkeys((links.MPLS, links.MPLS_MULTICAST), _mpls)


# -- tunnels ------------------------------------------------------------------------------------------------------


def _ip(ethertype: int) -> _Step:
    """Make the step into an IP packet that is carried by IP without a header between."""

    def step(_: Chunk, network: Network) -> Network:
        return Network(network.row, network.at, np.full(len(network.row), ethertype))

    return step


def _leave(chunk: Chunk, network: Network) -> Network:
    chunk.leave(network.row)
    return nothing()


def _icmp(chunk: Chunk, network: Network, protocol: int) -> Network:
    """Leave messages that quote packets, and count all else."""
    captured = chunk.is_captured(network.row, network.at + 1)
    kind = chunk.buffer[np.where(captured, network.at, 0)]
    quoting = captured & np.isin(kind, list(links.ICMP_QUOTING[protocol]))
    chunk.leave(network.row[quoting])
    chunk.count(links.protocol_kind(protocol), np.count_nonzero(~quoting))
    return nothing()


def _gre(chunk: Chunk, network: Network) -> Network:
    """Step over GRE headers of version 0 without source routes (RFC 2784, 2890)."""
    network = _captured(chunk, network, 4)
    flags, protocol = _number(chunk, network.at, _U16), _number(chunk, network.at + 2, _U16)
    checksum, key, sequence = flags >> 15, flags >> 13 & 1, flags >> 12 & 1
    at = network.at + 4 + 4 * (checksum + key + sequence)
    mirrored = (protocol == links.ERSPAN) | (protocol == links.ERSPAN_III)
    protocol[mirrored] = links.FRAME
    second = mirrored & (sequence > 0)  # type I has no header
    behind = np.where(second, at + 8, at)
    captured = chunk.is_captured(network.row, behind)
    second &= captured
    is_second = chunk.buffer[np.where(second, at, 0)] >> 4 == 1
    good = captured & (flags & 0x4007 == 0) & (protocol >= links.LENGTHS) & (is_second | ~second)
    return _keep(chunk, Network(network.row, behind, protocol), good)


def _udp(chunk: Chunk, network: Network) -> Network:
    """Step into tunnels by their ports, either side's; all else is just UDP."""
    is_tunnel = np.flatnonzero(chunk.is_captured(network.row, network.at + 8))
    ports = chunk.gather(network.at[is_tunnel], _PORTS)
    tunnel = _TUNNEL_OF[ports["target"]]
    tunnel = np.where(tunnel > 0, tunnel, _TUNNEL_OF[ports["source"]])
    is_tunnel, tunnel = is_tunnel[tunnel > 0], tunnel[tunnel > 0]
    chunk.count("udp", len(network.row) - len(is_tunnel))
    network = Network(network.row[is_tunnel], network.at[is_tunnel] + 8, network.ethertype[is_tunnel])
    steps = ((number, step) for number, step in _UDP_TUNNELS.items() if (tunnel == number).any())
    return Network.together([step(chunk, network.of(np.flatnonzero(tunnel == number))) for number, step in steps])


def _vxlan(chunk: Chunk, network: Network) -> Network:
    network = _captured(chunk, network, 8)
    valid = chunk.buffer[network.at] & 0x08 != 0  # RFC 7348 5
    return _keep(chunk, Network(network.row, network.at + 8, np.full(len(network.row), links.FRAME)), valid)


def _geneve(chunk: Chunk, network: Network) -> Network:
    """Step over headers with their options (RFC 8926 3.4)."""
    network = _captured(chunk, network, 8)
    first, second = chunk.buffer[network.at].astype(np.int64), chunk.buffer[network.at + 1]
    protocol = _number(chunk, network.at + 2, _U16)
    good = (first >> 6 == 0) & (second & 0x80 == 0) & (protocol >= links.LENGTHS)
    return _keep(chunk, Network(network.row, network.at + 8 + 4 * (first & 0x3F), protocol), good)


def _gtp_u(chunk: Chunk, network: Network) -> Network:
    """Step over headers with at most one extension header (3GPP TS 29.281 5), as 5G has it."""
    network = _captured(chunk, network, 13)
    flags = chunk.buffer[network.at]
    network = _keep(chunk, network, (flags & 0xF0 == 0x30) & (chunk.buffer[network.at + 1] == 255))
    flags = chunk.buffer[network.at]
    at = network.at + np.where(flags & 7 != 0, 12, 8)
    extended = (flags & 4 != 0) & (chunk.buffer[network.at + 11] != 0)
    size = 4 * chunk.buffer[at].astype(np.int64) * extended
    behind = at + size
    good = chunk.is_captured(network.row, behind + 1) & (~extended | (size > 0))
    last = chunk.buffer[np.where(good & extended, behind - 1, 0)]
    good &= ~extended | (last == 0)
    return _by_version(chunk, _keep(chunk, Network(network.row, behind, network.ethertype), good))


_UDP_TUNNELS: dict[int, _Step] = {
    links.VXLAN: _vxlan,
    links.GENEVE: _geneve,
    links.GTP_U: _gtp_u,
    links.TEREDO: _leave,
    links.VXLAN_GPE: _leave,
    links.L2TP: _leave,
}
_TUNNEL_OF = np.zeros(1 << 16, dtype=np.int64)  # by port
_TUNNEL_OF[list(links.UDP_TUNNELS)] = list(links.UDP_TUNNELS.values())

_CARRIED_BY: dict[int, _Step] = {number: _ip(ethertype) for number, ethertype in links.IP_IN_IP.items()}
_CARRIED_BY |= {links.GRE: _gre, links.UDP: _udp, links.ETHERIP: _leave}
_CARRIED_BY |= {number: partial(_icmp, protocol=number) for number in links.ICMP_QUOTING}
_CARRIED = np.array(sorted(_CARRIED_BY))
