"""`extract(anonymize=True)`: nothing that says who, and every fact about the handshakes."""

import io
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import pandas as pd
import pytest
from extracts import facts_of, rows_of
from hypothesis import given
from hypothesis import strategies as st
from packet_builder import reference_captures

import tlspcap
from tlspcap.anonymize import asn1, dialogue, messages
from tlspcap.anonymize.plans import Plan
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.tls import starttls
from tlspcap.tls.certificates import describe
from tlspcap.tls.handshake import Follower

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample_captures").glob("*.pcap*"))
OTHERS = [
    *sorted((ROOT / "tests" / "captures").glob("*.pcap")),
    *sorted((ROOT / "lab" / "captures").glob("*.pcap")),
]
FEW = [
    path for path in OTHERS if path.stem in ("nobody", "lookers", "rustls", "haproxy", "java-25", "two-sides-client")
]
REFERENCE = [
    "ndpi-vxlan.pcap", "zeek-smtp-starttls.pcap", "zeek-imap-starttls.pcap", "zeek-xmpp-starttls.pcap",
    "zeek-rdp-to-ssl.pcap", "zeek-connect-with-header.pcap", "ja4-socks4-https.pcap", "zeek-psql-aws-ssl-require.pcap",
    "zeek-client-certificate.pcap", "zeek-ocsp-stapling.pcap", "zeek-tls13-ech.pcap", "ja4-browsers-x509.pcapng",
]  # fmt: skip
REPLACED = [
    "client_ip", "server_ip", "sni", "client_random", "server_random", "certificate_sha256", "chain_sha256",
    "client_certificate_sha256",
    "certificate_request_digest",
]  # fmt: skip
KEY = bytes(32)
NAMES = Pseudonyms(KEY)


@pytest.fixture(autouse=True)
def _one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run have the same key, so that what the tests look for is not there by chance."""
    monkeypatch.setattr("secrets.token_bytes", lambda size: KEY[:size])


def anonymized(source: Path | io.BytesIO) -> io.BytesIO:
    """Extract all handshakes of a capture, anonymized."""
    return io.BytesIO(once(source) if isinstance(source, Path) else extracted(source))


@cache
def once(source: Path) -> bytes:
    """Do it once for each file: the key is the same."""
    return extracted(source)


def extracted(source: Path | io.BytesIO) -> bytes:
    """Extract all handshakes of a capture, anonymized."""
    file = io.BytesIO()
    tlspcap.extract(source, handshakes=rows_of(source), output=file, anonymize=True)
    return file.getvalue()


def without_quotes(rows: pd.DataFrame) -> pd.DataFrame:
    """What rows say, but for names, and for words of a peer that a reason quotes."""
    facts = facts_of(rows, REPLACED)
    return facts.assign(reason=facts["reason"].str.replace(r'".*"', "", regex=True))


def packets_of(capture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The addresses and the payload of each packet of a little-endian pcap of raw IP."""
    at = 24
    while at < len(capture):
        size = struct.unpack_from("<I", capture, at + 8)[0]
        packet = capture[at + 16 : at + 16 + size]
        ends, tcp = (packet[12:20], packet[20:]) if packet[0] >> 4 == 4 else (packet[8:40], packet[40:])
        yield ends, tcp[tcp[12] >> 4 << 2 :]
        at += 16 + size


def names_of(path: Path) -> set[bytes]:
    """Every name of a capture that is long enough to be looked for: host names, and what stands in certificates."""
    cap = tlspcap.read(path, embedded_secrets=False, progress=False)
    found = set(cap.handshakes["sni"].dropna())
    for name in [*cap.certificates["subject"].dropna(), *cap.certificates["issuer"].dropna()]:
        found |= {part.partition("=")[2].replace("\\", "") for part in re.split(r"(?<!\\)[,+]", name)}
    for names in cap.certificates["san"].dropna():
        found |= set(re.split(r"[,\s]+", names))
    return {name.lower().encode() for name in found if len(name) >= 6 and not name.startswith("#")}


def reference(name: str) -> Path:
    """A reference capture, where they are."""
    for path in reference_captures():
        if path.name == name:
            return path
    pytest.skip("the reference captures are not here")


def assert_anonymous(path: Path) -> None:
    """No name and no address of a capture is in its anonymized extract, and its rows are the same but for those."""
    rows, out = rows_of(path), anonymized(path)
    content = out.getvalue().lower()
    assert not [name for name in names_of(path) if name in content]
    addresses = set(rows["client_ip"]) | set(rows["server_ip"])
    assert not [address for address in addresses if address.encode() in content]
    packed = {ip_address(address).packed for address in addresses}
    for ends, payload in packets_of(out.getvalue()):
        assert not [address for address in packed if address in ends or address in payload]
    pd.testing.assert_frame_equal(without_quotes(rows), without_quotes(rows_of(out)))


