"""Which handshakes a reader wants: by host, port, name asked for, and time."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeAlias

from tlspcap.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

Moment: TypeAlias = "str | datetime | pd.Timestamp"


@dataclass(frozen=True)
class Selection:
    """Handshakes to keep; what is None does not narrow. Times without a zone are UTC.

    Args:
        host: address of either side.
        port: TCP port of either side.
        sni: name asked for; `*` and `?` match as in file names, case does not matter.
        since: first moment to keep.
        until: first moment not to keep.

    Raises:
        ArgumentError: a value makes no sense.

    >>> Selection(host="10.0.0.1", since="2026-11-01 08:00").sni is None
    True
    >>> Selection(host="nowhere")
    Traceback (most recent call last):
    tlspcap.errors.ArgumentError: host: 'nowhere' is no IP address; names are not looked up, try --sni
    """

    host: str | None = None
    port: int | None = None
    sni: str | None = None
    since: "Moment | None" = None
    until: "Moment | None" = None

    def __post_init__(self) -> None:
        if self.host is not None:
            object.__setattr__(self, "host", _address(self.host))
        object.__setattr__(self, "_since", _nanoseconds("since", self.since))
        object.__setattr__(self, "_until", _nanoseconds("until", self.until))

    def keeps(self, row: dict[str, Any]) -> bool:
        """Whether a row of the handshakes table, `time` in ns, is wanted."""
        since, until = self._since, self._until  # type: ignore[attr-defined]  # set in __post_init__: frozen
        return (
            (self.host is None or self.host in (row["client_ip"], row["server_ip"]))
            and (self.port is None or self.port in (row["client_port"], row["server_port"]))
            and (self.sni is None or fnmatchcase((row["sni"] or "").lower(), self.sni.lower()))
            and (since is None or row["time"] >= since)
            and (until is None or row["time"] < until)
        )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ArgumentError(f"host: {text!r} is no IP address; names are not looked up, try --sni") from None


def _nanoseconds(name: str, moment: "Moment | None") -> int | None:
    if moment is None:
        return None
    import pandas as pd

    try:
        stamp = pd.Timestamp(moment)
    except (ValueError, TypeError):
        raise ArgumentError(f"{name}: {moment!r} is no time; try 2026-11-21T08:00") from None
    if pd.isna(stamp):
        raise ArgumentError(f"{name}: {moment!r} is no time; try 2026-11-21T08:00")
    return int((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).as_unit("ns").value)
