"""A full disk is told of in words, by whatever name it shows itself."""

import errno
import shutil
import sqlite3

import duckdb
import pytest

from lake import contracts, disk
from lake.errors import LacusError
from lake.store import Store


def free(monkeypatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, size))


@pytest.mark.parametrize(
    ("error", "size", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1 << 30, True),
        (OSError(errno.EACCES, "Permission denied"), 0, False),
        (duckdb.IOException("could not write: No space left on device"), 1 << 30, True),
        (duckdb.TransactionException("Failed to commit: database or disk is full"), 1 << 30, True),
        (sqlite3.OperationalError("disk I/O error"), 1000, True),
        (sqlite3.OperationalError("disk I/O error"), 1 << 30, False),
    ],
)
def test_a_full_disk_is_told_from_another_error(error, size, full, tmp_path, monkeypatch):
    free(monkeypatch, size)
    assert disk.is_full(tmp_path, error) is full
    words = f"{tmp_path}: no space is left on the disk" if full else str(error)
    with pytest.raises(LacusError if full else type(error)) as found, disk.told(tmp_path):
        raise error
    assert str(found.value) == words


def test_a_commit_tells_of_a_full_disk(tmp_path, monkeypatch):
    store = Store(tmp_path / "lake")
    store.prepare()
    free(monkeypatch, 1000)
    with pytest.raises(LacusError, match="lake: no space is left"), store.commit("x"):
        raise duckdb.TransactionException("Failed to commit: disk I/O error")
    rows = contracts.table("meta.pins").schema()
    with (
        pytest.raises(LacusError, match="staging: no space is left"),
        store.stage("meta.pins", "R1", rows),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
