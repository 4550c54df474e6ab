"""Record one path at two points: `python lab/two_sides.py`, as root. It writes tests/captures/two-sides-*.

Three hosts, each a network namespace, with Ethernet between them: a client, something in the middle, a server. In the
middle are HAProxy, which passes TLS through, and a router of ours, which does NAT, takes a few milliseconds, and loses
what it is told to lose. tcpdump runs on the client's and on the server's interface, on one clock. What became of each
connection is told by the client, the server and HAProxy, not by the captures.

Needs the Python package `cryptography` and, from Debian, haproxy, iproute2, tcpdump and util-linux.
"""

import array
import datetime
import fcntl
import heapq
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

KEPT = Path(__file__).parents[1] / "tests" / "captures"
CLIENT, BALANCER, SERVER, OUTSIDE = "192.0.2.10", "192.0.2.80", "198.51.100.10", "203.0.113.77"
MACS = {"c0": "02:00:00:00:00:0c", "m0": "02:00:00:00:00:10", "m1": "02:00:00:00:00:11", "s1": "02:00:00:00:00:05"}
WAY = 0.004  # seconds that the router keeps a packet
PORT_ADDED = 1_000  # to the client's port, by NAT
PASSED, SLOW = 443, 8443  # the server's ports; behind the second it is too slow for the balancer
BLOCKED = "blocked.example"
PATIENCE = 2.5  # seconds that a client waits
ETHTOOL, OFF = 0x8946, (0x17, 0x1F, 0x2C, 0x23)  # SIOCETHTOOL; checksums, TSO, GRO, GSO of <linux/ethtool.h>

HAPROXY = f"""
global
  log stdout format raw local0
defaults
  mode tcp
  log global
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  log-format "%cp %bp %ts"
listen passed
  bind {BALANCER}:{PASSED}
  tcp-request inspect-delay 2s
  tcp-request content reject if {{ req_ssl_sni -i {BLOCKED} }}
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  server one {SERVER}:{PASSED}
listen impatient
  bind {BALANCER}:{SLOW}
  option nolinger
  timeout server 300ms
  server one {SERVER}:{SLOW}
"""


RESET = "reset by the router"


class Try(NamedTuple):
    """One connection that the client makes."""

    port: int  # of the client
    to: tuple[str, int]
    means: str  # what the middle does to it
    version: str = "TLSv1.3"
    name: str = "www.example"


TRIES = (
    Try(40001, (BALANCER, PASSED), "passed by the balancer"),
    Try(40002, (BALANCER, PASSED), "passed by the balancer", "TLSv1.2"),
    Try(40003, (BALANCER, PASSED), "passed by the balancer"),
    Try(40004, (BALANCER, SLOW), "closed by the balancer"),
    Try(40005, (BALANCER, SLOW), "closed by the balancer", "TLSv1.2"),
    Try(40006, (BALANCER, PASSED), "refused by the balancer", name=BLOCKED),
    Try(40007, (SERVER, PASSED), "NAT"),
    Try(40008, (SERVER, PASSED), "NAT", "TLSv1.2"),
    Try(40009, (SERVER, PASSED), "first hello lost"),
    Try(40010, (SERVER, PASSED), "first answer lost"),
    Try(40011, (SERVER, PASSED), "all hellos lost"),
    Try(40012, (SERVER, PASSED), "all answers lost", "TLSv1.2"),
    Try(40013, (SERVER, PASSED), RESET),
    Try(40014, (SERVER, PASSED), RESET, "TLSv1.2"),
)


# -- the router -------------------------------------------------------------------------------------------------------


def router() -> None:
    """Pass packets between the client and the server, with NAT, until it is ended."""
    links = {name: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) for name in ("m0", "m1")}
    for name, link in links.items():
        link.bind((name, 0x0800))
    waiting: list[tuple[float, int, str, bytes]] = []
    seen: dict[tuple[int, str], int] = {}
    print("ready", flush=True)
    for number in range(1_000_000):
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        for link in select.select(list(links.values()), [], [], pause)[0]:
            frame, (name, _, kind, *_) = link.recvfrom(2048)
            routed = [] if kind == socket.PACKET_OUTGOING else route(frame, name, seen)
            for at, (out, passed) in enumerate(routed):
                heapq.heappush(waiting, (time.monotonic() + WAY, 2 * number + at, out, passed))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, out, frame = heapq.heappop(waiting)
            links[out].send(frame)


