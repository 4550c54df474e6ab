"""What may follow what: the RFCs' message-flow drawings as data, compiled into one transition table.

House rule: no transition outside this file. Each figure transcribes a drawing of an RFC, one line a message, in
the RFC's order. A trailing `?` marks a message that may be left out, `*` one that may come any number of times.

A figure is read per side: order within one side is certain (TCP's sequence numbers), order between the sides is
only capture time. So each side walks its own column. Several figures stay open at once, until the server
decides: its version closes those of the other family (`cue`), and its next message tells full from abbreviated
(`narrow`). Nothing is guessed from the client.

A state is the set of places, one or more per figure, at which a side may stand. All states are found at import;
following a handshake is one dict look-up a message.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

CLIENT, SERVER = "client", "server"


class Step(NamedTuple):
    """One line of a figure."""

    side: str
    message: str
    repeat: str  # "" once, "?" may be left out, "*" any number of times
    section: str


class Figure(NamedTuple):
    """One drawing: a name, the versions it is for, and its lines."""

    name: str
    family: str  # "2.0": SSL 2.0; "1.2": SSL 3.0 to TLS 1.2; "1.3"
    steps: tuple[Step, ...]

    def column(self, side: str) -> tuple[Step, ...]:
        """The lines of one side, in order."""
        return tuple(step for step in self.steps if step.side == side)


def figure(name: str, family: str, drawing: str) -> Figure:
    """Read a drawing: `side message [?|*] section…` a line."""
    steps = []
    for line in drawing.strip().splitlines():
        side, message, *rest = line.split()
        repeat = rest.pop(0) if rest and rest[0] in "?*" else ""
        steps.append(Step(side, message, repeat, " ".join(rest)))
    return Figure(name, family, tuple(steps))


TLS12_FULL = figure("full", "1.2", """
    client  client_hello                 RFC 5246 7.4.1.2
    server  server_hello                 RFC 5246 7.4.1.3
    server  supplemental_data       ?    RFC 4680 2
    server  certificate             ?    RFC 5246 7.4.2
    server  certificate_status      ?    RFC 6066 8
    server  server_key_exchange     ?    RFC 5246 7.4.3
    server  certificate_request     ?    RFC 5246 7.4.4
    server  server_hello_done            RFC 5246 7.4.5
    client  supplemental_data       ?    RFC 4680 2
    client  certificate             ?    RFC 5246 7.4.6
    client  client_key_exchange          RFC 5246 7.4.7
    client  certificate_verify      ?    RFC 5246 7.4.8
    client  change_cipher_spec           RFC 5246 7.1
    client  finished                     RFC 5246 7.4.9
    server  new_session_ticket      ?    RFC 5077 3.3
    server  change_cipher_spec           RFC 5246 7.1
    server  finished                     RFC 5246 7.4.9
""")  # fmt: skip

TLS12_ABBREVIATED = figure("abbreviated", "1.2", """
    client  client_hello                 RFC 5246 7.4.1.2
    server  server_hello                 RFC 5246 7.4.1.3
    server  new_session_ticket      ?    RFC 5077 3.3
    server  change_cipher_spec           RFC 5246 7.1
    server  finished                     RFC 5246 7.4.9
    client  change_cipher_spec           RFC 5246 7.1
    client  finished                     RFC 5246 7.4.9
""")  # fmt: skip

TLS13 = figure("1.3", "1.3", """
    client  client_hello                 RFC 8446 4.1.2
    server  server_hello                 RFC 8446 4.1.3
    server  encrypted_extensions         RFC 8446 4.3.1
    server  certificate_request     ?    RFC 8446 4.3.2
    server  certificate             ?    RFC 8446 4.4.2
    server  compressed_certificate  ?    RFC 8879 4
    server  certificate_verify      ?    RFC 8446 4.4.3
    server  finished                     RFC 8446 4.4.4
    client  end_of_early_data       ?    RFC 8446 4.5
    client  certificate             ?    RFC 8446 4.4.2
    client  compressed_certificate  ?    RFC 8879 4
    client  certificate_verify      ?    RFC 8446 4.4.3
    client  finished                     RFC 8446 4.4.4
    server  new_session_ticket      *    RFC 8446 4.6.1
""")  # fmt: skip

TLS13_RETRY = figure("1.3 with retry", "1.3", """
    client  client_hello                 RFC 8446 4.1.2
    server  hello_retry_request          RFC 8446 4.1.4
    client  client_hello                 RFC 8446 4.1.2
    server  server_hello                 RFC 8446 4.1.3
    server  encrypted_extensions         RFC 8446 4.3.1
    server  certificate_request     ?    RFC 8446 4.3.2
    server  certificate             ?    RFC 8446 4.4.2
    server  compressed_certificate  ?    RFC 8879 4
    server  certificate_verify      ?    RFC 8446 4.4.3
    server  finished                     RFC 8446 4.4.4
    client  certificate             ?    RFC 8446 4.4.2
    client  compressed_certificate  ?    RFC 8879 4
    client  certificate_verify      ?    RFC 8446 4.4.3
    client  finished                     RFC 8446 4.4.4
    server  new_session_ticket      *    RFC 8446 4.6.1
""")  # fmt: skip

# CLIENT-MASTER-KEY is left out where the server took up a session (SSL 2.0 2.2.2).
SSL2 = figure("SSL 2.0", "2.0", """
    client  client_hello                 SSL 2.0 2.5
    server  server_hello                 SSL 2.0 2.6
    client  client_master_key       ?    SSL 2.0 2.5
    client  client_finished              SSL 2.0 2.5
    server  server_verify                SSL 2.0 2.6
    server  request_certificate     ?    SSL 2.0 2.6
    client  client_certificate      ?    SSL 2.0 2.5
    server  server_finished              SSL 2.0 2.6
