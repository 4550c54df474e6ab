"""The door: `read` a capture, ask the `Capture` for tables, ratios, durations, plots, words and reports.

What a `Capture` is asked for is imported by the method that is asked: who only wants a table waits for no report.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlspcap.errors import ArgumentError, CaptureError
from tlspcap.lines import LineBuilder
from tlspcap.progress import bar
from tlspcap.schema import TABLES
from tlspcap.selection import Selection
from tlspcap.spread import Gathered, gathered, read_tables, scan_tables
from tlspcap.wire.columns import FileFacts
from tlspcap.wire.files import CaptureInput

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tlspcap import offers
    from tlspcap.report.contrast import Contrast


def read(
    source: CaptureInput | Iterable[CaptureInput],
    *,
    keylog: str | Path | None = None,
    embedded_secrets: bool = True,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    jobs: int | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> "Capture":
    """Read captures and follow every TLS handshake in them.

    Args:
        source: a path, a glob, a folder, "-" for standard input, an open binary file, or a list of those. Classic
            pcap or pcapng, also packed with gzip, bzip2, xz, zstd or lz4; told by their first bytes, not by name.
            Several files are one stream, in order of their first packets: a handshake may span them.
        keylog: a key log file (NSS format, SSLKEYLOGFILE). What it has secrets of is judged by what handshake records
            and alerts hold, not by their sizes. Application data is not kept, and no secret leaves this call.
        embedded_secrets: use the key logs inside of a pcapng too; they count for the packets behind them.
        timeout: seconds of capture time after which a peer that was to speak is said to be silent.
        select: which handshakes to keep; all without one.
        tables: names of the tables to build; all without. What is not asked for costs nothing.
        jobs: processes to use; None: the cores there are where the captures are files of 64 MB or more together.
        skip_unreadable: leave out captures that cannot be read at all, as long as one can; `unreadable` lists why.
        progress: show a progress bar on standard error; None: where that is a terminal, or in Jupyter.

    Returns:
        A Capture, whose tables are plain DataFrames.

    Raises:
        CaptureError: an input could not be read at all (NotACapture, UnknownLinkType say why).
        ArgumentError: an argument makes no sense, or the key log cannot be read.

    >>> import tlspcap
    >>> cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
    >>> cap.failure_ratio(by="version")[["n", "failed"]].to_dict("index")
    {'TLS 1.2': {'n': 10, 'failed': 3}, 'TLS 1.3': {'n': 10, 'failed': 0}}
    """
    names = None if tables is None else list(tables)
    with bar(progress) as advance:
        reading = read_tables(
            source, timeout=timeout, select=select, tables=names, jobs=jobs, skip_unreadable=skip_unreadable,
            progress=advance, keylog=keylog, embedded_secrets=embedded_secrets,
        )  # fmt: skip
    return Capture(reading.frames, reading.files, reading.unreadable)


def scan(  # noqa: D417 - the arguments of `read` are described there
    source: CaptureInput | Iterable[CaptureInput],
    rows: int = 50_000,
    *,
    keylog: str | Path | None = None,
    embedded_secrets: bool = True,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    jobs: int | None = None,
    skip_unreadable: bool = False,
    progress: bool | None = None,
) -> "Iterator[Capture]":
    """Read captures in pieces, for what does not fit in memory.

    Args:
        source: as in `read`, and so are the arguments not listed here.
        rows: handshakes after which a piece is handed out; one more chunk's worth may be in it. It is handed out sooner
            where its tables have 200,000 rows together, so that memory stays bounded with every table too.

    Returns:
        An iterator of Captures with the same tables. A handshake is in the piece that was at hand when its connection
        was over; handshakes are numbered on from piece to piece, and in order of time within each. Notes that belong to
        no handshake, and `files`, come with the last piece. A certificate is listed in each piece that shows it.

    Raises:
        CaptureError, ArgumentError: as `read`, when the pieces are asked for.

    >>> import tlspcap
    >>> pieces = tlspcap.scan("sample_captures/old-app.pcap", rows=10, tables=["handshakes"])
    >>> sum(len(piece.handshakes) for piece in pieces)
    39
    """
    names = None if tables is None else list(tables)
    with bar(progress) as advance:
        pieces = scan_tables(
            source, rows=rows, timeout=timeout, select=select, tables=names, jobs=jobs,
            skip_unreadable=skip_unreadable, progress=advance, keylog=keylog, embedded_secrets=embedded_secrets,
        )  # fmt: skip
        for reading in pieces:
            yield Capture(reading.frames, reading.files, reading.unreadable)


@dataclass(frozen=True)
class Text:
    """A piece of a table as CSV, and what `Capture.unreadable` says."""

    lines: Iterator[str]
    unreadable: list[CaptureError]


def scan_csv(
    source: CaptureInput | Iterable[CaptureInput],
    table: str,
    rows: int,
    progress: bool | None = None,
    **how: Any,
) -> "Iterator[Text]":
    """Read captures for one table as CSV, in pieces, without pandas; arguments and errors are those of `scan`.

    A table of what handshakes share comes in one piece, each thing once.
    """
    with bar(progress) as advance:
        pieces = gathered(source, LineBuilder, rows=rows, tables=[table], progress=advance, **how)
        if TABLES[table].key:
            pieces = iter([_together(pieces)])
        for piece in pieces:
            yield Text(piece.builder.lines(table, piece.first), piece.unreadable)


def _together(pieces: "Iterator[Gathered[LineBuilder]]") -> "Gathered[LineBuilder]":
    """Join all pieces of a reading into its last."""
    whole = next(pieces)
    for piece in pieces:
        piece.builder.merge(whole.builder)
        whole = piece
    return whole


@dataclass(frozen=True, repr=False)
class Capture:
    """What was read: the tables, and shortcuts to what is mostly asked of them."""

    tables: "dict[str, pd.DataFrame]"  # by name; those that were asked for
    files: list[FileFacts] = field(default_factory=list)  # what is known of each file as a whole
    unreadable: list[CaptureError] = field(default_factory=list)  # captures that were left out, and why

    def __repr__(self) -> str:
        """Say what was read, in a line."""
        counts = ", ".join(f"{len(frame)} {name}" for name, frame in self.tables.items())
        return f"<Capture of {len(self.files)} file(s): {counts}>"

    def _table(self, name: str) -> "pd.DataFrame":
        if name not in self.tables:
            raise ArgumentError(f"{name}: this table was not asked for; read with tables=[…, {name!r}]")
        return self.tables[name]

    @property
    def handshakes(self) -> "pd.DataFrame":
        """One row per TLS handshake; the columns are in docs/tables.md."""
        return self._table("handshakes")

    @property
    def records(self) -> "pd.DataFrame":
        """One row per TLS record."""
        return self._table("records")

    @property
    def messages(self) -> "pd.DataFrame":
        """One row per handshake message, ChangeCipherSpec, alert and first application data."""
        return self._table("messages")

    @property
    def alerts(self) -> "pd.DataFrame":
        """One row per alert."""
        return self._table("alerts")

    @property
    def certificates(self) -> "pd.DataFrame":
        """One row per distinct certificate."""
        return self._table("certificates")

    @property
    def notes(self) -> "pd.DataFrame":
        """One row per oddity."""
        return self._table("notes")

    @property
    def hellos(self) -> "pd.DataFrame":
        """One row per distinct hello of a client or a server."""
        return self._table("hellos")

    @property
    def certificate_requests(self) -> "pd.DataFrame":
        """One row per distinct request for a client certificate."""
        return self._table("certificate_requests")

    def hello(self, handshake: int) -> "offers.Hello":
        """What the client of a handshake offered, and what the server chose (see `tlspcap.offers`).

        >>> import tlspcap
        >>> cap = tlspcap.read("sample_captures/old-app.pcap")
        >>> cap.hello(0).offered.versions, cap.hello(0).chosen
        (('TLS 1.0',), None)
        """
        from tlspcap import offers

        return offers.hello(handshake, {name: self._table(name) for name in ("handshakes", "hellos")})

    def certificate_request(self, handshake: int) -> "offers.CertificateRequest | None":
        """What the server asked of a client certificate; None where it did not, or where that is sealed (TLS 1.3).

        >>> import tlspcap
        >>> tlspcap.read("sample_captures/mutual-tls.pcapng").certificate_request(5).authorities
        ('CN=Mesh Clients Root,O=Mesh Clients',)
        """
        from tlspcap import offers

        tables = {name: self._table(name) for name in ("handshakes", "certificate_requests")}
        return offers.certificate_request(handshake, tables)

    @cached_property
    def findings(self) -> "pd.DataFrame":
        """One row per thing that is wrong or worth knowing, worst first; the first names the cause of most failures.

        >>> import tlspcap
        >>> cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
        >>> cap.findings.loc[0, "severity"], len(cap.findings.loc[0, "handshakes"])
        ('error', 3)
        """
        return self.find()

    def find(self, ca: str | Path | None = None) -> "pd.DataFrame":
        """Give the findings, with trusted roots those about trust too.

        Args:
            ca: a file of trusted roots (PEM or DER), or "system" for those of this machine. Chains are verified at the
                time at which they were shown; without roots nothing is said about trust.

        Returns:
            A table like `findings`.

        Raises:
            ArgumentError: the roots cannot be read.
        """
        from tlspcap import findings

        return findings.table(findings.find(self.tables, ca))

    def failure_ratio(self, by: Any = "version", by_client: bool = False) -> "pd.DataFrame":
        """Failure ratio per group with its interval and base (see `tlspcap.failure_ratio`)."""
        from tlspcap.failures import failure_ratio

        return failure_ratio(self.handshakes, by, by_client)

    def latency(self, by: Any = None, outcome: str | None = "established") -> "pd.DataFrame":
        """Quantiles of each measure per group, in ms (see `tlspcap.latency`)."""
        from tlspcap.latency import latency

        return latency(self.handshakes, by, outcome)

    def contrast(self, outcome: str = "failed", limit: float | None = None) -> "Contrast":
        """What goes with the failures, or with slowness, and whether that may be chance (see `tlspcap.contrast`)."""
        from tlspcap.report.contrast import contrast

        return contrast(self.handshakes, outcome, limit)

    def explain(self, handshake: int) -> str:
        """One handshake, step by step, in words."""
        from tlspcap.explain import explain

        return explain(handshake, self.tables)

    @property
    def plot(self) -> "Plots":
        """Plots of this capture; each returns matplotlib Axes."""
        return Plots(self)

    def report(self, path: str | Path, by: str | list[str] = "version", ca: str | Path | None = None) -> None:
        """Write the report to a file: .html (one page), .md or .json, by its suffix; `ca`: see `find`."""
        from tlspcap import report

        report.save(tables=self.tables, path=path, by=by, ca=ca)


@dataclass(frozen=True)
class Plots:
    """The plots of one capture; the same as the functions in `tlspcap.plots`, given its tables."""

    capture: Capture

    def failure_ratio(self, by: str = "version", ax: "Axes | None" = None) -> "Axes":
        """Bars of the failure ratio per group, with interval and base."""
        from tlspcap import plots

        return plots.failure_ratio(self.capture.handshakes, by=by, ax=ax)

    def latency(self, by: str = "version", ax: "Axes | None" = None) -> "Axes":
        """How long handshakes took, per group."""
        from tlspcap import plots

        return plots.latency(self.capture.handshakes, by=by, ax=ax)

    def timeline(self, ax: "Axes | None" = None) -> "Axes":
        """Handshakes over time, failures marked."""
        from tlspcap import plots

        return plots.timeline(self.capture.handshakes, ax=ax)

    def matrix(self, ax: "Axes | None" = None) -> "Axes":
        """Version by cipher: what succeeded, what failed, and how."""
        from tlspcap import plots

        return plots.matrix(self.capture.handshakes, ax=ax)

    def ladder(self, handshake: int, ax: "Axes | None" = None) -> "Axes":
        """One handshake as arrows between client and server."""
        from tlspcap import plots

        table = self.capture.handshakes
        if handshake not in table.index:
            raise ArgumentError(f"ladder: there is no handshake {handshake}; the table has {len(table)} rows")
        row: pd.Series[Any] = table.loc[[handshake]].iloc[0]
        messages, alerts = self.capture.messages, self.capture.alerts
        return plots.ladder(messages[messages["id"] == row["id"]], row, alerts[alerts["id"] == row["id"]], ax=ax)
