"""Plots, by what they contain: labels, counts, marks, and that nothing hostile or missing breaks them."""

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace

import matplotlib as mpl
import pandas as pd
import pytest
from frames import alerts, established, failed, handshakes, intermittent, messages, unknown
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from tlspcap import plots
from tlspcap.errors import ArgumentError
from tlspcap.plots.style import label

OVER_TABLE = [plots.failure_ratio, plots.latency, plots.timeline, plots.matrix]
HOSTILE = [
    "$" + "a" * 70_000 + "$",
    r"$\frac{1}{0}$",
    "\x00\x1b[31m\n" * 50,
    "\U0001f4a9" * 60,
    "漢字" * 100,
    "\u202e" + "W" * 300,
    "<script>alert(1)</script>",
    "",
]


def texts(ax: Axes) -> list[str]:
    """Return every text of the plot as it is drawn, title and tick labels included."""
    ax.figure.canvas.draw()
    ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    return [text.get_text() for text in [ax.title, ax._left_title, *ticks, *ax.texts] if text.get_text()]


def story_messages() -> pd.DataFrame:
    """Tell the messages of the first handshake that failed: a hello and the alert."""
    return messages((0.0, "client", "client_hello", 508), (9.8, "server", "alert", 2))


def test_failure_ratio_writes_the_base_on_each_bar() -> None:
    """A bar per version as long as its ratio, its interval across it, and "3 of 10" beside it."""
    ax = plots.failure_ratio(intermittent())
    assert [bar.get_width() for bar in ax.patches] == [0.3, 0.0]
    shown = texts(ax)
    for text in ("TLS 1.2", "TLS 1.3", "30 %", "3 of 10", "0 %", "0 of 10", "3 of 20 failed, 0 unknown left out"):
        assert text in shown
    low_high = sorted(round(float(x), 3) for x in ax.collections[0].get_segments()[0][:, 0])
    assert low_high == [0.108, 0.603]
    assert "Wilson" in ax.get_xlabel()
    assert "clustered by client" in plots.failure_ratio(intermittent(), by_client=True).get_xlabel()


def test_unknown_outcomes_are_noted_beside_the_bar() -> None:
    """What the capture could not tell stands beside the base; a group with nothing else says that none was decided."""
    shown = texts(plots.failure_ratio(handshakes(failed(), unknown(), unknown(), unknown("TLS 1.3"))))
    assert "1 of 1" in shown
    assert "+ 2 unknown" in shown
    assert "none decided" in shown


def test_many_groups_are_cut_and_counted() -> None:
    """Of many groups those with the most failures are drawn, and the title line says how many there are."""
    rows = [failed(sni=f"host{i}.example") for i in range(30)]
    for draw in (plots.failure_ratio, plots.timeline):
        shown = texts(draw(handshakes(rows), by="sni"))
        assert any("the first 20 of 30 groups shown" in text for text in shown)
        assert sum(text.startswith("host") for text in shown) == 20


def test_latency_marks_medians_and_shows_n() -> None:
    """Each group shows its median in ms, n, and what was excluded, on a logarithmic axis."""
    ax = plots.latency(intermittent())
    shown = texts(ax)
    for text in ("28 ms", "15.2 ms", "n = 7", "n = 10", "3 excluded", "17 established handshakes, 3 excluded"):
        assert text in shown
    assert ax.get_xscale() == "log"
    assert sum(len(line.get_xdata()) for line in ax.lines) == 17


def test_latency_of_one_handshake_is_a_dot_without_a_median() -> None:
    """A single value is drawn as what it is; no median, band or quantile is made of it."""
    ax = plots.latency(handshakes(established()))
    assert [len(line.get_xdata()) for line in ax.lines] == [1]
    assert not ax.collections
    assert "n = 1" in texts(ax)


def test_latency_without_a_value_says_so() -> None:
    """Where nothing could be measured the plot says what is missing instead of showing empty axes."""
    assert "no established handshakes with handshake_ms" in texts(plots.latency(handshakes(failed())))
    with pytest.raises(ArgumentError, match="did you mean 'handshake_ms'"):
        plots.latency(handshakes(failed()), measure="handshake")


