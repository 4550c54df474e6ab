"""Key logs, the key schedules and record protection, against what standards print, and against hostile bytes."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap.tls import keylog, secrets
from tlspcap.tls.ciphers import suite
from tlspcap.tls.keylog import KeyLog
from tlspcap.tls.protection import protection, shape
from tlspcap.tls.records import Record
from tlspcap.transport import Data

RANDOM, OTHER = bytes(range(32)), bytes(32)
MASTER, SECRET = b"\xcd" * 48, b"\xef" * 32


def line(label: str, random: bytes, secret: bytes) -> bytes:
    """One line of a key log."""
    return f"{label} {random.hex()} {secret.hex()}\n".encode()


def log(*lines: bytes) -> KeyLog:
    """A key log of these lines."""
    keys = KeyLog()
    keys.add(b"".join(lines))
    return keys


def test_secrets_are_found_by_client_random_and_label() -> None:
    """Each handshake has the secrets that its lines say, and no other has them."""
    keys = log(line("CLIENT_RANDOM", RANDOM, MASTER), line("SERVER_TRAFFIC_SECRET_0", OTHER, SECRET))
    assert keys.find(RANDOM, 1) == {"CLIENT_RANDOM": (MASTER,)}
    assert keys.find(OTHER, 1) == {"SERVER_TRAFFIC_SECRET_0": (SECRET,)}
    assert keys.find(bytes(31) + b"\1", 1) == {}
    assert len(keys) == 2


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"", b" \n"])
def test_lines_end_as_systems_end_them(ending: bytes) -> None:
    """LF, CRLF, a blank before it, and the end of the file end a line; upper case hexadecimal is hexadecimal."""
    content = line("CLIENT_RANDOM", RANDOM, MASTER).strip()
    head, _, rest = content.partition(b" ")
    keys = log(head + b" " + rest.upper() + ending)
    assert (keys.find(RANDOM, 1), keys.unread) == ({"CLIENT_RANDOM": (MASTER,)}, 0)


def test_comments_blank_lines_and_secrets_of_other_kinds_are_no_damage() -> None:
    """What programs write beside the secrets that are used here is passed over without a word."""
    keys = log(
        b"# a comment\n\n", line("EXPORTER_SECRET", RANDOM, SECRET), b"RSA 0011223344556677 " + b"00" * 48 + b"\n",
        line("ECH_SECRET", RANDOM, SECRET), line("QUIC_CLIENT_HANDSHAKE_TRAFFIC_SECRET", RANDOM, SECRET),
    )  # fmt: skip
    assert (keys.unread, len(keys)) == (0, 0)


@pytest.mark.parametrize("bad", [
    b"CLIENT_RANDOM 00 11\n", b"CLIENT_RANDOM\n", b"\xff\xfe\x00\n", b"GET / HTTP/1.1\n" + b"x" * 10_000 + b"\n",
    line("CLIENT_RANDOM", RANDOM, MASTER)[:-20], line("CLIENT_RANDOM", RANDOM, MASTER).replace(b"cd", b"zz"),
    line("CLIENT_RANDOM", RANDOM, MASTER).strip() + b" more\n", line("CLIENT_TRAFFIC_SECRET_0", RANDOM, b"short"),
])  # fmt: skip
def test_damaged_lines_are_counted_and_cost_themselves_only(bad: bytes) -> None:
    """A line in no known form is counted; the lines around it are read."""
    keys = log(line("CLIENT_RANDOM", OTHER, MASTER), bad.rstrip(b"\n") + b"\n", line("CLIENT_RANDOM", RANDOM, MASTER))
    assert keys.unread >= 1
    assert keys.find(OTHER, 1)
    assert keys.find(RANDOM, 1) == {"CLIENT_RANDOM": (MASTER,)}


def test_what_stands_twice_is_tried_twice_within_a_bound() -> None:
    """Different secrets for one label are candidates, in order; no log makes them many."""
    masters = [bytes([n]) * 48 for n in range(200)]
    keys = log(*(line("CLIENT_RANDOM", RANDOM, master) for master in masters for _ in range(2)))
    assert keys.find(RANDOM, 1)["CLIENT_RANDOM"] == tuple(masters[: keylog.MOST_CANDIDATES])


def test_what_stands_in_a_capture_counts_behind_its_place() -> None:
    """Secrets of a block count for later packets; those that were given count everywhere, and come first."""
    given_keys = log(line("CLIENT_RANDOM", OTHER, MASTER))
    keys = KeyLog(given_keys)
    keys.add(line("CLIENT_RANDOM", RANDOM, MASTER) + line("CLIENT_RANDOM", OTHER, bytes(48)), since=7)
    assert keys.find(RANDOM, 7) == {}
    assert keys.find(RANDOM, 8) == {"CLIENT_RANDOM": (MASTER,)}
    assert keys.find(OTHER, 8) == {"CLIENT_RANDOM": (MASTER, bytes(48))}
    assert given_keys.find(RANDOM, 8) == {}


def test_an_endless_log_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its cap a log is not read, and says so."""
    monkeypatch.setattr(keylog, "MOST_BYTES", 300)
    keys = log(line("CLIENT_RANDOM", RANDOM, MASTER) * 100)
    assert keys.cut
    assert keys.find(RANDOM, 1)


