"""Dagster's files: events do not wait for the disk, and nothing is left open."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from pipelines.dagster_files import held_open


def write(path: Path) -> int:
    """Add a row as Dagster does, in a connection of its own; what a commit waits for."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("PRAGMA journal_mode=WAL"))
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS events (number INTEGER)"))
        connection.execute(sa.text("INSERT INTO events VALUES (1)"))
        connection.commit()
        return connection.execute(sa.text("PRAGMA synchronous")).scalar_one()


def test_the_last_connection_to_a_file_is_closed_once(tmp_path):
    path = tmp_path / "events.db"
    log = tmp_path / "events.db-wal"
    full, normal = 2, 1
    with held_open():
        assert write(path) == normal
        assert not log.exists(), "alone with a new file, Dagster gives it its log"
        assert [write(path), write(path)] == [normal, normal]
        assert log.exists()
    assert not log.exists()
    assert write(path) == full
    assert not log.exists()
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM events")).scalar_one() == 4


def test_other_databases_are_left_alone():
    """The user may have Dagster keep its events in a server."""

    class Server:
        def __init__(self) -> None:
            self.real = sqlite3.connect(":memory:")

        def __getattr__(self, name):
            return getattr(self.real, name)

    engine = sa.create_engine("sqlite://", creator=Server)
    with held_open(), engine.connect() as connection:
        full = 2
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == full
