"""Pictures of the tables: pure functions of a DataFrame that return matplotlib Axes.

Each draws on the `ax` given. Without one it makes a figure of its own: in Jupyter and IPython through pyplot, so that
the cell shows it and closes it; anywhere else as a bare Figure that pyplot never hears of, so that a batch of a
thousand plots leaves nothing behind (`plots.failure_ratio(df).figure.savefig("ratio.png")`). In a script that ends in
`pyplot.show()`, pass `ax=pyplot.subplots()[1]`.
"""

from tlspcap.plots.change import change
from tlspcap.plots.exchange import ladder
from tlspcap.plots.grid import matrix
from tlspcap.plots.lanes import failure_ratio, latency, timeline
from tlspcap.plots.nights import nights, shares
from tlspcap.plots.style import COLOURS

__all__ = ["COLOURS", "change", "failure_ratio", "ladder", "latency", "matrix", "nights", "shares", "timeline"]
