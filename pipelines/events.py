"""Dagster's events on the command line; apart from `progress`, which must not import Dagster."""

import logging
import time

import dagster as dg

from pipelines.progress import mark, report


class _Handler(logging.Handler):
    """Dagster's events as a line each: what was made, what failed, what was warned of."""

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is None:
            message = _message(record)
            # What follows from a failure is summed up at the end, not told step by step.
            if record.levelno >= logging.WARNING and not message.endswith("Not executing."):
                mark("!", "yellow", message)
            return
        if event.is_step_start:
            self._started[event.step_key] = time.monotonic()
            report(str(event.step_key))
        elif event.is_step_materialization:
            found = event.step_materialization_data.materialization
            count = found.metadata.get("dagster/row_count")
            rows = f"{count.value:>12,} {'row ' if count.value == 1 else 'rows'}" if count else ""
            name = ".".join(found.asset_key.path) if found.asset_key else ""
            seconds = time.monotonic() - self._started.get(event.step_key, time.monotonic())
            mark("✓", "green", f"{name:36} {rows:17}  {seconds:6.1f} s")
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity is dg.AssetCheckSeverity.WARN:
                mark("!", "yellow", f"{'.'.join(check.asset_key.path)}: {check.description}")


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
