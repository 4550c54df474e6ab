"""What a report says, apart from how it is shown: it must be true, carry its base, and name where to look."""

import pandas as pd
import pytest
from frames import alerts, established, failed, handshakes, intermittent, table, unknown

from tlspcap.display_filter import stream_filter
from tlspcap.errors import ArgumentError
from tlspcap.report import Report, build
from tlspcap.report.model import Grid, Mood, Section, Sentence


def section(report: Report, key: str) -> Section:
    """Return the section called `key`."""
    return next(part for part in report.sections if part.key == key)


def grid(report: Report, key: str) -> Grid:
    """Return the grid called `key`."""
    return next(found for part in report.sections for found in part.grids if found.key == key)


def causes_of(*rows: dict[str, object]) -> list[Sentence]:
    """Return the sentences about who failed whom for these handshakes."""
    return list(section(build({"handshakes": handshakes(*rows)}), "causes").sentences)


HIDDEN = {
    "alert": None,
    "failure_mechanism": "hidden_alert",
    "failure_phase": "client_auth",
    "certainty": "probable",
    "reason": "one sealed record as short as an alert (inferred from record sizes)",
}


def test_headline_of_the_intermittent_alert() -> None:
    """The first sentence is the diagnosis; behind it: the ratio of each version, alert and sender."""
    headline = build({"handshakes": intermittent()}).headline
    assert headline.text == (
        "3 handshakes failed: internal_error (80), sent by the server 198.51.100.1:443 after the ClientHello."
    )
    assert headline.details[0] == (
        "TLS 1.2: 3 of 10 handshakes failed (30 %, 95 % interval 11 to 60 %), "
        "TLS 1.3: 0 of 10 failed (0 %, 0 to 28 %); all 3: internal_error (80), "
        "sent by the server 198.51.100.1:443 after the ClientHello (e.g. stream 2, frame 28)."
    )


def test_headline_names_failures_first() -> None:
    """A version that fails stands before one that does not, whatever their order."""
    text = build({"handshakes": handshakes(established("TLS 1.2"), failed("TLS 1.3"))}).headline.details[0]
    assert text.startswith("TLS 1.3: 1 of 1 handshakes failed")


def test_headline_with_many_groups_gives_the_total_and_the_worst() -> None:
    """With more groups than a sentence can hold, the headline says the total and where most failures are."""
    rows = [established(v) for v in ("TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")] + [failed("TLS 1.1")] * 2
    text = build({"handshakes": handshakes(rows)}).headline.details[0]
    assert text.startswith("2 of 6 handshakes failed (33 %, ")
    assert "highest in TLS 1.1 (2 of 3)" in text


def test_headline_where_all_succeeded() -> None:
    """Without a failure the headline says so, with the interval that so few handshakes allow."""
    headline = build({"handshakes": handshakes([established()] * 20)}).headline
    assert headline.text == "All 20 handshakes succeeded (0 of 20 failed, 95 % interval 0 to 16 %)."
    assert headline.mood is Mood.GOOD


def test_headline_counts_unknown_outcomes() -> None:
    """Unknown outcomes are counted beside the ratio and never in it."""
    bad = build({"handshakes": handshakes(failed(), established(), unknown())}).headline.details[0]
    assert bad.startswith("TLS 1.2: 1 of 2 handshakes failed")
    assert bad.endswith("; 1 more with unknown outcome.")
    good = build({"handshakes": handshakes(established(), unknown())}).headline
    assert "0 of 1 failed" in good.text
    assert "1 more with unknown outcome, most often because the capture ended before the handshake did" in good.text
    assert good.mood is Mood.DOUBT


def test_headline_where_nothing_is_decided() -> None:
    """Where the capture tells of no handshake how it ended, the headline claims neither success nor failure."""
    text = build({"handshakes": handshakes([unknown(completeness="one_sided")] * 3)}).headline.text
    assert (
        text == "3 handshakes, and the capture tells of none how it ended; most often: only one direction was captured."
    )


def test_a_capture_without_tls_says_what_was_there() -> None:
    """Without TLS the report says so, with what the notes tell of packets, conversations and ports."""
    told = "120 packets in 4 conversations, top server ports: 80 (3), 22 (1)"
    report = build(
        {"handshakes": handshakes(), "notes": table("notes", [{"kind": "no_tls", "detail": told}])}, sources=["x"]
    )
    assert report.headline.text == "No TLS handshake was found in this capture."
    assert report.headline.details == (told,)
    assert report.sections == ()


