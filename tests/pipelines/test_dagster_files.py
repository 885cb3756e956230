"""Dagster's files: what is set, events do not wait for the disk, and nothing is left open."""

import sqlite3
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

import lake
from pipelines import dagster_files, jobs
from pipelines.dagster_files import held_open, write_settings


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


def test_a_run_that_the_browser_starts_tells_messages_and_no_events(tmp_path, capfd):
    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        context.log.info("a message")

    @dg.job
    def telling() -> None:
        tell()

    with jobs.instance(lake.open(tmp_path / "home")) as instance:
        run = telling.execute_in_process(instance=instance).run_id
        stored = [
            entry.dagster_event_type for entry in instance.all_logs(run) if entry.is_dagster_event
        ]
    assert {dg.DagsterEventType.RUN_START, dg.DagsterEventType.STEP_START} <= set(stored)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("a message")


@pytest.mark.parametrize("changed", [False, True])
def test_settings_of_an_older_version_are_renewed_unless_changed(tmp_path, changed):
    path = tmp_path / "dagster" / "dagster.yaml"
    write_settings(path)
    present = path.read_text(encoding="utf-8")
    former = dagster_files._FORMER_SETTINGS + "# mine\n" * changed
    path.write_text(former, encoding="utf-8")
    write_settings(path)
    assert path.read_text(encoding="utf-8") == (former if changed else present)
