"""The steps of reading, each alone: `pytest benchmarks --benchmark-columns=min,median,ops` (needs pytest-benchmark).

Steps over a whole capture are those of handshakes.py; below them are the readers that each handshake calls.
"""

from pathlib import Path
from typing import Any

import handshakes
import pytest

from tlspcap.tls import certificates, fingerprints
from tlspcap.tls.hellos import ClientHello
from tlspcap.tls.records import CLIENT_HELLO, HANDSHAKE, MessageJoiner, RecordReader
from tlspcap.transport import Data

CAPTURE = str(Path(__file__).resolve().parents[1] / "sample_captures" / "intermittent-alert.pcap")
COUNT, STAGES = handshakes.stages(CAPTURE, ["handshakes"])
CERTIFICATE = 11


def messages(code: int) -> list[bytes]:
    """The bodies of the messages of one type that came in clear."""
    found = []
    for heard in handshakes.listen(CAPTURE):
        reader, joiner = (RecordReader(), RecordReader()), (MessageJoiner(), MessageJoiner())
        for event in heard.events:
            if not isinstance(event, Data):
                continue
            records = reader[event.side].feed(event)
            clear = [record for record in records if record.content_type == HANDSHAKE]
            found += [
                message.body for record in clear for message in joiner[event.side].feed(record) if message.code == code
            ]
    return found


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: str(stage.name))
def test_stage(benchmark: Any, stage: handshakes.Stage) -> None:
    """One step of the path, over the capture."""
    benchmark.extra_info["handshakes"] = COUNT
    benchmark(stage.run)


def test_records(benchmark: Any) -> None:
    """Records of one conversation, both sides."""
    events = [event for event in handshakes.listen(CAPTURE)[0].events if isinstance(event, Data)]

    def read() -> None:
        readers = RecordReader(), RecordReader()
        for event in events:
            readers[event.side].feed(event)

    benchmark(read)


def test_client_hello(benchmark: Any) -> None:
    """A ClientHello."""
    benchmark(ClientHello.parse, messages(CLIENT_HELLO)[0])


def test_ja4(benchmark: Any) -> None:
    """The fingerprint of a ClientHello."""
    benchmark(fingerprints.ja4, ClientHello.parse(messages(CLIENT_HELLO)[0]))


def test_certificate(benchmark: Any) -> None:
    """A certificate, from its DER."""
    body = messages(CERTIFICATE)[0]
    benchmark(certificates.describe, body[6 : 6 + int.from_bytes(body[3:6])])
