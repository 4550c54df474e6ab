"""What an extract must keep: the rows of its handshakes, whatever numbers their packets have now."""

import io
from typing import Any

import pandas as pd

import tlspcap

MOVED = ["id", "capture", "stream", "frame"]  # what says where in a file a handshake is


def extracted(source: Any, rows: pd.DataFrame | list[str], **how: Any) -> io.BytesIO:
    """Extract to memory."""
    file = io.BytesIO()
    tlspcap.extract(source, handshakes=rows, output=file, **how)
    file.seek(0)
    return file


def rows_of(source: Any, **how: Any) -> pd.DataFrame:
    """The handshakes of a capture, with the keys inside of it left alone, since they stay out of an extract."""
    rows = tlspcap.read(source, embedded_secrets=False, tables=["handshakes"], progress=False, **how).handshakes
    for file in source if isinstance(source, list) else [source]:
        if isinstance(file, io.BytesIO):
            file.seek(0)
    return rows


def facts_of(rows: pd.DataFrame, without: list[str] = []) -> pd.DataFrame:  # noqa: B006 - never changed
    """What rows say, but for where their packets are."""
    return rows.drop(columns=[*MOVED, *without]).reset_index(drop=True)


def assert_same_rows(source: Any, rows: pd.DataFrame, **how: Any) -> None:
    """Extracted and read again, handshakes give the rows that they had."""
    pd.testing.assert_frame_equal(facts_of(rows), facts_of(rows_of(extracted(source, rows), **how)))
