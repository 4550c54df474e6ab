"""Bytes from the wire as text that is safe to show: what a `reason` or a note quotes."""

MAX_QUOTE = 48


def quote(content: bytes, most: int = MAX_QUOTE) -> str:
    r"""The first line of some bytes, escaped and no longer than `most` bytes: they come from the wire.

    >>> quote(b"454 not\x1b[2J now\r\nmore")
    '"454 not\\x1b[2J now"'
    """
    line = content.split(b"\r\n")[0].split(b"\n")[0][:most]
    return '"' + line.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
