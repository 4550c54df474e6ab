"""One handshake in words: what it says must be checkable in the capture, and safe to print."""

import pandas as pd
import pytest
from frames import alerts, established, failed, handshakes, messages, table, unknown

from tlspcap.errors import ArgumentError
from tlspcap.explain import MOST_PACKETS, explain


def tables(row: dict[str, object], *sent: tuple[float, str, str, int], **more: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Build the tables of a capture with this one handshake and its messages."""
    rows = handshakes(row)
    return {"handshakes": rows, "messages": messages(*sent).assign(id=rows["id"].iloc[0]), **more}


def first_sentence(row: dict[str, object]) -> str:
    """What is said of a handshake before anything else."""
    return explain(0, tables(row)).split("\n\n")[0].replace("\n", " ")


def test_the_verdict_comes_first() -> None:
    """The first sentence is the outcome and its reason, whatever the outcome."""
    for row, start in (
        (failed(), "Failed after the ClientHello: the server refused the client; it sent a fatal internal_error."),
        (established(), "Established: both sides sent Finished and application data followed."),
        (unknown(), "Unknown: the capture ends before the handshake does."),
    ):
        assert first_sentence(row) == start


@pytest.mark.parametrize(
    ("mechanism", "side", "phase", "start"),
    [
        ("alert", "client", "server_certificate", "Failed at the server's certificate: the client refused the server;"),
        ("hidden_alert", "server", "client_auth", "Failed at client authentication: the server refused the client;"),
        ("alert", "client", "client_hello", "Failed after the ClientHello: the client gave up on the server;"),
        ("reset", "server", "finished", "Failed at the Finished: the server hung up on the client;"),
        ("close", "client", "key_exchange", "Failed in the key exchange: the client hung up on the server;"),
        ("timeout", "server", "client_hello", "Failed after the ClientHello: the server gave no answer to the client;"),
        ("timeout", "network", "client_hello", "Failed after the ClientHello: what the client and the server sent was"),
        ("not_tls", "server", "client_hello", "Failed after the ClientHello: the server spoke no TLS to the client;"),
        ("alert", "client", None, "Failed at a step that is not known: the client refused the server;"),
    ],
)
def test_a_failure_is_told_by_who_whom_and_where(mechanism: str, side: str, phase: str | None, start: str) -> None:
    """The first sentence about a failure says at which step, who did what to whom, and then what was seen."""
    row = failed(failure_mechanism=mechanism, failure_side=side, failure_phase=phase, reason="this was seen")
    assert first_sentence(row).startswith(start)
    assert first_sentence(row).endswith("; this was seen.")


def test_a_sealed_refusal_is_only_likely() -> None:
    """Who refused by an alert that is inferred from sizes most likely did."""
    row = failed(failure_mechanism="hidden_alert", certainty="probable")
    assert ": the server most likely refused the client; " in first_sentence(row)


def test_every_message_has_time_frame_and_sender() -> None:
    """Each packet's messages stand on a line with the time since the ClientHello, the frame and who sent them."""
    said = explain(0, tables(failed(), (0.0, "client", "client_hello", 512), (11.5, "server", "server_hello", 90)))
    lines = [line.split() for line in said.splitlines()]
    assert ["0.00", "4", "client", "client_hello", "(512)"] in lines
    assert ["11.50", "5", "server", "server_hello", "(90)"] in lines


def test_an_alert_is_named() -> None:
    """An alert in clear is told by level, name and code, in the packet it came in."""
    row = tables(failed(), (0.0, "client", "client_hello", 512), (11.0, "server", "alert", 2))
    sent = alerts(
        {"frame": 5, "sender": "server", "description": "internal_error", "id": row["handshakes"]["id"].iloc[0]}
    )
    assert "server  fatal alert internal_error (80)" in explain(0, {**row, "alerts": sent})


def test_sealed_messages_are_told_by_their_lengths() -> None:
    """Sealed messages of one packet are one entry with all lengths; one inferred to be an alert says so."""
    sent = [(0.0, "client", "client_hello", 512), (1.0, "server", "sealed", 23), (1.0, "server", "sealed", 19)]
    row = tables(failed(alert=None, failure_mechanism="hidden_alert", certainty="probable"), *sent)
    row["messages"]["frame"] = [4, 5, 5]
    inferred = alerts({"frame": 5, "sender": "server", "inferred": True, "id": row["handshakes"]["id"].iloc[0]})
    said = explain(0, {**row, "alerts": inferred})
    assert "server  sealed (23, 19), by size and place an alert" in said
    assert "probable: inferred from sizes, order and timing" in said


def test_places_and_filter_are_wiresharks() -> None:
    """Stream, frame, file and a display filter tell where to look."""
    said = explain(0, tables(failed(stream=7, frame=90, capture="a.pcap")))
    assert "Where      stream 7, frame 90 of a.pcap\n" in said
    assert "Filter     tcp.stream == 7\n" in said


def test_what_led_to_tls_is_told() -> None:
    """The protocol before the hello is named, and nothing is said where there was none or none is known."""
    assert "Before     smtp led to TLS\n" in explain(0, tables(failed(starttls="smtp")))
    for nothing in ("none", None):
        assert "Before" not in explain(0, tables(failed(starttls=nothing)))


def test_without_a_server_hello_nothing_was_chosen() -> None:
    """What was offered and what was chosen are told apart; without a ServerHello nothing was chosen."""
    assert "Offered    TLS 1.2" in explain(0, tables(failed()))
    assert "Chosen     nothing: no ServerHello was seen" in explain(0, tables(failed()))
    assert "Chosen     TLS 1.3, TLS_AES_256_GCM_SHA384" in explain(0, tables(established("TLS 1.3")))


def test_time_is_split_by_side() -> None:
    """The time says whose turn it was, and what is not known stays unknown."""
    said = " ".join(explain(0, tables(established())).split())
    assert "Time 24.0 ms (client 8.00, server 12.0, transfer 4.00); the TCP round trip before it 10.0 ms" in said
    assert "Time the end of the handshake is not known" in " ".join(explain(0, tables(unknown())).split())


def test_what_the_capture_lacks_and_notes_are_told() -> None:
    """Incompleteness and the handshake's own notes are part of the account."""
    row = tables(unknown(completeness="gap"))
    ident = row["handshakes"]["id"].iloc[0]
    notes = table("notes", [{"id": ident, "kind": "gap", "detail": "12 bytes"}, {"kind": "no_tls", "detail": "other"}])
    said = explain(0, {**row, "notes": notes})
    assert "Lacks      packets inside the handshake are missing\n" in said
    assert "Note       gap: 12 bytes\n" in said
    assert "other" not in said


def test_a_long_exchange_is_cut_with_a_count() -> None:
    """More packets than one wants to read are counted."""
    sent = [(float(i), "client", "sealed", 30) for i in range(MOST_PACKETS + 2)]
    assert "and 2 more packets" in explain(0, tables(established(), *sent))


def test_hostile_names_are_shown_as_text() -> None:
    """No character of a name or reason can act upon a terminal."""
    evil = "x\x1b[2J\u202e\r\n"
    said = explain(0, tables(failed(sni=evil, reason=evil, capture=evil), (0.0, "client", evil, 1)))
    assert all(char.isprintable() or char == "\n" for char in said)
    assert "x\\x1b[2J\\u202e\\r\\n" in said


def test_lines_fit_a_terminal() -> None:
    """Lines are at most 80 columns wide."""
    said = explain(0, tables(established(alpn_offered="h2,http/1.1", ja4="t13d041000_16476d049b0b_78f1d400d464")))
    assert max(map(len, said.splitlines())) <= 80


def test_a_number_that_is_not_there_is_the_callers_error() -> None:
    """A handshake that does not exist raises ArgumentError and says which do."""
    with pytest.raises(ArgumentError, match="there is no handshake 9: they go from 0 to 0"):
        explain(9, tables(failed()))
