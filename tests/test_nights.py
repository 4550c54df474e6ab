"""Nights side by side, and the gate: what it finds, what it leaves alone, and how often it is wrong."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from test_rotation import HEADER, moved, packets_of

from tlspcap import cli
from tlspcap.errors import ArgumentError
from tlspcap.nightly.check import Limits, check, check_nights, prometheus, regressions
from tlspcap.nightly.nights import last_nights, night, nights
from tlspcap.nightly.regression import student_t_above
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import open_store
from tlspcap.nightly.trend import trend

SAMPLES = Path(__file__).parent.parent / "sample_captures"
FIRST = pd.Timestamp("2026-01-05")
WEEKLY = np.array([1.0, 0.95, 1.0, 1.05, 1.1, 1.5, 1.6])  # the failure ratio of weekdays, as multiples


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three nights of the same traffic, and a bad file."""
    folder = tmp_path_factory.mktemp("nights")
    for name in ("nginx-certificate.pcap", "old-app.pcap"):
        capture = (SAMPLES / name).read_bytes()
        for day in range(3):
            (folder / f"{day}-{name}").write_bytes(capture[:HEADER] + moved(packets_of(capture), day * 86_400))
    batch([folder], folder / "store", jobs=1)
    return folder / "store"


# -- trend ------------------------------------------------------------------------------------------------------


def test_nights_of_the_same_traffic_are_the_same(store: Path) -> None:
    """Three nights of one capture have the same rows, but for the date; they add up to the store's handshakes."""
    found = nights(open_store(store))
    assert found["date"].nunique() == 3
    assert found["n"].sum() == len(open_store(store).handshakes)
    days = [rows.drop(columns="date").reset_index(drop=True) for _, rows in found.groupby("date")]
    for day in days[1:]:
        pd.testing.assert_frame_equal(day, days[0])


def test_trend_shows_versions_alerts_old_clients_and_certificates(store: Path) -> None:
    """What each part counts is what the store's tables hold."""
    whole, parts = open_store(store), trend(open_store(store))
    assert parts["versions"]["n"].sum() == len(whole.handshakes)
    assert parts["alerts"]["n"].sum() == len(whole.alerts)
    old = whole.handshakes["offered_version_max"] == "TLS 1.0"
    assert set(parts["old_clients"]["client_ip"]) == set(whole.handshakes.loc[old, "client_ip"])
    assert set(parts["certificates"]["sha256"]) == set(whole.handshakes["certificate_sha256"].dropna())
    assert parts["certificates"]["days_left"].is_monotonic_increasing
    assert len(last_nights(whole, 1).handshakes) * 3 == len(whole.handshakes)
    with pytest.raises(ArgumentError):
        last_nights(whole, 0)


