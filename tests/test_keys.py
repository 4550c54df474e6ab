"""What key logs add: on real captures with their keys, with wrong, partial and damaged ones, and inside of pcapng."""

import io
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mutants
import pandas as pd
import pytest
from packet_builder import block, enhanced, interface, section

import tlspcap
from tlspcap import cli, findings
from tlspcap.errors import ArgumentError
from tlspcap.spread import Reading, read_tables, scan_tables

HERE = Path(__file__).parent
KEYED = HERE / "captures" / "keys"
SAMPLE = HERE.parent / "sample_captures" / "mutual-tls.pcapng"
GROUPS = sorted(path.stem for path in KEYED.glob("*.pcap"))
KEY_NOTES = {"keys_do_not_fit", "keys_incomplete", "key_log"}
TLS_KEY_LOG = 0x544C534B
LABELS = (
    "CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0", "CLIENT_EARLY_TRAFFIC_SECRET",
)  # fmt: skip
HANDSHAKE_TYPES = {
    0: "hello_request", 1: "client_hello", 2: "server_hello", 4: "new_session_ticket", 5: "end_of_early_data",
    8: "encrypted_extensions", 11: "certificate", 12: "server_key_exchange", 13: "certificate_request",
    14: "server_hello_done", 15: "certificate_verify", 16: "client_key_exchange", 20: "finished", 24: "key_update",
}  # fmt: skip


def capture(name: str) -> Path:
    """The path of a group's capture; of the sample by its name."""
    return SAMPLE if name == "mutual-tls" else KEYED / f"{name}.pcap"


def keys_of(name: str) -> Path:
    """The path of its key log."""
    return capture(name).with_suffix(".keys")


@cache
def with_keys(name: str) -> tlspcap.Capture:
    """Read a capture with its key log."""
    return tlspcap.read(capture(name), keylog=keys_of(name))


@cache
def without(name: str) -> tlspcap.Capture:
    """Read it without."""
    return tlspcap.read(capture(name), embedded_secrets=False)


def truth(name: str) -> list[dict[str, Any]]:
    """What each connection of a group was made to do, in order."""
    cases: list[dict[str, Any]] = json.loads((KEYED / f"{name}.json").read_text())
    return cases


def changed(name: str, change: Callable[[list[str]], list[str] | None], folder: Path) -> Path:
    """Write a key log whose lines, as words, were changed; None leaves a line out."""
    lines = (change(line.split()) for line in keys_of(name).read_text().splitlines() if not line.startswith("#"))
    path = folder / "changed.keys"
    path.write_text("".join(" ".join(words) + "\n" for words in lines if words is not None))
    return path


def damaged(words: list[str]) -> list[str]:
    """A secret with one bit turned."""
    return [*words[:2], f"{int(words[2], 16) ^ 1:0{len(words[2])}x}"]


def assert_judged_as_without(keyed: tlspcap.Capture, name: str) -> None:
    """All tables are those without keys, but for notes about keys."""
    for table, expected in without(name).tables.items():
        found = keyed.tables[table]
        if table == "notes":
            found = found[~found["kind"].isin(KEY_NOTES)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)


# -- with the right keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUPS)
def test_with_keys_every_connection_is_what_it_was_made_to_be(name: str) -> None:
    """Outcome, side, alert, early data and application protocol are those of the case, and they are certain."""
    rows = with_keys(name).handshakes
    assert len(rows) == len(truth(name))
    for (_, row), case in zip(rows.iterrows(), truth(name), strict=True):
        got = {"outcome": row["outcome"], "side": row["failure_side"], "alert": row["alert"], "alpn": row["alpn"]}
        got = {key: None if pd.isna(value) else value for key, value in got.items()}
        assert got == {key: case[key] for key in got}, case["name"]
        assert row["certainty"] == "certain", case["name"]
        if case["early_data"] != "none":
            assert row["early_data"] == case["early_data"], case["name"]


@pytest.mark.parametrize("name", GROUPS)
def test_with_keys_nothing_of_a_handshake_stays_sealed(name: str) -> None:
    """Every cipher suite that can be opened is: each message has its name, and alerts theirs."""
    keyed = with_keys(name)
    sealed = set(keyed.messages.loc[keyed.messages["message"] == "sealed", "handshake"])
    assert sealed == {at for at, case in enumerate(truth(name)) if not case["opens"] and "NULL" not in case["name"]}
    alerts = keyed.alerts[~keyed.alerts["handshake"].isin(sealed)]
    shown = alerts[alerts["description"].notna()]
    assert (shown["decrypted"] == shown["encrypted"]).all()
    assert not alerts["inferred"].any()


