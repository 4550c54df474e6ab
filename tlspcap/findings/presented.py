"""Which handshake showed which chain: what the rules about certificates are asked of.

TLS 1.3 seals the certificate. Where a client refused one that is sealed, and the same server showed but one chain in
other handshakes, it is taken to be that one, and marked as assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tlspcap.findings.chains import Certificate, Chain, certificates, chains

Rows = pd.DataFrame
Flags = "pd.Series[bool]"

SERVER = ["server_ip", "server_port"]
_WANTED = [
    "id", "capture", "transport", "stream", "frame", "time", "client_ip", *SERVER, "server", "place", "sni", "version",
    "outcome", "failure_mechanism", "alert", "chain_sha256", "chain_bytes", "tcp_rtt_ms",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Presented:
    """Chains, and the handshakes that showed them.

    `rows` are rows of the handshakes table with the columns `chain` and `leaf` (keys), `assumed`, `refused` (by the
    client, at this step), `at` (microseconds since 1970), and `not_before` and `not_after` of the chain, in the same.
    """

    rows: Rows
    chains: Mapping[str, Chain]
    certificates: Mapping[str, Certificate]

    def where(self, flaw: "Mapping[str, bool] | set[str]") -> "pd.Series[Any]":
        """Which rows show one of some chains."""
        wanted = flaw if isinstance(flaw, set) else {key for key, has in flaw.items() if has}
        return self.rows["chain"].isin(wanted)

    @cached_property
    def intermediates(self) -> dict[str, Certificate]:
        """Certificates by their subject that sign others and are signed by others."""
        signed = (one for one in self.certificates.values() if one.is_ca and one.self_signed is False)
        return {one.subject: one for one in signed if one.subject}


def presented(handshakes: Rows, table: Rows) -> Presented:
    """Join handshakes to the chains that they showed; `table` is that of certificates."""
    known = certificates(table)
    found = chains(handshakes, known)
    refused = _refused(handshakes)
    shown = handshakes["chain_sha256"].isin(found)
    rows = handshakes.loc[shown | (refused & handshakes["chain_sha256"].isna()), _WANTED]
    rows = rows.assign(refused=refused[rows.index], assumed=~shown[rows.index])
    chain = rows["chain_sha256"].where(~rows["assumed"])
    rows = rows.assign(chain=_assumed(rows, chain))
    rows = rows[rows["chain"].notna()]
    return Presented(_dated(rows, found), found, known)


def _refused(handshakes: Rows) -> "pd.Series[bool]":
    """Whether the client ended the handshake at the server's certificate, by what need be no fault of its own."""
    by_client = (handshakes["failure_side"] == "client") & (handshakes["failure_phase"] == "server_certificate")
    return by_client & handshakes["failure_mechanism"].isin(["alert", "hidden_alert", "reset", "close"])


def _assumed(rows: Rows, chain: "pd.Series[Any]") -> "pd.Series[Any]":
    """Fill in the only chain that a server showed for that name, else the only one that it showed at all."""
    if not rows["assumed"].any():
        return chain
    asked = rows["sni"].fillna("")
    for keys in ([rows[SERVER[0]], rows[SERVER[1]], asked], [rows[SERVER[0]], rows[SERVER[1]]]):
        shown = chain.groupby(keys, sort=False)
        only = shown.transform("first").where(shown.transform("nunique") == 1)
        chain = chain.fillna(only)
    return chain


def _dated(rows: Rows, found: Mapping[str, Chain]) -> Rows:
    """Add the leaf, the time of each handshake and the dates of its chain."""
    facts = pd.DataFrame(
        [(chain.leaf.sha256, chain.not_before, chain.not_after) for chain in found.values()],
        index=pd.Index(list(found), dtype="str"), columns=["leaf", "not_before", "not_after"],
    ).reindex(rows["chain"].astype("str"))  # fmt: skip
    at = rows["time"].to_numpy("datetime64[us]").astype(np.int64)
    columns = {name: facts[name].to_numpy() for name in ("not_before", "not_after")}
    return rows.assign(leaf=facts["leaf"].to_numpy(), at=at, **columns)
