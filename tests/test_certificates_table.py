"""The certificates table: who presented what, when, under which names; odd certificates become a row and a note."""

import base64
import datetime
import io

import der_bytes
import pandas as pd
import pytest
from conversation import CLIENT, HANDSHAKE, SERVER, Talk, message, record
from der_bytes import COMMON_NAME, ML_DSA_65, ORGANIZATION, certificate, name
from tls_bytes import hello_body, server_body, vector

import tlspcap
from tlspcap import export, rows
from tlspcap.distinct import MAX_DER
from tlspcap.schema import NOTE_KINDS
from tlspcap.tables import Builder
from tlspcap.tls.certificates import describe

SOUND = certificate(sans=(b"odd.example",))
ISSUER = certificate(subject=name((COMMON_NAME, b"Odd CA")), serial=b"\x01")
SELF = certificate(subject=name((COMMON_NAME, b"Odd CA")), serial=b"\x02")


def chain(*certificates: bytes) -> bytes:
    """A Certificate message up to TLS 1.2."""
    return message(11, vector(3, *(vector(3, each) for each in certificates)))


def presented(
    *handshakes: tuple[str, tuple[bytes, ...], tuple[bytes, ...]], apart: float = 1.0
) -> tlspcap.Capture:
    """Read handshakes, each a name asked for, the server's chain and the client's, some seconds apart."""
    builder = Builder()
    for number, (sni, server, client) in enumerate(handshakes):
        talk = Talk().waits(number * apart)
        asked = (0, vector(2, b"\0", vector(2, sni.encode())))
        talk.says(CLIENT, record(HANDSHAKE, message(1, hello_body(asked))))
        answer = message(2, server_body()) + chain(*server) + message(13, vector(1, b"\1") + b"\0\0\0\0") + message(14)
        talk.says(SERVER, *(record(HANDSHAKE, part) for part in _fragments(answer)))
        talk.says(CLIENT, *(record(HANDSHAKE, part) for part in _fragments(chain(*client))))
        builder.add(rows.finish(talk.account(), talk.clock, 10**10, bytes([number])))
    return tlspcap.Capture(builder.frames())


def _fragments(content: bytes) -> list[bytes]:
    return [content[at : at + 16_384] for at in range(0, len(content), 16_384)]


def test_a_chain_stands_in_the_order_sent() -> None:
    """`chain_sha256` and the table's rows follow the order on the wire, right or wrong."""
    capture = presented(("a.example", (SOUND, SELF, ISSUER), ()))
    prints = [describe(each).sha256 for each in (SOUND, SELF, ISSUER)]
    row = capture.handshakes.iloc[0]
    assert row["chain_sha256"] == ",".join(prints)
    assert (row["certificate_sha256"], row["chain_length"]) == (prints[0], 3)
    assert row["chain_bytes"] == len(SOUND) + len(SELF) + len(ISSUER)
    assert capture.certificates["sha256"].tolist() == prints
    assert capture.certificates["self_signed"].tolist() == [False, True, True]


def test_roles_times_and_names_are_counted_per_certificate() -> None:
    """Each certificate has its role, its first and last handshake, their number, and the distinct names asked for."""
    capture = presented(
        ("b.example", (SOUND, ISSUER), ()), ("a.example", (SOUND,), (ISSUER,)), ("b.example", (SOUND,), ()), apart=60.0
    )
    table = capture.certificates.set_index(["sha256", "role"])
    times = capture.handshakes["time"]
    sound, issuer = (describe(each).sha256 for each in (SOUND, ISSUER))
    assert len(table) == 3
    leaf = table.loc[(sound, "server")]
    assert (leaf["handshakes"], leaf["snis"]) == (3, "a.example,b.example")
    assert (leaf["first_seen"], leaf["last_seen"]) == (times.iloc[0], times.iloc[2])
    assert (table.loc[(issuer, "server"), "snis"], table.loc[(issuer, "client"), "snis"]) == ("b.example", "a.example")
    assert table.loc[(issuer, "client"), "first_seen"] == times.iloc[1]
    assert capture.handshakes["client_certificate_sha256"].tolist()[1] == issuer
    assert capture.handshakes["client_auth"].tolist() == ["no_certificate", "certificate", "no_certificate"]


def test_the_bytes_of_a_certificate_are_in_its_row() -> None:
    """`der` is the certificate itself in base64; a giant's bytes are left out, its facts are not."""
    giant = certificate(sans=tuple(f"host{number}.example".encode() for number in range(10_000)))
    table = presented(("a.example", (SOUND, giant), ())).certificates
    sound, large = table["der"]
    assert base64.b64decode(sound) == SOUND
    assert len(giant) > MAX_DER
    assert pd.isna(large)
    assert table["san"].notna().all()