# -- whole captures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SAMPLES, *OTHERS], ids=lambda path: path.stem)
def test_nothing_tells_who_it_was(path: Path) -> None:
    """Samples and recordings keep outcome, choices, fingerprints and times, and lose every name and address."""
    assert_anonymous(path)


@pytest.mark.parametrize("name", REFERENCE)
def test_captures_of_others_lose_their_names_too(name: str) -> None:
    """So do captures of STARTTLS, proxies, tunnels, client certificates and ECH that others recorded."""
    assert_anonymous(reference(name))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_records_messages_and_alerts_stay(path: Path) -> None:
    """The tables of records, messages and alerts are the same, and so is what was odd."""
    before, after = (tlspcap.read(one, embedded_secrets=False, progress=False) for one in (path, anonymized(path)))
    for table in ("records", "messages", "alerts"):
        left, right = (
            cap.tables[table].drop(columns=["id", "capture", "stream", "frame"], errors="ignore")
            for cap in (before, after)
        )
        pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True))
    kinds = [sorted(cap.notes["kind"][cap.notes["id"].notna()]) for cap in (before, after)]
    assert kinds[0] == kinds[1]


def test_names_go_on_fitting() -> None:
    """A host name that stood in a certificate, also behind a wildcard, still does, and another still does not."""
    path = ROOT / "sample_captures" / "nginx-certificate.pcap"
    fits = []
    for source in (path, anonymized(path)):
        cap = tlspcap.read(source, embedded_secrets=False, progress=False)
        san = cap.certificates.set_index("sha256")["san"]
        rows = cap.handshakes.dropna(subset=["sni", "certificate_sha256"])
        fits.append([_fits(sni, san[leaf]) for sni, leaf in zip(rows["sni"], rows["certificate_sha256"], strict=True)])
    assert fits[0] == fits[1]
    assert set(fits[0]) == {True, False}


def _fits(name: str, san: str) -> bool:
    listed = re.split(r"[,\s]+", san)
    return name in listed or "*." + name.partition(".")[2] in listed


def test_chains_stay_chains() -> None:
    """Each certificate whose issuer is another's subject still has that issuer, and dates and keys stay."""
    path = ROOT / "sample_captures" / "nginx-certificate.pcap"
    shapes = []
    for source in (path, anonymized(path)):
        table = tlspcap.read(source, embedded_secrets=False, progress=False).certificates
        table = table.sort_values(["first_seen", "not_before", "key_bits", "handshakes"], kind="stable")
        subjects = table["subject"].tolist()
        places = [sorted(at for at, subject in enumerate(subjects) if subject == issuer) for issuer in table["issuer"]]
        kept = table[["not_before", "not_after", "key_type", "key_bits", "signature_algorithm", "self_signed", "is_ca"]]
        shapes.append((sorted(map(len, places)), sorted(map(str, kept.to_numpy().tolist()))))
    assert shapes[0] == shapes[1]