def test_the_trend_command_prints_every_part(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trend` names each part; a column that does not exist is a usage error."""
    assert cli.main(["trend", "--store", str(store), "--days", "2"]) == 0
    out = capsys.readouterr().out
    parts = ["Nights", "Versions", "Alerts", "Old clients", "Certificates"]
    assert [line for line in out.splitlines() if line in parts] == parts
    assert cli.main(["trend", "--store", str(store), "--by", "nothing"]) == 2


# -- absolute limits --------------------------------------------------------------------------------------------


def test_check_says_in_a_sentence_what_is_not_kept(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio above the limit is a breach with its base; exit code 1. Kept limits are exit code 0 and silence."""
    command = ["check", "--store", str(store), "--min-handshakes", "1"]
    assert cli.main([*command, "--max-failure-ratio", "0.1"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"\d+ of \d+ handshakes failed \(\d+ %, 95 % interval .* more than the 10 %", told)
    assert cli.main([*command, "--max-failure-ratio", "1", "--max-p95-ms", "1e9", "--regression"]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main([*command, "--min-certificate-days", "1e6"]) == 1
    assert "certificate" in capsys.readouterr().out
    assert cli.main([*command, "--max-p95-ms", "0"]) in (0, 1)


def test_a_night_that_is_not_there_cannot_be_judged(store: Path) -> None:
    """A gate over nothing is an error, not a pass."""
    with pytest.raises(ArgumentError, match="no handshakes"):
        check(open_store(store), Limits(), "1999-01-01")


def test_prometheus_reads_the_file(store: Path, tmp_path: Path) -> None:
    """Each line is a comment or a sample of the text format; a server is a label."""
    file = tmp_path / "tlspcap.prom"
    cli.main(["check", "--store", str(store), "--max-failure-ratio", "0.0", "--prometheus", str(file)])
    sample = re.compile(r'[a-z_0-9]+(\{server="[^"\\]+"\})? [-+.e\d]+')
    lines = file.read_text().splitlines()
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines), lines
    assert [path.name for path in tmp_path.iterdir()] == ["tlspcap.prom"]
    table = nights(open_store(store)).assign(server='a"b\\c\n')
    assert '{server="a\\"b\\\\c\\n"}' in prometheus(table, [])


# -- regressions ------------------------------------------------------------------------------------------------


def traffic(random: np.random.Generator, server: int, size: int, ratio: float, loops: bool) -> pd.DataFrame:
    """A night's handshakes of one server with 100 clients; perhaps some are in a retry loop."""
    clients, failed = random.integers(0, 100, size), random.random(size) < ratio
    if loops and random.random() < 0.15:
        for client in random.integers(0, 100, random.integers(1, 4)):
            more = int(random.integers(size // 50, size // 5))
            clients, failed = np.append(clients, np.full(more, client)), np.append(failed, np.ones(more, bool))
    times = random.lognormal(3 + 0.05 * random.standard_normal(), 0.5, len(clients))
    return pd.DataFrame({"server": f"s{server}", "client_ip": clients, "handshake_ms": times,
                         "outcome": np.where(failed, "failed", "established")})  # fmt: skip


def healthy(random: np.random.Generator, base: float, day: int) -> float:
    """The failure ratio of a healthy night: weekly rhythm, and nights that differ by some 15 %."""
    return float(base * WEEKLY[day % 7] * random.lognormal(0, 0.15))


def summed(frames: list[pd.DataFrame], day: int) -> pd.DataFrame:
    """The row of a night, per server."""
    date = str((FIRST + pd.Timedelta(days=day)).date())
    rows = pd.concat(frames, ignore_index=True)
    rows["server_ip"], rows["server_port"] = rows["server"], 443
    return night(rows, date)


@pytest.mark.slow
def test_a_healthy_year_raises_at_most_four_false_alarms() -> None:
    """365 nights of 20 servers, with a weekly rhythm, nights that differ and clients in retry loops."""
    random = np.random.default_rng(365)
    bases = random.uniform(0.005, 0.04, 20)
    past: list[pd.DataFrame] = []
    alarms = 0
    for day in range(365):
        frames = [traffic(random, s, 400, healthy(random, base, day), True) for s, base in enumerate(bases)]
        past = [*past[-28:], summed(frames, day)]
        alarms += len(regressions(pd.concat(past, ignore_index=True)))
    assert alarms <= 4


@pytest.mark.parametrize("seed", range(6))
def test_a_doubling_from_two_percent_is_found_within_three_nights(seed: int) -> None:
    """A server whose failure ratio doubles from 2 %, with 5,000 handshakes a night, among others that stay well."""
    random = np.random.default_rng(seed)
    past = []
    for day in range(31):
        ratios = [healthy(random, 0.02, day) * (2 if s == 0 and day >= 28 else 1) for s in range(4)]
        past.append(summed([traffic(random, s, 5_000, ratio, s > 0) for s, ratio in enumerate(ratios)], day))
    found = [regressions(pd.concat(past[:last], ignore_index=True)) for last in (29, 30, 31)]
    assert {breach.what for breaches in found for breach in breaches} == {"s0:443"}


def test_a_slower_server_is_found_and_named() -> None:
    """A median that grows by half is a regression with its sentence; the same rows before it are none."""
    random = np.random.default_rng(5)
    past = [summed([traffic(random, 0, 500, 0.01, False)], day) for day in range(28)]
    slow = traffic(random, 0, 500, 0.01, False)
    slow["handshake_ms"] *= 1.6
    table = pd.concat([*past, summed([slow], 28)], ignore_index=True)
    (breach,) = check_nights(table, Limits(regression=True))
    assert breach.measure == "p50_ms_regression"
    assert re.match(r"s0:443: half of \d+ handshakes took more than \d+\.\d ms on 2026-02-02", breach.sentence)
    assert not regressions(pd.concat(past[:3], ignore_index=True))


def test_the_t_distribution_is_scipys() -> None:
    """The tail of Student's t agrees with scipy's."""
    for degrees in (1, 2, 3, 6, 7, 20, 21, 27):
        for t in (-3.0, 0.0, 0.5, 2.0, 4.5):
            assert student_t_above(t, degrees) == pytest.approx(scipy.stats.t.sf(t, degrees), abs=1e-12)


def test_stores_without_nights_are_no_trouble(tmp_path: Path) -> None:
    """A store that holds only a bad file has no nights, and trend says so."""
    (tmp_path / "broken.pcap").write_bytes(b"no capture")
    shutil.copy(tmp_path / "broken.pcap", tmp_path / "again.pcap")
    batch([tmp_path], tmp_path / "store", jobs=1)
    assert all(part.empty for part in trend(open_store(tmp_path / "store")).values())
