"""Claims about what is said before the hello: which protocol led to TLS, who asked, and who was told no."""

import json
import os
import ssl
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import openssl_bytes
import pandas as pd
import pytest
import turns
from hypothesis import given, settings
from hypothesis import strategies as st
from turns import Turn

import tlspcap
from tlspcap import file_notes, reading, schema
from tlspcap.spread import read_tables
from tlspcap.tls import dialogue, starttls
from tlspcap.tls.dialogue import Dialogue
from tlspcap.transport import Data

REFERENCE = Path(os.environ.get("TLSPCAP_REFERENCE", Path(__file__).parents[2] / "shared" / "reference")) / "captures"
CLIENT, SERVER = 0, 1

EHLO = b"EHLO client.example\r\n"
SMTP = (b"220 mx.example ESMTP\r\n", EHLO, b"250-mx.example\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n", b"STARTTLS\r\n")
XMPP = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='chat.example' version='1.0'>",
    b"<stream:stream xmlns='jabber:client' id='1'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>"
    b"<required/></starttls></stream:features>",
    b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
)
LDAP = bytes.fromhex("301d02010177188016312e332e362e312e342e312e313436362e3230303337")
LDAP_LONG = bytes.fromhex("308400000021020101778400000018 8016") + LDAP[-22:]
MYSQL_GREETING = bytes.fromhex("4a0000000a") + b"8.0.28\0" + bytes(67)
MYSQL = bytes.fromhex("2000000185aeff200000000121") + bytes(23)
RDP = bytes.fromhex("0300002f2ae00000000000") + b"Cookie: mstshash=AWAKECOD\r\n" + bytes.fromhex("0100080003000000")
SOCKS5 = b"\x05\x01\x00\x03\x0fwww.example.com\x01\xbb"
CONNECT = b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\nUser-Agent: a\r\n\r\n"