def route(frame: bytes, name: str, seen: dict[tuple[int, str], int]) -> list[tuple[str, bytes]]:
    """Say what leaves where in place of a packet: nothing, where it is lost or not meant for us."""
    packet = bytearray(frame[14 : 14 + struct.unpack_from("!H", frame, 16)[0]])
    target = socket.inet_ntoa(packet[16:20])
    to_server = name == "m0" and target == SERVER
    if packet[9] != socket.IPPROTO_TCP or not (to_server or (name == "m1" and target == OUTSIDE)):
        return []
    port = struct.unpack_from("!H", packet, 20 if to_server else 22)[0] - (0 if to_server else PORT_ADDED)
    size = len(packet) - 20 - (packet[32] >> 4 << 2)
    if size and not to_server and means_of(port) == RESET:
        return [changed(reset(packet, size, back=back), back) for back in (False, True)]
    return [] if size and is_lost(port, "hello" if to_server else "answer", seen) else [changed(packet, to_server)]


def reset(packet: bytearray, size: int, back: bool) -> bytearray:
    """Make a reset of a packet of the server: in its place, or back to where it came from (RFC 9293 3.5.2)."""
    header = bytearray(packet[:40])
    header[2:4], header[32], header[33] = struct.pack("!H", 40), 5 << 4, 0x14  # RST, ACK
    if back:
        number, acknowledged = struct.unpack_from("!II", packet, 24)
        client = struct.pack("!H", struct.unpack_from("!H", packet, 22)[0] - PORT_ADDED)  # NAT is yet to come
        header[12:20] = packet[16:20] + packet[12:16]
        header[20:24] = client + packet[20:22]
        header[24:32] = struct.pack("!II", acknowledged, number + size & 0xFFFFFFFF)
    return header


def changed(packet: bytearray, to_server: bool) -> tuple[str, bytes]:
    """Give a packet its other address, and say where it leaves."""
    at, added = (20, PORT_ADDED) if to_server else (22, -PORT_ADDED)
    struct.pack_into("!H", packet, at, struct.unpack_from("!H", packet, at)[0] + added)
    packet[12:20] = socket.inet_aton(OUTSIDE) + packet[16:20] if to_server else packet[12:16] + socket.inet_aton(CLIENT)
    out, to = ("m1", "s1") if to_server else ("m0", "c0")
    return out, bytes.fromhex((MACS[to] + MACS[out]).replace(":", "")) + b"\x08\x00" + summed(packet)


def means_of(port: int) -> str:
    """Say what is to become of the connection of that port."""
    return next((one.means for one in TRIES if one.port == port), "")


def is_lost(port: int, what: str, seen: dict[tuple[int, str], int]) -> bool:
    """Tell whether data of that connection and direction is to be lost."""
    means = means_of(port)
    count = seen[port, what] = seen.get((port, what), 0) + 1
    return means == f"all {what}s lost" or (means == f"first {what} lost" and count == 1)


def summed(packet: bytearray) -> bytes:
    """Write both checksums of a packet of TCP over IPv4 without options (RFC 1071)."""
    packet[8] -= 1  # hops left
    packet[10:12] = packet[36:38] = b"\0\0"
    packet[10:12] = checksum(packet[:20])
    pseudo = packet[12:20] + struct.pack("!HH", socket.IPPROTO_TCP, len(packet) - 20)
    packet[36:38] = checksum(pseudo + packet[20:])
    return bytes(packet)


def checksum(data: bytes | bytearray) -> bytes:
    """Return the ones' complement of the sum of all 16-bit words."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", bytes(data) + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


# -- the ends ---------------------------------------------------------------------------------------------------------


def server(pem: str) -> None:
    """Answer on both ports, and print a line of JSON for each connection."""
    for port in (PASSED, SLOW):
        threading.Thread(target=listen, args=(port, pem), daemon=True).start()
    signal.pause()


def listen(port: int, pem: str) -> None:
    """Serve one port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server((SERVER, port)) as listener:
        print("ready", flush=True)
        for _ in TRIES:
            connection, peer = listener.accept()
            if port == SLOW:
                time.sleep(1)  # longer than the balancer waits
            ended = served(context, connection)
            print(json.dumps({"server_port": port, "peer": list(peer), "server_says": ended}), flush=True)


def served(context: ssl.SSLContext, connection: socket.socket) -> str:
    """Answer one connection; say how it ended."""
    connection.settimeout(PATIENCE)
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"hello " + tls.recv(100))
            return "served"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def client() -> None:
    """Make all connections, one after the other, and print a line of JSON for each."""
    for one in TRIES:
        print(json.dumps({**one._asdict(), "client_says": tried(one)}), flush=True)
        time.sleep(PATIENCE + 0.5 if "lost" in one.means else 0.8)  # until the server has given up, too


