"""`lacus run` beside itself, and killed at any moment: real processes, the same lake."""

import contextlib
import hashlib
import multiprocessing
import os
import re
import signal
import sqlite3
import time
from pathlib import Path

import pytest

import lake
from lake import contracts

#: What is run: it has a commit of each kind. The rest of a release is made as this is.
MADE = "csc.class_probabilities"
ROWS = "name,obsid,ra,dec\n2CXO J000001.0+000001,1,10.5,20.5\n2CXO J000002.0+000002,2,11.5,-21.5\n"
#: When and at which snapshot something was made differs from run to run.
_OF_THE_RUN = ("snapshot", "ingested_at", "committed_at", "made_at", "created_at")

#: Forked from a process that has imported everything: a start costs no seconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pipelines.cli", "pipelines.update", "pipelines.definitions", "sklearn.mixture"]
)
_RUN = (
    "import sys; sys.stderr = open({log!r}, 'w'); from pipelines.cli import main; main({words!r})"
)


def start(home: Path, log: str) -> multiprocessing.Process:
    """Begin `lacus run` in a process of its own; what it says goes to a file."""
    words = ["--home", str(home), "run", MADE]
    process = _FORKS.Process(
        target=exec, args=(_RUN.format(log=str(home.parent / log), words=words),)
    )
    process.start()
    return process


def registered(folder: Path, file: Path) -> Path:
    home = lake.open(folder / "home")
    home.add(lake.home.Source("csc", "R1", "detections", (file,)))
    return home.root


def contents(home: Path) -> dict[str, str]:
    """Digest of every table's rows, in one order, without what is of the run."""
    opened, found = lake.open(home), {}
    for name, table in contracts.tables().items():
        columns = [c.name for c in table.columns if c.name not in _OF_THE_RUN]
        listed = ", ".join(map(contracts.quote, columns))
        rows = opened.sql(f"SELECT {listed} FROM {name} ORDER BY ALL").fetchall()
        found[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """File, contents and number of snapshots of one run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = folder / "tiny.csv"
    file.write_text(ROWS)
    home = registered(folder, file)
    process = start(home, "log")
    process.join()
    assert process.exitcode == 0, (folder / "log").read_text()
    return file, contents(home), len(lake.open(home).store.snapshots())


def test_two_runs_at_once_end_well_and_make_everything_once(undisturbed, tmp_path):
    file, expected, snapshots = undisturbed
    home = registered(tmp_path, file)
    processes = [start(home, name) for name in ("one", "two")]
    for process in processes:
        process.join()
    said = [(tmp_path / name).read_text() for name in ("one", "two")]
    assert [p.exitcode for p in processes] == [0, 0], said
    assert contents(home) == expected
    made = [s.message for s in lake.open(home).store.snapshots()]
    assert len(made) == snapshots, made
    assert not any("Traceback" in text for text in said)


def test_a_second_run_says_that_it_waits(undisturbed, tmp_path):
    """As long as another process holds the release, it waits; then it finds nothing to do."""
    file, expected, _ = undisturbed
    home = registered(tmp_path, file)
    with lake.open(home).store.ingesting("csc", "R1", lambda: pytest.fail("is held")):
        process = start(home, "log")
        log, deadline = tmp_path / "log", time.monotonic() + 120
        while not (log.exists() and "waiting" in log.read_text()):
            assert process.is_alive(), log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    process.join()
    assert process.exitcode == 0
    assert "! csc_ingest of R1: another process makes it; waiting" in log.read_text()
    assert contents(home) == expected


def snapshots_of(home: Path) -> int:
    """How many there are by now, without opening the lake."""
    catalog = home / "lake" / "catalog.sqlite"
    if not catalog.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT count(*) FROM ducklake_snapshot").fetchone()[0]


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_come_to_the_same_lake(undisturbed, tmp_path):
    file, expected, snapshots = undisturbed
    home = registered(tmp_path, file)
    for moment in (1, snapshots // 2, snapshots - 2):
        process = start(home, f"log{moment}")
        while process.is_alive() and snapshots_of(home) < moment:
            time.sleep(0.01)
        assert process.is_alive(), (tmp_path / f"log{moment}").read_text()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    process = start(home, "log")
    process.join()
    text = (tmp_path / "log").read_text()
    assert process.exitcode == 0, text
    assert contents(home) == expected
    assert not re.search(r"✗|Traceback", text)
