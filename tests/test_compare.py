"""Two captures compared: what changed, what may be chance, what is new and gone, and how it is shown."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import Row, established, failed, handshakes, unknown

import tlspcap
from tlspcap import cli, plots
from tlspcap.differences import failure_differences
from tlspcap.errors import ArgumentError
from tlspcap.report.model import Mood

ROOT = Path(__file__).parents[1]
BEFORE, AFTER = (str(ROOT / "sample_captures" / f"intermittent-alert{part}.pcap") for part in ("", "-after"))


def night(count: int, failures: int, **columns: object) -> list[Row]:
    """Describe `count` handshakes of which the first `failures` failed."""
    return [failed(**columns) if i < failures else established(**columns) for i in range(count)]  # type: ignore[arg-type]


# -- in words ---------------------------------------------------------------------------------------------------


def test_the_first_story_ends_honestly() -> None:
    """After the fix nothing fails any more, and the first sentence says that this may still be chance."""
    found = tlspcap.compare(BEFORE, AFTER)
    assert found.sentences[0] == (
        "Before, 3 of 20 handshakes failed (15 %), after, 0 of 20 (0 %): fewer, but p = 0.23 (95 % interval of the "
        "difference -36 to +4 points): this may be chance; about 60 handshakes of each would tell, at 80 % power."
    )
    assert found.said[0].mood is Mood.DOUBT
    assert "version TLS 1.2 (3 of 10 failed)" in found.sentences[-1]


def test_what_is_no_chance_is_said_so() -> None:
    """A change of many handshakes is said to be none that chance explains, better or worse, also by server."""
    bad, good = (
        handshakes(night(200, 60), night(200, 10, server_ip="198.51.100.2")),
        handshakes(night(200, 10), night(200, 10, server_ip="198.51.100.2")),
    )
    better, worse = tlspcap.compare(bad, good), tlspcap.compare(good, bad)
    assert "fewer, which chance does not explain (p < 0.0001" in better.sentences[0]
    assert "more, which chance does not explain (p < 0.0001" in worse.sentences[0]
    assert [found.said[0].mood for found in (better, worse)] == [Mood.GOOD, Mood.BAD]
    assert better.sentences[1].startswith(
        "server 198.51.100.1:443: failed 60 of 200 (30 %) before, 10 of 200 (5.0 %) after"
    )
    assert not any("198.51.100.2" in sentence for sentence in better.sentences)


def test_unknown_outcomes_are_left_out_and_said_to_be() -> None:
    """Handshakes of unknown outcome are in no ratio, and counted beneath the sentence."""
    found = tlspcap.compare(handshakes(night(10, 2), [unknown()] * 3), handshakes(night(10, 1)))
    assert found.sentences[0].startswith("Before, 2 of 10 handshakes failed (20 %), after, 1 of 10 (10 %)")
    assert found.said[0].details == ("outcome unknown, left out: 3 and 0",)


@pytest.mark.parametrize("empty", ["before", "after", "both"])
def test_an_empty_side_is_said_to_be(empty: str) -> None:
    """With nothing decided on a side there is no difference, and no exception."""
    full, none = handshakes(night(5, 1)), handshakes()
    found = tlspcap.compare(none if empty != "after" else full, none if empty != "before" else full)
    assert found.sentences[0].endswith("they cannot be compared.")
    assert len(found.tables["failures"]) == 1


def test_durations_are_compared_with_their_interval() -> None:
    """Shorter handshakes are said to be, with the interval of the difference, by version too."""
    slow = [established(handshake_ms=40.0 + i % 9) for i in range(30)]
    quick = [established(handshake_ms=20.0 + i % 9) for i in range(30)]
    found = tlspcap.compare(handshakes(slow), handshakes(quick))
    sentence = next(said for said in found.said if said.text.startswith("Median"))
    assert "43.5 ms before (n = 30), 23.5 ms after (n = 30); shorter (95 % interval of the difference" in sentence.text
    assert sentence.details[0].startswith("TLS 1.2: 43.5 ms before")
    row = found.tables["latency"].iloc[0]
    assert row["ci_low"] <= -20 <= row["ci_high"] < 0


def test_what_is_new_and_gone_is_named() -> None:
    """Servers, clients, stacks, versions, ciphers, certificates and alerts of only one side are listed."""
    before = handshakes(
        night(4, 1, server_ip="198.51.100.1", client_ip="192.0.2.1", ja4="a", certificate_sha256="aa" * 32)
    )
    after = handshakes(night(4, 1, version="TLS 1.3", server_ip="198.51.100.2", client_ip="192.0.2.2", ja4="b",
                             certificate_sha256="bb" * 32, alert="handshake_failure"))  # fmt: skip
    table = tlspcap.compare(before, after).tables["changes"]
    for kind, old, new in (
        ("server", "198.51.100.1:443", "198.51.100.2:443"), ("client", "192.0.2.1", "192.0.2.2"),
        ("client stack", "a", "b"), ("version", "TLS 1.2", "TLS 1.3"), ("certificate", "aa" * 32, "bb" * 32),
        ("alert", "internal_error", "handshake_failure"),
    ):  # fmt: skip
        rows = table[table["kind"] == kind].set_index("change")["value"]
        assert (rows["gone"], rows["new"]) == (old, new)


def test_equal_captures_show_no_change() -> None:
    """A capture compared with itself has no difference, nothing new, nothing gone; twice the same words."""
    found = tlspcap.compare(BEFORE, BEFORE)
    assert "no difference (95 % interval" in found.sentences[0]
    assert found.tables["changes"].empty
    assert (found.tables["failures"]["difference"] == 0).all()
    assert found.sentences == tlspcap.compare(BEFORE, BEFORE).sentences


def test_chance_alone_is_seldom_called_a_change() -> None:
    """Of 100 pairs of nights that fail equally often, at most 5 % (and chance's share) are said to differ."""
    drawn = [(int(a), int(b)) for a, b in np.random.default_rng(11).binomial(30, 0.08, (100, 2))]
    frames = {count: handshakes(night(30, count)) for pair in drawn for count in pair}
    told = {pair: failure_differences(frames[pair[0]], frames[pair[1]])["p"].iloc[0] for pair in dict.fromkeys(drawn)}
    assert sum(told[pair] <= 0.05 for pair in drawn) <= 100 * 0.05 + 2 * np.sqrt(100 * 0.05 * 0.95)


# -- inputs and outputs -----------------------------------------------------------------------------------------


def test_captures_paths_and_tables_can_be_compared() -> None:
    """A Capture, a path and a handshakes table give the same numbers."""
    captures = [tlspcap.read(path) for path in (BEFORE, AFTER)]
    told = [tlspcap.compare(*pair).tables for pair in
            (captures, (BEFORE, AFTER), [capture.handshakes for capture in captures])]  # fmt: skip
    for name in ("failures", "latency", "changes"):
        pd.testing.assert_frame_equal(told[0][name], told[1][name])
        pd.testing.assert_frame_equal(told[0][name], told[2][name])


def test_the_command_writes_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare` prints it, and writes HTML with figures, JSON with its schema, and Markdown."""
    out = {kind: tmp_path / f"c.{kind}" for kind in ("html", "json", "md")}
    options = [part for kind, path in out.items() for part in (f"--{kind}", str(path))]
    assert cli.main(["compare", BEFORE, AFTER, "--quiet", *options]) == 0
    assert capsys.readouterr().out == ""
    assert out["html"].read_text(encoding="utf-8").count("<svg") == 2
    shape = json.loads(out["json"].read_text())
    assert (shape["schema"], shape["schema_version"]) == ("tlspcap.comparison", 1)
    sections = {section["key"]: section for section in shape["sections"]}
    row = sections["failures"]["tables"][0]["rows"][0]
    assert [row[name] for name in ("before", "before_base", "after", "after_base")] == [3, 20, 0, 20]
    assert out["md"].read_text(encoding="utf-8").startswith("# TLS handshakes in ")
    assert cli.main(["compare", BEFORE, AFTER]) == 0
    assert "this may be chance" in " ".join(capsys.readouterr().out.split())


def test_the_command_says_what_it_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing capture ends the command with code 3 and one line."""
    assert cli.main(["compare", BEFORE, "no-such-file.pcap"]) == 3
    assert capsys.readouterr().err.startswith("tlspcap: no-such-file.pcap")


def test_a_comparison_is_written_by_suffix(tmp_path: Path) -> None:
    """`report` writes what the suffix says, and knows no other."""
    found = tlspcap.compare(BEFORE, AFTER)
    found.report(tmp_path / "c.md")
    assert (tmp_path / "c.md").read_text().count("## ") == 4
    with pytest.raises(ArgumentError, match=r"cannot write a comparison as '\.pdf'"):
        found.report(tmp_path / "c.pdf")


def test_text_from_the_wire_is_escaped() -> None:
    """A stack or name that holds control characters or markup reaches no terminal and no page."""
    found = tlspcap.compare(handshakes(night(5, 1, ja4="\x1b[2J<script>")), handshakes(night(5, 1)))
    assert "\x1b" not in "".join(found.sentences)
    from tlspcap.report.comparison import render

    page = render(found, "html")
    assert "<script>" not in page
    assert "\x1b" not in page


# -- the plot ---------------------------------------------------------------------------------------------------


def test_the_plot_shows_both_with_their_difference() -> None:
    """Each group has two marks and a note of counts and interval; latency is drawn the same way."""
    found = tlspcap.compare(BEFORE, AFTER)
    ax = found.plot()
    assert [line.get_label() for line in ax.lines] == ["before", "after"]
    assert ax.texts[0].get_text() == "3 of 20 → 0 of 20: -36 to +4 points"
    assert found.plot("latency").texts[0].get_text().startswith("19.7 ms → 17.2 ms")
    with pytest.raises(ArgumentError, match="cannot plot 'versions'"):
        found.plot("versions")
    with pytest.raises(ArgumentError, match="of a comparison is needed"):
        plots.change(found.tables["changes"])
