"""Claims about captures of several files: what they hold as one stream, and when they are read apart."""

import io
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap.errors import CaptureError
from tlspcap.schema import TABLES
from tlspcap.spread import Reading, read_tables, scan_tables

SAMPLES = Path(__file__).parent.parent / "sample_captures"
NAMES = ["intermittent-alert.pcap", "old-app.pcap", "nginx-certificate.pcap"]
HEADER = 24  # bytes of a pcap file header


def packets_of(capture: bytes) -> list[bytes]:
    """The packets of a little-endian pcap, each with its header."""
    found, at = [], HEADER
    while at < len(capture):
        size = 16 + struct.unpack_from("<I", capture, at + 8)[0]
        found.append(capture[at : at + size])
        at += size
    return found


def rotated(capture: bytes, cuts: list[int]) -> list[io.BytesIO]:
    """The capture as files that end before the packets with these indexes."""
    packets = packets_of(capture)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(packets)}), len(packets)]
    parts = [packets[low:high] for low, high in pairwise(edges)]
    files = [io.BytesIO(capture[:HEADER] + b"".join(part)) for part in parts]
    for index, file in enumerate(files):
        file.name = f"part{index}"  # type: ignore[attr-defined]  # as an opened file has one
    return files


def ports_of(packet: bytes) -> tuple[int, ...]:
    """The ports of TCP over IPv4, without options, over Ethernet."""
    return struct.unpack_from(">HH", packet, 16 + 14 + 20)


def moved(packets: list[bytes], seconds: int) -> bytes:
    """The packets, later."""
    return b"".join(struct.pack("<I", struct.unpack_from("<I", p)[0] + seconds) + p[4:] for p in packets)


def handshake_facts(reading: Reading) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables, without what numbers packets and conversations within a file."""
    identity = {name: number for number, name in enumerate(reading.frames["handshakes"]["id"])}
    for name in TABLES:
        frame = reading.frames[name]
        if name == "notes":
            frame = frame[frame["id"].notna()]
        frame = frame.assign(id=frame["id"].map(identity)) if "id" in frame else frame
        yield name, frame.drop(columns=["capture", "frame", "stream"], errors="ignore").reset_index(drop=True)


def assert_same_facts(one: Reading, other: Reading) -> None:
    """The tables are equal but for what numbers packets and conversations within a file."""
    for (_, left), (_, right) in zip(handshake_facts(one), handshake_facts(other), strict=True):
        pd.testing.assert_frame_equal(left, right)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_for_every_packet_changes_no_fact(name: str) -> None:
    """Rotated at every packet, a capture gives the facts of one file."""
    capture = (SAMPLES / name).read_bytes()
    files = rotated(capture, list(range(len(packets_of(capture)))))
    assert_same_facts(read_tables(files, chunk_bytes=4096), read_tables(io.BytesIO(capture)))


@settings(max_examples=12)
@given(name=st.sampled_from(NAMES), cuts=st.lists(st.integers(1, 600), max_size=6), order=st.randoms())
def test_files_cut_anywhere_and_given_in_any_order_change_no_fact(name: str, cuts: list[int], order: Random) -> None:
    """However a capture is divided among files, in whatever order they are given, the facts are those of one file."""
    capture = (SAMPLES / name).read_bytes()
    files = rotated(capture, cuts)
    order.shuffle(files)
    assert_same_facts(read_tables(files, chunk_bytes=65_536), read_tables(io.BytesIO(capture)))


def written(files: list[io.BytesIO], folder: Path) -> Path:
    """The files, written to a folder under names that are in no order."""
    for index, file in enumerate(files):
        (folder / f"{'bca'[index % 3]}{index}.pcap").write_bytes(file.getvalue())
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_is_one_stream_for_processes_and_pieces_too(jobs: int, tmp_path: Path) -> None:
    """A folder of rotated files gives the same facts in one process, in two, and in pieces."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    folder, whole = written(rotated(capture, [100, 101, 250]), tmp_path), read_tables(io.BytesIO(capture))
    one = read_tables(folder, jobs=jobs)
    assert_same_facts(one, whole)
    pieces = [piece.frames["handshakes"] for piece in scan_tables(folder, rows=5, jobs=jobs)]
    assert sorted(pd.concat(pieces)["id"]) == sorted(one.frames["handshakes"]["id"])


def test_packets_and_conversations_are_numbered_in_their_own_file() -> None:
    """capture, frame and stream are those of the file that holds the hello, as if it were read alone."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    cuts = [50, 51, 200]
    whole = read_tables(io.BytesIO(capture)).frames["handshakes"]
    found = read_tables(rotated(capture, cuts)).frames["handshakes"]
    first = {f"part{index}": edge for index, edge in enumerate([0, *cuts])}
    assert (found["capture"].map(first) + found["frame"]).tolist() == whole["frame"].tolist()
    for file in rotated(capture, cuts):
        alone = read_tables(file).frames["handshakes"]
        mine = found[found["capture"] == file.name]
        both = mine.merge(alone, on=["time", "client_port"], suffixes=("", "_alone"))
        assert len(both) == len(mine)
        assert (both["stream"] == both["stream_alone"]).all()
        assert (both["frame"] == both["frame_alone"]).all()


def test_alerts_and_notes_name_the_file_that_holds_them() -> None:
    """An alert in a later file than its hello has that file's name and packet number."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    alert = read_tables(io.BytesIO(capture)).frames["alerts"].iloc[0]
    cut = int(alert["frame"]) - 1
    found = read_tables(rotated(capture, [cut])).frames["alerts"]
    assert found.loc[found["time"] == alert["time"], ["capture", "frame"]].iloc[0].tolist() == ["part1", 1]


