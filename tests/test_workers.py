"""Processes that share the work: they are started ahead, used, and never left behind."""

from pathlib import Path

import pytest

import tlspcap
from tlspcap import workers
from tlspcap.errors import TlspcapError

SAMPLE = Path(__file__).parents[1] / "sample_captures" / "intermittent-alert.pcap"


def test_a_process_started_ahead_is_used() -> None:
    """A reading by two processes takes the one that waits, and gives the tables of one process."""
    with workers.started_ahead(1):
        spread = tlspcap.read(SAMPLE, jobs=2).handshakes
        assert workers._ahead == []
    assert spread.equals(tlspcap.read(SAMPLE, jobs=1).handshakes)


def test_processes_that_nobody_took_are_ended() -> None:
    """Behind the work no process is left, even where it failed."""
    with pytest.raises(ZeroDivisionError):
        _fail(waiting := [])
    assert workers._ahead == []
    assert [process.wait() != 0 for process in waiting] == [True, True]  # killed


def _fail(waiting: list[workers.Process]) -> None:
    with workers.started_ahead(2):
        waiting += workers._ahead
        raise ZeroDivisionError


def test_a_process_ends_with_its_caller() -> None:
    """A process whose caller went without an order ends by itself, quietly."""
    process = workers.Process()
    process._orders.close()
    assert process.answers.read() == b""
    assert process.wait() == 0
    process.stop()


def test_a_process_that_ended_before_its_order_is_an_error() -> None:
    """Where a process that waited is gone when there is work, the reading says so, and what to try."""
    with workers.started_ahead(1):
        workers._ahead[0]._process.kill()
        workers._ahead[0].wait()
        with pytest.raises(TlspcapError, match="ended early"):
            tlspcap.read(SAMPLE, jobs=2)
