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
from collections.abc import Iterator
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


def wait_until_listening(port: int, seconds: float = 10.0) -> None:
    """Wait for a listener on a port by reading the kernel's table, since a trial connection would be recorded."""
    wanted, deadline = f":{port:04X}", time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = "".join(Path(f"/proc/self/net/{table}").read_text() for table in ("tcp", "tcp6")).splitlines()
        fields = [row.split() for row in rows]
        if any(field[1].endswith(wanted) and field[3] == "0A" for field in fields):  # 0A is TCP_LISTEN
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def recording(path: Path) -> Iterator[None]:
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
        yield
    finally:
        time.sleep(1.0)  # the last ACKs
        os.kill(tcpdump.pid, signal.SIGINT)
        summary = tcpdump.communicate(timeout=30)[1]
    if "\n0 packets dropped by kernel" not in summary:
        raise RuntimeError(f"tcpdump lost packets: {summary}")
