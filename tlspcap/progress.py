"""A progress bar on standard error: on a terminal, or in Jupyter where it has widgets; never in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def bar(wanted: bool | None) -> Iterator[Callable[[str, int], None] | None]:
    """Give a function that takes a file's name and how many more bytes of it were read; None where no bar is wanted.

    `wanted`: True or False decide; None shows it where standard error is a terminal, or in Jupyter.
    """
    if wanted is False or (wanted is None and not (sys.stderr.isatty() or _has_widgets())):
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)

        def advance(name: str, count: int) -> None:
            progress.update(task, description=escape(name), advance=count)

        yield advance


def _has_widgets() -> bool:
    """Tell whether this is Jupyter with ipywidgets, without which rich would warn in every cell instead."""
    return "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