def test_every_ratio_shows_base_interval_unknown_and_clients() -> None:
    """A row of the failures table holds count and base, interval, unknown ones and distinct clients."""
    rows = [failed(client_ip="10.0.0.1"), established(client_ip="10.0.0.2"), unknown(client_ip="10.0.0.2")]
    (row,) = grid(build({"handshakes": handshakes(rows)}), "failures").rows
    name, of, ratio, interval, unknowns, clients = row
    assert (name, of, ratio, unknowns, clients) == ("TLS 1.2", (1, 2), 0.5, 1, 2)
    assert interval == pytest.approx((0.0945, 0.9055), abs=1e-4)


def test_failures_can_be_grouped_by_any_columns() -> None:
    """`by` takes one column or several; a missing value is a group of its own."""
    rows = handshakes(failed(sni=None), established(sni="a.example"))
    found = grid(build({"handshakes": rows}, by=["sni", "version"]), "failures")
    assert [row[:3] for row in found.rows] == [("(not seen)", "TLS 1.2", (1, 1)), ("a.example", "TLS 1.2", (0, 1))]


def test_a_wrong_column_is_the_callers_error() -> None:
    """A column that does not exist raises ArgumentError and names the nearest."""
    with pytest.raises(ArgumentError, match="version"):
        build({"handshakes": intermittent()}, by="versoin")


def test_causes_are_grouped_with_filter_and_example() -> None:
    """Equal failures are one sentence, with an example's stream and frame and a display filter for all of them."""
    (said,) = section(build({"handshakes": intermittent()}), "causes").sentences
    assert said.text == (
        "3 × internal_error (80), sent by the server 198.51.100.1:443 after the ClientHello, TLS 1.2"  # noqa: RUF001
    )
    assert said.details[0] == ("e.g. stream 2, frame 28: 192.0.2.10:40002 to api.example.com at 198.51.100.1:443")
    assert [(f.capture, f.expression) for f in said.filters] == [("night.pcap", "tcp.stream in {2, 5, 9}")]
    assert said.data["count"] == 3
    assert said.data["example"] == {"capture": "night.pcap", "stream": 2, "frame": 28}


def test_the_alerts_own_frame_is_named() -> None:
    """Where the alert itself was seen, its frame stands beside the ClientHello's."""
    rows = handshakes(failed())
    sent = alerts({"frame": 9, "sender": "server", "description": "internal_error", "id": rows["id"].iloc[0]})
    (said,) = section(build({"handshakes": rows, "alerts": sent}), "causes").sentences
    assert said.details[0].startswith("e.g. stream 0, frame 4, alert in frame 9: ")


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            {"failure_side": "client", "failure_phase": "server_certificate", "alert": "unknown_ca"},
            "unknown_ca (48), sent by the client 192.0.2.10 to the server 198.51.100.1:443 at the server's certificate",
        ),
        (HIDDEN, "encrypted alert (probable), sent by the server 198.51.100.1:443 at client authentication"),
        (
            {"alert": None, "failure_side": "client", "failure_phase": "server_hello"},
            "connection reset, by the client 192.0.2.10 of the server 198.51.100.1:443 after the ServerHello",
        ),
        (
            {"alert": None, "failure_mechanism": "timeout"},
            "no answer, from the server 198.51.100.1:443 after the ClientHello",
        ),
        (
            {"alert": None, "failure_mechanism": "timeout", "failure_side": "network"},
            "no answer, lost between the client 192.0.2.10 and the server 198.51.100.1:443 after the ClientHello",
        ),
        (
            {"alert": None, "failure_mechanism": "not_tls", "server_ip": "2001:db8::1"},
            "an answer that is not TLS, from the server [2001:db8::1]:443 after the ClientHello",
        ),
    ],
)
def test_each_way_to_fail_has_its_words(columns: dict[str, object], text: str) -> None:
    """Every side and mechanism is said in words that name both ends."""
    (said,) = causes_of(failed(**columns))
    assert said.text == f"1 × {text}, TLS 1.2"  # noqa: RUF001


def test_what_is_inferred_says_so_and_from_what() -> None:
    """A probable failure is marked as such and gives the reason it was inferred from."""
    (said,) = causes_of(failed(**HIDDEN))
    assert "(probable)" in said.text
    assert said.mood is Mood.DOUBT
    assert HIDDEN["reason"] in said.details


def test_a_cause_shared_by_servers_and_clients_counts_them() -> None:
    """Many servers or clients with one trouble are one sentence that counts them and names the most frequent."""
    rows = [failed(server_ip=f"10.1.0.{i}", client_ip=f"10.2.0.{i}") for i in (1, 2, 3, 4, 4)]
    (said,) = causes_of(*rows)
    assert "5 × internal_error (80), sent by the 4 servers after" in said.text  # noqa: RUF001
    assert "4 servers: 10.1.0.4:443, 10.1.0.1:443 and 2 more" in said.details[-1]


