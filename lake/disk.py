"""A full disk, told in words whoever runs into it."""

import contextlib
import errno
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb

from lake.errors import LacusError

#: Less free space than this keeps SQLite, which grows its files in steps, from working.
_LEAST_FREE = 1 << 20
_WORDS = ("disk is full", "no space left")


def is_full(folder: Path, error: BaseException) -> bool:
    """Whether an error that came up while something was written below a folder is of a full disk.

    SQLite and all above it mostly speak of a "disk I/O error", so that the free space is asked for.
    """
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if any(words in str(error).lower() for words in _WORDS):
        return True
    return shutil.disk_usage(folder).free < _LEAST_FREE


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Write below a folder that is there.

    Raises
    ------
    LacusError
        In place of any error that comes of a full disk.
    """
    try:
        yield
    except (OSError, duckdb.OperationalError, sqlite3.OperationalError) as error:
        if is_full(folder, error):
            raise LacusError(f"{folder}: no space is left on the disk") from error
        raise