def test_latency_draws_durations_of_zero() -> None:
    """A duration of 0 ms, as coarse clocks give, is drawn at the left end and not lost to the logarithm."""
    ax = plots.latency(handshakes(established(handshake_ms=0.0), established(handshake_ms=5.0)))
    assert ax.lines[0].get_xdata().tolist() == [0.001, 5.0]
    texts(ax)


def test_timeline_marks_failures() -> None:
    """Failures are drawn apart from the rest, every handshake once, and each lane says how many failed."""
    ax = plots.timeline(intermittent())
    drawn = {line.get_label(): len(line.get_xdata()) for line in ax.lines}
    assert drawn == {"17 established": 17, "0 unknown": 0, "3 failed": 3}
    marked = next(line for line in ax.lines if line.get_label() == "3 failed")
    assert (marked.get_marker(), marked.get_color()) == ("X", plots.COLOURS["failed"])
    assert {"3 of 10 failed", "0 of 10 failed"} <= set(texts(ax))


def test_matrix_tells_counts_and_alert_of_each_cell() -> None:
    """A cell says how many were established and failed, and the alert; combinations that never came stay blank."""
    chosen = "TLS_RSA_WITH_AES_128_CBC_SHA"
    rows = [established(cipher=chosen), failed(cipher=chosen, alert="handshake_failure"), established("TLS 1.3")]
    ax = plots.matrix(handshakes(rows, failed("TLS 1.0", "protocol_version")))
    shown = texts(ax)
    assert "1 ok, 1 failed\nhandshake_failure" in shown
    assert "1 failed\nprotocol_version" in shown
    assert {"no cipher chosen", chosen, "TLS 1.0", "TLS 1.2", "TLS 1.3"} <= set(shown)
    assert len([patch for patch in ax.patches if not patch.get_hatch()]) == 3


def test_matrix_hatches_what_is_unknown() -> None:
    """The hatched part of a cell is the share of unknown in it."""
    ax = plots.matrix(handshakes(failed(), unknown(), unknown(), unknown()))
    tinted, hatched = sorted(ax.patches, key=lambda patch: bool(patch.get_hatch()))
    assert hatched.get_width() == pytest.approx(0.75 * tinted.get_width())
    assert "1 failed\ninternal_error\n3 unknown" in texts(ax)


def test_ladder_draws_messages_as_arrows_with_times_and_frames() -> None:
    """Messages of one packet share an arrow that says their lengths; times and frames stand at the sides."""
    rows = messages(
        (0.0, "client", "client_hello", 508), (9.5, "server", "server_hello", 93), (9.5, "server", "sealed", 23),
        (9.5, "server", "sealed", 419), (11.0, "client", "sealed", 53),
    )  # fmt: skip
    rows["frame"] = [4, 6, 6, 6, 8]
    ax = plots.ladder(rows, intermittent().iloc[0])
    shown = texts(ax)
    for text in ("client_hello (508)", "server_hello (93), 2 sealed (23, 419)", "sealed (53)", "9.50", "6", "9.5 ms"):
        assert text in shown
    assert "TLS 1.2 handshake with api.example.com: established" in shown
    assert "client\n192.0.2.10:40000" in shown
    assert len([text for text in ax.texts if text.arrow_patch]) == 3


def test_ladder_draws_alerts_in_red_with_their_name() -> None:
    """An alert is named from the alerts table and drawn in the colour of failure."""
    ax = plots.ladder(
        story_messages(), alerts=alerts({"frame": 5, "sender": "server", "description": "internal_error"})
    )
    assert "fatal alert internal_error (80)" in texts(ax)
    colours = [text.arrow_patch.get_edgecolor() for text in ax.texts if text.arrow_patch]
    assert colours == [to_rgba(plots.COLOURS["ink"]), to_rgba(plots.COLOURS["failed"])]


def test_ladder_marks_an_inferred_alert_as_probable() -> None:
    """A sealed record that is an alert by size and place is called a probable one, with its size as evidence."""
    rows = messages((0.0, "client", "client_hello", 508), (9.0, "server", "sealed", 19))
    sealed = alerts({"frame": 5, "sender": "server", "level": None, "encrypted": True, "inferred": True})
    assert "sealed (19): probably an alert" in texts(plots.ladder(rows, alerts=sealed))


def test_ladder_draws_one_handshake_only() -> None:
    """Messages of several handshakes need a row to choose by; without one the call is refused."""
    both = pd.concat([story_messages(), story_messages().assign(id="another")])
    with pytest.raises(ArgumentError, match="messages of 2 handshakes"):
        plots.ladder(both)
    assert texts(plots.ladder(both, pd.Series({"id": "another"}))).count("client_hello (508)") == 1


