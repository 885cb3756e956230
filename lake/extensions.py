"""The extensions of DuckDB that a lake needs, from their wheels."""

import importlib
import os
from pathlib import Path

import duckdb

from lake import contracts
from lake.errors import LacusError

_NAMES = ("ducklake", "sqlite_scanner")


def connect() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB of its own, in memory, that has what a lake needs; its times are UTC.

    It has one thread until `widen`: what opens a lake, or makes one, are small statements, for
    which to wake up another thread takes longer than they do.

    Extensions from wheels are loaded without a look at their signatures, which takes longer than
    all else that opens a lake: they came as DuckDB's own code did. Whatever is loaded later on is
    verified, and that cannot be turned off any more.

    Raises
    ------
    LacusError
        If an extension is neither installed nor to be had.
    """
    connection = duckdb.connect(config={"threads": 1, "allow_unsigned_extensions": True})
    try:
        missing = {name: why for name in _NAMES if (why := _load(connection, name))}
        connection.execute("SET allow_unsigned_extensions = false")
        # Else that of the machine: days would begin, and text of times differ, from place to place.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        silence(connection)
        for name, why in missing.items():
            _install(connection, name, why)
    except BaseException:
        connection.close()
        raise
    return connection


def widen(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a DuckDB use all processors."""
    connection.execute(f"SET threads = {os.cpu_count() or 1}")


def silence(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a DuckDB draw no progress bar: it goes to stdout, in the midst of results.

    DuckDB draws one unless the program is a file; that of a worker process or of ``python -c``
    is none.
    """
    connection.execute("SET enable_progress_bar = false")


def wheel(name: str) -> Path:
    """Path of an extension in its wheel.

    Raises
    ------
    ImportError
        The wheel is not installed.
    """
    root = Path(str(importlib.import_module(f"duckdb_extension_{name}").__file__)).parent
    return root / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"


def _load(connection: duckdb.DuckDBPyConnection, name: str) -> Exception | None:
    """Load an extension from its wheel; what was in the way, if it does not load."""
    try:
        connection.execute(f"LOAD {contracts.literal(str(wheel(name)))}")
    except (ImportError, duckdb.Error) as error:
        return error
    return None


def _install(connection: duckdb.DuckDBPyConnection, name: str, why: Exception) -> None:
    """Get an extension from DuckDB's repository instead of a wheel."""
    try:
        connection.execute(f"INSTALL {name}")
        connection.execute(f"LOAD {name}")
    except duckdb.Error:
        raise LacusError(
            f"DuckDB {duckdb.__version__} needs its extension {name}: install "
            f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__} ({why})"
        ) from why
