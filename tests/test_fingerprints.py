"""JA3, JA3S and JA4 to the letter: the specification's examples, its edge cases, and other tools' values."""

import csv
from hashlib import md5, sha256

import pytest
from conversation import CLIENT, HANDSHAKE, SERVER, Talk, message, record
from handshake_bytes import REFERENCE, clear_messages, tcp_streams
from openssl_bytes import client_hello
from test_captures import CAPTURES
from test_verdicts import SAMPLES, tshark_fields
from tls_bytes import hello_body, server_body, vector

from tlspcap import rows
from tlspcap.tls import fingerprints as f
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.hellos import RETRY_RANDOM, ClientHello, ServerHello

TLS12, TLS13 = 0x0303, 0x0304

# The example of technical_details/JA4.md
SUITES = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
SCHEMES = "0403,0804,0401,0503,0805,0501,0806,0601"


def codes(text: str) -> list[int]:
    """Return comma-joined hexadecimal codes as numbers."""
    return [int(code, 16) for code in text.split(",") if code]


def u16s(*values: int) -> bytes:
    """Return numbers as uint16."""
    return b"".join(value.to_bytes(2) for value in values)


def hello(
    suites: str = SUITES,
    extensions: str = EXTENSIONS,
    schemes: str = SCHEMES,
    alpn: bytes | None = b"h2",
    more_alpn: bytes = b"",
    versions: tuple[int, ...] = (TLS13, TLS12),
    version: int = TLS12,
) -> ClientHello:
    """Return a ClientHello with the given lists; contents of other extensions are empty."""
    schemes_content = u16s(len(codes(schemes)) * 2, *codes(schemes))
    contents = {
        0x0000: bytes.fromhex("0004 00 0001 61"),
        0x000A: bytes.fromhex("0006 2a2a 001d 0017"),
        0x000B: bytes.fromhex("01 00"),
        0x000D: schemes_content,
        0x0010: b"\0\0" if alpn is None else vector(2, vector(1, alpn), more_alpn),
        0x002B: bytes([2 * len(versions)]) + u16s(*versions),
    }
    raw = tuple((code, contents.get(code, b"")) for code in codes(extensions))
    return ClientHello(version, bytes(32), b"", tuple(codes(suites)), b"\0", Extensions(raw))


def test_ja4_of_the_specifications_example():
    """The example of the specification gives its JA4, JA4_o, JA4_r and JA4_ro."""
    example = hello()
    assert f.ja4(example) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert f.ja4_o(example) == "t13d1516h2_acb858a92679_18f69afefd3d"
    assert f.ja4_ro(example) == f"t13d1516h2_{SUITES}_{EXTENSIONS}_{SCHEMES}"
    assert f.ja4_r(example) == (
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_"
        f"0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_{SCHEMES}"
    )


def test_ja4_without_signature_algorithms_ends_without_an_underscore():
    """Without signature algorithms the third part is the hash of the extensions alone, as in the example."""
    assert f.ja4(hello(schemes="")).endswith("_6d807ffa2a79")


def test_grease_changes_nothing():
    """GREASE in suites, extensions, versions and signature algorithms changes neither JA4 nor JA3."""
    greased = hello(
        suites=f"0a0a,{SUITES}",
        extensions=f"2a2a,{EXTENSIONS},fafa",
        schemes=f"3a3a,{SCHEMES}",
        versions=(0x5A5A, TLS13, TLS12),
    )
    assert f.ja4(greased) == f.ja4(hello())
    assert f.ja3(greased) == f.ja3(hello())
    assert f.ja4_ro(greased) == f.ja4_ro(hello())


def test_values_that_only_look_like_grease_count():
    """Two unequal bytes of the form 0x?a are no GREASE (RFC 8701 2)."""
    assert f.ja4(hello(suites=f"0a1a,{SUITES}"))[4:6] == "16"


@pytest.mark.parametrize(
    ("versions", "shown"),
    [
        ((TLS12, TLS13), "13"),
        ((0x0302,), "11"),
        ((0x0301,), "10"),
        ((0x0300,), "s3"),
        ((0x0002,), "s2"),
        ((0xFEFD,), "d2"),
        ((0x7F1C,), "00"),  # a draft is none of the versions listed
        ((TLS13, 0x7F1C), "00"),  # "the highest value": the number of a draft is higher than that of TLS 1.3
        ((0x5A5A,), "00"),  # nothing but GREASE
    ],
)
def test_ja4_version_is_the_highest_supported(versions, shown):
    """The version is the highest of supported_versions, 00 where it is none of those listed."""
    assert f.ja4(hello(versions=versions))[1:3] == shown


def test_ja4_of_dtls_takes_the_highest_version():
    """The numbers of DTLS count down (RFC 6347 4.1): of DTLS 1.2 and 1.3 the latter is the highest."""
    assert f.ja4(hello(versions=(0xFEFD, 0xFEFC), version=0xFEFD), transport="d").startswith("dd3d")


