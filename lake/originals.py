"""Files in a mission's own formats, written again from rows of the lake into a folder.

A mission names its tables that can be written so, and what writes them, in ``EXPORTS`` of its
package; `lake.export` writes any table as a table.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lake import contracts
from lake.errors import LacusError, UsageError
from lake.export import Origin, citation_text
from lake.missions import offered
from lake.store import Store
from lake.whole import write_whole

#: The sheet that says where the files of a folder come from, and what to cite for them.
ORIGIN = "ORIGIN.txt"


class Read(Protocol):
    """A query on the lake, at one snapshot."""

    def __call__(self, query: str, params: Sequence[object] = ()) -> pa.Table:
        """Rows of the query."""


WriteFiles = Callable[[Read, pa.Table, Path], list[Path]]
"""Writes the files that rows of a table belong to into a folder that exists; gives their paths."""


def writer(table: str) -> WriteFiles | None:
    """What writes a table's rows as files of its mission; None where nothing does."""
    mission = table.partition(".")[0]
    if mission not in contracts.missions():
        return None
    exports: Mapping[str, WriteFiles] = offered(mission, "EXPORTS") or {}
    return exports.get(table)


def write(
    store: Store, table: str, query: str, directory: Path, origin: Origin, *, at: int | str | None
) -> list[Path]:
    """Write the files that the rows of a query belong to, and a sheet of their origin.

    Parameters
    ----------
    store : Store
    table : str
        One that has a `writer`.
    query : str
        All columns of some rows of it.
    directory : Path
        Made if absent.
    origin : Origin
    at : int or str or None
        A snapshot or a pin.

    Returns
    -------
    list of Path
        The files, without the sheet.

    Raises
    ------
    UsageError
        No row is selected, or `directory` is a file.
    LacusError
        The place cannot be written, or holds another file of the same name.
    """
    write_files = writer(table)
    if write_files is None:
        raise UsageError(f"{table} cannot be written as files of its mission")
    rows = store.arrow(query, at=at)
    if not rows.num_rows:
        raise UsageError(f"no row of {table} is selected, so there is no file to write")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file; files are written into a folder")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        paths = write_files(partial(store.arrow, at=at), rows, directory)
        (directory / ORIGIN).write_text(citation_text(origin), encoding="utf-8")
    except OSError as error:
        raise LacusError(f"{directory}: cannot be written: {error.strerror or error}") from error
    return paths


def place(path: Path, content: bytes) -> None:
    """Write one file, complete or not at all; its folder is made if absent.

    Raises
    ------
    LacusError
        Another file of this name, with another content, is there: it stays as it is.
    """
    if path.exists():
        if path.is_file() and path.read_bytes() == content:
            return
        raise LacusError(f"{path}: there is another file of this name already; it was left alone")
    write_whole(path, content)