@pytest.mark.parametrize("name", GROUPS)
def test_without_keys_nothing_contradicts_them(name: str) -> None:
    """The same connections, without keys, are judged alike or unknown; and what keys show was not shown before."""
    keyless, keyed = without(name), with_keys(name)
    outcomes = zip(keyless.handshakes["outcome"], keyed.handshakes["outcome"], strict=True)
    assert all(before in (after, "unknown") for before, after in outcomes)
    assert not keyless.alerts["decrypted"].any()
    assert keyless.handshakes["id"].tolist() == keyed.handshakes["id"].tolist()


@pytest.mark.parametrize("name", [*GROUPS, "mutual-tls"])
def test_messages_are_those_that_tshark_opens(name: str, tshark: str) -> None:
    """Handshake messages and alerts of each side, in order, are those that tshark reads with the same key log.

    Of what comes behind the handshake tshark reads more: connections are not followed to their end here.
    """
    theirs = tsharks_messages(tshark, name)
    messages = with_keys(name).messages.merge(with_keys(name).handshakes[["id", "stream"]], on="id")
    kept = messages[messages["message"].isin({*HANDSHAKE_TYPES.values(), "hello_retry_request", "alert", "sealed"})]
    for (stream, sender), own in kept.groupby(["stream", "sender"], observed=True):
        names = own["message"].replace({"hello_retry_request": "server_hello"}).tolist()
        expected = theirs[int(stream), str(sender)]
        if "sealed" not in names:
            assert names == expected[: len(names)], (stream, sender)
            behind = set(expected[len(names) :])
            assert behind <= {"alert", "key_update", "new_session_ticket"}, (stream, sender)


