"""tlspcap: what every TLS handshake in a packet capture came to, and why.

>>> import tlspcap
>>> cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
>>> cap.handshakes.loc[3, "reason"]
'the server sent internal_error (80) after the ClientHello'
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from tlspcap import errors
from tlspcap.version import __version__ as __version__

if TYPE_CHECKING:
    from tlspcap import plots
    from tlspcap.capture import Capture, read, scan
    from tlspcap.extraction.extracting import Extract, extract
    from tlspcap.failures import failure_ratio
    from tlspcap.latency import latency
    from tlspcap.nightly.check import Limits, check
    from tlspcap.nightly.side_by_side import Trend, trend
    from tlspcap.nightly.store import Store, open_store
    from tlspcap.pair import compare, paths
    from tlspcap.report.contrast import contrast
    from tlspcap.selection import Selection

__all__ = [
    "Capture", "Extract", "Limits", "Selection", "Store", "Trend", "check", "compare", "contrast", "errors", "extract",
    "failure_ratio", "latency", "open_store", "paths", "plots", "read", "scan", "trend",
]  # fmt: skip

# Where each public name is. Pandas takes most of a second to import, so a name is fetched when it is first asked for
# (PEP 562): `tlspcap --help` answers at once.
_HOMES = {
    "Capture": "capture", "read": "capture", "scan": "capture", "failure_ratio": "failures", "latency": "latency",
    "plots": "plots", "Selection": "selection", "compare": "pair", "paths": "pair", "contrast": "report.contrast",
    "Extract": "extraction.extracting", "extract": "extraction.extracting",
    "Store": "nightly.store", "open_store": "nightly.store", "Trend": "nightly.side_by_side",
    "trend": "nightly.side_by_side", "Limits": "nightly.check", "check": "nightly.check",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Fetch a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tlspcap' has no attribute {name!r}")
    home = import_module(f"tlspcap.{_HOMES[name]}")
    found: object = getattr(home, name, home)  # `plots` is a module itself
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, fetched or not."""
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package as a module that keeps `tlspcap.latency` the function.

    Whoever imports the submodule `latency` makes Python write it into the package under that name.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType) and hasattr(value, name)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
