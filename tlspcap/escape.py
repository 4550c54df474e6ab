"""Text from the wire is hostile: the one place that makes it harmless for each kind of output.

A host name, a certificate name or the bytes of a wrong answer can hold terminal escapes, direction marks, spreadsheet
formulas or markup. `printable` removes what no output may carry; the others add what their own syntax needs.
HTML is escaped by Jinja2's autoescape, JSON by `json`.
"""

import re

# ruff: noqa: RUF001 - typographic characters that look like ASCII ones are what this module is about
_ASCII = str.maketrans({
    "×": "x", "–": "-", "—": "-", "−": "-", "…": "~", "·": "|", "≥": ">", "≤": "<", "µ": "u", "→": ">", "←": "<",
    "─": "-", "├": "|", "┤": "|", "●": "o", "▸": ">", "✓": "+", "✗": "x", "█": "#", "│": "|", "━": "-", "’": "'",
})  # fmt: skip
FORMULA = frozenset("=+-@\t\r")  # what a spreadsheet takes for the start of a formula
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")


def printable(text: str) -> str:
    r"""Replace every character that is not visible (controls, direction marks, surrogates) by its escaped code.

    >>> printable("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def clip(text: str, limit: int = 80) -> str:
    """Shorten `text` to `limit` characters, keeping both ends.

    >>> clip("abcdefghij", 5)
    'ab…ij'
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def encodable(text: str, encoding: str) -> str:
    r"""Fit `text` to an output encoding: typographic characters get an ASCII cousin of the same width.

    >>> encodable("3 × é", "ascii")
    '3 x \\xe9'
    """
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode(_known(encoding), "backslashreplace").decode(_known(encoding))
    return text


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        return "ascii"
    return encoding


def markdown(text: str) -> str:
    r"""Escape Markdown's own signs, so that text stays text; a table cell's pipe too.

    >>> markdown("a|b *c*")
    'a\\|b \\*c\\*'
    """
    return _MARKDOWN.sub(r"\\\1", printable(text))


def csv_cell(text: str) -> str:
    r"""Make a text harmless in a spreadsheet (OWASP: no cell starts a formula) and on a terminal.

    >>> csv_cell("=cmd|' /C calc'!A0"), csv_cell("a\x1b[31m"), csv_cell("-")
    ("'=cmd|' /C calc'!A0", 'a\\x1b[31m', '-')
    """
    guard = "'" if text[:1] in FORMULA and len(text) > 1 else ""
    return guard + printable(text)
