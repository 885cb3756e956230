"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lake import models


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave tests that share what they made to one of the processes that run the tests.

    Those of a file have their module's fixtures, those of several files the home of the demo.
    """
    for item in items:
        group = "demo" if "demo" in item.fixturenames else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("LACUS_REAL_DATA") or default)
    if not root.is_dir():
        pytest.skip(f"no real data at {root} (set LACUS_REAL_DATA)")
    return root
