"""A network of our own: a fresh network namespace, its loopback made to look like Ethernet, and tcpdump on it."""

import array
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
SIOCETHTOOL = 0x8946  # <linux/sockios.h>
OFFLOADS = (0x1F, 0x23, 0x2C)  # ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO of <linux/ethtool.h>


def enter() -> None:
    """Leave the machine's network for an empty one, which the kernel deletes when the last process in it ends."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace (root is needed)")
    # Loopback's MTU of 65536 and its offloads would show segments that no wire carries.
    ip("link", "set", "lo", "mtu", "1500")
    ip("link", "set", "lo", "up")
    for command in OFFLOADS:
        _turn_off(command)


def _turn_off(command: int) -> None:
    """Do what `ethtool -K lo … off` does, for machines without ethtool."""
    value = array.array("B", struct.pack("II", command, 0))
    request = struct.pack("16sP", b"lo", value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, request)


def ip(*arguments: str) -> None:
    """Run iproute2's `ip`."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def add_address(address: str) -> None:
    """Give loopback one more address, so that clients and servers are told apart as on a real network."""
    if ":" in address:
        ip("-6", "address", "replace", f"{address}/128", "dev", "lo", "nodad")
    else:
        ip("address", "replace", f"{address}/32", "dev", "lo")


@contextmanager
def next_connection_from(client_ip: str, client_port: int, server_ip: str) -> Iterator[None]:
    """Make the kernel choose this source for a client that cannot be told one (gnutls-cli)."""
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    before = ports.read_text()
    ip("route", "replace", "local", server_ip, "dev", "lo", "table", "local", "src", client_ip)
    ports.write_text(f"{client_port} {client_port}")
    try:
        yield
    finally:
        ports.write_text(before)
        ip("route", "replace", "local", server_ip, "dev", "lo", "table", "local", "src", server_ip)


LISTEN, TIME_WAIT = "0A", "06"  # <net/tcp_states.h>


def wait_until_listening(ip: str, port: int) -> None:
    """Wait for a listener by reading the kernel's table, since a trial connection would be recorded."""
    hosts = (_kernel_spelling(ip), "0" * len(_kernel_spelling(ip)), "0" * 32)
    wanted = {f"{host}:{port:04X}" for host in hosts}
    _wait(lambda: any(local in wanted and state == LISTEN for local, _, state in _sockets()), f"listen on {port}")


def wait_until_closed(port: int) -> None:
    """Wait until neither end of the connection from a client's port is open."""
    end = f":{port:04X}"
    _wait(
        lambda: not any((local + remote).count(end) and state != TIME_WAIT for local, remote, state in _sockets()),
        f"close {port}",
    )


def _kernel_spelling(ip: str) -> str:
    """Spell an address as /proc/net/tcp does: in hexadecimal, each 32-bit word in the order of the machine."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    return struct.pack(f"={len(words)}I", *words).hex().upper()


def _sockets() -> Iterator[tuple[str, str, str]]:
    """Return local end, remote end and state of every TCP socket, in the kernel's spelling."""
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *_ = row.split()
            yield local, remote, state


def _wait(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@contextmanager
def recording(path: Path) -> Iterator[Path]:
    """Record all TCP on loopback with tcpdump, from before the first packet until a moment after the last."""
    command = ["tcpdump", "-i", "lo", "-s", "0", "-n", "-U", "-B", "16384", "-Z", "root", "-w", str(path), "tcp"]
    tcpdump = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tcpdump.stderr is not None
    first = tcpdump.stderr.readline()
    while "listening on" not in first:
        if not first:
            raise RuntimeError("tcpdump ended before it listened")
        first = tcpdump.stderr.readline()
    time.sleep(0.3)
    try:
        yield path
    finally:
        time.sleep(1.0)  # the last ACKs
        os.kill(tcpdump.pid, signal.SIGINT)
        summary = tcpdump.communicate(timeout=30)[1]
    if "\n0 packets dropped by kernel" not in summary:
        raise RuntimeError(f"tcpdump lost packets: {summary}")
