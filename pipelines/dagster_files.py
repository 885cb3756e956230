"""Dagster's own files: its settings, and fewer waits for the disk for its SQLite files."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.whole import write_whole

_FORMER_SETTINGS = """\
# Written by lacus; change it as you like.
telemetry:
  enabled: false
nux:
  enabled: false
# Steps print nothing, their messages are events; capturing would take stderr from the terminal.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
_SETTINGS = f"""{_FORMER_SETTINGS}\
# Runs that the browser starts would tell each event on the terminal; the UI shows all of them.
python_logs:
  python_log_level: INFO
"""


def write_settings(path: Path) -> None:
    """Write the settings of a home's Dagster at first use; what the user changed stays."""
    if not path.exists() or path.read_bytes() == _FORMER_SETTINGS.encode():
        write_whole(path, _SETTINGS)


@contextmanager
def held_open() -> Iterator[None]:
    """Spare this process most of the waits for the disk that Dagster's events cost.

    Dagster opens a file anew for each event and closes it again. SQLite waits for the disk when
    a transaction is committed and, several times, when the last connection to a file is closed;
    on the disk of an institute that takes longer than a small run. Within, commits do not wait,
    and one idle connection to each file stays open. What a power cut can take are the last
    events: the files stay sound, and the lake needs none of them.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    idle: dict[str, sqlite3.Connection] = {}

    def opened(connection: Any, _: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):  # the user keeps events elsewhere
            return
        connection.execute("PRAGMA synchronous = NORMAL")
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        if path in idle:
            return
        # A new file gets its write-ahead log later, from somebody who must be alone with it.
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            idle[path] = sqlite3.connect(path, check_same_thread=False)
            idle[path].execute("PRAGMA schema_version").fetchone()

    event.listen(Engine, "connect", opened)
    try:
        yield
    finally:
        event.remove(Engine, "connect", opened)
        for connection in idle.values():
            connection.close()
