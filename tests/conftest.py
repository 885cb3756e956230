"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lake import models
from lake.fetch.session import Session
from tests.fetch.server import Server
from tests.sdss import sas

#: Tests that share the home of the demo.
_OF_THE_DEMO = ("assets", "cli", "cli_read", "jobs", "ogip", "sdss", "serve")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Leave tests that share what they made to one of the processes that run the tests.

    Those of a file have their module's fixtures, those of several files the home of the demo.
    (The groups of pytest-xdist do nothing with pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "demo" if file in demo else file

    demo = {f"tests/pipelines/test_{name}.py" for name in _OF_THE_DEMO}
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with models.in_memory() as connection:
        yield connection


@pytest.fixture
def tables(database) -> Iterator[duckdb.DuckDBPyConnection]:
    """All tables, empty, and the views; what a test inserts is gone after it."""
    database.execute("BEGIN")
    yield database
    database.execute("ROLLBACK")


@pytest.fixture
def science_archive(monkeypatch) -> Iterator[Server]:
    """A Science Archive Server of a few plates; what is fetched from it is fetched at once."""
    monkeypatch.setattr(Session, "pause", lambda self, seconds: None)
    with Server() as running:
        sas.fill(running)
        yield running


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("LACUS_REAL_DATA") or default)
    if not root.is_dir():
        pytest.skip(f"no real data at {root} (set LACUS_REAL_DATA)")
    return root