""")  # fmt: skip

FIGURES = (TLS12_FULL, TLS12_ABBREVIATED, TLS13, TLS13_RETRY, SSL2)

# What may come at any time and moves nothing: side (None: both), family, message, section.
ANYTIME = (
    (SERVER, "1.2", "hello_request", "RFC 5246 7.4.1.1"),
    (None, "1.3", "change_cipher_spec", "RFC 8446 D.4"),  # for middleboxes that expect to see one
    (None, "1.3", "key_update", "RFC 8446 4.6.3"),
)

_COLUMNS = {side: tuple(drawn.column(side) for drawn in FIGURES) for side in (CLIENT, SERVER)}
_ANYTIME_MESSAGES = {
    (side, drawn.family): [
        name for owner, family, name, _ in ANYTIME if owner in (None, side) and family == drawn.family
    ]
    for side in (CLIENT, SERVER)
    for drawn in FIGURES
}

Place = tuple[int, int]  # figure, steps of the side's column already behind it
State = frozenset[Place]


class Table(NamedTuple):
    """The compiled figures."""

    start: State
    moves: dict[tuple[str, State, str], State]  # (side, state, message) -> state
    expected: dict[tuple[str, State], tuple[str, ...]]  # messages that may come next, required ones marked by no "?"


def _open_steps(column: tuple[Step, ...], position: int) -> Iterator[tuple[int, Step]]:
    """The steps that may come next at `position`: the optional ones, up to and with the first required one."""
    if position and column[position - 1].repeat == "*":
        yield position - 1, column[position - 1]
    for index in range(position, len(column)):
        yield index, column[index]
        if not column[index].repeat:
            return


def _moves(side: str, state: State) -> dict[str, State]:
    """Every message that may come in a state, and the state behind it."""
    behind: defaultdict[str, set[Place]] = defaultdict(set)
    for number, position in state:
        for index, step in _open_steps(_COLUMNS[side][number], position):
            behind[step.message].add((number, index + 1))
        for message in _ANYTIME_MESSAGES[side, FIGURES[number].family]:
            behind[message].add((number, position))
    return {message: frozenset(places) for message, places in behind.items()}


@lru_cache(maxsize=4096)  # of some hundreds there are
def narrow(state: State, figures: frozenset[int]) -> State:
    """Keep the places that lie in `figures`; all of them where none would be left (an odd flow decides nothing)."""
    kept = frozenset(place for place in state if place[0] in figures)
    return kept or state


@lru_cache(maxsize=4096)
def figures_of(state: State) -> frozenset[int]:
    """The figures that are still open in a state."""
    return frozenset(number for number, _ in state)


@lru_cache(maxsize=65_536)  # of the pairs of states that traffic reaches, some hundreds
def move(side: str, state: State, other: State, message: str) -> tuple[State, State] | None:
    """Where a message of a side leaves it, and where it leaves the other side; None where it may not come.

    What the server sends decides between figures, so it narrows the client's state too.
    """
    after = TABLE.moves.get((side, state, message))
    if after is None:
        return None
    return after, narrow(other, figures_of(after)) if side == SERVER else other


@lru_cache(maxsize=1024)
def cue(state: State, family: str) -> State:
    """Keep the figures of one family: the server's version has decided."""
    return narrow(state, frozenset(number for number, drawn in enumerate(FIGURES) if drawn.family == family))


def _narrowings(state: State) -> Iterator[State]:
    """Every state that a decision of the other side may leave of this one."""
    open_figures = sorted(figures_of(state))
    for mask in range(1, 1 << len(open_figures)):
        yield narrow(state, frozenset(number for bit, number in enumerate(open_figures) if mask >> bit & 1))


def _expected(side: str, state: State) -> tuple[str, ...]:
    names = {}
    for number, position in sorted(state):
        for _, step in _open_steps(_COLUMNS[side][number], position):
            names[step.message] = step.message + step.repeat
    return tuple(names.values())


def compile_figures() -> Table:
    """Find every state that either side can reach, and every move between them."""
    start: State = frozenset((number, 0) for number in range(len(FIGURES)))
    moves: dict[tuple[str, State, str], State] = {}
    expected: dict[tuple[str, State], tuple[str, ...]] = {}
    for side in (CLIENT, SERVER):
        waiting = [start]
        while waiting:
            state = waiting.pop()
            if (side, state) in expected:
                continue
            expected[side, state] = _expected(side, state)
            waiting.extend(_narrowings(state))
            for message, after in _moves(side, state).items():
                moves[side, state, message] = after
                waiting.append(after)
    return Table(start, moves, expected)


TABLE = compile_figures()


def complete(side: str, state: State) -> bool:
    """Whether a side that stands here may have said all that some open figure demands of it."""
    return any(all(step.repeat for step in _COLUMNS[side][number][position:]) for number, position in state)


def describe_state(state: State) -> str:
    """Print a state: each open figure with the number of messages behind it."""
    return ", ".join(f"{FIGURES[number].name}:{position}" for number, position in sorted(state)) or "nowhere"


def describe_table() -> str:
    """Print the compiled table, sorted: the golden file of the tests."""
    lines = [
        f"{side:6} [{describe_state(state)}] {message} -> [{describe_state(after)}]"
        for (side, state, message), after in TABLE.moves.items()
        if after != state
    ]
    return "\n".join(sorted(lines)) + "\n"
