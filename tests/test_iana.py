"""The registries in `tlspcap/tls/iana`: dated, complete, equal to other tools' lists, refreshed from IANA's files."""

import contextlib
import csv
import functools
import http.server
import importlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import date
from enum import IntEnum
from pathlib import Path

import pytest
from scapy_tls import layers

from tlspcap.tls import names
from tlspcap.tls.iana import refresh

FOLDER = Path(refresh.__file__).parent
GROUPS = """\
Value,Description,DTLS-OK,Recommended,Reference,Comment
0,Reserved,,,[RFC8447],
23,secp256r1,Y,Y,[RFC8422],
42-255,Unassigned,,,,
508-511,Reserved for Private Use,,,[RFC7919],
25497,X25519Kyber768Draft00 (OBSOLETE),Y,N,[draft],"Pre-standards, obsolete"
"""
SUITES = """\
Value,Description,DTLS-OK,Recommended,Reference
"0x00,0x1C-1D","Reserved to avoid conflicts with
SSLv3",,,[RFC5246]
"0x13,0x01",TLS_AES_128_GCM_SHA256,Y,Y,[RFC8446]
"0xFF,0x00-FF",Reserved for Private Use,,,[RFC8446]
"0x13,0x02"
"""
EXTENSIONS = """\
Value,Extension Name,TLS 1.3,DTLS-Only,Recommended,Reference,Comment
0,server_name,"CH, EE, CR",N,Y,[RFC6066][RFC9261],
40,Reserved,,,D,[RFC9847][tls-reg-review mailing list],
63-2569,Unassigned,,,,,
65281,renegotiation_info,-,N,Y,[RFC5746],
"""


@pytest.mark.parametrize("registry", refresh.REGISTRIES, ids=lambda registry: registry.file)
def test_every_registry_carries_its_name_and_date(registry):
    """Each file begins with the registry's title, IANA's file name and a date."""
    first = (FOLDER / registry.file).read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(rf"# {re.escape(registry.title)}, IANA {registry.source}, \d{{4}}-\d\d-\d\d", first)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.name)
def test_codes_are_ascending_and_names_present(path):
    """Each code stands once, in ascending order, with a name of one line."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines))
    assert rows.pop(0) == ["Value", "Description"]
    codes = [int(code, 0) for code, _ in rows]
    assert codes == sorted(set(codes))
    assert all(name and name.isascii() for _, name in rows)


@pytest.mark.parametrize(
    ("enum", "file"),
    [
        (names.ContentType, "content-types.csv"),
        (names.HandshakeType, "handshake-types.csv"),
        (names.AlertDescription, "alerts.csv"),
        (names.ExtensionType, "extension-types.csv"),
    ],
)
def test_enums_agree_with_the_registry(enum: type[IntEnum], file):
    """Every member of an enum has the name that the registry gives its code, but for two that are called otherwise."""
    other = {"ALPN": "application_layer_protocol_negotiation", "EXTENDED_MASTER_SECRET": "extended_main_secret"}
    registered = dict(names.registry(file))
    if enum is names.ExtensionType:
        registered |= names.registry("unregistered-extension-types.csv")
    assert {m.name: registered[m] for m in enum} == {m.name: other.get(m.name, m.name.lower()) for m in enum}


@functools.cache
def wireshark_values() -> str:
    """Return Wireshark's list of the names of values."""
    return subprocess.run(["tshark", "-G", "values"], capture_output=True, text=True, check=True).stdout


