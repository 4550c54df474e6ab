"""Peers that are no TLS servers: silent, closing, resetting, or speaking something else; and clients that only look.

`python nobody.py role=server do=silence port=…` serves until it is ended; as a client it connects once.
"""

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
import time

settings = dict(argument.split("=", 1) for argument in sys.argv[1:])
HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nServer: lab\r\nConnection: close\r\n\r\n<html><body>400 Bad Request</body></html>\r\n"
)
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"


def reset(connection: socket.socket) -> None:
    """Close with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def serve(connection: socket.socket, peer: int) -> None:
    """Do to one client what the settings say."""
    account = {"peer": peer, "done": False, "got": 0, "did": settings["do"]}
    connection.settimeout(20)
    try:
        if settings["do"] == "ssh":
            connection.sendall(SSH)
        account["got"] = len(connection.recv(4096))
        if settings["do"] == "http":
            connection.sendall(HTTP)
        if settings["do"] == "silence":
            while connection.recv(4096):
                pass
        if settings["do"] == "ssh":
            time.sleep(0.05)
            connection.sendall(b"Invalid SSH identification string.\r\n")
        if settings["do"] == "reset":
            reset(connection)
    except OSError as error:
        account["error"] = str(error)
    connection.close()
    print(json.dumps(account), flush=True)


def hello() -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Begin a handshake whose bytes we carry ourselves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=settings["sni"])
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


def look(connection: socket.socket) -> dict[str, object]:
    """Be a client that does not mean it: a scan, a health check, plain HTTP, half a hello."""
    what = settings["do"]
    account: dict[str, object] = {"peer": int(settings["local"]), "done": False, "got": 0, "did": what}
    connection.settimeout(3)
    first = b"GET / HTTP/1.1\r\nHost: lab.example\r\n\r\n" if what == "plain_http" else hello()[2].read()
    connection.sendall(first[:60] if what == "half_hello" else first)
    try:
        if what == "hello_then_reset":
            reset(connection)
            return account
        if what == "hello_then_fin":
            connection.shutdown(socket.SHUT_WR)
        if what != "half_hello":
            account["got"] = len(connection.recv(16384))
        if what == "flight_then_reset":
            time.sleep(0.05)
            reset(connection)
    except OSError as error:
        account["error"] = str(error)
    return account


def main() -> None:
    """Serve, or look once."""
    port = int(settings["port"])
    if settings["role"] == "client":
        connection = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.1", int(settings["local"])))
        account = look(connection)
        connection.close()
        print(json.dumps(account), flush=True)
        return
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=serve, args=(connection, peer[1]), daemon=True).start()


main()
