"""Reading integers and vectors, and the end of the bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlspcap.tls.cursor import Cursor, Malformed, u16_values

READS = ("u8", "u16", "u24", "u32", "vector8", "vector16", "vector24", "u16_list", "vectors16", "rest")


def test_integers_are_big_endian():
    """Integers of one to four bytes are read in network order (RFC 8446 3.3)."""
    cursor = Cursor(bytes.fromhex("01 0203 040506 0708090a"), "test")
    assert (cursor.u8(), cursor.u16(), cursor.u24(), cursor.u32()) == (1, 0x0203, 0x040506, 0x0708090A)
    assert cursor.at_end


def test_vectors_take_their_length_from_the_bytes():
    """Vectors with lengths of one, two and three bytes give their content and no more (RFC 8446 3.4)."""
    cursor = Cursor(b"\x01a" + b"\x00\x02bc" + b"\x00\x00\x03def" + b"rest", "test")
    assert [cursor.vector8(), cursor.vector16(), cursor.vector24(), cursor.rest()] == [b"a", b"bc", b"def", b"rest"]


def test_a_list_of_vectors_is_read_to_its_end():
    """A vector of vectors gives each of them, empty ones too."""
    assert Cursor(b"\x00\x07\x00\x03abc\x00\x00", "test").vectors16() == (b"abc", b"")


@pytest.mark.parametrize("read", READS[:-1])
def test_reading_beyond_the_end_says_where(read):
    """A read that does not fit raises Malformed with the structure's name and the offset."""
    with pytest.raises(Malformed, match="test: lengths do not fit at byte 0") as raised:
        getattr(Cursor(b"", "test"), read)()
    assert (raised.value.where, raised.value.offset) == ("test", 0)


def test_an_odd_number_of_bytes_is_no_list_of_uint16():
    """Lists of uint16 have an even number of bytes, whatever their length."""
    assert u16_values(bytes(2 * 300), "test") == (0,) * 300
    with pytest.raises(Malformed, match="byte 3"):
        u16_values(b"\x00\x01\x02", "test")


@given(data=st.binary(max_size=40), reads=st.lists(st.sampled_from(READS), max_size=12))
def test_no_bytes_make_it_read_outside_or_raise_anything_else(data, reads):
    """Whatever is read from whatever bytes, the cursor stays within them and raises Malformed only."""
    cursor = Cursor(data, "test")
    for read in reads:
        with contextlib.suppress(Malformed):
            getattr(cursor, read)()
        assert 0 <= cursor.offset <= len(data)
