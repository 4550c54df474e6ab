"""`extract`: packets of chosen handshakes, read again, tell the same of them; and nothing else is in the file."""

import gzip
import io
import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from extracts import assert_same_rows, extracted, facts_of, rows_of
from packet_builder import ethernet, ipv4, pcap, reference_captures

import tlspcap
from tlspcap import cli
from tlspcap.errors import ArgumentError

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample_captures").glob("*.pcap*"))
OTHERS = [
    *sorted((ROOT / "tests" / "captures").glob("*.pcap")),
    *(ROOT / "lab" / "captures" / f"{name}.pcap" for name in ("nobody", "lookers", "rustls", "haproxy", "mbedtls")),
]
LAB = sorted((ROOT / "lab" / "captures").glob("*.pcap"))
ALERT = ROOT / "sample_captures" / "intermittent-alert.pcap"
MUTUAL = ROOT / "sample_captures" / "mutual-tls.pcapng"
HEADER = 24  # bytes of a pcap file header
TUNNELS = ["ndpi-vxlan.pcap", "zeek-pppoe-over-qinq.pcap", "zeek-geneve-47101.pcap", "ndpi-6in4tunnel.pcap"]


def packets_of(capture: bytes) -> list[bytes]:
    """The packets of a little-endian pcap, each with its header."""
    found, at = [], HEADER
    while at < len(capture):
        size = 16 + struct.unpack_from("<I", capture, at + 8)[0]
        found.append(capture[at : at + size])
        at += size
    return found


def later(packet: bytes, seconds: int) -> bytes:
    """A packet with its header, at another time."""
    return struct.pack("<I", struct.unpack_from("<I", packet)[0] + seconds) + packet[4:]


def named(content: bytes, name: str) -> io.BytesIO:
    """An open file with a name."""
    file = io.BytesIO(content)
    file.name = name  # type: ignore[attr-defined]  # as an opened file has one
    return file