def tsharks_messages(tshark: str, name: str) -> dict[tuple[int, str], list[str]]:
    """Handshake messages and alerts by stream and sender, as tshark reads them with the key log."""
    ports = {int(port) for port in with_keys(name).handshakes["server_port"]}
    command = [tshark, "-r", str(capture(name)), "-T", "json", "-J", "tcp tls", "--no-duplicate-keys"]
    command += ["-o", f"tls.keylog_file:{keys_of(name)}", "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "tls"]
    for port in ports:
        command += ["-d", f"tcp.port=={port},tls"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        sender = "server" if int(layers["tcp"]["tcp.srcport"]) in ports else "client"
        found[int(layers["tcp"]["tcp.stream"]), sender] += list(messages_in(layers["tls"]))
    return found


def messages_in(layer: Any) -> Iterator[str]:
    """Handshake messages and alerts in one packet's TLS layer, as tshark writes it in JSON."""
    if isinstance(layer, list):
        for part in layer:
            yield from messages_in(part)
    elif isinstance(layer, dict):
        for key, value in layer.items():
            if key == "tls.handshake.type":
                types = value if isinstance(value, list) else [value]
                yield from (HANDSHAKE_TYPES[int(code)] for code in types)
            elif key == "tls.alert_message.desc":
                yield "alert"
            else:
                yield from messages_in(value)


def test_mutual_tls_without_keys_is_probable_and_with_them_certain() -> None:
    """The sample's sealed refusals: probable and unnamed without keys; with them certain, with the alert's name."""
    connections = json.loads((SAMPLE.parent / "mutual-tls.truth.json").read_text())
    expected = {(row["client_ip"], row["client_port"]): row["expected"] for row in connections}
    hidden = 0
    tables = without("mutual-tls").handshakes, with_keys("mutual-tls").handshakes
    for before, after in zip(*(table.itertuples() for table in tables), strict=True):
        case = expected[after.client_ip, after.client_port]
        assert (after.outcome, after.certainty) == (case["outcome"], "certain")
        assert before.outcome == after.outcome
        if case["outcome"] == "failed":
            assert (after.alert, after.failure_side, after.failure_phase) == (
                case["alert"],
                case["side"],
                case["phase"],
            )
        if case["mechanism"] == "hidden_alert":
            hidden += 1
            assert (before.failure_mechanism, before.certainty) == ("hidden_alert", "probable")
            assert (after.failure_mechanism, after.certainty) == ("alert", "certain")
            assert "key log" in after.reason
    assert hidden > 10


def test_a_compressed_client_certificate_is_a_certificate() -> None:
    """What a client sends compressed (RFC 8879) stays packed, but that it sent one is told."""
    place = KEYED.parent / "compressed-client-certificate.pcap"
    keyed = tlspcap.read(place, keylog=place.with_suffix(".keys"))
    assert keyed.handshakes["client_auth"].tolist() == ["certificate", "certificate"]
    assert keyed.handshakes["client_certificate_sha256"].isna().all()
    packed = keyed.messages[keyed.messages["message"] == "compressed_certificate"]
    assert packed["sender"].astype(str).tolist() == ["client", "client"]
    (refused,) = (one for one in findings.find(keyed.tables) if one.severity == "error")
    assert refused.title.startswith("Server 127.0.0.1:8079 refused the client certificate of client 127.0.0.1: ")


def test_keys_fill_in_what_tls13_seals() -> None:
    """Certificates of both sides, signature scheme, the request for a client's certificate and its answer."""
    keyless, keyed = without("mutual-tls"), with_keys("mutual-tls")
    rows = keyed.handshakes[keyed.handshakes["negotiated_version"] == "TLS 1.3"]
    assert rows["certificate_sha256"].notna().all()
    assert rows["signature_scheme"].notna().all()
    assert rows["ocsp_stapled"].eq(False).all()
    assert set(rows["client_auth"]) == {"certificate", "no_certificate"}
    assert rows.loc[rows["client_auth"] == "certificate", "client_certificate_sha256"].notna().all()
    before = keyless.handshakes[keyless.handshakes["negotiated_version"] == "TLS 1.3"]
    assert set(before["client_auth"]) == {"hidden"}
    assert before["certificate_sha256"].isna().all()
    assert set(rows["certificate_sha256"]) <= set(keyed.certificates["sha256"])


def test_the_figure_of_tls13_runs_to_its_end() -> None:
    """Message by message, the history of a TLS 1.3 handshake reads as RFC 8446 draws it, with nothing unexpected."""
    rows = with_keys("situations").handshakes
    letters = dict(zip((case["name"] for case in truth("situations")), rows["history"], strict=True))
    assert letters["client certificate"] == "CsiorxyfIXYF"
    assert letters["early data, accepted"].endswith("siofEF")
    assert "unexpected_message" not in set(with_keys("situations").notes["kind"])


def test_data_behind_the_handshake_is_not_kept() -> None:
    """Nothing of what was opened stays in a table: the lines that clients sent are in none of them."""
    for table in with_keys("situations").tables.values():
        assert not table.astype(str).apply(lambda column: column.str.contains("hello\n|olleh|early\n")).any().any()


# -- with other keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*GROUPS, "mutual-tls"])
def test_wrong_keys_give_the_verdict_without_keys_and_a_note(name: str, tmp_path: Path) -> None:
    """Secrets with one bit turned open nothing: tables as without keys, and a note for each side that was sealed."""
    keyed = tlspcap.read(capture(name), keylog=changed(name, damaged, tmp_path))
    assert_judged_as_without(keyed, name)
    fits = keyed.notes[keyed.notes["kind"] == "keys_do_not_fit"]
    assert len(fits) > len(keyed.handshakes) / 3
    assert fits["id"].notna().all()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("name", GROUPS)
def test_a_key_log_that_lacks_secrets_gives_no_false_verdict(name: str, label: str, tmp_path: Path) -> None:
    """Without one kind of secret every verdict is that of all keys, or that of none."""
    partial = tlspcap.read(
        capture(name), keylog=changed(name, lambda words: None if words[0] == label else words, tmp_path)
    )
    readings = (partial, with_keys(name), without(name))
    said = [reading.handshakes[["outcome", "failure_side", "alert"]].astype(str) for reading in readings]
    for got, *known in zip(*(frame.itertuples(index=False) for frame in said), strict=True):
        assert got in known
    noted = partial.notes["detail"].str.contains(label, regex=False).any()
    needed = label in ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET")
    assert noted or not needed


@pytest.mark.parametrize("content", [b"", b"\n\n# nothing\n", b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_key_log_changes_nothing_and_is_noted(content: bytes, tmp_path: Path) -> None:
    """Other bytes given as a key log leave every verdict as it is without keys; a note says that they are none."""
    path = tmp_path / "other.keys"
    path.write_bytes(content)
    keyed = tlspcap.read(capture("gnutls"), keylog=path)
    assert_judged_as_without(keyed, "gnutls")
    assert set(keyed.notes["kind"]) == ({"key_log"} if content else set())


def test_the_keys_of_another_capture_are_noted_once() -> None:
    """A key log without a secret of any handshake: one note for the file, and the verdicts without keys."""
    keyed = tlspcap.read(capture("gnutls"), keylog=keys_of("openssl"))
    assert_judged_as_without(keyed, "gnutls")
    (detail,) = keyed.notes["detail"]
    assert "of none in this capture" in detail


def test_of_several_secrets_the_one_that_fits_is_used(tmp_path: Path) -> None:
    """A damaged line before the good one does no harm."""
    wrong = changed("situations", damaged, tmp_path).read_text()
    path = tmp_path / "both.keys"
    path.write_text(wrong + keys_of("situations").read_text())
    keyed = tlspcap.read(capture("situations"), keylog=path)
    pd.testing.assert_frame_equal(keyed.handshakes, with_keys("situations").handshakes)
    assert keyed.notes.empty


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("change", [mutants.drop_data, mutants.delay, mutants.cut_front, mutants.cut_end])
def test_packets_that_are_missing_make_no_false_verdict(name: str, change: mutants.Change) -> None:
    """With keys too, a capture that lacks or shuffles packets says the same, or unknown; the keys are not blamed."""
    conversations = mutants.conversations(mutants.read_packets(capture(name)))
    said = {row.client_port: row for row in with_keys(name).handshakes.itertuples()}
    for at in range(2, 20, 4):
        packets = mutants.merged(change(list(one), at) for one in conversations.values())
        reading = read_tables(io.BytesIO(mutants.pcap(packets)), keylog=keys_of(name))
        for row in reading.frames["handshakes"].itertuples():
            if row.outcome != "unknown":
                expected = said[row.client_port]
                assert (row.outcome, str(row.failure_side)) == (expected.outcome, str(expected.failure_side)), at
        assert "keys_do_not_fit" not in set(reading.frames["notes"]["kind"])


# -- key logs inside of captures ------------------------------------------------------------------------------------


def pcapng(name: str, places: dict[int, bytes]) -> bytes:
    """The packets of a group as pcapng, with secrets blocks before the packets of these numbers (from 0)."""
    out = [section(), interface()]
    for at, packet in enumerate(mutants.read_packets(capture(name))):
        if content := places.get(at):
            out.append(block(10, TLS_KEY_LOG.to_bytes(4, "little") + len(content).to_bytes(4, "little") + content))
        out.append(enhanced(packet.data, packet.time // 1000))
    return b"".join(out)


def log_of(name: str) -> bytes:
    """A group's key log."""
    return keys_of(name).read_bytes()


def assert_same(one: Reading, other: Reading) -> None:
    """Two readings have equal tables, but for the file's name."""
    for name, frame in one.frames.items():
        left, right = (frames.drop(columns="capture", errors="ignore") for frames in (frame, other.frames[name]))
        pd.testing.assert_frame_equal(left, right)


def test_a_key_log_inside_the_capture_serves_like_one_beside_it() -> None:
    """A secrets block at the begin gives what `keylog` gives, unless it is not wanted."""
    content = pcapng("situations", {0: log_of("situations")})
    inside = read_tables(io.BytesIO(content))
    beside = read_tables(io.BytesIO(pcapng("situations", {})), keylog=keys_of("situations"))
    assert_same(inside, beside)
    assert (inside.frames["alerts"]["decrypted"]).any()
    unused = read_tables(io.BytesIO(content), embedded_secrets=False)
    assert_same(unused, read_tables(io.BytesIO(pcapng("situations", {}))))


def test_a_secrets_block_counts_for_what_stands_behind_it() -> None:
    """A block in mid-file opens the connections behind it, however the file is cut into chunks or spread."""
    rows = with_keys("situations").handshakes
    middle = int(rows["frame"].iloc[9]) - 4  # before the SYN
    content = pcapng("situations", {middle: log_of("situations")})
    whole = read_tables(io.BytesIO(content))
    messages = whole.frames["messages"]
    sealed = sorted(set(messages.loc[messages["message"] == "sealed", "handshake"]))
    assert sealed
    assert max(sealed) < 9
    for chunk_bytes in (300, 4_000, 40_000):
        assert_same(read_tables(io.BytesIO(content), chunk_bytes=chunk_bytes), whole)


def test_a_secrets_block_within_a_connection_opens_what_follows() -> None:
    """A block behind the ServerHello's packet opens later records of both sides, and contradicts nothing."""
    rows = with_keys("situations").handshakes
    at = next(at for at, case in enumerate(truth("situations")) if case["name"] == "no client certificate")
    frame = int(rows["frame"].iloc[at])
    for behind in range(6):
        reading = read_tables(io.BytesIO(pcapng("situations", {frame + behind: log_of("situations")})))
        row = reading.frames["handshakes"].loc[at]
        assert (row["outcome"], row["failure_side"], row["failure_phase"]) == ("failed", "server", "client_auth")
        if behind < 3:
            assert row["alert"] == "certificate_required"


@pytest.mark.parametrize("inside", [True, False])
def test_processes_and_pieces_do_not_change_what_keys_show(inside: bool, tmp_path: Path) -> None:
    """Spread over processes, or read in pieces, the tables are those of one reading."""
    path = tmp_path / "keyed.pcapng"
    path.write_bytes(pcapng("situations", {0: log_of("situations")} if inside else {}))
    keylog = None if inside else keys_of("situations")
    whole = read_tables(path, keylog=keylog)
    assert_same(read_tables(path, keylog=keylog, jobs=3), whole)
    pieces = list(scan_tables(path, keylog=keylog, rows=5, chunk_bytes=3_000))
    joined = pd.concat([piece.frames["handshakes"] for piece in pieces]).sort_values(
        ["time", "frame"], ignore_index=True
    )
    expected = whole.frames["handshakes"].reset_index(drop=True)
    pd.testing.assert_frame_equal(joined, expected)


# -- secrets stay secret --------------------------------------------------------------------------------------------


def test_no_secret_leaves(tmp_path: Path) -> None:
    """No secret of a key log, beside or inside of the capture, is in a table, a report, an explanation or a repr."""
    path = tmp_path / "keyed.pcapng"
    path.write_bytes(pcapng("situations", {0: log_of("situations") + b"CLIENT_RANDOM 00 5ec2e7\n"}))
    found = [tlspcap.read(path), tlspcap.read(path, keylog=keys_of("situations"), jobs=2)]
    words = {
        word for line in log_of("situations").decode().splitlines() for word in line.split()[2:] if len(word) >= 64
    }
    assert len(words) > 50
    for keyed in found:
        keyed.report(tmp_path / "report.json")
        keyed.report(tmp_path / "report.html")
        shown = [
            repr(keyed),
            repr(keyed.files),
            (tmp_path / "report.json").read_text(),
            (tmp_path / "report.html").read_text(),
        ]
        shown += [table.to_csv() for table in keyed.tables.values()]
        shown += [keyed.explain(int(number)) for number in keyed.handshakes.index]
        text = "\n".join(shown).lower()
        assert "5ec2e7" not in text
        assert not any(word.lower() in text for word in words)
        assert not any(str(bytes.fromhex(word))[2:-1] in text for word in words)
        assert all(not facts.secrets for facts in keyed.files)


def test_a_key_log_that_cannot_be_read_is_the_callers_trouble(tmp_path: Path) -> None:
    """A missing file, or a folder, is an ArgumentError that names it."""
    for path in (tmp_path / "none.keys", tmp_path):
        with pytest.raises(ArgumentError, match=str(path)):
            tlspcap.read(capture("gnutls"), keylog=path)


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_takes_key_logs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--keylog` names the alert; `--no-embedded-secrets` leaves the capture's own keys alone; no file is usage."""
    path = tmp_path / "keyed.pcapng"
    path.write_bytes(pcapng("situations", {0: log_of("situations")}))
    plain = [str(capture("situations"))]
    outs = []
    for arguments in (
        plain,
        [*plain, "--keylog", str(keys_of("situations"))],
        [str(path)],
        [str(path), "--no-embedded-secrets"],
    ):
        assert cli.main(["table", *arguments, "--table", "alerts", "--quiet"]) == 0
        outs.append("certificate_required" in capsys.readouterr().out)
    assert outs == [False, True, True, False]
    assert cli.main(["explain", *plain, "--keylog", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("tlspcap: keylog: cannot read")


def test_explain_says_in_its_first_sentence_what_keys_showed() -> None:
    """The refused client certificate: who refused whom, with what, and that it was sealed."""
    at = next(at for at, case in enumerate(truth("situations")) if case["name"] == "no client certificate")
    told = " ".join(with_keys("situations").explain(at).split())
    assert told.startswith(
        "Failed at client authentication: the server refused the client; it sent certificate_required (116) after the "
        "client's answer to the certificate request"
    )
    assert "fatal alert certificate_required (116)" in told
    assert "certain:" in told


def test_there_is_something_to_compare() -> None:
    """The folder is found: captures, key logs and truths of three groups, small."""
    assert GROUPS == ["gnutls", "openssl", "situations"]
    assert sum(path.stat().st_size for path in KEYED.iterdir() if path.is_file()) < 300_000
