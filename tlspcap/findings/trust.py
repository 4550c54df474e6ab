"""Chains against trusted roots, each at the time at which it was shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.chains import Chain
from tlspcap.findings.flaws import Group, Said, named
from tlspcap.findings.presented import Presented
from tlspcap.tls.trust import Anchors

MOST = 2_000  # chains that are verified, those shown most often; each takes a millisecond or so

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Verdicts:
    """What the verifier says of the chains of a capture; dates and names are left to the rules about them."""

    def __init__(self, anchors: Anchors, presented: Presented) -> None:
        self.anchors = anchors
        rows = presented.rows
        in_time = rows[(rows["at"] >= rows["not_before"]) & (rows["at"] <= rows["not_after"])]
        moments = in_time.groupby("chain")["at"].min()
        often = in_time["chain"].value_counts().index[:MOST]
        chains = {key: presented.chains[key] for key in often}
        said = {key: self._verdict(chain, int(moments[key])) for key, chain in chains.items()}
        self.why = {key: verdict for key, verdict in said.items() if verdict is not None}
        self.untrusted: pd.Series[bool] = rows["chain"].isin(self.why) & rows.index.isin(in_time.index)

    def _verdict(self, chain: Chain, at: int) -> str | None:
        if any(certificate.der is None for certificate in chain.sent):
            return None  # what is not there cannot be judged
        others = [certificate.bytes for certificate in chain.sent[1:]]
        return self.anchors.verdict(chain.leaf.bytes, others, _EPOCH + timedelta(microseconds=at), _own_name(chain))

    def say(self, group: Group) -> Said:
        """The words of a finding about an untrusted chain."""
        source, issuer = self.anchors.source, group.chain.top.issuer
        whose = f"the chain of {evidence.servers(group.rows)} for {named(group.leaf)}"
        if issuer in self.anchors.subjects:
            why = words.wire(self.why[group.chain.key], 120)
            statement = f"{whose} does not pass, though it leads to {source}: {why}"
        else:
            statement = f"{whose} ends at {words.wire(issuer, 120)}, which is not among {source}"
        return Said(
            statement,
            "On the server: send the whole chain, by an authority that its clients trust; or give the clients its "
            "root. On this machine: see that the right roots were given.",
            tuple(self._detail(group)),
        )

    def _detail(self, group: Group) -> Iterator[str]:
        yield "The roots are those that were given now; the time is that of the handshakes."
        yield f"The verifier says: {words.wire(self.why[group.chain.key], 300)}."
        own = words.wire(_own_name(group.chain))
        yield f"Verified for {own}, by the rules of RFC 5280 and the CA/Browser Forum; not whether it was revoked."
        if not group.chain.top.self_signed:
            yield "Its issuer was not sent: an intermediate that is missing, or a root that is not trusted."


def _own_name(chain: Chain) -> str:
    """A name that the leaf has, so that a wrong name is no matter of trust."""
    names = [*chain.leaf.names, *chain.leaf.common_names, "name.invalid"]
    return names[0].replace("*", "any", 1)
