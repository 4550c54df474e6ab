"""docs/fields.csv: every column, where it is defined, and names of other tools that exist."""

import re
import subprocess
from collections import Counter

import pytest
from test_docs import generate

from tlspcap.schema import TABLES

FIELDS = generate.fields()
VERSIONED = re.compile(r"(\S+) \((\d+)\.(\d+)\)|(\S+)")  # a field, and the version of Wireshark that brought it
ZEEK_LOGS = {"ssl.log", "ssl-log-ext", "x509.log", "conn.log", "weird.log"}


def test_every_column_is_there_once_and_no_other() -> None:
    """The file names the columns of the schema, table by table, in their order, each once."""
    listed = [(field["table"], field["column"]) for field in FIELDS]
    assert [name for name, count in Counter(listed).items() if count > 1] == []
    assert listed == [(table.name, column.name) for table in TABLES.values() for column in table.columns]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field['table']}.{field['column']}")
def test_every_column_says_where_it_is_defined(field: dict[str, str]) -> None:
    """Each source is a section of an RFC, or one of the few others; each other name has its tool's form."""
    for source in field["source"].split("; "):
        assert source in generate.BEYOND_RFCS or generate.RFC.fullmatch(source), source
    for name in filter(None, field["zeek"].split("; ")):
        log, _, column = name.partition(" ")
        assert log in ZEEK_LOGS
        assert re.fullmatch(r"[a-z0-9_.]+", column), name
    for name in filter(None, field["suricata"].split("; ")):
        assert re.fullmatch(r"[a-z0-9_.]+", name), name


def test_wiresharks_names_exist(tshark: str) -> None:
    """Every field named for Wireshark is one that the installed tshark knows, unless a later version brought it."""
    told = subprocess.run([tshark, "-G", "fields"], capture_output=True, text=True, check=True).stdout
    known = {line.split("\t")[2] for line in told.splitlines() if line[:2] in ("F\t", "P\t")}
    first = subprocess.run([tshark, "-v"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    version = re.search(r"(\d+)\.(\d+)\.", first)
    assert version is not None
    installed = (int(version[1]), int(version[2]))
    missing = set()
    for field in FIELDS:
        for since, major, minor, name in VERSIONED.findall(field["wireshark"]):
            if (since or name) not in known and (name or installed >= (int(major), int(minor))):
                missing.add(since or name)
    assert missing == set()
