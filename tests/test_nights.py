"""Nights side by side, and the gate: what it finds, what it leaves alone, and how often it is wrong."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from prometheus_client.parser import text_string_to_metric_families
from simulated_nights import Servers
from test_rotation import HEADER, moved, packets_of

import tlspcap
from tlspcap import cli
from tlspcap.errors import ArgumentError
from tlspcap.nightly import prometheus
from tlspcap.nightly.check import NIGHTS, Limits, check, check_nights, night_end, regressions
from tlspcap.nightly.nights import last_nights, nights
from tlspcap.nightly.regression import student_t_above
from tlspcap.nightly.runner import batch
from tlspcap.nightly.side_by_side import PLOTS, Trend, trend
from tlspcap.nightly.store import open_store
from tlspcap.nightly.trend import OLD, tables

SAMPLES = Path(__file__).parent.parent / "sample_captures"
PARTS = ["nights", "versions", "ciphers", "alerts", "old_clients", "certificates"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three nights of the same traffic."""
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


@pytest.mark.parametrize("by", ["server_ip", "version", "client_ip", "cipher"])
def test_nights_are_what_pandas_says_of_the_rows(store: Path, by: str) -> None:
    """Counts, clients, ratios with intervals and quantiles are those of the handshakes of the night, group by group."""
    whole, found = open_store(store), nights(open_store(store), by)
    rows = whole.handshakes.assign(date=lambda table: table["time"].dt.strftime("%Y-%m-%d"))
    groups = rows.groupby(["date", by], observed=True, dropna=False)
    assert len(found) == groups.ngroups
    ratios = pd.concat([tlspcap.failure_ratio(one, by).assign(date=date) for date, one in rows.groupby("date")])
    ratios = ratios.set_index("date", append=True)
    for row in found.to_dict("records"):
        own = rows[(rows["date"] == row["date"]) & ((rows[by] == row[by]) | (rows[by].isna() & pd.isna(row[by])))]
        told = ratios.loc[(pd.NA if pd.isna(row[by]) else row[by], row["date"])] if not pd.isna(row[by]) else None
        for name in (
            ("n", "established", "failed", "unknown", "clients", "ci_low", "ci_high") if told is not None else ()
        ):
            assert row[name] == pytest.approx(told[name], nan_ok=True), name
        times = own.loc[own["outcome"] == "established", "handshake_ms"].dropna()
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            enough = len(times) >= round(1 / (1 - q))
            assert row[name] == pytest.approx(times.quantile(q) if enough else np.nan, nan_ok=True), name


def test_the_parts_of_a_trend_count_what_the_store_holds(store: Path) -> None:
    """Versions, ciphers, alerts, old clients and certificates are what the store's tables hold."""
    whole = open_store(store)
    parts, rows = tables(whole), whole.handshakes
    assert list(parts) == PARTS
    assert parts["versions"]["n"].sum() == parts["ciphers"]["n"].sum() == len(rows)
    assert parts["versions"]["failed"].sum() == (rows["outcome"] == "failed").sum()
    assert parts["alerts"]["n"].sum() == rows["alert"].notna().sum() > 0
    old = rows["offered_version_max"].isin(OLD)
    assert set(parts["old_clients"]["client_ip"]) == set(rows.loc[old, "client_ip"])
    assert parts["old_clients"]["n"].sum() == old.sum() > 0
    assert set(parts["certificates"]["sha256"]) == set(rows["certificate_sha256"].dropna())
    assert parts["certificates"]["days_left"].is_monotonic_increasing
    assert len(last_nights(whole, 1).handshakes) * 3 == len(rows)
    with pytest.raises(ArgumentError):
        last_nights(whole, 0)


