"""Wireshark display filters that show the conversations spoken of."""

from collections.abc import Iterator

import pandas as pd

# Wireshark counts conversations of each transport for itself.
STREAM_FIELD = {"tcp": "tcp.stream", "dtls": "udp.stream", "quic": "udp.stream"}


def by_file(rows: pd.DataFrame, most: int | None = None) -> Iterator[tuple[str, str]]:
    """Give each file that holds some of the rows and a filter for its part; stream numbers are a file's own.

    Args:
        rows: with the columns capture, transport and stream.
        most: conversations in a filter, the first ones; all without. Rows without a stream are left out.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for capture, transport, stream in zip(rows["capture"], rows["transport"], rows["stream"], strict=True):
        if not pd.isna(stream):
            places.setdefault((str(capture), str(transport)), []).append(int(stream))
    for (capture, transport), streams in sorted(places.items()):
        yield capture, stream_filter(STREAM_FIELD[transport], streams[:most])


def stream_filter(field: str, streams: list[int]) -> str:
    """Write a display filter for conversations, runs of numbers as ranges.

    >>> stream_filter("tcp.stream", [9, 4, 5, 6, 13])
    'tcp.stream in {4..6, 9, 13}'
    >>> stream_filter("tcp.stream", [4])
    'tcp.stream == 4'
    """
    numbers = sorted(set(streams))
    if len(numbers) == 1:
        return f"{field} == {numbers[0]}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    members = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}..{b}" for a, b in runs]
    return f"{field} in {{{', '.join(members)}}}"
