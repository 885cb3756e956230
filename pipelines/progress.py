"""What a person sees while something runs: on stderr, so that stdout stays for results."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

#: Messages and progress; results go to stdout.
err = Console(stderr=True)

_current: Progress | None = None


@contextmanager
def shown(title: str) -> Iterator[None]:
    """Show a spinner with what is under way; `report` writes into it."""
    global _current
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
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


class _Handler(logging.Handler):
    """Dagster's events as a line each: what was made, what failed, what was warned of."""

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is None:
            if record.levelno >= logging.WARNING:
                err.print(f"[yellow]![/] {_message(record)}", highlight=False)
            return
        if event.is_step_start:
            self._started[event.step_key] = time.monotonic()
            report(str(event.step_key))
        elif event.is_step_materialization:
            found = event.step_materialization_data.materialization
            count = found.metadata.get("dagster/row_count")
            rows = f"{count.value:>12,} rows" if count else ""
            name = ".".join(found.asset_key.path) if found.asset_key else ""
            seconds = time.monotonic() - self._started.get(event.step_key, time.monotonic())
            err.print(f"[green]✓[/] {name:36} {rows}  [dim]{seconds:6.1f} s[/]", highlight=False)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                name = ".".join(check.asset_key.path)
                err.print(f"[red]✗[/] check {check.check_name} of {name} failed", highlight=False)


def _message(record: logging.LogRecord) -> str:
    """Return the user's own message, without Dagster's run and step before it."""
    meta = getattr(record, "dagster_meta", {})
    return str(meta.get("orig_message") or record.getMessage())


@dg.logger({}, description="One line for each thing made, on stderr")
def lines(_: dg.InitLoggerContext) -> logging.Logger:
    """Make the logger that the command line runs with."""
    logger = logging.Logger("lacus", logging.DEBUG)  # Dagster logs its events as such
    logger.addHandler(_Handler())
    return logger