def tried(one: Try) -> str:
    """Make one connection; say how it ended."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.maximum_version = ssl.TLSVersion[one.version.replace(".", "_")]
    try:
        with (
            socket.create_connection(one.to, PATIENCE, source_address=(CLIENT, one.port)) as connection,
            context.wrap_socket(connection, server_hostname=one.name) as tls,
        ):
            tls.sendall(b"you")
            return f"answered over {tls.version()}" if tls.recv(100) else "closed"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


# -- the recording ----------------------------------------------------------------------------------------------------


def build() -> None:
    """Make the three hosts and the two links between them."""
    run("mount -t tmpfs tmpfs /run/netns")
    for host in ("client", "middle", "server"):
        run(f"ip netns add {host}")
        run(f"ip -n {host} link set lo up")
    for left, right, near, far in (("c0", "m0", "client", "middle"), ("s1", "m1", "server", "middle")):
        run(f"ip link add {left} address {MACS[left]} type veth peer name {right} address {MACS[right]}")
        for link, host in ((left, near), (right, far)):
            run(f"ip link set {link} netns {host}")
            run(f"ip -n {host} link set {link} up")
            run(f"ip netns exec {host} {sys.executable} {__file__} offloads {link}")
    for host, link, address in (
        ("client", "c0", f"{CLIENT}/24"), ("middle", "m0", "192.0.2.1/24"), ("middle", "m0", f"{BALANCER}/24"),
        ("middle", "m1", "198.51.100.1/24"), ("server", "s1", f"{SERVER}/24"),
    ):  # fmt: skip
        run(f"ip -n {host} address add {address} dev {link}")
    run("ip -n client route add default via 192.0.2.1")
    run("ip -n server route add default via 198.51.100.1")


def offloads(link: str) -> None:
    """Turn off what would show packets in a capture that no wire carries."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for command in OFF:
            value = array.array("B", struct.pack("II", command, 0))
            fcntl.ioctl(handle, ETHTOOL, struct.pack("16sP", link.encode(), value.buffer_info()[0]))


def run(command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command.split(), check=True)


@contextmanager
def running(host: str, command: str, until: str, log: Path) -> Iterator[None]:
    """Run a command on one of the hosts, from when it says `until` (at once where that is nothing)."""
    with log.open("w") as out:
        process = subprocess.Popen(["ip", "netns", "exec", host, *command.split()], stdout=out, stderr=out)
        try:
            wait(lambda: until in log.read_text(), command)
            yield
        finally:
            time.sleep(1)
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
            process.wait(timeout=10)


def wait(condition: object, what: str, seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def certificate(path: Path) -> None:
    """Write a key and a certificate that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=www.example")
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=90))
    names = x509.SubjectAlternativeName([x509.DNSName("www.example")])
    one = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *plain) + one.public_bytes(pem))


def record() -> None:
    """Record it all, and write what the ends say."""
    build()
    with tempfile.TemporaryDirectory() as folder:
        own, me = Path(folder), f"{sys.executable} {__file__}"
        certificate(own / "server.pem")
        (own / "haproxy.cfg").write_text(HAPROXY)
        dump = "tcpdump -s 0 -n -U -Z root --time-stamp-precision=nano"
        with (
            running("client", f"{dump} -i c0 -w {KEPT}/two-sides-client.pcap tcp", "listening on", own / "dump0"),
            running("server", f"{dump} -i s1 -w {KEPT}/two-sides-server.pcap tcp", "listening on", own / "dump1"),
            running("server", f"{me} server {own}/server.pem", "ready", own / "server"),
            running("middle", f"haproxy -db -f {own}/haproxy.cfg", "", own / "haproxy"),
            running("middle", f"{me} router", "ready", own / "router"),
        ):
            time.sleep(0.5)
            said = subprocess.run(
                f"ip netns exec client {me} client".split(), check=True, capture_output=True, text=True
            ).stdout
        told = [json.loads(line) for line in said.splitlines()]
        add_server(told, own)
    lines = ",\n".join(f"  {json.dumps(one)}" for one in told)
    (KEPT / "two-sides.truth.json").write_text(f"[\n{lines}\n]\n")


def add_server(told: list[dict[str, object]], folder: Path) -> None:
    """Add to each connection what HAProxy and the server say of it; HAProxy knows both of its ports."""
    logged = [line.split() for line in (folder / "haproxy").read_text().splitlines()]
    balanced = {int(line[0]): (line[1], line[2]) for line in logged if len(line) == 3 and line[0].isdigit()}
    lines = [json.loads(line) for line in (folder / "server").read_text().splitlines() if line.startswith("{")]
    server_says = {one["peer"][1]: one["server_says"] for one in lines}
    for one in told:
        port = int(str(one["port"]))
        behind, state = balanced.get(port, (str(port + PORT_ADDED), None))
        one["port_behind"] = int(behind) if behind.isdigit() and int(behind) in server_says else None
        one["server_says"] = server_says.get(one["port_behind"])
        one["haproxy_says"] = state


ROLES = {"router": router, "server": server, "client": client, "offloads": offloads, "record": record}


def main() -> None:
    """Do what a role does; without one, record in network and mount namespaces of our own."""
    if len(sys.argv) > 1:
        ROLES[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    else:
        run(f"unshare --net --mount {sys.executable} {Path(__file__).resolve()} record")


if __name__ == "__main__":
    main()