def test_two_runs_have_nothing_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another key, the same capture gets other names."""
    path = ROOT / "sample_captures" / "old-app.pcap"
    one = rows_of(io.BytesIO(extracted(path)))
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"another key"[:size])
    other = rows_of(io.BytesIO(extracted(path)))
    assert not set(one["sni"].dropna()) & set(other["sni"].dropna())


def test_application_data_is_zeros() -> None:
    """Of application data only the record headers are left."""
    path = ROOT / "sample_captures" / "intermittent-alert.pcap"
    for _, payload in packets_of(anonymized(path).getvalue()):
        if payload[:1] == b"\x17":
            size = int.from_bytes(payload[3:5])
            assert payload[5 : 5 + size] == bytes(len(payload[5 : 5 + size]))


def test_checksums_fit() -> None:
    """IP and TCP checksums are right where the packet is whole."""
    path = ROOT / "sample_captures" / "intermittent-alert.pcap"
    content, at = anonymized(path).getvalue(), 24
    while at < len(content):
        size = struct.unpack_from("<I", content, at + 8)[0]
        packet = content[at + 16 : at + 16 + size]
        pseudo = packet[12:20] + struct.pack(">HH", 6, len(packet) - 20)
        assert _sum(packet[:20]) == _sum(pseudo + packet[20:]) == 0xFFFF
        at += 16 + size


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_name_in_pieces_is_replaced_whole(size: int) -> None:
    """However TCP cut the hello, its name is gone from all packets, those that were sent again included."""
    path = ROOT / "sample_captures" / "intermittent-alert.pcap"
    source = io.BytesIO(recut(path.read_bytes(), size, first=12))
    rows, out = rows_of(source), anonymized(source)
    after = rows_of(out)
    assert rows["sni"].notna().any()
    pd.testing.assert_frame_equal(without_quotes(rows), without_quotes(after))
    streams: dict[bytes, bytes] = {}
    for ends, payload in packets_of(out.getvalue()):
        streams[ends] = streams.get(ends, b"") + payload
    for name in rows["sni"].dropna():  # pieces of one byte come twice: every other byte is the stream
        assert not [said for said in streams.values() if name.encode() in said or name.encode() in said[::2]]


def recut(capture: bytes, size: int, first: int) -> bytes:
    """The first packets of a pcap of IPv4 over Ethernet, their payloads in pieces, each piece sent twice."""
    out, at = [capture[:24]], 24
    for _ in range(first):
        length = struct.unpack_from("<I", capture, at + 8)[0]
        time, frame = capture[at : at + 8], capture[at + 16 : at + 16 + length]
        head = 34 + (frame[46] >> 4 << 2)
        stop = 14 + int.from_bytes(frame[16:18])
        seq = int.from_bytes(frame[38:42])
        for low in range(head, stop, size) if stop > head else [head]:
            part = frame[low : min(low + size, stop)]
            new = frame[:16] + (head - 14 + len(part)).to_bytes(2) + frame[18:38]
            new += ((seq + low - head) % 2**32).to_bytes(4) + frame[42:head] + part
            record = time + struct.pack("<II", len(new), len(new)) + new
            out += [record] * (2 if part else 1)
        at += 16 + length
    return b"".join(out)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("path", [*SAMPLES, *FEW], ids=lambda path: path.stem)
def test_wireshark_finds_nothing_malformed(path: Path, tmp_path: Path) -> None:
    """Wireshark reads as many hellos and certificates as before, and finds no packet malformed that was not."""
    out = tmp_path / "out.pcap"
    out.write_bytes(anonymized(path).getvalue())
    counts, malformed = [], []
    for capture in (path, out):
        fields = ["tls.handshake.type", "_ws.malformed", "frame.time_epoch", "tcp.seq_raw"]
        shown = [part for field in fields for part in ("-e", field)]
        command = ["tshark", "-r", str(capture), "-T", "fields", *shown]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        types = [kind for line in lines for kind in line[0].split(",")]
        counts.append([types.count(kind) for kind in ("1", "2", "11", "12", "13", "16")])
        malformed.append({(time, seq) for _, wrong, time, seq in lines if wrong})
    assert malformed[1] <= malformed[0]
    assert counts[0] == counts[1]


# -- one thing at a time ----------------------------------------------------------------------------------------


@given(st.lists(st.text("abcxyz019", min_size=1, max_size=8), min_size=2, max_size=6, unique=True))
def test_words_stay_apart(words: list[str]) -> None:
    """Two words never become one, no short word stays what it was, and length and kinds of letters stay."""
    new = [NAMES.word(word.encode()).decode() for word in words]
    assert len(set(new)) == len(words)
    for old, other in zip(words, new, strict=True):
        assert old != other
        assert [letter.isdigit() for letter in old] == [letter.isdigit() for letter in other]


@given(st.binary(max_size=300))
def test_any_bytes_keep_their_length(data: bytes) -> None:
    """Whatever stands in place of a message, a certificate or a dialogue is as long as it was, and nothing raises."""
    for code in range(26):
        assert len(messages.message(code, data, messages.Choice(), NAMES)) == len(data)
    assert len(asn1.replaced(data, NAMES)) == len(asn1.certificate(data, NAMES)) == len(data)
    assert len(messages.ssl2_message(data, NAMES)) == len(data)
    for way in (None, "none", "smtp", *dialogue._BINARY):
        assert len(dialogue.replaced(data, way, NAMES)) == len(data)


@pytest.mark.parametrize(
    ("way", "request_", "answer", "secret"),
    [
        ("smtp", b"EHLO mx.example\r\nSTARTTLS\r\n", b"220 mx.example ESMTP Postfix\r\n", b"mx.example"),
        ("imap", b"a1 STARTTLS\r\n", b"* OK imap.example ready\r\na1 OK begin\r\n", b"imap.example"),
        ("connect", b"CONNECT www.example:443 HTTP/1.1\r\nHost: www.example\r\n\r\n",
         b"HTTP/1.1 200 OK\r\n\r\n", b"www"),
        ("connect", b"CONNECT 192.0.2.77:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"192.0.2.77"),
        ("connect", b"CONNECT [2001:db8::77]:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"db8::77"),
        ("socks4", b"\x04\x01\x01\xbb\xc0\x00\x02\x4droot\x00", b"\x00\x5a" + bytes(6), b"\xc0\x00\x02\x4d"),
        ("socks4", b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00www.example\x00", b"\x00\x5a" + bytes(6), b"example"),
        ("socks5", b"\x05\x01\x00\x05\x01\x00\x03\x0bwww.example\x01\xbb",
         b"\x05\x00\x05\x00\x00\x01" + bytes(6), b"example"),
        ("socks5", b"\x05\x01\x02\x01\x04user\x04pass\x05\x01\x00\x01\xc0\x00\x02\x4d\x01\xbb",
         b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6), b"pass"),
        ("rdp",
         b"\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=alice\r\n\x01\x00\x08\x00\x01\x00\x00\x00",
         b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x00\x00\x00\x02\x00\x08\x00\x01\x00\x00\x00", b"alice"),
        ("postgresql", bytes.fromhex("0000000804d2162f"), b"S", b"secret"),
        ("ldap", bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037",
         bytes.fromhex("300c02010178070a010004000400"), b"secret"),
        ("xmpp", b"<stream:stream to='im.example'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
         b"<stream:stream from='im.example'><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"im.example"),
        ("ftp", b"AUTH TLS\r\n", b"220 ftp.example\r\n234 go\r\n", b"ftp.example"),
        ("irc", b"STARTTLS\r\n", b":irc.example NOTICE * :hello\r\n:irc.example 670 * :go\r\n", b"irc.example"),
        ("sieve", b"STARTTLS\r\n", b'"IMPLEMENTATION" "Dovecot"\r\nOK\r\n', b"Dovecot"),
        ("pop3", b"STLS\r\n", b"+OK pop.example\r\n+OK go\r\n", b"pop.example"),
        ("nntp", b"STARTTLS\r\n", b"200 news.example ready\r\n382 go\r\n", b"news.example"),
    ],
)  # fmt: skip
def test_dialogues_are_recognised_as_before(way: str, request_: bytes, answer: bytes, secret: bytes) -> None:
    """What leads to TLS still asks for it and is still answered, and whom it named is gone."""
    asked, said = dialogue.replaced(request_, way, NAMES), dialogue.replaced(answer, way, NAMES)
    assert [one.name for one in starttls.asked(request_, answer)] == [way]
    assert [one.name for one in starttls.asked(asked, said)] == [way]
    for before, after in ((request_, asked), (answer, said)):
        assert len(before) == len(after)
        assert secret not in after
    verdicts = [starttls.answered(starttls.BY_NAME[way], words) for words in (answer, said)]
    assert verdicts[0] is not None
    assert verdicts[1] is not None
    assert verdicts[0].accepted is verdicts[1].accepted is True


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.77 192.0.2.78 49152 443\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x4d\xc0\x00\x02\x4e\xc0\x00\x01\xbb",
    ],
)
def test_a_proxy_header_tells_no_address(header: bytes) -> None:
    """A PROXY protocol header is still one, as long as it was, without the addresses."""
    new = dialogue.replaced(header, "none", NAMES)
    assert starttls.proxy_header(new) == starttls.proxy_header(header) == len(header)
    assert b"192.0.2.7" not in new
    assert b"\xc0\x00\x02" not in new


def test_a_plan_fills_what_it_does_not_know_with_zeros() -> None:
    """Payloads are cut out of a plan by sequence number, across the wrap, in any order, as often as asked for."""
    plan = Plan(origin=2**32 - 3)
    plan.say(0, b"abc")
    plan.say(3, b"def")
    plan.say(10, b"xyz")
    assert plan.payload(2**32 - 3, 13) == b"abcdef\0\0\0\0xyz"
    assert plan.payload(0, 4) == b"def\0"
    assert plan.payload(2**32 - 4, 3) == b"\0ab"
    assert Plan().payload(5, 3) == b"\0\0\0"


def test_keys_of_certificates_stay_keys() -> None:
    """Every certificate of the samples parses as before, with a key of the same kind and size, and other names."""
    seen: set[bytes] = set()
    original = Follower.finish

    def finish(self: Follower) -> None:
        original(self)
        if self.account is not None:
            seen.update(self.account.chain or ())
            seen.update(self.account.client_chain or ())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Follower, "finish", finish)
        for path in SAMPLES:
            tlspcap.read(path, tables=["handshakes"], progress=False, jobs=1)
    assert len(seen) > 10
    for der in seen:
        before, after = describe(der), describe(asn1.certificate(der, NAMES))
        for name in ("not_before", "not_after", "key_type", "key_bits", "signature_algorithm", "self_signed", "is_ca"):
            assert getattr(before, name) == getattr(after, name)
        assert before.trouble == after.trouble
        assert before.serial != after.serial
        assert len(before.san) == len(after.san)
