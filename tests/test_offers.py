"""Offers and certificate requests: each distinct one kept once, joined to its handshakes, equal to other readers'."""

import csv
import hashlib
import io
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conversation import CHANGE_CIPHER_SPEC, CLIENT, HANDSHAKE, SERVER, Talk, message, record
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tls_bytes import RANDOM, hello_body, server_body, u16s, vector

import tlspcap
from tlspcap import cli, rows, spread, tables
from tlspcap.errors import ArgumentError
from tlspcap.offer_rows import MAX_LISTED, _share_groups
from tlspcap.offers import certificate_request, hello
from tlspcap.schema import TABLES
from tlspcap.tables import Builder
from tlspcap.tls.certificates import distinguished_name
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.hellos import ClientHello
from tlspcap.tls.names import ExtensionType

SUITES = u16s(0x1301, 0xC02F)
VERSIONS = (43, vector(1, u16s(0x0304, 0x0303)))
GROUPS = (10, vector(2, u16s(29, 23)))
SHARES = (51, vector(2, u16s(29) + vector(2, bytes(32))))


def key_shares(shares: list[tuple[int, bytes]]) -> bytes:
    """The content of a key_share extension."""
    return vector(2, b"".join([u16s(group) + vector(2, key) for group, key in shares]))


def batched(content: bytes, size: int) -> list[bytes]:
    """Cut bytes into parts of a size."""
    return [content[at : at + size] for at in range(0, len(content), size)]


def read(*hellos: bytes, answer: bytes | None = None, then: tuple[bytes, ...] = ()) -> tlspcap.Capture:
    """Read conversations that begin with these ClientHellos, each with the same answer."""
    builder = Builder()
    for number, body in enumerate(hellos):
        talk = Talk().waits(number)
        talk.says(CLIENT, *(record(HANDSHAKE, part) for part in batched(message(1, body), 16_384)))
        if answer is not None:
            messages = b"".join([message(2, answer), *then])
            talk.says(SERVER, record(HANDSHAKE, messages))
        builder.add(rows.finish(talk.account(), talk.clock, 10**10, bytes([number])))
    return tlspcap.Capture(builder.frames())


def offered(*extensions: tuple[int, bytes], suites: bytes = SUITES) -> pd.Series:
    """The one row of `hellos` that a ClientHello makes."""
    (row,) = read(hello_body(*extensions, suites=suites)).hellos.to_dict("records")
    return pd.Series(row)


