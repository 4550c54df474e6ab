"""The extension block and the contents of single extensions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlspcap.tls import extensions as ext
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.remembering import LONGEST, remembered

READERS = [*ext.CLIENT_READERS.values(), *ext.SERVER_READERS.values(), ext.authorities]
PAIRS = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=30)), max_size=12)


def block(*pairs: tuple[int, bytes]) -> bytes:
    """Return an extension block, without its own length."""
    return b"".join(code.to_bytes(2) + len(content).to_bytes(2) + content for code, content in pairs)


@given(pairs=PAIRS)
def test_a_block_gives_what_was_put_in(pairs):
    """Types and contents come out in wire order, repeated and unknown ones too."""
    found = Extensions.parse(block(*pairs), "test")
    assert found.raw == tuple(pairs)
    assert found.codes == tuple(code for code, _ in pairs)


@given(pairs=PAIRS, others=st.lists(st.binary(min_size=12, max_size=12), max_size=3), data=st.data())
def test_a_block_whose_layout_is_known_reads_as_any(pairs, others, data):
    """What comes again with other contents, other types or other lengths is read as it would be alone."""
    blocks = [block(*pairs)] * 3
    for filler in others:
        blocks.append(block(*((code, (content and filler * 3)[: len(content)]) for code, content in pairs)))
        at = data.draw(st.integers(0, max(0, len(blocks[0]) - 1)))
        blocks.append(blocks[0][:at] + filler[:1] + blocks[0][at + 1 :])
    for one in [*blocks, *blocks]:
        try:
            plain = tuple(ext._pairs(one, "test"))
        except Malformed:
            with pytest.raises(Malformed):
                Extensions.parse(one, "test")
            continue
        found = Extensions.parse(one, "test")
        assert found.raw == plain
        assert all(found.get(code) == dict(reversed(plain)).get(code) for code in range(0x40))
        assert all(found.get(code) == dict(reversed(plain))[code] for code, _ in plain)


@given(pairs=PAIRS, data=st.data())
def test_a_cut_block_is_malformed_unless_the_cut_lies_between_two_extensions(pairs, data):
    """A block cut short raises Malformed, or gives the extensions before the cut."""
    whole = block(*pairs)
    cut = data.draw(st.integers(0, len(whole)))
    ends = {len(block(*pairs[:count])): count for count in range(len(pairs) + 1)}
    if cut in ends:
        assert Extensions.parse(whole[:cut], "test").raw == tuple(pairs[: ends[cut]])
    else:
        with pytest.raises(Malformed):
            Extensions.parse(whole[:cut], "test")


def test_the_first_of_a_repeated_type_counts():
    """Of two extensions of one type, which RFC 8446 4.2 forbids, the first is read and both are kept."""
    found = Extensions.parse(block((5, b"a"), (5, b"b")), "test")
    assert found.get(5) == b"a"
    assert found.raw == ((5, b"a"), (5, b"b"))


def test_an_odd_extension_reads_as_absent_and_is_named():
    """Content that does not parse hides nothing else: it reads as None and its type is listed."""
    found = Extensions.parse(block((16, b"\x00\x09\x02h2"), (10, bytes.fromhex("0002001d"))), "test")
    assert found.read(16, ext.alpn) is None
    assert found.read(10, ext.u16_list) == (29,)
    assert found.malformed(ext.CLIENT_READERS) == (16,)


@pytest.mark.parametrize(
    ("reader", "content", "expected"),
    [
        (ext.server_name, "000c 00 0009 612e6578616d706c65", b"a.example"),
        (ext.server_name, "", None),  # a server's answer
        (ext.server_name, "0004 07 0001 61", None),  # a name of an unknown type
        (ext.server_name, "0008 07 0001 61 00 0001 62", b"b"),
        (ext.alpn, "000c 02 6832 08 687474702f312e31", (b"h2", b"http/1.1")),
        (ext.u16_list, "0004 001d 0017", (29, 23)),
        (ext.offered_versions, "04 0304 0303", (0x0304, 0x0303)),
        (ext.selected_version, "0304", 0x0304),
        (ext.client_key_shares, "000b 2a2a 0001 00 001d 0002 abcd", ((0x2A2A, 1), (29, 2))),
        (ext.server_key_share, "001d 0002 abcd", 29),
        (ext.server_key_share, "001d", 29),  # a HelloRetryRequest's
        (ext.point_formats, "03 00 01 02", (0, 1, 2)),
        (ext.authorities, "0008 0002 3000 0002 3000", (b"0\x00", b"0\x00")),
    ],
)
def test_contents_are_read_as_their_rfc_lays_them_out(reader, content, expected):
    """Each reader reads an example of its extension."""
    assert reader(bytes.fromhex(content)) == expected


@given(content=st.binary(max_size=60))
def test_readers_raise_malformed_and_nothing_else(content):
    """Arbitrary content is read or raises Malformed, in every reader."""
    for reader in READERS:
        try:
            reader(content)
        except Malformed:
            continue


@given(name=st.binary(max_size=80))
def test_any_bytes_become_text_that_shows_them(name):
    """Names from the wire become text without loss: ASCII as it is, other bytes as backslash escapes."""
    shown = ext.text(name)
    assert shown.isascii()
    assert shown == "".join(chr(byte) if byte < 0x80 else f"\\x{byte:02x}" for byte in name)


def test_grease_is_left_out_of_lists():
    """GREASE values are dropped and the order of the others kept."""
    assert ext.without_grease((0x3A3A, 29, 0x0A0A, 23, 0x3A4A)) == (29, 23, 0x3A4A)


def test_results_are_remembered_for_short_inputs_only():
    """A short input is worked on once, a long one, which only hostile hellos have, each time: it fills no memory."""
    worked: list[int] = []

    @remembered
    def length(data: bytes) -> int:
        worked.append(len(data))
        return len(data)

    short, long = bytes(LONGEST), bytes(LONGEST + 1)
    assert [length(data) for data in (short, short, long, long)] == [LONGEST, LONGEST, LONGEST + 1, LONGEST + 1]
    assert worked == [LONGEST, LONGEST + 1, LONGEST + 1]
