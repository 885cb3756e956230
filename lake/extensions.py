"""The extensions of DuckDB that a lake needs, from their wheels."""

import importlib
from pathlib import Path

import duckdb

from lake import contracts
from lake.errors import LacusError

_NAMES = ("ducklake", "sqlite_scanner")


def load(connection: duckdb.DuckDBPyConnection) -> None:
    """Load what a lake needs into a DuckDB.

    Raises
    ------
    LacusError
        If an extension is neither installed nor to be had.
    """
    for name in _NAMES:
        _load(connection, name)


def _load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its wheel; DuckDB verifies its signature."""
    package = f"duckdb_extension_{name}"
    try:
        root = Path(str(importlib.import_module(package).__file__)).parent
        file = root / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.execute(f"LOAD {contracts.literal(str(file))}")
    except (ImportError, duckdb.Error) as error:
        try:
            connection.execute(f"INSTALL {name}")
            connection.execute(f"LOAD {name}")
        except duckdb.Error:
            raise LacusError(
                f"DuckDB {duckdb.__version__} needs its extension {name}: install "
                f"{package.replace('_', '-')}=={duckdb.__version__} ({error})"
            ) from error