def test_a_hello_gives_each_list_in_the_clients_order() -> None:
    """Every list of an offer comes out in the client's order, under IANA's names, extensions by number."""
    found = read(
        hello_body(
            SHARES, VERSIONS, GROUPS,
            (13, vector(2, u16s(0x0804, 0x0403))), (50, vector(2, u16s(0x0401))),
            (16, vector(2, vector(1, b"h2"), vector(1, b"http/1.1"))),
            (19, vector(1, b"\2\0")), (20, vector(1, b"\0")), (27, vector(1, u16s(2, 1))), (45, vector(1, b"\1\0")),
            suites=SUITES,
        )
    ).hello(0)  # fmt: skip
    assert found.chosen is None
    assert found.offered is not None
    assert found.offered.versions == ("TLS 1.3", "TLS 1.2")
    assert found.offered.cipher_suites == ("TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
    assert (found.offered.groups, found.offered.key_shares) == (("x25519", "secp256r1"), ("x25519",))
    assert found.offered.signature_schemes == ("rsa_pss_rsae_sha256", "ecdsa_secp256r1_sha256")
    assert found.offered.certificate_signature_schemes == ("rsa_pkcs1_sha256",)
    assert found.offered.alpn == ("h2", "http/1.1")
    assert found.offered.client_certificate_types == ("Raw Public Key", "X509")
    assert found.offered.server_certificate_types == ("X509",)
    assert found.offered.certificate_compressions == ("brotli", "zlib")
    assert found.offered.psk_modes == ("psk_dhe_ke", "psk_ke")
    assert found.offered.extensions[:3] == ("supported_groups", "signature_algorithms",
                                            "application_layer_protocol_negotiation")  # fmt: skip


def test_ja4_r_of_a_hello_hashes_to_its_ja4(sample: Callable[[str], Path]) -> None:
    """The raw form of each client's JA4 stands once per distinct hello, and its lists hash to the JA4 of every row."""
    cap = tlspcap.read(sample("old-app.pcap"))
    for handshake, row in cap.handshakes.iterrows():
        raw = cap.hello(handshake).ja4_r
        first, suites, rest = raw.split("_", 2)
        hashes = [hashlib.sha256(part.encode()).hexdigest()[:12] for part in (suites, rest)]
        assert "_".join([first, *hashes]) == row["ja4"]


def test_a_choice_is_one_of_each() -> None:
    """A ServerHello's certificate types and ALPN are its choice, beside version, suite and group."""
    answer = server_body((19, b"\2"), (20, b"\2"), (16, vector(2, vector(1, b"h2"))))
    chosen = read(hello_body(), answer=answer).hello(0).chosen
    assert chosen is not None
    assert (chosen.version, chosen.cipher_suite, chosen.group) == ("TLS 1.2", "TLS_AES_128_GCM_SHA256", None)
    assert (chosen.client_certificate_type, chosen.server_certificate_type) == ("Raw Public Key",) * 2
    assert chosen.alpn == "h2"
    assert chosen.extensions == (
        "application_layer_protocol_negotiation", "client_certificate_type", "server_certificate_type",
    )  # fmt: skip


GREASE_SHARES = (51, vector(2, u16s(0x2A2A) + vector(2, b"\0"), u16s(29) + vector(2, b"\7" * 32)))


@pytest.mark.parametrize(
    "other",
    [
        hello_body(GROUPS, VERSIONS, SHARES, (0, b"\0\x06\0\0\x03abc"), suites=SUITES).replace(RANDOM, RANDOM[::-1]),
        hello_body((0, b"\0\x06\0\0\x03xyz"), SHARES, VERSIONS, GROUPS, suites=SUITES),
        hello_body((0x1A1A, b"\0"), VERSIONS, GROUPS, (0, b""), GREASE_SHARES, suites=u16s(0x3A3A) + SUITES),
        hello_body((0, b""), (43, vector(1, u16s(0x4A4A, 0x0304, 0x0303))),
                   (10, vector(2, u16s(0x5A5A, 29, 23))), SHARES, suites=SUITES),
    ],
    ids=["random", "name and order", "GREASE extensions", "GREASE values"],
)  # fmt: skip
def test_hellos_of_one_kind_are_one_row(other: bytes) -> None:
    """Hellos that differ in random values, names, keys, order of extensions and GREASE alone are one row, counted."""
    plain = hello_body((0, b"\0\x06\0\0\x03abc"), VERSIONS, GROUPS, SHARES, suites=SUITES)
    capture = read(plain, other)
    assert capture.hellos["handshakes"].tolist() == [2]
    assert capture.hello(0).offered == capture.hello(1).offered
    assert capture.hellos["first_seen"].tolist() == [capture.handshakes["time"].min()]
    assert capture.hellos["last_seen"].tolist() == [capture.handshakes["time"].max()]


VARIANTS = {
    "suites": hello_body(VERSIONS, GROUPS, SHARES, suites=SUITES[::-1]),
    "groups": hello_body(VERSIONS, (10, vector(2, u16s(29))), SHARES, suites=SUITES),
    "key shares": hello_body(VERSIONS, GROUPS, (51, vector(2)), suites=SUITES),
    "extensions": hello_body(VERSIONS, GROUPS, SHARES, (23, b""), suites=SUITES),
    "versions": hello_body(GROUPS, SHARES, suites=SUITES),
}


@pytest.mark.parametrize("what", VARIANTS)
def test_hellos_of_two_kinds_are_two_rows(what: str) -> None:
    """A difference in any list makes another row."""
    plain = hello_body(VERSIONS, GROUPS, SHARES, suites=SUITES)
    assert read(plain, VARIANTS[what]).hellos["handshakes"].tolist() == [1, 1]


def test_a_digest_does_not_change() -> None:
    """A digest is the same in every run and on every machine, so that stored tables join."""
    assert offered(VERSIONS, GROUPS, SHARES)["digest"] == "a2510edc5e8c3251"


def test_names_with_separators_are_split_again_without_doubt() -> None:
    """A comma in an application protocol is escaped, so that a cell has as many items as were offered."""
    found = read(hello_body((16, vector(2, vector(1, b"a,b"), vector(1, b"c"))))).hello(0).offered
    assert found is not None
    assert found.alpn == ("a\\x2cb", "c")


def test_lists_of_a_hostile_hello_are_cut_and_counted() -> None:
    """Of 32,000 suites the first are named and the others counted; two such hellos that differ at the end stay two."""
    many = u16s(*[0x1301] * 32_000)
    capture = read(hello_body(suites=many), hello_body(suites=many[:-2] + u16s(0x1302)))
    for cell in capture.hellos["cipher_suites"]:
        assert cell.count(",") == MAX_LISTED
        assert cell.endswith(f",… {32_000 - MAX_LISTED} more")
    assert len(capture.hellos) == 2


def test_a_missing_hello_is_none() -> None:
    """Where one of the hellos was not captured, that half is None, and the text says so."""
    builder, talk = Builder(), Talk()
    talk.says(SERVER, record(HANDSHAKE, message(2, server_body())))
    builder.add(rows.finish(talk.account(), talk.clock, 10**10, b""))
    found = tlspcap.Capture(builder.frames()).hello(0)
    assert found.offered is None
    assert found.chosen is not None
    assert "no ClientHello seen" in str(found)
    assert "no ServerHello seen" in str(read(hello_body()).hello(0))


def test_hostile_names_are_harmless_in_a_terminal_and_in_jupyter() -> None:
    """Terminal escapes and markup in an application protocol are escaped where a hello is shown."""
    found = read(hello_body((16, vector(2, vector(1, b"\x1b[31m<script>"))))).hello(0)
    assert "\x1b" not in repr(found)
    assert "\\x1b[31m<script>" in repr(found)
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()


# -- certificate requests -----------------------------------------------------------------------------------------

NAME = x509.Name([
    x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A; B, and C"),
    x509.NameAttribute(NameOID.COMMON_NAME, "Röot \\"),
])  # fmt: skip


def request(*authorities: bytes, types: bytes = b"\1\x40", schemes: bytes | None = u16s(0x0403)) -> bytes:
    """Return a CertificateRequest of TLS 1.2, or of TLS 1.1 without schemes."""
    listed = b"" if schemes is None else vector(2, schemes)
    return message(13, vector(1, types) + listed + vector(2, *(vector(2, name) for name in authorities)))


def test_a_certificate_request_gives_types_schemes_and_names() -> None:
    """Types, signature schemes and CA names come out in order, names as RFC 4514 writes them."""
    other = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other")])
    names = (NAME.public_bytes(), other.public_bytes())
    found = read(hello_body(), answer=server_body(), then=(request(*names),)).certificate_request(0)
    assert found is not None
    assert found.certificate_types == ("rsa_sign", "ecdsa_sign")
    assert found.signature_schemes == ("ecdsa_secp256r1_sha256",)
    assert found.authorities == ("CN=Röot \\\\,O=A\\3b B\\, and C,C=DE", "CN=Other")
    assert distinguished_name(names[0]) == NAME.rfc4514_string()


def test_before_tls12_a_request_has_no_schemes() -> None:
    """In TLS 1.1 the list of signature schemes is not there at all (RFC 4346 7.4.4)."""
    answer = server_body(version=0x0302)
    found = read(hello_body(), answer=answer, then=(request(schemes=None),)).certificate_request(0)
    assert found is not None
    assert (found.certificate_types, found.signature_schemes, found.authorities) == (("rsa_sign", "ecdsa_sign"), (), ())
    assert "any: none is named" in str(found)


def test_a_name_that_is_none_is_shown_as_bytes() -> None:
    """A CA name that does not parse is its bytes in hexadecimal, and hides no other."""
    found = read(hello_body(), answer=server_body(), then=(request(b"junk", NAME.public_bytes()),))
    asked = found.certificate_request(0)
    assert asked is not None
    assert asked.authorities[0] == "#6a756e6b"
    assert asked.authorities[1].startswith("CN=")
    assert found.certificate_requests["authority_count"].tolist() == [2]


def test_equal_requests_are_one_row_and_others_none(sample: Callable[[str], Path]) -> None:
    """Requests are kept once and counted; a handshake without a visible one has none."""
    capture = tlspcap.read(sample("mutual-tls.pcapng"))
    assert len(capture.certificate_requests) == 3
    asked = capture.handshakes["certificate_request_digest"].dropna()
    assert asked.value_counts().to_dict() == capture.certificate_requests.set_index("digest")["handshakes"].to_dict()
    sealed = capture.handshakes.index[capture.handshakes["client_auth"] == "hidden"]
    assert capture.certificate_request(int(sealed[0])) is None


# -- tables -------------------------------------------------------------------------------------------------------


def test_every_digest_leads_to_its_row(sample: Callable[[str], Path]) -> None:
    """Each digest of a handshake is in its table, as often as the table counts, and the table holds nothing else."""
    capture = tlspcap.read(sample("nginx-certificate.pcap"))
    for side in ("client", "server"):
        counted = capture.hellos[capture.hellos["sender"] == side].set_index("digest")["handshakes"]
        assert capture.handshakes[f"{side}_hello_digest"].value_counts().to_dict() == counted.to_dict()
    assert len(capture.hellos) < len(capture.handshakes) / 2


def test_tables_left_out_cost_nothing_and_say_so(sample: Callable[[str], Path]) -> None:
    """Without the table `hello` says how to get it; the handshakes keep their digests."""
    capture = tlspcap.read(sample("old-app.pcap"), tables=["handshakes"])
    assert set(capture.tables) == {"handshakes"}
    assert capture.handshakes["client_hello_digest"].notna().all()
    with pytest.raises(ArgumentError, match="hellos"):
        capture.hello(0)
    with pytest.raises(ArgumentError, match="there is no handshake 999"):
        tlspcap.read(sample("old-app.pcap")).hello(999)


def test_a_selection_narrows_the_hellos_too(sample: Callable[[str], Path]) -> None:
    """Hellos and requests of handshakes that are not selected are not kept."""
    everything = tlspcap.read(sample("old-app.pcap"))
    client = everything.handshakes["client_ip"].iloc[0]
    narrowed = tlspcap.read(sample("old-app.pcap"), select=tlspcap.Selection(host=client))
    assert set(narrowed.hellos["digest"]) == {
        digest
        for column in ("client_hello_digest", "server_hello_digest")
        for digest in narrowed.handshakes[column].dropna()
    }
    assert len(narrowed.hellos) < len(everything.hellos)


@pytest.mark.parametrize("name", ["hellos", "certificate_requests"])
def test_pieces_of_a_scan_count_up_to_the_whole(name: str, sample: Callable[[str], Path]) -> None:
    """Each piece lists what its handshakes showed; the counts of all pieces are the whole's, and digests join them."""
    path = sample("mutual-tls.pcapng")
    whole = tlspcap.read(path).tables[name].set_index("digest")
    pieces = list(spread.scan_tables(path, rows=9, chunk_bytes=20_000))
    assert len(pieces) > 3
    together = pd.concat([piece.frames[name] for piece in pieces]).groupby("digest")
    assert together["handshakes"].sum().to_dict() == whole["handshakes"].to_dict()
    assert together["first_seen"].min().to_dict() == whole["first_seen"].to_dict()
    assert together["last_seen"].max().to_dict() == whole["last_seen"].to_dict()


@pytest.mark.parametrize("name", ["hellos", "certificate_requests", "certificates"])
def test_pieces_put_together_are_the_whole(name: str, sample: Callable[[str], Path]) -> None:
    """What handshakes share, put together from many pieces, has each row once, with the counts of the whole."""
    path, key = sample("mutual-tls.pcapng"), list(TABLES[name].key)
    pieces = [piece.frames[name] for piece in spread.scan_tables(path, rows=9, chunk_bytes=20_000)]
    found, whole = tables.together(TABLES[name], pieces), tlspcap.read(path).tables[name]
    assert sum(map(len, pieces)) > len(whole)
    pd.testing.assert_frame_equal(
        found.sort_values(key, ignore_index=True), whole.sort_values(key, ignore_index=True)
    )
    pd.testing.assert_frame_equal(tables.together(TABLES[name], [tables.empty(name)]), tables.empty(name))


def test_joined_captures_still_answer(sample: Callable[[str], Path]) -> None:
    """On tables of several captures joined, a handshake's offers are found as before."""
    captures = [tlspcap.read(sample(name)) for name in ("old-app.pcap", "mutual-tls.pcapng")]
    joined = {name: pd.concat([c.tables[name] for c in captures], ignore_index=True) for name in TABLES}
    assert hello(0, joined).offered == captures[0].hello(0).offered
    first = len(captures[0].handshakes)
    assert hello(first, joined).offered == captures[1].hello(0).offered
    request_again = certificate_request(first, joined)
    assert request_again is not None
    assert request_again.authorities == captures[1].certificate_request(0).authorities  # type: ignore[union-attr]


def test_the_table_command_writes_them(
    sample: Callable[[str], Path], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`table --table hellos` writes every column, and lists with commas stay one cell."""
    path = str(sample("old-app.pcap"))
    assert cli.main(["table", path, "--quiet", "--table", "hellos", "--format", "csv"]) == 0
    written = list(csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode())))
    assert list(written[0]) == TABLES["hellos"].names
    assert [row["cipher_suites"] for row in written] == tlspcap.read(path).hellos["cipher_suites"].tolist()


# -- another reader -----------------------------------------------------------------------------------------------

FIELDS = {
    "cipher_suites": "tls.handshake.ciphersuite",
    "groups": "tls.handshake.extensions_supported_group",
    "key_shares": "tls.handshake.extensions_key_share_group",
    "signature_schemes": "tls.handshake.sig_hash_alg",
    "extensions": "tls.handshake.extension.type",
}


@pytest.mark.parametrize("name", ["old-app.pcap", "mutual-tls.pcapng", "nginx-certificate.pcap"])
def test_offers_equal_wiresharks(name: str, sample: Callable[[str], Path], tshark: str) -> None:
    """Every ClientHello of a sample lists what tshark lists: suites, groups, key shares, schemes, extensions."""
    from tlspcap.tls import names

    naming = {
        "cipher_suites": names.cipher_name, "groups": names.group_name, "key_shares": names.group_name,
        "signature_schemes": names.signature_scheme_name, "extensions": names.extension_name,
    }  # fmt: skip
    fields = itertools.chain.from_iterable(("-e", field) for field in ("frame.number", *FIELDS.values()))
    command = [tshark, "-n", "-r", str(sample(name)), "-Y", "tls.handshake.type == 1", "-T", "fields", *fields]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    theirs = {int(frame): cells for frame, *cells in (line.split("\t") for line in told)}
    capture, checked = tlspcap.read(sample(name)), 0
    for number, frame in capture.handshakes["frame"].items():
        ours = capture.hello(int(number)).offered
        if frame not in theirs or ours is None:
            continue  # tshark names the frame that completes a hello, here the one that begins it
        checked += 1
        for column, cell in zip(FIELDS, theirs[frame], strict=True):
            codes = [int(code, 0) for code in cell.split(",") if code]
            codes = sorted(codes) if column == "extensions" else codes
            assert list(getattr(ours, column)) == [naming[column](code) for code in codes], (frame, column)
    assert checked > 20


def test_a_sealed_request_is_not_guessed() -> None:
    """In TLS 1.3 the request is sealed: no digest, no request."""
    answer = server_body((43, u16s(0x0304)), (51, u16s(29) + vector(2, bytes(32))))
    builder, talk = Builder(), Talk()
    talk.says(CLIENT, record(HANDSHAKE, message(1, hello_body(VERSIONS, GROUPS, SHARES))))
    talk.says(SERVER, record(HANDSHAKE, message(2, answer)), record(CHANGE_CIPHER_SPEC, b"\1"), record(23, bytes(60)))
    builder.add(rows.finish(talk.account(), talk.clock, 10**10, b""))
    assert tlspcap.Capture(builder.frames()).certificate_request(0) is None


@given(st.binary(max_size=24) | st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=3))).map(key_shares))
def test_groups_of_key_shares_are_read_soon_and_slowly_alike(content: bytes) -> None:
    """The groups that a row's shape rests on are those that the hello gives, whatever its key share holds."""
    for code in (ExtensionType.KEY_SHARE, ExtensionType.KEY_SHARE_DRAFT):
        found = ClientHello(0x0303, b"", b"", (), b"", Extensions(((code, content),)))
        assert _share_groups(found) == found.key_share_groups
