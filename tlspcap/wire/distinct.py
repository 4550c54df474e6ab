"""Numbers for the distinct values of a column: what sorting would find, in linear time and in order of appearance.

A hash of each value is its place in a small table, in which the rows that come there write their number: the first one
wins, and leads all rows that hold the same value. Rows that find another value in their place go on to the next round,
where each goes to another place. Values come from the wire, so the hash has a secret: nobody can send such as meet
in every round.
"""

import os

import numpy as np
import numpy.typing as npt

from tlspcap.wire.index import Column, Int64

_ROUNDS = 8  # with multipliers of their own; then they come round again, and each place still settles one value
_SECRETS = np.frombuffer(os.urandom(16 * _ROUNDS), dtype=np.uint64).reshape(-1, 2) | np.uint64(1)
_WORD = 64  # bits


def distinct(first: Column, second: Column | None = None) -> tuple[Int64, Int64]:
    """Number the distinct values of a column of integers, or pairs of two columns, from 0 in order of appearance.

    Return the number of each row, and the first row of each number.

    >>> [found.tolist() for found in distinct(np.array([7, 9, 7, 8]))]
    [[0, 1, 0, 2], [0, 1, 3]]
    >>> distinct(np.array([7, 7, 7]), np.array([1, 2, 1]))[0].tolist()
    [0, 1, 0]
    """
    columns = [np.asarray(column, dtype=np.int64) for column in (first, second) if column is not None]
    every = np.arange(len(first))
    leader = _leaders(columns, every)
    firsts = np.flatnonzero(leader == every)
    number = np.empty(len(first), dtype=np.int64)
    number[firsts] = np.arange(len(firsts))
    return number[leader], firsts


def among(values: Column, ordered: Column) -> npt.NDArray[np.bool_]:
    """Whether each value is one of some, which are given in order.

    As numpy's `isin`, which for more than a few values loads `numpy.ma` first; that takes longer than a small capture.

    >>> among(np.array([7, 9, 7, 8]), np.array([3, 7, 8])).tolist()
    [True, False, True, True]
    """
    if not len(ordered):
        return np.zeros(len(values), dtype=np.bool_)
    found: npt.NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
    return found


def _leaders(columns: list[Int64], every: Int64) -> Int64:
    """Return for each row the first one that holds the same."""
    leader, rows, turn = every.copy(), every, 0
    bits = len(every).bit_length() + 1
    table = np.empty(1 << bits, dtype=np.int32)  # what is read was written before: it need not be cleared
    while len(rows):
        values = columns if rows is every else [column[rows] for column in columns]
        place = _places(values, turn, bits)
        table[place[::-1]] = rows[::-1]  # of several that are written to one place the last one stays
        lead = table[place]
        same = columns[0][lead] == values[0]
        for column, value in zip(columns[1:], values[1:], strict=True):
            same &= column[lead] == value
        leader[rows[same]] = lead[same]
        rows, turn = rows[~same], turn + 1
    return leader


def _places(values: list[Int64], turn: int, bits: int) -> Int64:
    """Return the place of each value: the upper bits of its product with a secret odd number (multiply-shift)."""
    secrets = _SECRETS[turn % _ROUNDS]
    mixed = values[0].view(np.uint64) * secrets[0]
    for value, secret in zip(values[1:], secrets[1:], strict=False):
        mixed += value.view(np.uint64) * secret
    place: Int64 = (mixed >> np.uint64(_WORD - bits)).view(np.int64)
    return place