# -- the same rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SAMPLES, *OTHERS], ids=lambda path: path.stem)
def test_all_handshakes_read_again_are_the_same(path: Path) -> None:
    """Every handshake of a capture, extracted, gives the row it had."""
    assert_same_rows(path, rows_of(path))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_some_handshakes_read_again_are_the_same(path: Path) -> None:
    """Those that were not established, and one by itself, give the rows they had, and no others."""
    rows = rows_of(path)
    assert_same_rows(path, rows.iloc[[len(rows) // 2]])
    bad = rows[rows["outcome"] != "established"]
    if len(bad):
        assert_same_rows(path, bad)


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.stem)
def test_any_handshakes_of_the_lab_read_again_are_the_same(path: Path) -> None:
    """Of every stack's capture, 60 handshakes drawn at random give the rows they had."""
    rows = rows_of(path)
    assert_same_rows(path, rows.sample(min(60, len(rows)), random_state=len(rows)).sort_index())


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_come_with_their_outer_packets(name: str) -> None:
    """Handshakes in VXLAN, PPPoE, Geneve and 6in4 give their rows again, out of packets that are unchanged."""
    (path,) = [path for path in reference_captures() if path.name == name] or [None]
    if path is None:
        pytest.skip("the reference captures are not here")
    rows = rows_of(path)
    assert len(rows)
    assert_same_rows(path, rows)
    assert set(packets_of(extracted(path, rows).read())) <= set(packets_of(path.read_bytes()))


def test_packets_are_copied_as_they_are() -> None:
    """Failed connections alone are in the output, byte for byte, in order, and nothing else."""
    rows = rows_of(ALERT)
    failed = rows[rows["outcome"] == "failed"]
    out = packets_of(extracted(ALERT, failed).read())
    before = packets_of(ALERT.read_bytes())
    places = [before.index(packet) for packet in out]
    assert places == sorted(places)
    ports = {struct.unpack_from(">HH", packet, 16 + 14 + 20) for packet in out}
    assert {port for pair in ports for port in pair} == {*failed["client_port"], *failed["server_port"]}
    assert ports == {(high, low) for low, high in ports}


def test_ids_do_as_well_as_rows() -> None:
    """Handshakes can be named by `id`."""
    rows = rows_of(ALERT)
    wanted = rows[rows["outcome"] == "failed"]
    assert extracted(ALERT, wanted["id"].tolist()).read() == extracted(ALERT, wanted).read()


def test_a_connection_across_rotated_files_comes_whole() -> None:
    """A handshake that three files hold is extracted from all of them, in one file that tells the same."""
    packets = packets_of(ALERT.read_bytes())
    head = ALERT.read_bytes()[:HEADER]
    cuts = [0, 4, 7, len(packets)]
    parts = [
        named(head + b"".join(packets[low:high]), f"part{at}")
        for at, (low, high) in enumerate(pairwise(cuts))
    ]
    rows = rows_of(parts)
    assert rows.loc[0, "capture"] != rows.loc[len(rows) - 1, "capture"]
    pd.testing.assert_frame_equal(facts_of(rows), facts_of(rows_of(extracted(parts, rows))))
    assert_same_rows(parts, rows.iloc[[0]])


@pytest.mark.parametrize("nested", [False, True])
def test_fragments_come_with_the_rest(nested: bool) -> None:
    """Where IP packets came in fragments, also within a tunnel, all of them are extracted, and of no other packet."""
    frames = []
    for at, packet in enumerate(packets_of(ALERT.read_bytes())):
        body, ends = packet[16 + 14 + 20 :], (packet[16 + 26 : 16 + 30], packet[16 + 30 : 16 + 34])
        first, rest = body[:16], body[16:]
        inner = [(first, 0x2000), (rest, 2)]
        for part, flags in inner:
            datagram = bytearray(ipv4(part, fragment=flags, ends=ends))
            datagram[4:6] = at.to_bytes(2)  # an identification of its own
            if nested:
                outer = [(datagram[:8], 0x2000), (datagram[8:], 1)]
                for number, (piece, more) in enumerate(outer):
                    carrier = bytearray(ipv4(bytes(piece), protocol=4, fragment=more))
                    carrier[4:6] = (2 * at + (flags == 2)).to_bytes(2)
                    frames.append(ethernet(bytes(carrier)))
                    assert number < 2
            else:
                frames.append(ethernet(bytes(datagram)))
    source = io.BytesIO(pcap(frames))
    rows = rows_of(source)
    assert len(rows) == 20
    wanted = rows[rows["outcome"] == "failed"]
    out = extracted(source, wanted)
    whole = len(packets_of(extracted(ALERT, rows_of(ALERT).loc[wanted.index]).read()))
    assert len(packets_of(out.getvalue())) == whole * (4 if nested else 2)
    pd.testing.assert_frame_equal(facts_of(wanted), facts_of(rows_of(out)))


def test_silence_is_as_long_as_it_was() -> None:
    """Of a handshake that met silence, the extract shows how long the capture went on, by headers."""
    packets = packets_of(ALERT.read_bytes())
    first = rows_of(ALERT).iloc[0]
    at = int(first["frame"])
    after = later(next(p for p in reversed(packets) if b"\x17\x03\x03" in p[80:90]), 47)
    source = io.BytesIO(ALERT.read_bytes()[:HEADER] + b"".join([*packets[:at], after]))
    rows = rows_of(source)
    assert rows["outcome"].tolist() == ["unknown"]
    assert "capture time" in rows.loc[0, "reason"]
    out = extracted(source, rows)
    pd.testing.assert_frame_equal(facts_of(rows), facts_of(rows_of(out)))
    last = packets_of(out.getvalue())[-1]
    assert last[16:] == after[16 : len(last)]
    assert len(last) < 16 + 14 + 20 + 60


def test_cut_packets_stay_cut() -> None:
    """Packets of which the capture holds only the beginning keep their length on the wire."""
    packets = packets_of(ALERT.read_bytes())
    short = [p[:8] + struct.pack("<I", min(len(p) - 16, 300)) + p[12:316] for p in packets]
    source = io.BytesIO(ALERT.read_bytes()[:HEADER] + b"".join(short))
    rows = rows_of(source)
    assert "snaplen" in set(rows["completeness"])
    assert extracted(source, rows).getvalue() == source.getvalue()


# -- kinds of files ---------------------------------------------------------------------------------------------


def test_packed_captures_are_read_as_well() -> None:
    """An input packed with gzip gives what it gives unpacked."""
    rows = rows_of(ALERT)
    packed = io.BytesIO(gzip.compress(ALERT.read_bytes()))
    source = rows_of(packed)
    assert extracted(packed, source).read() == extracted(ALERT, rows).read()


def test_nanoseconds_stay() -> None:
    """Times finer than a microsecond come out as they went in."""
    content = bytearray(ALERT.read_bytes())
    content[:4] = bytes.fromhex("4d3cb2a1")
    source = io.BytesIO(bytes(content))
    rows = rows_of(source)
    assert_same_rows(source, rows)
    assert extracted(source, rows).read(4) == content[:4]


def test_several_link_types_make_a_pcapng() -> None:
    """Captures of different link types together come out as pcapng, of one as classic pcap, and both tell the same."""
    bare = b"".join(
        p[:8] + struct.pack("<II", len(p) - 30, len(p) - 30) + p[30:] for p in packets_of(ALERT.read_bytes())
    )
    raw = ALERT.read_bytes()[:20] + struct.pack("<I", 101) + bare
    cut = len(packets_of(ALERT.read_bytes())) // 2
    half = packets_of(ALERT.read_bytes())[:cut]
    sources = [
        named(ALERT.read_bytes()[:HEADER] + b"".join(half), "a"),
        named(raw[:HEADER] + b"".join(packets_of(raw)[cut:]), "b"),
    ]
    rows = rows_of(sources)
    out = extracted(sources, rows)
    assert out.read(4) == b"\x0a\x0d\x0d\x0a"
    out.seek(0)
    pd.testing.assert_frame_equal(facts_of(rows), facts_of(rows_of(out)))


def test_key_logs_are_left_out() -> None:
    """The secrets inside of a pcapng are not in what is extracted from it."""
    cap = tlspcap.read(MUTUAL)
    out = extracted(MUTUAL, cap.handshakes).read()
    assert b"CLIENT_RANDOM" not in out
    assert b"TRAFFIC_SECRET" not in out


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("path", [ALERT, MUTUAL], ids=lambda path: path.stem)
def test_wireshark_opens_it(path: Path, tmp_path: Path) -> None:
    """Wireshark reads as many hellos out of an extract as handshakes went in, and finds nothing malformed."""
    rows = rows_of(path)
    out = tmp_path / "out.pcap"
    tlspcap.extract(path, handshakes=rows, output=out)
    fields = ["tshark", "-r", str(out), "-T", "fields", "-e", "tls.handshake.type", "-e", "_ws.malformed"]
    done = subprocess.run(fields, check=True, capture_output=True, text=True, timeout=60)
    types = [line.split("\t") for line in done.stdout.splitlines()]
    retries = int(rows["hello_retry"].sum())
    assert sum(line[0].split(",").count("1") for line in types) == len(rows) + retries
    assert not any(line[1] for line in types)


# -- what makes no sense ----------------------------------------------------------------------------------------


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    """An output that is one of the inputs is refused, by whatever name, and the input stays."""
    path = tmp_path / "in.pcap"
    shutil.copy(ALERT, path)
    (tmp_path / "link.pcap").symlink_to(path)
    with pytest.raises(ArgumentError, match="one of the captures"):
        tlspcap.extract(path, handshakes=rows_of(path), output=tmp_path / "link.pcap")
    assert path.read_bytes() == ALERT.read_bytes()


def test_standard_input_is_refused() -> None:
    """What can be read only once is refused, with what to do instead."""
    with pytest.raises(ArgumentError, match=r"standard input: can be read only once.*save it to a file"):
        tlspcap.extract("-", handshakes=["x"], output=io.BytesIO())


def test_handshakes_must_be_of_the_source(tmp_path: Path) -> None:
    """Unknown ids, rows of another capture, rows without columns, and none at all are refused, and no file is made."""
    rows, out = rows_of(ALERT), tmp_path / "out.pcap"
    wrong = [["0123"], rows.assign(capture="other.pcap"), rows.assign(frame=10**6), rows[["id"]], rows.iloc[:0], []]
    for handshakes in wrong:
        with pytest.raises(ArgumentError, match="handshake"):
            tlspcap.extract(ALERT, handshakes=handshakes, output=out)
    assert not out.exists()


def test_captures_of_one_name_are_refused() -> None:
    """Where two captures have one name, a row does not tell which of them it is from."""
    sources = [named(ALERT.read_bytes(), "same"), named(ALERT.read_bytes(), "same")]
    rows = rows_of(sources)
    with pytest.raises(ArgumentError, match="same: several captures have this name"):
        extracted(sources, rows)


# -- the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (["--failed"], 3),
        (["--handshake", "4"], 1),
        (["--stream", "4"], 1),
        (["--server", "203.0.113.10"], 20),
        (["--server", "203.0.113.10:443", "--failed"], 3),
        (["--finding", "intermittent_failure"], 3),
    ],
)
def test_the_command_takes_those_that_fit(chosen: list[str], count: int, tmp_path: Path, capsys) -> None:
    """Each way to choose gives those handshakes, and says how many."""
    out = tmp_path / "out.pcap"
    assert cli.main(["extract", str(ALERT), *chosen, "-o", str(out)]) == 0
    assert f"({count} handshake" in capsys.readouterr().out
    assert len(rows_of(out)) == count