def test_a_pause_between_files_is_no_silence() -> None:
    """A hello at the end of a file is not timed out because the next file begins late: nobody may have recorded."""
    packets = packets_of((SAMPLES / "old-app.pcap").read_bytes())
    header = (SAMPLES / "old-app.pcap").read_bytes()[:HEADER]
    row = read_tables(SAMPLES / "old-app.pcap").frames["handshakes"].iloc[3]
    until = int(row["frame"]) + 1  # the hello, and its ACK
    others = [packet for packet in packets[until:] if row["client_port"] not in ports_of(packet)]
    before, after = io.BytesIO(header + b"".join(packets[:until])), io.BytesIO(header + moved(others, 30))
    apart = read_tables([before, after]).frames["handshakes"]
    cut = apart[apart["id"] == row["id"]].iloc[0]
    assert (cut["outcome"], cut["completeness"]) == ("unknown", "cut_off")
    joined = io.BytesIO(before.getvalue() + after.getvalue()[HEADER:])
    told = read_tables(joined).frames["handshakes"]
    assert told.loc[told["id"] == row["id"], "failure_mechanism"].tolist() == ["timeout"]


def test_a_handshake_goes_on_behind_a_pause() -> None:
    """A handshake whose answer is in a file that begins a minute later is one handshake still."""
    capture = (SAMPLES / "nginx-certificate.pcap").read_bytes()
    packets, header = packets_of(capture), capture[:HEADER]
    cut = int(read_tables(io.BytesIO(capture)).frames["handshakes"]["frame"].iloc[0])
    files = [header + b"".join(packets[:cut]), header + moved(packets[cut:], 60)]
    found = read_tables([io.BytesIO(file) for file in files]).frames["handshakes"]
    whole = read_tables(io.BytesIO(files[0] + files[1][HEADER:])).frames["handshakes"]
    assert found["outcome"].tolist() == whole["outcome"].tolist()


@pytest.mark.parametrize("later", [7_200, 30 * 86_400])
def test_captures_of_other_days_are_read_apart(later: int) -> None:
    """The same packets hours later, with the same ports and numbers, are handshakes of their own."""
    capture = (SAMPLES / "nginx-certificate.pcap").read_bytes()
    again = capture[:HEADER] + moved(packets_of(capture), later)
    count = len(read_tables(io.BytesIO(capture)).frames["handshakes"])
    found = read_tables([io.BytesIO(again), io.BytesIO(capture)]).frames["handshakes"]
    assert len(found) == 2 * count
    assert found["id"].is_unique


def test_captures_that_overlap_are_read_apart_and_a_note_says_so() -> None:
    """Two captures of one time, say from both ends of a path, are each read alone, and a note says it."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    whole = read_tables(io.BytesIO(capture))
    found = read_tables([io.BytesIO(capture), io.BytesIO(capture)])
    assert len(found.frames["handshakes"]) == 2 * len(whole.frames["handshakes"])
    assert found.frames["notes"]["kind"].tolist().count("files_overlap") == 1


def test_a_file_that_holds_only_the_rest_of_handshakes_is_not_said_to_hold_no_tls() -> None:
    """`no_tls` is noted of the file without a packet of a handshake, not of one that holds the end of some."""
    capture = (SAMPLES / "nginx-certificate.pcap").read_bytes()
    packets, last = packets_of(capture), read_tables(io.BytesIO(capture)).frames["handshakes"]["frame"].max()
    notes = read_tables(rotated(capture, [int(last)])).frames["notes"]
    assert "no_tls" not in notes["kind"].tolist()
    apart = read_tables([io.BytesIO(capture), io.BytesIO(capture[:HEADER] + moved(packets[int(last) :], 7_200))])
    assert apart.frames["notes"]["kind"].tolist().count("no_tls") == 1


def test_what_cannot_be_read_among_rotated_files_is_left_out_where_that_is_wanted() -> None:
    """A broken file raises before anything is read; with skip_unreadable it is left out, and the others go on."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    files = rotated(capture, [90])
    with pytest.raises(CaptureError, match="not a packet capture"):
        read_tables([files[0], io.BytesIO(b"no capture at all"), files[1]])
    found = read_tables([files[0], io.BytesIO(b"no capture at all"), files[1]], skip_unreadable=True)
    assert_same_facts(found, read_tables(io.BytesIO(capture)))
    assert [str(error) for error in found.unreadable if "not a packet capture" in str(error)]


def test_pipes_stay_in_the_order_given_and_are_read_once(tmp_path: Path) -> None:
    """What cannot be looked at beforehand is read in the order given."""
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    files = rotated(capture, [90])
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe, os.fdopen(read_end, "rb") as given:
        pipe.write(files[1].getvalue()[:60_000])
        pipe.close()
        found = read_tables([given, files[0]])
    assert [facts.name for facts in found.files][1] == "part0"