# name -> who opens the dialogue, then the turns up to the request, the answer that says yes, one that says no
DIALOGUES = {
    "smtp": (SERVER, SMTP, b"220 2.0.0 go ahead\r\n", b"454 4.7.0 TLS not available\r\n"),
    "imap": (SERVER, (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", b"a1 STARTTLS\r\n"),
             b"a1 OK begin\r\n", b"a1 BAD no\r\n"),
    "pop3": (SERVER, (b"+OK ready\r\n", b"CAPA\r\n", b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n", b"STLS\r\n"),
             b"+OK begin\r\n", b"-ERR no\r\n"),
    "ftp": (SERVER, (b"220 (vsFTPd 3.0.5)\r\n", b"FEAT\r\n", b"211-Features:\r\n AUTH TLS\r\n211 End\r\n",
                     b"AUTH TLS\r\n"), b"234 Proceed.\r\n", b"530 Please login.\r\n"),
    "xmpp": (CLIENT, XMPP, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
             b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    "ldap": (CLIENT, (LDAP,), bytes.fromhex("300c02010178070a010004000400"),
             bytes.fromhex("300c02010178070a013404000400")),
    "postgresql": (CLIENT, (b"\0\0\0\x08\x04\xd2\x16\x2f",), b"S", b"N"),
    "mysql": (SERVER, (MYSQL_GREETING, MYSQL), b"", None),
    "irc": (SERVER, (b":irc.example NOTICE * :*** Looking up your hostname\r\n", b"STARTTLS\r\n"),
            b":irc.example 670 * :STARTTLS successful\r\n", b":irc.example 691 * :STARTTLS failed\r\n"),
    "nntp": (SERVER, (b"200 news.example ready\r\n", b"CAPABILITIES\r\n", b"101 list\r\nSTARTTLS\r\n.\r\n",
                      b"STARTTLS\r\n"), b"382 Continue\r\n", b"580 Can not initiate TLS\r\n"),
    "sieve": (SERVER, (b'"IMPLEMENTATION" "Pigeonhole"\r\n"STARTTLS"\r\nOK "ready."\r\n', b"STARTTLS\r\n"),
              b'OK "Begin TLS"\r\n', b'NO "TLS not available"\r\n'),
    "rdp": (CLIENT, (RDP,), bytes.fromhex("030000130ed000001234000201080002000000"),
            bytes.fromhex("030000130ed000001234000300080002000000")),
    "connect": (CLIENT, (CONNECT,), b"HTTP/1.1 200 Connection established\r\n\r\n",
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    "socks4": (CLIENT, (b"\x04\x01\x01\xbb\xc0\x00\x02\x07user\0",), b"\0\x5a" + bytes(6), b"\0\x5b" + bytes(6)),
    "socks5": (CLIENT, (b"\x05\x01\0", b"\x05\0", SOCKS5), b"\x05\0\0\x01" + bytes(6), b"\x05\x02\0\x01" + bytes(6)),
}  # fmt: skip
VARIANTS = {
    "lmtp": ("smtp", SERVER, (b"220 mx\r\n", b"LHLO a\r\n", b"250 STARTTLS\r\n", b"starttls\r\n"), b"220 go\r\n"),
    "long banner": ("smtp", SERVER, (b"220-words\r\n" * 2_000 + b"220 mx\r\n", *SMTP[1:]), b"220 go\r\n"),
    "old ftp": ("ftp", SERVER, (b"220 ready\r\n", b"AUTH SSL\r\n"), b"234 go\r\n"),
    "xmpp pair of tags": ("xmpp", CLIENT, (XMPP[0], XMPP[1], b"<starttls xmlns='x'></starttls>"), b"<proceed/>"),
    "ldap, long lengths": ("ldap", CLIENT, (LDAP_LONG,), bytes.fromhex("30840000000c020101788400000003 0a0100")),
    "gssenc first": ("postgresql", CLIENT, (b"\0\0\0\x08\x04\xd2\x16\x30", b"N", b"\0\0\0\x08\x04\xd2\x16\x2f"), b"S"),
    "rdp without cookie": ("rdp", CLIENT, (bytes.fromhex("030000130ee000000000000100080003000000"),),
                           bytes.fromhex("030000130ed000001234000201080002000000")),
    "irc registered": ("irc", CLIENT, (b"CAP LS 302\r\n", b":irc.example CAP * LS :tls\r\n", b"STARTTLS\r\n"),
                       b":irc.example 670 * :go\r\n"),
    "irc without a word": ("irc", CLIENT, (b"STARTTLS\r\n",), b":irc.example 670 * :go\r\n"),
    "nntp without a word": ("nntp", CLIENT, (b"STARTTLS\r\n",), b"382 go\r\n"),
    "socks4a": ("socks4", CLIENT, (b"\x04\x01\x01\xbb\0\0\0\x01user\0www.example.com\0",), b"\0\x5a" + bytes(6)),
    "socks5 with a password": ("socks5", CLIENT, (b"\x05\x02\0\x02", b"\x05\x02", b"\x01\x01u\x01p", b"\x01\0", SOCKS5),
                               b"\x05\0\0\x01" + bytes(6)),
    "proxy asks for a password": ("connect", CLIENT, (
        CONNECT, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n" + b"x" * 20_000,
        CONNECT[:-2] + b"Proxy-Authorization: Basic dTpw\r\n\r\n"), b"HTTP/1.1 200 OK\r\n\r\n"),
    "smtp through a tunnel": ("smtp", CLIENT, (CONNECT, b"HTTP/1.1 200 OK\r\n\r\n" + SMTP[0], *SMTP[1:]),
                              b"220 go\r\n"),
}  # fmt: skip


@cache
def hellos() -> list[Turn]:
    """A real handshake of TLS 1.3."""
    return turns.handshake(openssl_bytes.exchange(ssl.TLSVersion.TLSv1_3))


def told(first: int, said: tuple[bytes, ...]) -> list[Turn]:
    """Turns that the sides take alternately."""
    return [((first + at) % 2, words) for at, words in enumerate(said)]


def joined(said: list[Turn]) -> list[Turn]:
    """The same, what one side says in turns that follow each other in one piece."""
    whole: list[Turn] = []
    for side, words in said:
        if whole and whole[-1][0] == side:
            whole[-1] = side, whole[-1][1] + words
        else:
            whole.append((side, words))
    return whole


def only_row(*conversations: list[Turn], size: int = 1400) -> dict[str, object]:
    """The one handshake of a capture, and the kinds of its notes."""
    captured = tlspcap.read(BytesIO(turns.capture(*conversations, size=size)))
    assert len(captured.handshakes) == 1
    return {**captured.handshakes.iloc[0].to_dict(), "notes": captured.notes["kind"].tolist()}


CASES = [
    *((name, first, said, yes) for name, (first, said, yes, _) in DIALOGUES.items()),
    *VARIANTS.values(),
]
NAMES = ("name", "first", "said", "yes")
LONG = 4_000  # bytes of a dialogue; a longer one that comes byte by byte is given up, as documented
each_dialogue = pytest.mark.parametrize(NAMES, CASES, ids=[*DIALOGUES, *VARIANTS])
# where the protocol is told by the answer alone, a hello that does not wait for it leaves it unknown
each_told_dialogue = pytest.mark.parametrize(NAMES, [case for case in CASES if case[2] != (b"STARTTLS\r\n",)])
each_short_dialogue = pytest.mark.parametrize(NAMES, [case for case in CASES if sum(map(len, case[2])) < LONG])


def test_every_protocol_of_the_list_is_told_here() -> None:
    """The dialogues above are those of the column's closed list, and each is a way that the table knows."""
    assert {"none", *DIALOGUES} == set(schema.STARTTLS) == {"none", *starttls.BY_NAME}


@each_dialogue
def test_the_protocol_before_the_hello_is_named(name: str, first: int, said: tuple[bytes, ...], yes: bytes) -> None:
    """Each dialogue gives its name, and the handshake behind it is read like any other."""
    row = only_row([*told(first, (*said, yes)), *hellos()])
    assert (row["starttls"], row["outcome"], row["sni"]) == (name, "established", "localhost")
    assert row["notes"] == []


@each_short_dialogue
@pytest.mark.parametrize("size", [1, 7])
def test_the_pieces_make_no_difference(name: str, first: int, said: tuple[bytes, ...], yes: bytes, size: int) -> None:
    """The same in segments of a byte, or of seven, so that words and the hello are split anywhere."""
    row = only_row([*told(first, (*said, yes)), *hellos()], size=size)
    assert (row["starttls"], row["outcome"], row["sni"]) == (name, "established", "localhost")


@each_told_dialogue
def test_a_hello_in_the_packet_of_the_request_is_found(
    name: str, first: int, said: tuple[bytes, ...], yes: bytes
) -> None:
    """A client that waits for no answer: request and hello in one segment, answer and ServerHello in another."""
    row = only_row(joined([*told(first, said), hellos()[0], (SERVER, yes), *hellos()[1:]]), size=1_400)
    assert (row["starttls"], row["sni"]) == (name, "localhost")
    row = only_row(joined([*told(first, said), hellos()[0]]), size=100)
    assert (row["starttls"], row["sni"]) == (name, "localhost")


def test_the_frame_is_that_of_the_hellos_first_byte() -> None:
    """However the request's end and the hello are cut into packets, `frame` is the packet of the hello's first byte."""
    before = len(b"\0\0\0\x08\x04\xd2\x16\x2f")
    for size in range(1, 16):
        row = only_row(joined([(CLIENT, b"\0\0\0\x08\x04\xd2\x16\x2f"), hellos()[0]]), size=size)
        assert row["frame"] == 4 + 2 * (before // size), size


PROXY_V1 = b"PROXY TCP4 203.0.113.9 198.51.100.2 40000 443\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 9, 198, 51, 100, 2, 0x16, 3, 1, 187])


@pytest.mark.parametrize("size", [1, 7, 50, 1_400])
@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2, b"PROXY UNKNOWN\r\n"], ids=["1", "2", "unknown"])
def test_the_proxy_protocol_is_no_protocol_before_tls(header: bytes, size: int) -> None:
    """A PROXY header, in the hello's packet or before it, leaves `none`, and what is spoken behind it is recognised."""
    assert only_row(joined([(CLIENT, header), *hellos()]), size=size)["starttls"] == "none"
    assert only_row([(CLIENT, header), *hellos()], size=size)["starttls"] == "none"
    request = told(CLIENT, DIALOGUES["postgresql"][1])
    assert only_row([*joined([(CLIENT, header), *request]), (SERVER, b"S"), *hellos()], size=size)["starttls"] == (
        "postgresql"
    )


def test_plain_tls_says_none() -> None:
    """Nothing before the hello is `none`, also where the server spoke first and was not answered."""
    assert only_row(hellos())["starttls"] == "none"
    assert only_row([(SERVER, b"220 mx.example\r\n"), *hellos()])["starttls"] == "none"


def test_what_is_not_known_stays_unknown() -> None:
    """Bytes of the client before the hello that fit no protocol give NA, not `none`."""
    row = only_row([(CLIENT, b"upgrade, please\n"), (SERVER, b"as you like\n"), *hellos()])
    assert row["starttls"] != row["starttls"]  # NaN


REFUSED = [(name, 1_400) for name, (*_, no) in DIALOGUES.items() if no]
# a binary request that comes byte by byte is not looked at before a hello comes
REFUSED_BYTE_BY_BYTE = [(name, 1) for name, _ in REFUSED if not starttls.BY_NAME[name].called]


@pytest.mark.parametrize(("name", "size"), REFUSED + REFUSED_BYTE_BY_BYTE)
def test_a_refusal_is_a_note(name: str, size: int) -> None:
    """A request that is declined, with no hello behind it, is a note that says who, where, and what was answered."""
    first, said, _, no = DIALOGUES[name]
    captured = tlspcap.read(BytesIO(turns.capture([*told(first, said), (SERVER, no)], size=size, port=2525)))
    assert captured.handshakes.empty
    refused = captured.notes[captured.notes["kind"] == "starttls_refused"]
    (note,) = refused.to_dict("records")
    assert note["detail"].startswith(f"192.0.2.1:50000 to 198.51.100.2:2525: {_request(name)} ({name}) was refused")
    assert note["stream"] == 0
    assert note["frame"] > 4


def _request(name: str) -> str:
    """What a note calls the request."""
    way = starttls.BY_NAME[name]
    return way.called or starttls.request_text(way, DIALOGUES[name][1][-1])


@pytest.mark.parametrize(
    ("name", "answer"),
    [("smtp", '"454 4.7.0 TLS not available"'), ("ldap", "unavailable (52)"), ("postgresql", '"N"'),
     ("rdp", "SSL_NOT_ALLOWED_BY_SERVER (2)"), ("connect", '"HTTP/1.1 403 Forbidden"'),
     ("socks4", "request rejected or failed (91)"), ("socks5", "connection not allowed by ruleset (2)")],
)  # fmt: skip
def test_a_refusal_is_quoted(name: str, answer: str) -> None:
    """The server's words stand in the note, or the name of its code."""
    first, said, _, no = DIALOGUES[name]
    notes = tlspcap.read(BytesIO(turns.capture([*told(first, said), (SERVER, no)]))).notes
    assert notes["detail"].iloc[0].endswith(f"was refused with {answer}")


def test_a_refusal_that_several_protocols_share_names_them() -> None:
    """Where neither words nor answer tell the protocol, the note says which it may be, and a hello leaves it NA."""
    refused = [(CLIENT, b"STARTTLS\r\n"), (SERVER, b"502 no\r\n")]
    notes = tlspcap.read(BytesIO(turns.capture(refused))).notes
    assert '"STARTTLS" (smtp or nntp) was refused with "502 no"' in notes["detail"].iloc[0]
    assert only_row([*refused, *hellos()])["starttls"] != "smtp"


def test_what_the_server_said_is_escaped() -> None:
    """Control characters in an answer come out as their codes, and only its first line is shown, cut."""
    hostile = b"454 \x1b[2J\x07 " + b"x" * 500 + b"\r\n"
    notes = tlspcap.read(BytesIO(turns.capture([*told(SERVER, SMTP), (SERVER, hostile)]))).notes
    assert r"454 \x1b[2J\x07 xxx" in notes["detail"].iloc[0]
    assert len(notes["detail"].iloc[0]) < 300


def test_the_last_answer_counts() -> None:
    """A refusal that is followed by an acceptance is none; a hello that comes against a refusal is told beside it."""
    again = [*told(SERVER, (*SMTP, b"454 later\r\n", b"STARTTLS\r\n", b"220 go\r\n")), *hellos()]
    assert only_row(again)["notes"] == []
    stubborn = only_row([*told(SERVER, (*SMTP, b"454 later\r\n")), *hellos()])
    assert (stubborn["starttls"], stubborn["notes"]) == ("smtp", ["starttls_refused"])


def test_a_conversation_that_never_asks_leaves_no_note() -> None:
    """Mail in plain text is no TLS and no refusal."""
    plain = told(SERVER, (SMTP[0], EHLO, b"250 mx.example\r\n", b"MAIL FROM:<a@example>\r\n", b"250 ok\r\n"))
    captured = tlspcap.read(BytesIO(turns.capture(plain)))
    assert captured.handshakes.empty
    assert captured.notes["kind"].tolist() == ["no_tls"]
    assert "top server ports: 25 (1)" in captured.notes["detail"].iloc[0]


def test_a_dialogue_without_end_is_given_up() -> None:
    """Behind MAX_BYTES of dialogue, or MAX_PACKETS packets, no hello is looked for; up to there it is found."""
    words = b"NOOP " + b"x" * 995 + b"\r\n"
    many = (dialogue.MAX_BYTES - 2_000) // len(words)
    start = told(SERVER, SMTP[:3])
    asks = told(CLIENT, (b"STARTTLS\r\n", b"220 go\r\n"))
    assert only_row([*start, (CLIENT, words * many), *asks, *hellos()])["starttls"] == "smtp"
    late = [*start, (CLIENT, words * (many + 3)), *asks, *hellos()]
    assert tlspcap.read(BytesIO(turns.capture(late))).handshakes.empty
    slow = [*start, (CLIENT, b"\n" * dialogue.MAX_PACKETS), *asks, *hellos()]
    assert tlspcap.read(BytesIO(turns.capture(slow, size=1))).handshakes.empty


def test_refusals_are_bounded_and_equal_however_a_reading_is_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many refusals those with the lowest numbers are noted, whatever the number of processes, and that is said."""
    monkeypatch.setattr(file_notes, "MAX_REFUSED", 3)
    refused = [*told(SERVER, SMTP), (SERVER, b"454 no\r\n")]
    path = tmp_path / "refused.pcap"
    path.write_bytes(turns.capture(*[refused] * 9, hellos()))
    alone = read_tables(path).frames["notes"]
    assert alone["stream"].dropna().tolist() == [0, 1, 2]
    assert alone["kind"].tolist() == ["starttls_refused"] * 3 + ["cap_reached"]
    jobs = [reading.Job((path,), (None,), 10**10, share=(at, 3)) for at in range(3)]
    shares = [part for job in jobs for part in reading.work(job) if part is not None]
    for other in shares[1:]:
        shares[0].merge(other)
    shares[0].write_notes()
    pd.testing.assert_frame_equal(shares[0].builder.frames()["notes"], alone)


def test_a_gap_in_the_dialogue_leaves_it_unknown() -> None:
    """Where the capture lacks what the client said, `starttls` is NA if something was said: the other side answered."""
    lost = list(turns.frames([*told(CLIENT, (b"a" * 40, b"as you like\n")), *hellos()]))
    captured = tlspcap.read(BytesIO(turns.pcap([*lost[:3], *lost[4:]])))
    assert captured.handshakes["starttls"].isna().all()
    hello = list(turns.frames(hellos()))
    captured = tlspcap.read(BytesIO(turns.pcap([*hello[:3], *hello[4:]])))
    assert captured.handshakes["starttls"].tolist() == ["none"]


def test_a_lost_request_does_not_make_the_servers_words_an_answer() -> None:
    """What a server says in clear is no refusal of TLS where the client's request for TLS may be among what is lost."""
    first, said, yes, _ = DIALOGUES["xmpp"]
    packets = list(turns.frames([*told(first, (*said, yes)), *hellos()]))
    lost = {3, 7, 13, 15, 17}  # the client's requests, the server's flight, the client's Finished
    captured = tlspcap.read(BytesIO(turns.pcap([packets[at] for at in range(len(packets)) if at not in lost])))
    assert captured.handshakes["outcome"].tolist() == ["unknown"]


TALK = st.lists(st.tuples(st.integers(0, 1), st.one_of(
    st.binary(min_size=1, max_size=30),
    st.sampled_from([words for _, said, yes, no in DIALOGUES.values() for words in (*said, yes, no) if words]),
    st.sampled_from([PROXY_V1, PROXY_V2, b"\x16", b"\x16\x03", b"\x16\x03\x01\0\x10\x02", *SMTP]),
)), max_size=12)  # fmt: skip


@given(TALK, st.sampled_from([1, 7, 40]))
@settings(max_examples=40)
def test_no_words_break_a_reading(said: list[Turn], size: int) -> None:
    """Whatever is said before the hello, in whatever pieces, a capture is read, in any chunks with equal tables."""
    whole = turns.capture([*said, *hellos()], size=size)
    frames = read_tables(BytesIO(whole)).frames
    assert read_tables(BytesIO(whole), chunk_bytes=4_000).frames["handshakes"].equals(frames["handshakes"])
    assert len(frames["handshakes"]) <= 1


@given(TALK)
def test_a_dialogue_always_goes_on(said: list[Turn]) -> None:
    """A payload is taken up to its end or up to where a hello may begin, never not at all."""
    heard, at = Dialogue(), [0, 0]
    for side, words in said:
        taken = heard.take(Data(side, 1, 1, at[side], words, 0, 1, 0))
        assert 0 < taken <= len(words)
        at[side] += taken


def test_real_clients_and_proxies(sample: Callable[[str], Path]) -> None:
    """What s_client, curl and Python's libraries say gives the protocol of the case; each refusal is a note."""
    truth = json.loads(sample("starttls.truth.json").read_text())
    captured = tlspcap.read(sample("starttls.pcap"))
    cases = {row["client_port"]: row["case"] for row in truth}
    got = captured.handshakes.set_index("client_port")["starttls"].to_dict()
    assert got == {port: case.split()[0] for port, case in cases.items() if not case.endswith(", refused")}
    notes = captured.notes.query("kind == 'starttls_refused'")["detail"].tolist()
    refused = [(row["client_port"], row["server_port"], row["case"].split(",")[0]) for row in truth[-len(notes) :]]
    assert [f"{name}, refused" for *_, name in refused] == [one for one in cases.values() if one.endswith(", refused")]
    for note, (client, server, name) in zip(notes, refused, strict=True):
        assert note.startswith(f"10.60.0.5:{client} to 10.60.0.10:{server}: ")
        assert f"({name}) was refused with " in note


REFERENCES = {
    "zeek-smtp-starttls.pcap": "smtp", "zeek-imap-starttls.pcap": "imap", "zeek-pop3-starttls.pcap": "pop3",
    "zeek-ftp-auth-tls.pcap": "ftp", "zeek-xmpp-starttls.pcap": "xmpp", "zeek-ldap-starttls.pcap": "ldap",
    "zeek-psql-aws-ssl-require.pcap": "postgresql", "zeek-encrypted.pcap": "mysql",
    "zeek-tls-13-amazon-rds.pcap": "mysql", "zeek-rdp-to-ssl.pcap": "rdp", "zeek-socks-with-ssl.pcap": "socks5",
    "zeek-connect-with-header.pcap": "connect", "ja4-socks4-https.pcap": "socks4",
}  # fmt: skip


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference captures are not there")
def test_captures_of_others_name_their_protocol() -> None:
    """Every reference capture with a dialogue before the hello gives its protocol, every other `none`."""
    got = {}
    for path in sorted(REFERENCE.glob("*.pcap*")):
        for value in tlspcap.read(path).handshakes["starttls"].astype(object):
            got.setdefault(path.name, set()).add(value)
    wanted = {name: {REFERENCES.get(name, "none")} for name in got}
    assert got == wanted
    assert set(REFERENCES) <= set(got)