def test_ja4_version_where_supported_versions_does_not_parse():
    """An extension that is there and cannot be read leaves the version unknown, not that of the hello."""
    broken = ClientHello(TLS12, bytes(32), b"", (0x1301,), b"\0", Extensions(((0x002B, b"\x09\x03"),)))
    assert f.ja4(broken).startswith("t00i0101")


def test_ja4_version_without_supported_versions_is_the_hellos():
    """Without supported_versions the hello's own version counts."""
    assert f.ja4(hello(extensions="0000", version=0x0301))[1:3] == "10"


@pytest.mark.parametrize(
    ("alpn", "shown"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (b"", "00"),
        (None, "00"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_ja4_alpn_characters(alpn, shown):
    """First and last character of the first ALPN value, by every example of the specification."""
    assert f.ja4(hello(alpn=alpn)).split("_")[0][-2:] == shown


def test_ja4_passes_over_grease_in_alpn():
    """GREASE is ignored anywhere, in front of the protocols too; a value that only looks like it is not."""
    assert f.ja4(hello(alpn=b"\x3a\x3a", more_alpn=b"\x08http/1.1"))[8:10] == "h1"
    assert f.ja4(hello(alpn=b"\x3a\x3a"))[8:10] == "00"
    assert f.ja4(hello(alpn=b"\x3a\x4a", more_alpn=b"\x08http/1.1"))[8:10] == "3a"


def test_ja4_without_alpn_and_server_name():
    """No server_name reads i, no ALPN reads 00."""
    assert f.ja4(hello(extensions="002b")).startswith("t13i150100_")


def test_ja4_server_name_and_alpn_are_counted_and_not_hashed():
    """Both count as extensions and stand in the first part only."""
    with_both, without = hello(extensions="0000,0010,0017"), hello(extensions="0017")
    assert (f.ja4(with_both)[6:8], f.ja4(without)[6:8]) == ("03", "01")
    assert f.ja4(with_both).split("_")[2] == f.ja4(without).split("_")[2]


def test_ja4_of_server_name_and_alpn_alone():
    """With nothing left to hash the third part is zeros; in the order sent both are hashed."""
    both = hello(extensions="0000,0010")
    assert f.ja4(both).split("_")[2] == "000000000000"
    assert f.ja4_o(both).split("_")[2] == sha256(b"0000,0010").hexdigest()[:12]


def test_ja4_counts_signalling_suites():
    """Signalling values (0x00ff, 0x5600) and experimental ones (0xfe00) count and are hashed as suites are."""
    assert f.ja4_r(hello(suites="1301,00ff,5600,fe00", extensions="")) == "t12i040000_00ff,1301,5600,fe00_"


def test_ja4_counts_stop_at_99():
    """More than 99 suites or extensions read 99."""
    many = ",".join(f"{code:04x}" for code in range(0xE000, 0xE000 + 120))
    assert f.ja4(hello(suites=many, extensions=many)).startswith("t12i999900_")
    assert f.ja4_r(hello(suites=many, extensions="")).split("_")[1] == many  # all of them are hashed


def test_ja4_of_empty_lists():
    """No suites and no extensions give twelve zeros instead of the hash of nothing."""
    assert f.ja4(hello(suites="", extensions="")) == "t12i000000_000000000000_000000000000"


def test_ja4_names_the_transport():
    """QUIC and DTLS replace the first letter."""
    assert [f.ja4(hello(), transport)[0] for transport in "tqd"] == ["t", "q", "d"]


def test_ja3_is_the_md5_of_five_lists_in_decimal():
    """Version, suites, extensions, groups and point formats in wire order and decimal, joined by dashes and commas."""
    small = hello(suites="1301,00ff", extensions="0000,000a,000b")
    assert f.ja3_text(small) == "771,4865-255,0-10-11,29-23,0"
    assert f.ja3(small) == md5(b"771,4865-255,0-10-11,29-23,0").hexdigest()


def test_ja3_without_extensions_keeps_its_commas():
    """Missing lists are empty fields, as in the specification's example 769,4-5-10…,,, ."""
    bare = hello(suites="0004,0005,000a,0009,0064,0062,0003,0006,0013,0012,0063", extensions="", version=0x0301)
    assert f.ja3_text(bare) == "769,4-5-10-9-100-98-3-6-19-18-99,,,"
    assert f.ja3(bare) == "de350869b8c85de67a350c8d186f11e6"


def test_ja3s_is_the_md5_of_version_suite_and_extensions():
    """The server's version, suite and extensions in wire order; the version is the hello's own."""
    answer = ServerHello(TLS12, bytes(32), b"", 0x1301, 0, Extensions(((51, b""), (43, u16s(TLS13)))))
    assert f.ja3s_text(answer) == "771,4865,51-43"
    assert f.ja3s(answer) == md5(b"771,4865,51-43").hexdigest() == "eb1d94daa7e0344597e756a1fb6e7054"


def test_the_hello_before_a_retry_is_fingerprinted():
    """Of the two hellos around a HelloRetryRequest the row keeps the first, and of the answers the ServerHello."""
    versions, share = (43, b"\x02" + u16s(TLS13)), u16s(29) + vector(2, bytes(32))
    first = hello_body((10, vector(2, u16s(29, 24))), versions, (51, vector(2, share)))
    second = hello_body((44, vector(2, b"cookie")), (10, vector(2, u16s(29, 24))), versions, (51, vector(2)))
    retry = server_body((43, u16s(TLS13)), (51, u16s(24)), random=RETRY_RANDOM)
    answer = server_body((51, u16s(24) + vector(2, bytes(97))), (43, u16s(TLS13)))
    talk = Talk().says(CLIENT, record(HANDSHAKE, message(1, first))).says(SERVER, record(HANDSHAKE, message(2, retry)))
    talk.says(CLIENT, record(HANDSHAKE, message(1, second))).says(SERVER, record(HANDSHAKE, message(2, answer)))
    row = rows.handshake_row(rows.finish(talk.account(), talk.clock, 10**10, b"id"))
    assert row["hello_retry"]
    assert (row["ja4"], row["ja3"]) == (f.ja4(ClientHello.parse(first)), f.ja3(ClientHello.parse(first)))
    assert row["ja3s"] == f.ja3s(ServerHello.parse(answer))


def test_a_real_hello_hashes_its_raw_form():
    """JA4 of a real OpenSSL hello is its JA4_r with the two lists hashed."""
    real = ClientHello.parse(client_hello())
    first, suites, extensions, schemes = f.ja4_r(real).split("_")
    hashed = [sha256(text.encode()).hexdigest()[:12] for text in (suites, f"{extensions}_{schemes}")]
    assert f.ja4(real) == "_".join([first, *hashed])


RECORDED = [*CAPTURES, *sorted(path for path in SAMPLES.iterdir() if path.suffix in (".pcap", ".pcapng"))]
ENDS = ("ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_ja3_and_ja3s_are_wiresharks(path, tshark):
    """On the project's captures what JA3 and JA3S hash, and the hashes, are those of tshark's first hellos."""
    expected: dict[tuple[str, ...], list[str]] = {}
    full = ("tls.handshake.ja3_full", "tls.handshake.ja3", "tls.handshake.ja3s_full", "tls.handshake.ja3s")
    for row in tshark_fields(tshark, path, "tls.handshake.ja3 or tls.handshake.ja3s", *ENDS, *full):
        expected.setdefault((row[0] + row[1], row[2], row[3] + row[4], row[5]), row[6:])
    found = {}
    for (source, port, target, target_port), stream in tcp_streams(path).items():
        said = clear_messages(stream)
        hello, answer = (next((body for code, body in said if code == wanted), None) for wanted in (1, 2))
        ends = (source, str(port), target, str(target_port))
        if hello is not None:
            offer = ClientHello.parse(hello)
            found[ends] = [f.ja3_text(offer), f.ja3(offer), "", ""]
        elif answer is not None:
            choice = ServerHello.parse(answer)
            found[ends] = ["", "", f.ja3s_text(choice), f.ja3s(choice)]
    assert {ends: found.get(ends) for ends in expected} == expected


# Where another tool's JA4 is not what the specification says for the bytes
NOT_TO_THE_LETTER = {
    # the ALPN value is 0xBA 0xAD: its hexadecimal form begins with b and ends with d; FoxIO's older rule wrote 99
    ("ja4-tls-non-ascii-alpn.pcapng", "t13d151699_8daaf6152771_e5627efa2ab1"): "t13d1516bd_8daaf6152771_e5627efa2ab1",
    # the ALPN value is http/1.1: first and last character are h and 1; nDPI wrote ht
    (
        "ndpi-tls_1.3_unidirectional_client.pcapng",
        "t13d1713ht_5b57614c22b0_352634941f3a",
    ): "t13d1713h1_5b57614c22b0_352634941f3a",
}


def test_reference_captures_have_the_fingerprints_other_tools_give():
    """On captures with plain links JA3, JA3S and JA4 equal other tools' values, but for two listed with their bytes."""
    if not (REFERENCE / "expected.csv").exists():
        pytest.skip("no reference captures beside the project")
    wrong, compared = [], 0
    with (REFERENCE / "expected.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        streams = tcp_streams(REFERENCE / "captures" / row["capture"])
        ends = (row["client_ip"], int(row["client_port"]), row["server_ip"], int(row["server_port"]))
        found = {}
        for code, body in reversed(clear_messages(streams.get(ends, b""))):
            if code == 1:
                found |= {"ja3": f.ja3(ClientHello.parse(body)), "ja4": f.ja4(ClientHello.parse(body))}
        for code, body in reversed(clear_messages(streams.get(ends[2:] + ends[:2], b""))):
            if code == 2 and not ServerHello.parse(body).is_retry:
                found["ja3s"] = f.ja3s(ServerHello.parse(body))
        for field, value in found.items():
            expected = NOT_TO_THE_LETTER.get((row["capture"], row[field]), row[field])
            compared += bool(expected)
            if expected and value != expected:
                wrong.append((row["capture"], field, value, expected))
    assert wrong == []
    assert compared > 160