def test_a_trend_is_cut_to_a_server_and_in_pieces_as_the_store_is(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server's trend is that server's rows of the whole; read a night at a time, nothing changes."""
    whole = tables(open_store(store))
    server = str(whole["nights"]["server"].iloc[0])
    own = tables(open_store(store).select(server=server))
    for name in ("nights", "versions", "ciphers", "alerts"):
        expected = whole[name][whole[name]["server"] == server].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[name], expected, check_dtype=False)
    monkeypatch.setattr("tlspcap.nightly.store.PIECE", 1)
    for name, table in tables(open_store(store)).items():
        pd.testing.assert_frame_equal(table, whole[name])


def test_what_is_new_in_the_last_night_is_said(store: Path) -> None:
    """An old client, a version and a certificate about to end are sentences where the nights before lack them."""
    parts = {name: table.copy() for name, table in tables(open_store(store)).items()}
    last = parts["nights"]["date"].max()
    parts["old_clients"]["first"] = last
    versions = parts["versions"]
    parts["versions"] = versions[(versions["date"] == last) | (versions["version"] != "TLS 1.3")]
    parts["certificates"]["days_left"] = -2.0
    told = "\n".join(Trend("store", "server", parts).sentences)
    assert re.search(r"clients? offers? at most TLS 1\.0 and did not in the nights before", told)
    assert "Version in use that the nights before do not show: TLS 1.3" in told
    assert f"had expired at the end of {last}" in told
    assert "did not in the nights before" not in "\n".join(trend(open_store(store)).sentences)


def test_the_trend_command_prints_and_writes_every_part(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`trend` titles each part, as text, HTML, Markdown and JSON; a column that does not exist is a usage error."""
    files = [tmp_path / f"trend.{kind}" for kind in ("html", "md", "json")]
    options = [word for file in files for word in (f"--{file.suffix[1:]}", str(file))]
    assert cli.main(["trend", "--store", str(store), "--days", "2", *options]) == 0
    out = capsys.readouterr().out
    titles = ["Failures by server", "Latency", "Versions", "Ciphers", "Clients that offer at most TLS 1.1",
              "Certificates by days left", "Alerts that ended handshakes"]  # fmt: skip
    for title in titles:
        assert title in out.splitlines()
        assert all(title in file.read_text() for file in files)
    page = files[0].read_text()
    assert page.count("<svg") + page.count("<img") == len(PLOTS)
    assert not re.search(r"(src|href)=\"https?:|<script", page)
    written = json.loads(files[2].read_text())
    assert written["schema"] == "tlspcap.trend"
    keys = [table["key"] for section in written["sections"] for table in section["tables"]]
    assert keys == ["servers", "totals", "nights", "durations", *PARTS[1:3], "old_clients", "certificates", "alerts"]
    assert cli.main(["trend", "--store", str(store), "--by", "nothing"]) == 2
    assert cli.main(["trend", "--store", str(store), "--quiet", "--json", str(files[2])]) == 0
    assert capsys.readouterr().out == ""


def test_names_from_the_wire_are_text_in_a_page(store: Path) -> None:
    """A certificate's subject that is markup or moves the cursor is shown as it is written, in every format."""
    parts = {name: table.copy() for name, table in tables(open_store(store)).items()}
    parts["certificates"]["subject"] = "CN=<script>alert(1)</script>\x1b[2J"
    parts["certificates"]["days_left"] = 3.0
    found = Trend("store", "server", parts)
    pages = {kind: found.render(kind) for kind in ("html", "md", "json")}
    assert "<script>" not in pages["html"]
    assert not any("\x1b" in page for page in pages.values())


def test_a_trend_is_saved_by_its_suffix(store: Path, tmp_path: Path) -> None:
    """`report` writes what the suffix says and refuses others; so do plots."""
    found = trend(open_store(store), days=2, by="version")
    found.report(tmp_path / "trend.htm")
    assert (tmp_path / "trend.htm").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(ArgumentError, match="cannot write"):
        found.report(tmp_path / "trend.pdf")
    with pytest.raises(ArgumentError, match="cannot plot"):
        found.plot("weather")


def test_stores_without_nights_are_no_trouble(tmp_path: Path) -> None:
    """A store that holds only a bad file and one without packets has no nights, and trend says so."""
    (tmp_path / "broken.pcap").write_bytes(b"no capture")
    shutil.copy(tmp_path / "broken.pcap", tmp_path / "again.pcap")
    (tmp_path / "empty.pcap").write_bytes((SAMPLES / "old-app.pcap").read_bytes()[:HEADER])
    assert batch([tmp_path], tmp_path / "store", jobs=1).failed == {}
    assert all(part.empty for part in tables(open_store(tmp_path / "store")).values())
    found = trend(open_store(tmp_path / "store"))
    assert found.sentences == ["The store has no nights."]
    assert "no nights" in found.render("html")


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
    assert cli.main([*command, "--max-p95-ms", "0"]) == 0, "no server has the 20 durations that carry a 95 % quantile"


def test_a_store_that_gets_no_new_nights_is_a_breach(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The age of the last night counts from its end, and is judged where a limit is given."""
    whole = open_store(store)
    end = night_end(whole.dates[-1])
    assert check(whole, Limits(max_age_days=2), now=end + 1.9 * 86_400) == []
    (breach,) = check(whole, Limits(max_age_days=2), now=end + 2.5 * 86_400)
    assert breach.measure == "age_days"
    assert "ended 2.5 days ago; 2 are allowed" in breach.sentence
    assert cli.main(["check", "--store", str(store), "--max-age-days=-1e9"]) == 1
    assert "did batch run?" in capsys.readouterr().out


def test_a_night_that_is_not_there_cannot_be_judged(store: Path) -> None:
    """A gate over nothing is an error, not a pass."""
    with pytest.raises(ArgumentError, match="no handshakes"):
        check(open_store(store), Limits(), "1999-01-01")


def test_prometheus_reads_the_file(store: Path, tmp_path: Path) -> None:
    """Prometheus' own parser finds every metric once, with help and type, the values of the night, and both times."""
    file = tmp_path / "tlspcap.prom"
    file.write_text("the night before")
    assert cli.main(["check", "--store", str(store), "--max-failure-ratio", "0.0", "--prometheus", str(file)]) == 1
    found = {family.name: family for family in text_string_to_metric_families(file.read_text())}
    assert all(family.type == "gauge" and family.documentation for family in found.values())
    whole = open_store(store)
    night = nights(whole, dates=whole.dates[-1:]).set_index("server")
    told = {sample.labels["server"]: sample.value for sample in found["tlspcap_handshakes"].samples}
    assert told == night["n"].to_dict()
    breaches = {sample.labels["measure"]: sample.value for sample in found["tlspcap_breaches"].samples}
    assert breaches["failure_ratio"] > 0
    assert breaches["age_days"] == 0
    assert found["tlspcap_night_end_timestamp_seconds"].samples[0].value == night_end(whole.dates[-1])
    assert found["tlspcap_check_timestamp_seconds"].samples[0].value > night_end("2026-01-01")
    assert [path.name for path in tmp_path.iterdir()] == ["tlspcap.prom"]


def test_labels_and_large_counts_come_back_whole(store: Path) -> None:
    """Quotes, backslashes and line ends in a label, and counts above a million, are read as they were."""
    table = (
        nights(open_store(store), dates=["2026-01-01", "2026-12-31"]).head(1).assign(server='a"b\\c\n', n=123_456_789)
    )
    families = text_string_to_metric_families(prometheus.text(table, "2026-11-03", []))
    (sample,) = next(family for family in families if family.name == "tlspcap_handshakes").samples
    assert sample.labels == {"server": 'a"b\\c\n'}
    assert sample.value == 123_456_789


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails before the rename, the old file stands and nothing lies beside it."""
    file = tmp_path / "tlspcap.prom"
    file.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        prometheus.write(file, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# -- regressions ------------------------------------------------------------------------------------------------
# Seeds are consecutive whole numbers from 2001. benchmarks/gate.py judges more years and changes.


def servers(seed: int, size: int, count: int = 20) -> Servers:
    """Servers whose ratios lie between 0.5 and 4 %."""
    random = np.random.default_rng(seed)
    return Servers(random, random.uniform(0.005, 0.04, count), size)


def judged(table: pd.DataFrame, night: int) -> set[str]:
    """The servers that are named on a night of a table."""
    dates = sorted(table["date"].unique())[max(0, night - NIGHTS) : night + 1]
    return {breach.what for breach in regressions(table[table["date"].isin(dates)])}


@pytest.mark.slow
def test_a_healthy_year_raises_at_most_four_false_alarms() -> None:
    """365 nights of 20 servers, with a weekly rhythm, nights that differ and clients in retry loops."""
    year = servers(2_001, 400).nights(365)
    ends = np.searchsorted(year["date"], year["date"].unique(), side="right")
    starts = np.concatenate([np.zeros(NIGHTS + 1, np.int64), ends])
    alarms = sum(len(regressions(year.iloc[start:end])) for start, end in zip(starts, ends, strict=False))
    assert alarms <= 4


@pytest.mark.slow
def test_a_doubling_from_two_percent_is_found_within_three_nights() -> None:
    """Of ten servers whose failure ratio doubles from 2 %, with 5,000 handshakes a night, nine at least are named."""
    found = 0
    for seed in range(2_001, 2_011):
        simulated = servers(seed, 5_000)
        simulated.ratios[0] = 0.02
        simulated.day = seed
        table = pd.concat([simulated.nights(NIGHTS), simulated.nights(3, times=2.0)], ignore_index=True)
        named = [judged(table, night) for night in range(NIGHTS, NIGHTS + 3)]
        found += any("10.0.0.1:443" in names for names in named)
    assert found >= 9


def test_one_client_in_a_retry_loop_is_no_regression() -> None:
    """A thousand failures of one client leave the ratio without retries nearly as it was, and nobody is woken."""
    simulated = servers(1, 1_000, 2)
    simulated.loops = False
    table = simulated.nights(30)
    clients = pd.DataFrame({"date": "2026-02-04", "server": "10.0.0.1:443", "client_ip": np.arange(100), "n": 10,
                            "established": 10, "failed": 0})  # fmt: skip
    clients.loc[0, ["n", "failed"]] = [1_010, 1_000]
    from tlspcap.nightly.nights import summary

    times = pd.DataFrame({"date": ["2026-02-04"], "server": "10.0.0.1:443", "timed": 1_000, "p50": 20.0, "p95": 40.0,
                          "p99": 60.0})  # fmt: skip
    night = summary(clients, times)
    assert night["failure_ratio"].item() == pytest.approx(0.5)
    assert night["without_retries"].item() < 0.005
    assert not regressions(pd.concat([table, night], ignore_index=True))


def test_a_slower_server_is_found_and_named() -> None:
    """A median that grows by half is a regression with its sentence; the same rows before it are none."""
    simulated = servers(5, 500, 1)
    past, slow = simulated.nights(28), simulated.nights(1, slower=1.6)
    (breach,) = check_nights(pd.concat([past, slow], ignore_index=True), Limits(regression=True))
    assert breach.measure == "p50_ms_regression"
    assert re.match(r"10\.0\.0\.1:443: half of \d+ handshakes took more than \d+\.\d ms on 2026-02-02", breach.sentence)
    assert not regressions(past)
    assert not regressions(past.head(3))


def test_the_t_distribution_is_scipys() -> None:
    """The tail of Student's t agrees with scipy's."""
    for degrees in (1, 2, 3, 6, 7, 20, 21, 27):
        for t in (-3.0, 0.0, 0.5, 2.0, 4.5):
            assert student_t_above(t, degrees) == pytest.approx(scipy.stats.t.sf(t, degrees), abs=1e-12)