def wireshark(field: str) -> dict[int, str]:
    """Return Wireshark's names of one field's values."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    rows = (line.split("\t") for line in wireshark_values().splitlines() if field in line)
    return {int(row[2], 0): row[3] for row in rows if row[:2] == ["V", field]}


def plain(name: str) -> str:
    """Return a name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize(
    ("field", "file", "differing"),
    [
        ("tls.handshake.ciphersuite", "cipher-suites.csv", set()),
        ("tls.alert_message.desc", "alerts.csv", set()),
        # Wireshark calls extension 34 delegated_credentials, and 23 as before RFC 9846 renamed it
        ("tls.handshake.extension.type", "extension-types.csv", {23, 34}),
        # Wireshark calls message 21 client_certificate_url
        ("tls.handshake.type", "handshake-types.csv", {21}),
        # until their registration in 2025, 512 to 514 were used by experiments with other post-quantum schemes
        ("tls.handshake.extensions_supported_group", "supported-groups.csv", {512, 513, 514}),
        ("tls.record.content_type", "content-types.csv", {25}),
        ("tls.handshake.cert_type", "client-certificate-types.csv", set()),
    ],
)
def test_names_equal_wiresharks(field, file, differing):
    """Where Wireshark knows a registered code too, it has the same name, but for the differences listed."""
    ours, theirs = names.registry(file), wireshark(field)
    common = ours.keys() & theirs.keys()
    assert len(common) > len(ours) * 0.8 or len(common) > 4
    assert {code for code in common if plain(ours[code]) != plain(theirs[code])} <= differing


def scapys(module: str, table: str) -> dict[int, str]:
    """Return one of scapy's tables of names."""
    layers()  # or skip
    found: dict[int, str] = getattr(importlib.import_module(f"scapy.layers.tls.{module}"), table)
    return found


def test_cipher_suites_equal_scapys():
    """Where scapy knows a cipher suite too, it has the same name, but for two spellings of scapy's own."""
    theirs = scapys("crypto.suites", "_tls_cipher_suites")
    differing = {code for code, name in theirs.items() if names.cipher_name(code) != name}
    assert differing == {0x0026, 0x0029, 0xC0AA, 0xC0AB}


@pytest.mark.parametrize(
    ("module", "table", "file", "differing"),
    [
        # scapy keeps the mark RESERVED
        ("record", "_tls_alert_description", "alerts.csv", {41, 60}),
        ("record", "_tls_type", "content-types.csv", set()),
        # scapy calls message 4 session_ticket
        ("handshake", "_tls_handshake_type", "handshake-types.csv", {4}),
        # scapy writes alpn and early_data_indication, and 23 as before RFC 9846 renamed it
        ("extensions", "_tls_ext", "extension-types.csv", {16, 23, 42}),
        ("crypto.groups", "_tls_named_groups", "supported-groups.csv", set()),
    ],
)
def test_names_equal_scapys(module, table, file, differing):
    """Where scapy knows a registered code too, it has the same name, but for the differences listed."""
    ours, theirs = names.registry(file), scapys(module, table)
    common = ours.keys() & theirs.keys()
    assert len(common) >= len(ours) / 2
    assert {code for code in common if plain(ours[code]) != plain(theirs[code])} == differing


@pytest.mark.parametrize(
    ("field", "table", "file", "documents"),
    [
        (
            "tls.alert_message.desc", ("record", "_tls_alert_description"), "alerts.csv",
            {52: "RFC 9147", 117: "RFC 9846"},
        ),
        (
            "tls.record.content_type", ("record", "_tls_type"), "content-types.csv",
            {26: "RFC 9147", 27: "RFC 9853"},
        ),
        (
            "tls.handshake.type", ("handshake", "_tls_handshake_type"), "handshake-types.csv",
            {9: "RFC 9147", 10: "RFC 9147", 17: "RFC 9261", 26: "RFC 8870", 254: "RFC 9846"},
        ),
    ],
)  # fmt: skip
def test_every_code_entered_by_hand_has_a_witness(field, table, file, documents):
    """A code that neither Wireshark nor scapy knows stands in the document named here; none is missing."""
    ours, theirs = names.registry(file), wireshark(field).keys() | scapys(*table).keys()
    assert ours.keys() - theirs <= documents.keys()
    # of drafts: end_of_early_data as an alert, encrypted_extensions as message 67; of SSL 2.0: message 7
    assert theirs - ours.keys() <= {1, 7, 67}


