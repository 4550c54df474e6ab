"""The order of several capture files that are read together: by their first packets, then by name.

So the files that `tcpdump -C`, `-G` or `-W` wrote come in the order in which they were written, whatever their names,
and also where the ring of `-W` began anew.
"""

from collections.abc import Iterable
from pathlib import Path

from tlspcap.errors import CaptureError
from tlspcap.wire.files import CaptureInput, natural, open_capture
from tlspcap.wire.packets import first_time


def in_order(captures: Iterable[CaptureInput], tolerant: bool = False) -> list[tuple[CaptureInput, int | None]]:
    """Put captures in order; give each with the time of its first packet, in ns, where that could be looked at.

    Where one of them can only be read once, such as a pipe, all stay in the order given, and no times are known.
    Files without a packet come last; so do those that cannot be read, where that is tolerated.

    Raises CaptureError where a capture cannot be read at all.
    """
    found = list(captures)
    if len(found) < 2 or not all(can_be_read_again(capture) for capture in found):
        return [(capture, None) for capture in found]
    started = [(capture, _start(capture, tolerant)) for capture in found]
    return sorted(started, key=lambda item: (item[1] is None, item[1] or 0, natural(_name(item[0]))))


def _name(capture: CaptureInput) -> str:
    return str(capture) if isinstance(capture, str | Path) else ""


def can_be_read_again(capture: CaptureInput) -> bool:
    """Whether a capture can be read more than once: a regular file, or an open one that can go back."""
    if isinstance(capture, str | Path):
        return str(capture) != "-" and Path(capture).is_file()
    return bool(getattr(capture, "seekable", bool)())


def _start(capture: CaptureInput, tolerant: bool) -> int | None:
    position = None if isinstance(capture, str | Path) else capture.tell()
    try:
        with open_capture(capture) as opened:
            return first_time(opened)
    except CaptureError:
        if not tolerant:
            raise
        return None
    finally:
        if position is not None:
            capture.seek(position)  # type: ignore[union-attr]  # a path has no position
