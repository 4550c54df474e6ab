"""The figures against themselves: what is drawn is accepted, and what is not drawn is not."""

from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import pytest

from tlspcap.tls import figures
from tlspcap.tls.figures import CLIENT, FIGURES, SERVER, Figure, State, Step

GOLDEN = Path(__file__).parent / "golden" / "figures.txt"
TIMES = {"": (1,), "?": (0, 1), "*": (0, 1, 2)}  # how often a step occurs in the paths that are tried

Path_ = tuple[Step, ...]


def paths(figure: Figure) -> Iterator[Path_]:
    """Give every way through a figure: optional messages in and out, repeated ones up to twice."""
    for counts in product(*(TIMES[step.repeat] for step in figure.steps)):
        yield tuple(step for step, count in zip(figure.steps, counts, strict=True) for _ in range(count))


def walk(path: Path_, family: str) -> dict[str, State] | None:
    """Follow both sides through the compiled table as a tap does; None where a message has no place.

    The server decides: its version closes the figures of the other family, its messages those that it has left.
    """
    states = dict.fromkeys((CLIENT, SERVER), figures.TABLE.start)
    for step in path:
        after = figures.TABLE.moves.get((step.side, states[step.side], step.message))
        if after is None:
            return None
        states[step.side] = after
        if step.side == SERVER:
            states[CLIENT] = figures.narrow(states[CLIENT], figures.figures_of(after))
        if step.message in ("server_hello", "hello_retry_request"):
            states = {side: figures.cue(state, family) for side, state in states.items()}
    return states


def is_whole(states: dict[str, State] | None) -> bool:
    """Tell whether both sides have said all that one and the same figure demands of them."""
    if states is None:
        return False
    both = figures.figures_of(states[CLIENT]) & figures.figures_of(states[SERVER])
    return any(
        all(figures.complete(side, figures.narrow(state, frozenset({number}))) for side, state in states.items())
        for number in both
    )


def alone(path: Path_, side: str) -> State | None:
    """Follow one side as if the other were never seen."""
    state = figures.TABLE.start
    for step in path:
        if step.side == side:
            after = figures.TABLE.moves.get((side, state, step.message))
            if after is None:
                return None
            state = after
    return state


def swaps(path: Path_) -> Iterator[Path_]:
    """Give the path with each pair of neighbours within a side changed over, where that makes a difference."""
    for side in (CLIENT, SERVER):
        places = [place for place, step in enumerate(path) if step.side == side]
        for one, other in pairwise(places):
            if path[one].message != path[other].message:
                swapped = list(path)
                swapped[one], swapped[other] = path[other], path[one]
                yield tuple(swapped)


def spoken(path: Path_) -> list[tuple[str, str]]:
    """Give who says what."""
    return [(step.side, step.message) for step in path]


figure_of_each = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)


def test_compiled_figures_are_those_of_the_golden_file() -> None:
    """The compiled table is the one reviewed last; to accept a change, run `make docs` and read the difference."""
    assert figures.describe_table() == GOLDEN.read_text()


@figure_of_each
def test_every_path_is_accepted(figure: Figure) -> None:
    """Both sides of every path have their moves, and end with nothing missing."""
    for path in paths(figure):
        assert is_whole(walk(path, figure.family)), spoken(path)


@figure_of_each
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_every_path_is_accepted_of_one_side_alone(figure: Figure, side: str) -> None:
    """A capture of one direction only is followed as well."""
    for path in paths(figure):
        state = alone(path, side)
        assert state is not None, spoken(path)
        assert figures.complete(side, state), spoken(path)
        assert FIGURES.index(figure) in figures.figures_of(state), spoken(path)


@figure_of_each
def test_no_required_message_may_be_left_out(figure: Figure) -> None:
    """A path without one of its required messages is rejected, or ends incomplete."""
    for path in paths(figure):
        for place, step in enumerate(path):
            if not step.repeat:
                assert not is_whole(walk(path[:place] + path[place + 1 :], figure.family)), (step, spoken(path))


@figure_of_each
def test_no_two_messages_may_change_places(figure: Figure) -> None:
    """A path with two neighbouring messages of one side swapped is rejected, or ends incomplete."""
    for path in paths(figure):
        for swapped in swaps(path):
            assert not is_whole(walk(swapped, figure.family)), spoken(swapped)


@figure_of_each
def test_every_beginning_says_what_may_come_next(figure: Figure) -> None:
    """Wherever a path stops, its next message is among the expected ones of its side."""
    for path in paths(figure):
        for place, step in enumerate(path):
            states = walk(path[:place], figure.family)
            assert states is not None
            expected = figures.TABLE.expected[step.side, states[step.side]]
            assert step.message in {name.rstrip("?*") for name in expected}, (step, spoken(path))


def test_messages_of_any_time_move_nothing() -> None:
    """What may come at any time leaves every figure of its family where it stands."""
    for (_, state, message), after in figures.TABLE.moves.items():
        if message in ("hello_request", "key_update"):
            assert after <= state


def test_every_step_names_its_section() -> None:
    """Each line of a figure says in which section of which RFC (SSL 2.0 has none) its message is defined."""
    for figure in FIGURES:
        for step in figure.steps:
            assert step.section.startswith(("RFC ", "SSL 2.0 ")), step