def test_the_command_anonymizes(tmp_path: Path) -> None:
    """`--anonymize` writes the chosen handshakes without addresses and names."""
    out = tmp_path / "out.pcap"
    assert cli.main(["extract", str(ALERT), "--failed", "--anonymize", "--quiet", "-o", str(out)]) == 0
    rows = rows_of(out)
    assert rows["alert"].tolist() == ["internal_error"] * 3
    assert not set(rows["server_ip"]) & set(rows_of(ALERT)["server_ip"])


def test_the_command_writes_nothing_where_nothing_fits(tmp_path: Path, capsys) -> None:
    """No handshake that fits is said on standard error, is no error, and makes no file."""
    out = tmp_path / "out.pcap"
    assert cli.main(["extract", str(ALERT), "--server", "[2001:db8::1]:443", "-o", str(out)]) == 0
    assert "no handshake fits" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([str(ALERT)], "say which handshakes"),
        (["-", "--failed"], "standard input"),
        ([str(ALERT), "--finding", "no_such"], "there is: intermittent_failure"),
        ([str(ALERT), "--server", "www.example"], "is no address"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], words: str, tmp_path: Path, capsys) -> None:
    """What the command cannot do is said in one line, with exit code 2."""
    assert cli.main(["extract", *arguments, "-o", str(tmp_path / "out.pcap")]) == 2
    assert words in capsys.readouterr().err
