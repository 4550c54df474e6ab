"""Reports of real captures, the project's own and other people's: each can be made, and says what is there."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tlspcap
from tlspcap.errors import CaptureError
from tlspcap.report import build, json, markdown, terminal
from tlspcap.report.causes import causes, failures_of, filters
from tlspcap.tls.verdict import Outcome

SAMPLES = [
    "intermittent-alert.pcap",
    "intermittent-alert-after.pcap",
    "version-cipher-matrix.pcap",
    "old-app.pcap",
    "mutual-tls.pcapng",
    "nginx-certificate.pcap",
]


def made(path: Path) -> str:
    """Return the terminal report of a capture after making every other text of it that needs no figures."""
    cap = tlspcap.read(path, progress=False)
    report = build(cap.tables, sources=[path.name])
    assert markdown.render(report)
    assert json.render(report)
    for number in cap.handshakes.index[:3]:
        first = cap.explain(number).replace(":", " ").split()[0]
        assert first.lower() in set(Outcome)
    return terminal.render(report)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_capture_has_its_report(name: str, sample: Callable[[str], Path]) -> None:
    """The report of each sample names its file, and a cause with numbers wherever handshakes failed."""
    text = made(sample(name))
    assert text.startswith(name)
    assert "No handshake failed." in text or "tcp.stream" in text


def test_the_fixed_client_is_reported_as_healthy(sample: Callable[[str], Path]) -> None:
    """After the fix the first sentence says that all succeeded, and how sure so few handshakes allow to be."""
    report = build(tlspcap.read(sample("intermittent-alert-after.pcap"), progress=False).tables)
    assert report.headline.text == "All 20 handshakes succeeded (0 of 20 failed, 95 % interval 0 to 16 %)."


def test_old_clients_are_named(sample: Callable[[str], Path]) -> None:
    """The old app's report gives the alert, how many clients of which versions got it, and from how many servers."""
    report = build(tlspcap.read(sample("old-app.pcap"), progress=False).tables)
    (said,) = next(part for part in report.sections if part.key == "causes").sentences
    assert "protocol_version (70), sent by the 2 servers after the ClientHello, TLS 1.0 (9), TLS 1.1 (3)" in said.text


def test_sealed_refusals_are_probable(sample: Callable[[str], Path]) -> None:
    """TLS 1.3 refusals of a client certificate are encrypted alerts, probable, with what they are told from."""
    report = build(tlspcap.read(sample("mutual-tls.pcapng"), progress=False).tables)
    said = next(part for part in report.sections if part.key == "causes").sentences[0]
    assert "encrypted alert (probable), sent by the" in said.text
    assert any("inferred from record sizes" in line for line in said.details)


def test_reports_of_other_peoples_captures(reference: Path) -> None:
    """Every fourth reference capture, if it can be read, gives a report of printable text in lines of 80 columns."""
    for path in sorted((reference / "captures").rglob("*.pcap*"))[::4]:
        try:
            text = made(path)
        except CaptureError:
            continue
        assert all(char.isprintable() or char == "\n" for char in text), path.name
        lines = [line for line in text.splitlines() if ".stream" not in line]
        assert max(map(len, lines)) <= 80, path.name


def test_display_filters_are_wiresharks(sample: Callable[[str], Path], tshark: str) -> None:
    """Each display filter of a report, given to tshark, selects exactly the conversations that it stands for."""
    path = sample("mutual-tls.pcapng")
    cap = tlspcap.read(path, progress=False)
    for rows in causes(failures_of(cap.handshakes))[:3]:
        (shown,) = filters(rows)
        command = [tshark, "-r", str(path), "-Y", shown.expression, "-T", "fields", "-e", "tcp.stream"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert set(map(int, done.stdout.split())) == set(rows["stream"])
