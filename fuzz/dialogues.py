"""Target: what two sides say before a hello (STARTTLS, a proxy), in packets of any size."""

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.tls import starttls
from tlspcap.tls.dialogue import MAX_BYTES, NOTHING, Dialogue
from tlspcap.transport import Data

LONGEST = 8_192
NAMES = {NOTHING, None, *starttls.BY_NAME}


def check(data: bytes) -> None:
    """Each payload is taken on, what is kept is bounded, and the answer is of the closed list."""
    read, heard, at = Input(data), Dialogue(), [0, 0]
    while read.left > 0 and not heard.spent:
        side, payload = read.u8() & 1, read.take(read.u16())
        while payload and not heard.spent:
            taken = heard.take(Data(side, 1, 1, at[side], payload, 0, 1, 0))
            assert 0 < taken <= len(payload)
            at[side] += taken
            payload = payload[taken:]
        assert sum(map(len, heard._said)) <= MAX_BYTES + LONGEST
    for client, hello in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert heard.spoken(client, hello) in NAMES
    if heard.refusal is not None:
        assert heard.refusal.words.isprintable()


def seeds() -> list[bytes]:
    """A dialogue of each protocol, accepted and refused."""
    from test_starttls import DIALOGUES

    found = []
    for first, said, yes, no in DIALOGUES.values():
        for answer in (yes, no or b""):
            turns = [(first + number & 1, words) for number, words in enumerate([*said, answer])]
            found.append(b"".join(bytes([side]) + len(words).to_bytes(2) + words for side, words in turns))
    return samples.distinct(found, LONGEST)
