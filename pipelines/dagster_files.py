"""Dagster's own SQLite files: fewer waits for the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
