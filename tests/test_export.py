"""Tables as files: equal content in each format, and no cell that a spreadsheet or a terminal would act upon."""

import csv
import io
import json

import pandas as pd
import pytest
from frames import established, failed, handshakes, intermittent
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap.errors import ArgumentError
from tlspcap.escape import csv_cell
from tlspcap.export import WRITERS, write


def written(frames: list[pd.DataFrame], kind: str) -> bytes:
    """Return what `write` writes."""
    out = io.BytesIO()
    write(frames, kind, out)
    return out.getvalue()


def test_csv_holds_every_column_and_row() -> None:
    """CSV has the index and all columns in order, and reads back to the same values."""
    table = intermittent()
    rows = list(csv.reader(io.StringIO(written([table], "csv").decode())))
    assert rows[0] == ["handshake", *table.columns]
    assert len(rows) == 1 + len(table)
    found = dict(zip(rows[0], rows[3], strict=True))
    assert (found["handshake"], found["version"], found["alert_code"], found["frame"]) == ("2", "TLS 1.2", "80", "28")
    assert (found["outcome"], found["handshake_ms"], found["cipher"], found["resumed"]) == ("failed", "11", "", "false")
    assert found["time"] == "2026-11-03 02:00:02.000000000Z"


def test_pieces_make_one_table() -> None:
    """A table in pieces gives the same file as the table whole, the header once."""
    table = intermittent()
    for kind in ("csv", "jsonl"):
        assert written([table.iloc[:7], table.iloc[7:]], kind) == written([table], kind)


def test_an_empty_table_has_its_header() -> None:
    """Without rows, CSV is the header and JSON lines are nothing."""
    assert written([handshakes()], "csv").decode().startswith("handshake,id,capture,")
    assert written([handshakes()], "csv").count(b"\n") == 1
    assert written([handshakes()], "jsonl") == b""


def test_json_lines_are_json() -> None:
    """Each line is one row as JSON, with null for what is unknown and UTC times in ISO 8601."""
    rows = [json.loads(line) for line in written([intermittent()], "jsonl").splitlines()]
    assert len(rows) == 20
    assert (rows[2]["alert"], rows[2]["alert_code"], rows[2]["cipher"]) == ("internal_error", 80, None)
    assert rows[2]["time"] == "2026-11-03T02:00:02.000000000Z"


def test_parquet_keeps_every_dtype() -> None:
    """A table written as Parquet, in pieces, reads back equal with the same dtypes and index."""
    table = intermittent()
    again = pd.read_parquet(io.BytesIO(written([table.iloc[:7], table.iloc[7:]], "parquet")))
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_csv_cell_starts_a_formula(start: str) -> None:
    """A name that a spreadsheet would take for a formula gets an apostrophe in front."""
    rows = list(
        csv.reader(io.StringIO(written([handshakes(established(sni=f"{start}1+1"))], "csv").decode(), newline=""))
    )
    assert rows[1][rows[0].index("sni")].startswith("'")


def test_no_control_character_reaches_the_text_formats() -> None:
    """Escape sequences in a name are written as visible text in CSV and JSON lines."""
    table = handshakes(failed(sni="x\x1b[2J\u202e", reason="a\nb"))
    for kind in ("csv", "jsonl"):
        text = written([table], kind).decode()
        assert all(char.isprintable() or char == "\n" for char in text)
        assert len(text.splitlines()) == {"csv": 2, "jsonl": 1}[kind]


@settings(max_examples=40, deadline=None)  # each example starts threads; no test decides by timing
@given(st.lists(st.one_of(st.none(), st.text()), min_size=1, max_size=8))
def test_any_text_makes_sound_csv(names: list[str | None]) -> None:
    """Whatever the cells hold, CSV reads back as many rows, each cell made harmless and otherwise unchanged."""
    clean = [None if name is None else name.encode("utf-8", "replace").decode() for name in names]
    frame = pd.DataFrame({"sni": pd.Series(clean, dtype="string"), "n": range(len(clean))})
    rows = list(csv.reader(io.StringIO(written([frame], "csv").decode(), newline="")))
    assert [row[0] for row in rows[1:]] == ["" if name is None else csv_cell(name) for name in clean]


def test_an_unknown_format_is_the_callers_error() -> None:
    """A format that does not exist raises ArgumentError and names those that do."""
    with pytest.raises(ArgumentError, match=", ".join(WRITERS)):
        write([handshakes()], "xlsx", io.BytesIO())
