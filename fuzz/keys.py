"""Target: a key log, and both sides of a connection that it may open, followed to the rows of every table."""

from fuzz import handshakes
from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.tls.handshake import Follower
from tlspcap.tls.keylog import MOST_CANDIDATES, USED, KeyLog

LONGEST = 16_384


def check(data: bytes) -> None:
    """Whatever the log says and the records hold, what is opened is followed within the same caps."""
    read, keys = Input(data), KeyLog()
    log = read.take(read.u16())
    keys.add(log)
    assert len(keys) <= log.count(b" ")
    assert keys.unread <= len(log.splitlines())
    for random in keys._lines:
        found = keys.find(random, frame=1)
        assert set(found) <= USED
        assert all(0 < len(secrets) <= MOST_CANDIDATES for secrets in found.values())
    handshakes.follow(read, keys)


def seeds() -> list[bytes]:
    """Conversations of the samples with their secrets in either order, with half of them, and with those of others."""
    lines = [line for path in sorted(samples.SAMPLES.glob("*.keys")) for line in path.read_bytes().splitlines()]
    found = []
    for conversation, events in samples.conversations():
        follower = Follower(conversation)
        for event in events:
            follower.take(event)
        follower.finish()
        if follower.account is None or follower.account.hello is None:
            continue
        random = follower.account.hello.random.hex().encode()
        own = [line for line in lines if random in line]
        talk = b"".join(handshakes.one(event) for event in events)
        if own:
            found += [_seed(chosen, talk) for chosen in (own, own[::-1], own[: len(own) // 2], lines[:6])]
    return samples.distinct(found, LONGEST)


def _seed(lines: list[bytes], talk: bytes) -> bytes:
    log = b"\n".join(lines)
    return len(log).to_bytes(2) + log + talk
