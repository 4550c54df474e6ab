"""The command line on the real sample captures: what it prints, where it writes, and how it fails."""

import argparse
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import tlspcap
from tlspcap import cli, schema
from tlspcap.commands import table
from tlspcap.export import WRITERS

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "sample_captures" / "intermittent-alert.pcap")
AFTER = str(ROOT / "sample_captures" / "intermittent-alert-after.pcap")


def run(*arguments: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    """Run the command as its own process, as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "tlspcap", *arguments], capture_output=True, env=environment, timeout=60, check=False,
        **options,
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


# -- report -----------------------------------------------------------------------------------------------------


def test_report_begins_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """On the intermittent alert the report begins with the diagnosis, then both versions' ratios, alert and sender."""
    assert cli.main(["report", SAMPLE]) == 0
    out = capsys.readouterr().out
    headline = " ".join(out.split("\n\n")[1].split())
    diagnosis, ratios = headline.split(" TLS 1.2: 3 of 10 handshakes failed ")
    assert diagnosis.startswith("Server 203.0.113.10:443 fails now and then: 3 of 10 handshakes with the same offers ")
    assert diagnosis.endswith("internal_error (80), 7 succeeded (TLS 1.2: 3 of 10 failed, TLS 1.3: 0 of 10).")
    assert re.fullmatch(
        r"\(30 %, 95 % interval 11 to 60 %\), TLS 1\.3: 0 of 10 failed "
        r"\(0 %, 0 to 28 %\); all 3: internal_error \(80\), sent by the server 203\.0\.113\.10:443 "
        r"after the ClientHello \(e\.g\. stream \d+, frame \d+\)\.",
        ratios,
    )
    assert re.search(r"tcp\.stream in \{\d+, \d+, \d+\}", out)
    assert len(out.splitlines()) <= 64


def test_report_names_wiresharks_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """The streams and frames of the report are those of the handshakes table."""
    cli.main(["report", SAMPLE])
    report = capsys.readouterr().out
    cli.main(["table", SAMPLE, "--format", "jsonl"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    bad = [row for row in rows if row["outcome"] == "failed"]
    assert f"tcp.stream in {{{', '.join(str(row['stream']) for row in bad)}}}" in report
    assert f"stream {bad[0]['stream']}, frame {bad[0]['frame']}" in report


def test_report_files_are_written_beside_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One call writes HTML, JSON and Markdown, and still prints."""
    paths = {kind: tmp_path / f"r.{kind}" for kind in ("html", "json", "md")}
    assert (
        cli.main(["report", SAMPLE, *(part for kind, path in paths.items() for part in (f"--{kind}", str(path)))]) == 0
    )
    assert "3 of 10 handshakes failed" in capsys.readouterr().out
    assert paths["html"].read_text(encoding="utf-8").count("<svg") == 5
    assert json.loads(paths["json"].read_text())["facts"]["failed"] == 3
    assert paths["md"].read_text(encoding="utf-8").startswith("# TLS handshakes in ")


def test_quiet_prints_nothing_where_a_file_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet and an output file there is nothing on the terminal."""
    assert cli.main(["report", SAMPLE, "--json", str(tmp_path / "r.json"), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_json_to_standard_output_is_only_json(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--json -` gives JSON alone, so that it can be piped into a program."""
    assert cli.main(["report", SAMPLE, "--json", "-"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["schema"] == "tlspcap.report"


def test_report_by_other_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """`--by` takes columns, comma-joined; a wrong one is a usage error that names the nearest."""
    assert cli.main(["report", SAMPLE, "--by", "version,client_ip"]) == 0
    assert "Failures by version and client" in capsys.readouterr().out
    assert cli.main(["report", SAMPLE, "--by", "versoin"]) == 2
    assert capsys.readouterr().err == "tlspcap: there is no column 'versoin'; did you mean 'version'?\n"


def test_selection_narrows_the_report(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """--host, --port, --sni, --since and --until choose handshakes."""
    for options, expected in (
        (["--port", "443"], 20), (["--port", "80"], 0), (["--sni", "*.partner.example"], 20),
        (["--host", "192.0.2.1"], 0), (["--since", "2000-01-01"], 20), (["--until", "2000-01-01"], 0),
    ):  # fmt: skip
        assert cli.main(["report", SAMPLE, "--json", "-", *options]) == 0
        assert json.loads(capsysbinary.readouterr().out)["facts"]["handshakes"] == expected


def test_several_files_are_one_report(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Several files make one report that names both."""
    assert cli.main(["report", SAMPLE, AFTER, "--json", "-"]) == 0
    shape = json.loads(capsysbinary.readouterr().out)
    assert shape["facts"]["handshakes"] == 40
    assert shape["sources"] == [SAMPLE, AFTER]


def test_standard_input_is_read() -> None:
    """`-` reads the capture from a pipe."""
    done = run("report", "-", "--json", "-", input=Path(SAMPLE).read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["facts"]["failed"] == 3


def test_a_pipe_gets_no_escape_sequences() -> None:
    """Output that goes into a pipe or file is plain text."""
    done = run("report", SAMPLE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout


# -- table and explain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", table.TABLES)
def test_every_table_can_be_written(name: str, tmp_path: Path) -> None:
    """Each table comes out as Parquet with exactly the columns and dtypes of the contract."""
    path = tmp_path / f"{name}.parquet"
    assert cli.main(["table", SAMPLE, "--table", name, "--format", "parquet", "-o", str(path)]) == 0
    assert list(pd.read_parquet(path).columns) == schema.TABLES[name].names


def test_table_as_csv_on_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """CSV goes to standard output unless a file is named."""
    assert cli.main(["table", SAMPLE]) == 0
    frame = pd.read_csv(io.BytesIO(capsysbinary.readouterr().out))
    assert frame["outcome"].value_counts().to_dict() == {"established": 17, "failed": 3}


def test_explain_tells_one_handshake(capsys: pytest.CaptureFixture[str]) -> None:
    """`--handshake` and `--stream` tell one handshake; the first sentence is its verdict."""
    assert cli.main(["explain", SAMPLE, "--handshake", "3"]) == 0
    by_number = capsys.readouterr().out
    verdict = "Failed after the ClientHello: the server refused the client; it sent\ninternal_error (80).\n"
    assert by_number.startswith(verdict)
    stream = re.search(r"tcp\.stream == (\d+)", by_number)
    assert stream is not None
    assert cli.main(["explain", SAMPLE, "--stream", stream[1]]) == 0
    assert capsys.readouterr().out == by_number


def test_explain_without_a_choice_tells_the_findings(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a choice the findings are told in full, then a handshake of the first; if all is well, that is said."""
    assert cli.main(["explain", SAMPLE]) == 0
    told = capsys.readouterr().out
    assert told.startswith("1. Error: Server 203.0.113.10:443 fails now and then: 3 of 10 handshakes with\n")
    assert "[intermittent_failure]" in told
    assert "What to do: " in told
    assert "\nFailed after the ClientHello: the server refused the client; it sent" in told
    assert cli.main(["explain", AFTER]) == 0
    assert capsys.readouterr().out.startswith("Nothing was found to be wrong.")


@pytest.mark.parametrize(("option", "said"), [("--handshake", "no handshake 999"), ("--stream", "stream 999 holds no")])
def test_a_number_that_is_not_there_is_usage(option: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A handshake or stream that does not exist is a usage error in one line."""
    assert cli.main(["explain", SAMPLE, option, "999"]) == 2
    assert said in capsys.readouterr().err


# -- trouble ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bad_inputs(tmp_path: Path) -> dict[str, str]:
    """Return inputs that cannot be read, by what is wrong with them."""
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "text.pcap").write_text("12:00:00 IP a > b: Flags [S]\n")
    (tmp_path / "folder").mkdir()
    return {
        kind: str(tmp_path / kind) for kind in ("empty.pcap", "text.pcap", "folder", "missing.pcap", "new\nline\x1b[2J")
    }


@pytest.mark.parametrize("command", ["report", "table", "explain", "extract"])
def test_input_that_cannot_be_read_is_one_line_and_exit_3(
    command: str, bad_inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty file, text, a folder without captures or a missing file: one printable line that names it, exit 3."""
    for path in bad_inputs.values():
        assert cli.main([command, path]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert re.fullmatch(r"tlspcap: .+\n", captured.err)
        assert captured.err.strip().isprintable()
        assert Path(path).name.split("\n")[0] in captured.err


def test_with_several_inputs_the_others_are_reported(
    bad_inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several inputs, each that cannot be read is a line on standard error; the rest is reported; exit 3."""
    assert cli.main(["report", bad_inputs["missing.pcap"], SAMPLE, bad_inputs["text.pcap"]]) == 3
    captured = capsys.readouterr()
    assert "3 of 10 handshakes failed" in captured.out
    assert [line.split(":")[0] for line in captured.err.splitlines()] == ["tlspcap", "tlspcap"]
    assert "missing.pcap" in captured.err
    assert "text.pcap" in captured.err


def test_where_no_input_can_be_read_nothing_is_printed(
    bad_inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """If every input fails there is no report, and exit 3."""
    assert cli.main(["report", bad_inputs["missing.pcap"], bad_inputs["text.pcap"]]) == 3
    assert capsys.readouterr().out == ""


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place that cannot be written to is named in one line."""
    assert cli.main(["report", SAMPLE, "--json", str(tmp_path / "no" / "r.json")]) == 2
    assert re.fullmatch(r"tlspcap: cannot write: .*r\.json: No such file or directory; .+\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "arguments",
    [[], ["report"], ["compare", "a"], ["table", SAMPLE, "--table", "x"], ["report", SAMPLE, "--port", "x"]],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage exits with 2 and shows how to use it."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: tlspcap" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--timeout", "0"], ["--host", "nowhere"], ["--since", "yesterday"]])
def test_values_that_make_no_sense_are_usage(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A value that the library refuses is a usage error in one line."""
    assert cli.main(["report", SAMPLE, *options]) == 2
    assert re.fullmatch(r"tlspcap: .+\n", capsys.readouterr().err)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """When the reader of a pipe has seen enough, the command ends quietly."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tlspcap", "table", SAMPLE, "--table", "records"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupting_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and no traceback."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tlspcap.read", interrupt)
    assert cli.main(["report", SAMPLE]) == 130
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


# -- the command as such ----------------------------------------------------------------------------------------


def test_choices_are_those_of_the_library() -> None:
    """The tables and formats offered, written down to spare an import, are exactly those that exist."""
    assert tuple(schema.TABLES) == table.TABLES
    assert tuple(WRITERS) == table.FORMATS


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version of the package and ends well."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"tlspcap {tlspcap.__version__}\n")


def test_every_option_has_help() -> None:
    """Each command and option says what it is for."""
    parser = cli._parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert list(commands.choices) == ["report", "table", "explain", "compare", "extract", "batch", "trend", "check"]
    for command in commands.choices.values():
        assert all(action.help for action in command._actions)


def test_a_report_on_the_terminal_loads_no_plotting() -> None:
    """Without --html nothing imports matplotlib or Jinja2, nor scapy or Dask at all."""
    code = "import sys; from tlspcap.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "report", SAMPLE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert not {"matplotlib", "jinja2", "scapy", "dask", "distributed"} & set(done.stderr.split())