UTC = datetime.UTC
ODD: dict[str, tuple[bytes, dict[str, object], str]] = {
    "no name at all": (
        certificate(subject=name((ORGANIZATION, b"Nobody"))), {"subject": "O=Nobody", "san": None}, "names nobody",
    ),
    "NUL in the subject": (
        certificate(subject=name((COMMON_NAME, b"good.example\0.evil.example"))),
        {"subject": "CN=good.example\\00.evil.example"}, "NUL within a name",
    ),
    "NUL in an alternative name": (
        certificate(sans=(b"good.example\0.evil.example",)),
        {"san": "good.example\0.evil.example"}, "NUL within a name",
    ),
    "before 1970": (
        certificate(not_before="550101000000Z"),
        {"not_before": datetime.datetime(1955, 1, 1, tzinfo=UTC)}, "valid since 1955, before 1970",
    ),
    "before the Gregorian calendar": (
        certificate(not_before="10660101000000Z"),
        {"not_before": datetime.datetime(1066, 1, 1, tzinfo=UTC)}, "valid since 1066",
    ),
    "ends before it begins": (
        certificate(not_after="250101000000Z"), {"not_after": datetime.datetime(2025, 1, 1, tzinfo=UTC)}, "ends before",
    ),
    "no such day": (certificate(not_after="270230000000Z"), {"not_after": pd.NaT, "serial": "12"}, "certificate: "),
    "unknown key algorithm": (
        certificate(key=("2a8648ce3d0263", None, 40)), {"key_type": "1.2.840.10045.2.99", "key_bits": pd.NA},
        "unknown key algorithm 1.2.840.10045.2.99",
    ),
    "unknown signature algorithm": (
        certificate(signature=("2a8648ce3d040363", 70)), {"signature_algorithm": "1.2.840.10045.4.3.99"},
        "unknown signature algorithm",
    ),
    "negative serial": (certificate(serial=b"\xf2"), {"serial": "-0e"}, "not positive"),
    "serial zero": (certificate(serial=b"\0"), {"serial": "00"}, "not positive"),
    "serial of 21 bytes": (certificate(serial=b"\x7f" * 21), {"serial": "7f" * 21}, "more than 20 bytes"),
    "no certificate": (b"no certificate", {"subject": None, "not_before": pd.NaT}, "certificate: "),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_an_odd_certificate_is_a_row_and_a_note(what: str) -> None:
    """What could be read is in the row, and a note says what was odd and in which packet's handshake to look."""
    der, expected, told = ODD[what]
    capture = presented(("a.example", (SOUND,), ()), ("a.example", (der,), ()))
    sha256 = describe(der).sha256
    row = capture.certificates.set_index("sha256").loc[sha256]
    for column, value in expected.items():
        assert (pd.isna(row[column]) and pd.isna(value)) or row[column] == value, column  # type: ignore[call-overload]
    (note,) = capture.notes[capture.notes["kind"] == "odd_certificate"].to_dict("records")
    assert told in note["detail"]
    assert sha256 in note["detail"]
    handshake = capture.handshakes.iloc[1]
    assert (note["id"], note["handshake"], note["frame"]) == (handshake["id"], 1, handshake["frame"])
    assert (note["stream"], note["capture"]) == (handshake["stream"], handshake["capture"])
    assert note["kind"] in NOTE_KINDS


SEEMING = {
    "no common name, but alternative names": certificate(subject=name(), sans=(b"odd.example",)),
    "a backslash and two zeros": certificate(subject=name((COMMON_NAME, b"a\\00b"))),
    "valid for ever": certificate(not_after="99991231235959Z"),
    "ten thousand names": certificate(sans=tuple(f"host{number}.example".encode() for number in range(10_000))),
}


@pytest.mark.parametrize("what", SEEMING)
def test_what_only_seems_odd_is_not_noted(what: str) -> None:
    """What RFC 5280 allows makes a full row and no note."""
    capture = presented(("a.example", (SEEMING[what],), ()))
    assert capture.notes.empty
    assert capture.certificates.iloc[0][["subject", "not_after", "key_type"]].notna().all()


def test_ten_thousand_names_are_all_kept() -> None:
    """A certificate with 10,000 names, a message over many records, has them all in its row."""
    row = presented(("a.example", (SEEMING["ten thousand names"],), ())).certificates.iloc[0]
    assert row["san"].count(",") == 9_999


def test_ml_dsa_certificates_are_read() -> None:
    """An ML-DSA certificate (FIPS 204) has its algorithms by name, whatever the library makes of its key."""
    der = certificate(key=(ML_DSA_65, None, 1952), signature=(ML_DSA_65, 3309))
    row = presented(("a.example", (der,), ())).certificates.iloc[0]
    assert (row["key_type"], row["signature_algorithm"], row["subject"]) == ("ML-DSA-65",) * 2 + ("CN=odd.example",)
    assert pd.isna(row["key_bits"])


def test_a_comma_within_a_name_is_escaped() -> None:
    """A name with a comma in it does not pass for two."""
    capture = presented(("a.example,b.example", (certificate(sans=(b"a,b",)),), ()))
    assert capture.certificates[["san", "snis"]].iloc[0].tolist() == ["a\\x2cb", "a.example\\x2cb.example"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_dates_beyond_nanoseconds_are_written(kind: str) -> None:
    """Years that nanoseconds cannot hold, 1066 and 9999, come through every format."""
    der = certificate(not_before="10660101000000Z", not_after="99991231235959Z")
    table, out = presented(("a.example", (der,), ())).certificates, io.BytesIO()
    export.write([table], kind, out)
    if kind == "parquet":
        found = pd.read_parquet(out)
        assert found[["not_before", "not_after"]].equals(table[["not_before", "not_after"]])
    else:
        assert b"1066-01-01" in out.getvalue()
        assert b"9999-12-31" in out.getvalue()


def test_a_sound_certificate_by_hand_is_sound() -> None:
    """The certificates that these tests are made from are sound but for what each is odd in."""
    assert describe(SOUND).trouble is None
    assert describe(der_bytes.certificate()).trouble is None
