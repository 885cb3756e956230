"""What a person sees while something runs: on stderr, so that stdout stays for results."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

#: Messages and progress; results go to stdout. A long line is the terminal's to wrap, and what is
#: printed is text: a path may hold square brackets.
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

_current: Progress | None = None


def mark(symbol: str, colour: str, message: str) -> None:
    """Print one line on stderr that opens with a coloured symbol."""
    err.print(Text.assemble((symbol, colour), " ", message))


@contextmanager
def shown(title: str) -> Iterator[None]:
    """Show a spinner with what is under way, on a terminal; `report` writes into it."""
    global _current
    if not err.is_terminal:
        yield
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        progress.add_task(title)
        _current = progress
        try:
            yield
        finally:
            _current = None


def report(text: str) -> None:
    """Say what is under way, if anybody looks."""
    if _current is not None and _current.task_ids:
        _current.update(_current.task_ids[0], description=text)