def test_a_cause_met_in_several_versions_counts_each() -> None:
    """One trouble in several versions is one sentence, its versions in order with their counts."""
    (said,) = causes_of(failed("TLS 1.3"), failed("TLS 1.0"), failed("TLS 1.0"))
    assert said.text.endswith(", TLS 1.0 (2), TLS 1.3 (1)")


def test_different_evidence_for_one_cause_is_told_apart() -> None:
    """Where equal failures were inferred from different evidence, each reason stands with its count."""
    (said,) = causes_of(failed(**HIDDEN), failed(**HIDDEN), failed(**{**HIDDEN, "reason": "an empty certificate"}))
    assert said.details[1:3] == (f"2 × {HIDDEN['reason']}", "1 × an empty certificate")  # noqa: RUF001


def test_with_several_files_numbers_name_their_file() -> None:
    """Stream and frame are a file's own numbers, so with several files each example and filter names its file."""
    rows = [failed(capture="a.pcap", stream=7), failed(capture="b.pcap", stream=7)]
    report = build({"handshakes": handshakes(rows)})
    assert report.headline.details[0].endswith("(e.g. stream 7, frame 4 of a.pcap).")
    (said,) = section(report, "causes").sentences
    assert [(f.capture, f.expression) for f in said.filters] == [
        ("a.pcap", "tcp.stream == 7"),
        ("b.pcap", "tcp.stream == 7"),
    ]


def test_stream_filters_hold_exactly_their_streams() -> None:
    """A display filter lists each stream once, runs as ranges, pairs one by one."""
    assert stream_filter("tcp.stream", [5, 5, 4, 9, 10, 11, 12]) == "tcp.stream in {4, 5, 9..12}"


def test_latency_is_of_established_handshakes_and_counts_the_rest() -> None:
    """Latency rows give n and how many were left out; a quantile that n cannot carry is missing."""
    found = grid(build({"handshakes": intermittent()}), "handshake_time")
    keys = [column.key for column in found.columns]
    row = dict(zip(keys, found.rows[0], strict=True))
    assert (row["version"], row["n"], row["excluded"], row["p90"]) == ("TLS 1.2", 7, 3, None)
    assert row["client_share"] + row["server_share"] + row["transfer_share"] == pytest.approx(1)


def test_nothing_to_time_is_said() -> None:
    """Without an established handshake there is a sentence in place of latencies."""
    (said,) = section(build({"handshakes": handshakes(failed())}), "latency").sentences
    assert said.text == "No handshake was established, so there is nothing to time."


def test_what_the_capture_lacks_is_listed() -> None:
    """Incomplete handshakes, unknown outcomes with their reasons and notes by kind are counted."""
    notes = table("notes", [{"kind": "gap", "detail": "12 bytes", "frame": 9}, {"kind": "gap", "detail": "1 byte"}])
    report = build({"handshakes": handshakes(established(), unknown()), "notes": notes})
    (said,) = section(report, "lacking").sentences
    assert said.text == "Of 2 handshakes: 1 × the capture ended before the handshake did."  # noqa: RUF001
    assert grid(report, "unknown").rows == ((1, "the capture ends before the handshake does", "stream 1, frame 16"),)
    assert grid(report, "notes").rows == ((2, "gap", "frame 9: 12 bytes"),)


def test_facts_count_the_whole_input() -> None:
    """Facts count handshakes, outcomes, clients and servers, and give first and last time in UTC."""
    facts = build({"handshakes": intermittent()}).facts
    assert (facts["handshakes"], facts["established"], facts["failed"], facts["servers"]) == (20, 17, 3, 1)
    assert (facts["first"], facts["seconds"]) == ("2026-11-03T02:00:00+00:00", 19.0)


def test_a_report_holds_no_control_character() -> None:
    """Whatever names the wire held, no text of a report has a character that a terminal could act upon."""
    evil = "x\x1b[2J\u202e\x9b\n"
    rows = handshakes(
        failed(sni=evil, reason=evil, capture=evil, failure_mechanism="not_tls", alert=None), unknown(reason=evil)
    )
    notes = table("notes", [{"kind": "gap", "detail": evil}])
    for found in _texts(build({"handshakes": rows, "notes": notes}, by=["sni", "version"])):
        assert found.isprintable(), found


def _texts(value: object) -> list[str]:
    """Return every text within a report."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, Report | Section | Sentence | Grid):
        return [text for name in value.__dataclass_fields__ if name != "data" for text in _texts(getattr(value, name))]
    return _texts((value.capture, value.expression)) if hasattr(value, "expression") else []


def test_tables_from_storage_give_the_same_report() -> None:
    """Text columns in place of categories, as after a concatenation, change nothing."""
    whole = intermittent()
    plain = whole.assign(outcome=whole["outcome"].astype("string"), version=pd.array(list(whole["version"]), "string"))
    assert build({"handshakes": plain}).headline == build({"handshakes": whole}).headline
