"""The report: content made once from the tables, then shown on a terminal, as HTML, Markdown or JSON.

`build` makes the content; `terminal`, `html`, `markdown` and `json` each have a `render`; `save` writes a file.
"""

from tlspcap.report.model import Report
from tlspcap.report.saving import save
from tlspcap.report.sections import build

__all__ = ["Report", "build", "save"]
