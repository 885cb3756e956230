"""Fixtures shared by all tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lake import contracts, extensions, migrate, models
from lake.commit import current_snapshot
from lake.fetch.session import Session
from lake.writing import Writing
from tests.fetch.server import Server
from tests.sdss import sas

#: Tests that share the home of the demo.
_OF_THE_DEMO = ("assets", "cli", "cli_read", "jobs", "ogip", "sdss", "serve")
#: What takes longest, longest first: begun last, one process would be left with it alone.
_LONG = (
    "demo",
    "tests/sdss/test_cnn_real.py",
    "tests/pipelines/test_processes.py",
    "tests/sdss/test_cnn.py",
    "tests/pipelines/test_standing.py",
    "tests/test_ingest.py",
    "tests/pipelines/test_automation.py",
    "tests/formats/test_fits.py",
    "tests/test_upkeep.py",
    "tests/test_wheel.py",
    "tests/test_store.py",
    "tests/csc/test_archive.py",
    "tests/fetch/test_killed.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config, specs):
    """Leave each process that runs tests its share of the processors, and what it starts.

    As many threads again as there are processors would mostly wait for each other.
    """
    share = str(max(1, (os.cpu_count() or 1) // len(specs)))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, share)


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

        def _assign_work_unit(self, node) -> None:
            for scope in reversed(_LONG):  # the others come by their number of tests
                if scope in self.workqueue:
                    self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    demo = {f"tests/pipelines/test_{name}.py" for name in _OF_THE_DEMO}
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def first_lake(tmp_path_factory) -> Writing:
    """An empty lake of the contracts, which no test may change."""
    lake = Writing(tmp_path_factory.mktemp("lakes"))
    lake.prepare()
    lake.refresh()
    return lake


@pytest.fixture(scope="module", autouse=True)
def new_lakes(first_lake) -> Iterator[None]:
    """New lakes are copies of the first of this process, as long as the contracts are the same.

    To make one takes longer than most tests that need one. Modules whose subject that is have
    another fixture of this name.
    """
    made_whole = Writing._made_whole
    declared = contracts.tables(), models.views(), migrate.digest()

    def copied(store: Writing) -> duckdb.DuckDBPyConnection:
        if (contracts.tables(), models.views(), migrate.digest()) != declared:
            return made_whole(store)
        shutil.copytree(first_lake.data, store.data, dirs_exist_ok=True)
        shutil.copyfile(first_lake.catalog, store.catalog)
        connection = store.connect(read_only=False)
        store._in_line = current_snapshot(connection)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writing, "_made_whole", copied)
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Leave DuckDB its one thread: to wake up another takes longer than to read a few rows.

    It is for modules that are about what is kept and told of, not about how rows are read.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "widen", lambda connection: None)
        yield


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
