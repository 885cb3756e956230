"""What a person sees while something runs: on stderr, so that stdout stays for results."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

#: Messages and progress; results go to stdout. A long line is the terminal's to wrap, and what is
#: printed is text: a path may hold square brackets.
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

_current: Progress | None = None


class _ShareColumn(BarColumn):
    """A bar, where the whole is known."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        return super().render(task) if task.total else Text("")


class _RemainingColumn(TimeRemainingColumn):
    """The time left, where the whole is known."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text("")


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
        _ShareColumn(bar_width=24),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        _RemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        progress.add_task(title, total=None)
        _current = progress
        try:
            yield
        finally:
            _current = None


def report(what: str, done: int | None = None, total: int | None = None) -> None:
    """Say what is under way, and how much of it is done, if anybody looks."""
    if _current is not None and _current.task_ids:
        count = "" if done is None else f" {done:,}" + (f" of {total:,}" if total else "")
        _current.update(
            _current.task_ids[0], description=what + count, completed=done or 0, total=total
        )
