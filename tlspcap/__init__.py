"""tlspcap: what every TLS handshake in a packet capture came to, and why.

>>> import tlspcap
>>> cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
>>> cap.handshakes.loc[3, "reason"]
'the server sent internal_error (80) after the ClientHello'
"""

from tlspcap import errors, plots
from tlspcap.capture import Capture, read, scan
from tlspcap.failures import failure_ratio
from tlspcap.latency import latency
from tlspcap.selection import Selection

__all__ = ["Capture", "Selection", "errors", "failure_ratio", "latency", "plots", "read", "scan"]
__version__ = "0.1.0"