def test_refresh_reads_the_extension_types(tmp_path):
    """IANA calls the column of names in its file of extension types Extension Name."""
    (tmp_path / "tls-extensiontype-values-1.csv").write_text(EXTENSIONS)
    written = refresh.refresh([str(tmp_path)], tmp_path, date(2026, 11, 3))
    assert written[0].read_text().splitlines()[1:] == ["Value,Description", "0,server_name", "65281,renegotiation_info"]


def test_refresh_reads_ianas_format(tmp_path):
    """Ranges, unassigned and reserved codes are left out; what remains is written with title and date."""
    (tmp_path / "tls-parameters-8.csv").write_text(GROUPS)
    (tmp_path / "tls-parameters-4.csv").write_text(SUITES)
    into = tmp_path / "into"
    into.mkdir()
    assert refresh.main([str(tmp_path), "--date", "2026-11-03", "--into", str(into)]) == 0
    assert (into / "supported-groups.csv").read_text() == (
        "# TLS Supported Groups, IANA tls-parameters-8.csv, 2026-11-03\nValue,Description\n"
        "23,secp256r1\n25497,X25519Kyber768Draft00 (OBSOLETE)\n"
    )
    assert (into / "cipher-suites.csv").read_text() == (
        "# TLS Cipher Suites, IANA tls-parameters-4.csv, 2026-11-03\nValue,Description\n0x1301,TLS_AES_128_GCM_SHA256\n"
    )
    assert sorted(path.name for path in into.iterdir()) == ["cipher-suites.csv", "supported-groups.csv"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, and give its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_refresh_downloads_every_registry_from_where_iana_has_it(tmp_path):
    """Of a URL that ends in a slash every file is downloaded, those of extensions from their own group."""
    for registry in refresh.REGISTRIES:
        file = tmp_path / registry.path
        file.parent.mkdir(exist_ok=True)
        file.write_text("Value,Description\n7,seven\n")
    assert {path.parent.name for path in tmp_path.glob("*/*.csv")} == {"tls-parameters", "tls-extensiontype-values"}
    (tmp_path / "tls-extensiontype-values" / "tls-extensiontype-values-1.csv").write_text(EXTENSIONS)
    into = tmp_path / "into"
    into.mkdir()
    with served(tmp_path) as url:
        written = refresh.refresh([url], into, date(2026, 11, 3))
    assert [path.name for path in written] == [registry.file for registry in refresh.REGISTRIES]
    assert "65281,renegotiation_info" in (into / "extension-types.csv").read_text()


@pytest.mark.parametrize(
    "header", ["Value,Description", "Value,Extension Name", "Value,Name", "Algorithm Number,Description"]
)
def test_columns_are_found_by_any_name_that_iana_gives_them(header):
    """IANA calls the columns of codes and names otherwise in some of its files."""
    assert list(refresh.entries(f"{header},Reference\n1,zlib,[RFC8879]\n")) == [(1, "zlib")]


def test_refresh_downloads_a_url(tmp_path):
    """A URL of one of IANA's files is downloaded and dated by the day."""
    (tmp_path / "tls-parameters-8.csv").write_text(GROUPS)
    with served(tmp_path) as url:
        written = refresh.refresh([f"{url}tls-parameters-8.csv"], tmp_path)
    assert [path.name for path in written] == ["supported-groups.csv"]
    assert "23,secp256r1" in written[0].read_text()


def test_refresh_says_when_nothing_was_found(tmp_path, capsys):
    """A folder without any of IANA's files gives exit code 2 and the names it looked for."""
    assert refresh.main([str(tmp_path)]) == 2
    assert "tls-parameters-4.csv" in capsys.readouterr().err


def test_refresh_refuses_what_is_no_registry(tmp_path):
    """A file without IANA's columns, such as an error page, overwrites nothing."""
    (tmp_path / "tls-parameters-8.csv").write_text("<html>Not found</html>")
    with pytest.raises(ValueError, match="no columns Value and Description"):
        refresh.refresh([str(tmp_path)], tmp_path, date(2026, 11, 3))
    assert not (tmp_path / "supported-groups.csv").exists()