def test_ladder_says_how_much_it_left_out() -> None:
    """A very long exchange is cut after sixty arrows, and the title line says so."""
    rows = messages(*[(float(i), "client", "key_update", 1) for i in range(100)])
    ax = plots.ladder(rows)
    assert "100 packets with messages, the first 60 shown" in [text.get_text() for text in ax.texts]
    assert len([text for text in ax.texts if text.arrow_patch]) == 60


@pytest.mark.parametrize("draw", OVER_TABLE)
def test_no_handshakes_are_said_in_words(draw) -> None:
    """Without handshakes every plot returns axes that say so."""
    ax = draw(handshakes())
    assert isinstance(ax, Axes)
    assert any(text.startswith("no ") and "handshakes" in text for text in texts(ax))


def test_no_messages_are_said_in_words() -> None:
    """A ladder without messages says so under its title."""
    assert "no messages" in texts(plots.ladder(messages(), intermittent().iloc[0]))


@pytest.mark.parametrize("draw", OVER_TABLE)
def test_rows_with_nothing_but_an_unknown_outcome_are_drawn(draw) -> None:
    """Rows whose time, version and cipher are missing break no plot."""
    texts(draw(handshakes(unknown(version=None, time=None), unknown())))


@pytest.mark.parametrize("by", ["sni", ["sni", "alert", "server_ip", "cipher", "version"]])
@pytest.mark.parametrize("draw", [plots.failure_ratio, plots.latency, plots.timeline])
def test_hostile_names_are_shown_and_not_interpreted(draw, by) -> None:
    """Mathematics, control characters, missing glyphs and endless names become short labels, without a warning."""
    rows = [row(sni=name, cipher=name) for name in HOSTILE for row in (established, failed)]
    shown = texts(draw(handshakes(rows), by=by))
    assert all(character.isprintable() for text in shown for character in text.replace("\n", ""))
    assert any(r"\$\frac{1}{0}\$" in text for text in shown)
    assert max(map(len, shown)) < 120


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_break_neither_matrix_nor_ladder(name: str) -> None:
    """The same names as cipher, server name and reason are drawn as they stand."""
    rows = handshakes(failed(sni=name, cipher=name, alert="internal_error", reason=name * 3))
    texts(plots.matrix(rows, "cipher", "sni"))
    shown = texts(plots.ladder(story_messages(), rows.iloc[0]))
    assert max(len(line) for text in shown for line in text.split("\n")) < 120


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("limit", [1, 12, 40])
def test_a_label_is_printable_and_short(name: str, limit: int) -> None:
    """A label holds printable characters only, keeps to its limit, and has every dollar sign escaped."""
    shown = label(name, limit)
    assert shown.isprintable()
    assert len(shown) <= max(limit, 1) + 1
    assert shown.count("$") == shown.count(r"\$")


@pytest.mark.parametrize("draw", OVER_TABLE)
def test_a_given_axes_is_drawn_on(draw) -> None:
    """With ax, that axes is drawn on and returned."""
    ax = Figure().add_subplot()
    assert draw(intermittent(), ax=ax) is ax
    assert ax.has_data()


def test_a_plot_leaves_nothing_behind_in_pyplot() -> None:
    """Outside IPython no plot registers with pyplot, nor changes the caller's settings."""
    from matplotlib import pyplot

    before = dict(mpl.rcParams)
    for draw in OVER_TABLE:
        draw(intermittent())
    assert pyplot.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_in_ipython_a_plot_is_one_that_the_cell_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an IPython session a plot goes through pyplot, whose inline backend shows and closes it."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    ax = plots.failure_ratio(intermittent())
    assert pyplot.gcf() is ax.figure
    pyplot.close(ax.figure)


def test_equal_tables_give_equal_pictures() -> None:
    """Drawing is deterministic: the same table gives the same bytes."""

    def picture(draw: Callable[[pd.DataFrame], Axes]) -> bytes:
        buffer = io.BytesIO()
        draw(intermittent()).figure.savefig(buffer, format="png")
        return buffer.getvalue()

    for draw in (plots.latency, plots.matrix):
        assert picture(draw) == picture(draw)
