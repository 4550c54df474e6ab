"""How often findings name the true cause: the lab's failures, grouped by what the scenario was set up for.

Each group is told as a capture of its own, which is what a user has who looks into one trouble.
`PYTHONPATH=tests:. python tests/lab_findings.py` writes the table into docs/findings.md.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import lab_score
import pandas as pd

import tlspcap
from tlspcap import findings
from tlspcap.findings import Finding

NEEDED = ["handshakes", "messages", "alerts", "certificates", "notes", "hellos", "certificate_requests"]
SHARED = ("certificates", "hellos", "certificate_requests")


class Told(NamedTuple):
    """What was said of one failed connection."""

    cause: str  # the true one
    has_keys: bool  # the keys of this connection were given
    in_clear: bool  # nothing that was needed is sealed: an alert in clear, or an ending that is the cause itself
    finding: Finding
    is_first: bool  # it is the first finding of its group
    row: dict[str, Any]

    @property
    def is_named(self) -> bool:
        """Whether the finding names the true cause, as the only or the likeliest one."""
        return self.finding.causes[:1] == (self.cause,)

    @property
    def is_held(self) -> bool:
        """Whether the true cause is among those that the finding names."""
        return self.cause in self.finding.causes


@cache
def told(with_keys: bool) -> tuple[Told, ...]:
    """Read the lab, and tell every failure that has a cause; with keys, those of which the keys are there."""
    return tuple(one for group in _groups(with_keys) for one in _tell(*group, with_keys))


def _groups(with_keys: bool) -> Iterator[tuple[str, pd.DataFrame, dict[str, pd.DataFrame]]]:
    """Give for each cause its connections and the tables of them alone."""
    truth = lab_score.truth(lab_score.CAPTURES)
    truth = truth[(truth["outcome"] == "failed") & truth["cause"].notna()]
    truth = truth[truth["keys"]] if with_keys else truth
    read = {name: _read(name, place, with_keys) for place, name in enumerate(sorted(truth["capture"].unique()))}
    for cause, rows in truth.groupby("cause"):
        parts = [_only(read[str(name)], part) for name, part in rows.groupby("capture")]
        yield str(cause), rows, {name: pd.concat([part[name] for part in parts]) for name in NEEDED}


def of_scenario(name: str, scenario: str, with_keys: bool) -> dict[str, pd.DataFrame]:
    """Give the tables of the connections of one scenario in a capture; with keys, of those that have some."""
    truth = lab_score.truth(lab_score.CAPTURES)
    rows = truth[(truth["capture"] == name) & (truth["scenario"] == scenario)]
    tables = _only(_read(name, 0, with_keys), rows[rows["keys"]] if with_keys else rows)
    return tables | {"handshakes": tables["handshakes"].reset_index(drop=True)}


@cache
def _read(name: str, place: int, with_keys: bool) -> dict[str, pd.DataFrame]:
    """Read a capture; its server gets an address of its own, since all were recorded at the same one."""
    path = lab_score.CAPTURES / name
    tables = tlspcap.read(path, tables=NEEDED, keylog=path.with_suffix(".keys") if with_keys else None).tables
    tables["handshakes"] = tables["handshakes"].assign(capture=name, server_ip=f"127.0.1.{place}")
    return tables


def _only(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Restrict tables to some connections."""
    ports = pd.MultiIndex.from_frame(rows[["client_port", "server_port"]])
    handshakes = tables["handshakes"]
    kept = handshakes[pd.MultiIndex.from_frame(handshakes[["client_port", "server_port"]]).isin(ports)]
    rest = {name: tables[name] for name in NEEDED if name != "handshakes"}
    own = {name: t if name in SHARED else t[t["id"].isin(kept["id"]).fillna(False)] for name, t in rest.items()}
    return {"handshakes": kept, **own}


def _tell(cause: str, rows: pd.DataFrame, tables: dict[str, pd.DataFrame], with_keys: bool) -> Iterator[Told]:
    tables["handshakes"] = tables["handshakes"].reset_index(drop=True)
    found = findings.find(tables)
    explained = {number: one for one in found if one.severity == "error" for number in one.handshakes}
    verdicts = tables["handshakes"].query("outcome == 'failed'")
    joined = rows.merge(verdicts, on=lab_score.KEY, suffixes=("_true", ""))
    for row in joined.to_dict("records"):
        one = explained[row["id"]]
        in_clear = row["failure_mechanism"] in ("alert", "not_tls", "timeout")
        yield Told(cause, with_keys, in_clear, one, one is found[0], row)  # type: ignore[arg-type]


PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
PLACE = re.compile(r"(?<=<!-- lab -->\n).*?(?=<!-- end of lab -->)", re.DOTALL)


def table() -> str:
    """Write how often the true cause is named, as a Markdown table."""
    lines = [
        "| true cause | in clear | sealed, or without a word | with keys |",
        "| --- | ---: | ---: | ---: |",
    ]
    groups = {one.cause for one in told(False)}
    for cause in (*sorted(groups), ""):
        some = (
            [one for one in told(keys) if cause in ("", one.cause) and one.in_clear in kinds]
            for keys, kinds in ((False, (True,)), (False, (False,)), (True, (True, False)))
        )
        lines.append(f"| {f'`{cause}`' if cause else 'all'} | {' | '.join(_cell(part) for part in some)} |")
    return "\n".join(lines) + "\n"


def _cell(some: list[Told]) -> str:
    named, held = sum(one.is_named for one in some), sum(one.is_held for one in some)
    return f"{named} / {held} of {len(some)}" if some else ""


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(PLACE.sub(lambda _: table(), PAGE.read_text()))


if __name__ == "__main__":
    main()
