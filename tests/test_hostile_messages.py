"""Handshake messages made of hostile bytes: nothing but Malformed is raised, and work grows with the bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openssl_bytes import client_hello
from tls_bytes import hello_body, server_body, u16s, vector
from work import calls

from tlspcap.tls import messages as m
from tlspcap.tls.ciphers import suite
from tlspcap.tls.cursor import Malformed

TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
VERSIONS = (None, 0x0300, TLS10, TLS11, TLS12, 0x7F12, TLS13, 0x7E01)
SUITES = (None, *(suite(code) for code in (0x1301, 0x002F, 0x0033, 0xC02F, 0x008C, 0x00AA, 0xCCAC, 0x0034, 0xC102)))
PARSERS = st.tuples(st.integers(0, 30), st.sampled_from(VERSIONS), st.sampled_from(SUITES))


def everything(message: m.Message) -> None:
    """Read every property of a message."""
    for name in dir(message):
        if not name.startswith("_"):
            getattr(message, name)


@given(body=st.binary(max_size=120), how=PARSERS)
def test_random_bytes_raise_malformed_and_nothing_else(body, how):
    """Any bytes as any message of any version give a message whose every property can be read, or Malformed."""
    code, version, chosen = how
    with contextlib.suppress(Malformed):
        everything(m.parse(code, body, version, chosen))


VALID = (
    (1, client_hello()),
    (2, server_body((43, u16s(TLS13)), (51, u16s(29) + vector(2, bytes(32))))),
    (11, vector(3, vector(3, bytes(40)), vector(3, bytes(20)))),
    (12, b"\3" + u16s(29) + vector(1, bytes(32)) + u16s(0x0804) + vector(2, bytes(64))),
    (13, vector(1, b"\1") + vector(2, u16s(0x0403)) + vector(2, vector(2, b"name"))),
)


@given(
    valid=st.sampled_from(VALID),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 40),
    how=PARSERS,
)
def test_mutated_messages_raise_malformed_and_nothing_else(valid, changes, cut, how):
    """Real messages with bytes changed and cut off are read or raise Malformed."""
    code, body = valid[0], bytearray(valid[1])
    for at, byte in changes:
        body[at % len(body)] = byte
    with contextlib.suppress(Malformed):
        everything(m.parse(code, bytes(body[: len(body) - cut]), how[1], how[2]))


@pytest.mark.parametrize(("code", "body"), VALID)
def test_a_message_cut_anywhere_is_malformed_or_shorter(code, body):
    """Cut at any byte, a message raises Malformed or is read without inventing bytes."""
    for end in range(len(body)):
        with contextlib.suppress(Malformed):
            everything(m.parse(code, body[:end], TLS12, suite(0xC02F)))


# Bounds on work: counted calls, never a clock


def hello_of_size(size: int) -> bytes:
    """Return a ClientHello of nothing but empty extensions, `size` bytes long."""
    return hello_body(*[(0xFE00 + number % 256, b"") for number in range((size - 50) // 4)])


def chain_of(count: int) -> bytes:
    """Return a Certificate of many tiny certificates."""
    return vector(3, *[vector(3, b"c")] * count)


@pytest.mark.parametrize(("code", "build", "size"), [(1, hello_of_size, 32_000), (11, chain_of, 20_000)])
def test_work_grows_with_the_bytes_and_no_faster(code, build, size):
    """A message twice as long takes at most twice the calls, up to a 64 KB hello and a chain of 40,000."""
    single, double = build(size), build(2 * size)
    few, many = calls(lambda: everything(m.parse(code, single))), calls(lambda: everything(m.parse(code, double)))
    assert many <= 2.2 * few