def test_no_secret_is_shown() -> None:
    """Neither a log nor keys made of it show a secret, also behind a trip through a pipe."""
    keys = log(line("CLIENT_RANDOM", RANDOM, MASTER))
    shown = [repr(keys), repr(pickle.loads(pickle.dumps(keys))), repr(secrets.traffic_keys(SECRET, 16, "sha256"))]
    assert "1 handshakes" in shown[0]
    for text in shown:
        assert not any(part in text for part in ("cd", "ef", "\\x"))


@given(st.binary(max_size=400), st.integers(0, 2))
def test_any_bytes_are_a_key_log(content: bytes, lines: int) -> None:
    """Whatever the bytes, nothing is raised, and good lines behind them are found."""
    keys = log(content, b"\n", line("CLIENT_RANDOM", RANDOM, MASTER) * lines)
    assert bool(keys.find(RANDOM, 1)) == bool(lines)


# -- keys -----------------------------------------------------------------------------------------------------------


def test_traffic_keys_are_those_of_rfc_8448() -> None:
    """The client's handshake traffic secret of RFC 8448 3 gives the key and the IV printed there."""
    secret = bytes.fromhex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21")
    keys = secrets.traffic_keys(secret, 16, "sha256")
    assert keys.key.hex() == "dbfaa693d1762c5b666af5d950258d01"
    assert keys.iv.hex() == "5bd3c71b836e0b76bb73265f"


def test_the_prf_of_tls12_is_that_of_its_published_vector() -> None:
    """P_SHA256 gives the bytes of the test vector that the TLS working group's list published."""
    found = secrets.prf(
        0x0303, "sha256", bytes.fromhex("9bbe436ba940f017b17652849a71db35"),
        b"test label" + bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c"), 16,
    )  # fmt: skip
    assert found.hex() == "e3f229ba727be17b8d122620557cd453"


# -- records --------------------------------------------------------------------------------------------------------

SUITES = {
    0x1301: 0x0304, 0x1303: 0x0304, 0x1305: 0x0304, 0xC02F: 0x0303, 0xCCA8: 0x0303, 0xC0AC: 0x0303, 0xC013: 0x0302,
    0xC027: 0x0303, 0x002F: 0x0301, 0x0005: 0x0301, 0x000A: 0x0303,
}  # fmt: skip


@settings(max_examples=100)
@given(
    code=st.sampled_from(sorted(SUITES)), content=st.binary(max_size=120), kind=st.sampled_from([21, 22, 23]),
    encrypt_then_mac=st.booleans(),
)  # fmt: skip
def test_bytes_that_nobody_sealed_do_not_open(code: int, content: bytes, kind: int, encrypt_then_mac: bool) -> None:
    """A record of any bytes and any length opens under no key, and raises nothing."""
    version, parts = SUITES[code], suite(code)
    lengths = shape(version, parts)
    assert lengths is not None
    opener = protection(version, parts, secrets.RecordKeys(*map(bytes, lengths)), encrypt_then_mac)
    assert opener is not None
    record = Record((Data(0, 1, 0, 0, b"", 0, 1, 0),), kind, 0x0303, len(content), content, len(content))
    assert opener.open(range(3), record) is None
    opener.pass_over(record)
    opener.lose()
    assert opener.open([0], record) is None


def test_suites_that_cannot_be_opened_say_so() -> None:
    """ARIA, Camellia in GCM, export ciphers and those without encryption have no shape."""
    assert [shape(0x0303, suite(code)) for code in (0xC050, 0xC07B, 0x0003, 0x0002, 0xFFFF)] == [None] * 5
