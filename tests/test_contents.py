"""Files are read in their order, some ahead, within bounds of memory."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lake import contents
from lake.inputs import InputFile
from lake.plan import Record


@pytest.fixture
def reader() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def in_memory(monkeypatch) -> list[Path]:
    """Files that were read so far."""
    found: list[Path] = []

    def read(path: Path) -> bytes:
        found.append(path)
        return path.read_bytes()

    monkeypatch.setattr(contents, "_bytes", read)
    monkeypatch.setattr(contents, "_GROUP_BYTES", 100)
    return found


def files(folder: Path, *sizes: int) -> list[Record]:
    records = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.dat"
        path.write_bytes(bytes([number]) * size)
        stamp = path.stat().st_mtime_ns
        file = InputFile(path, "sdss", "R", "spectra", {}, size, stamp, "")
        records.append(Record(file, 1, "new"))
    return records


def test_files_come_in_their_order_with_their_checksums(tmp_path, reader, in_memory):
    records = files(tmp_path, 30, 30, 30, 30, 0, 500, 10, 100, 100, 7)
    found = list(contents.ahead(records, reader))
    assert [record.file.path for record, _ in found] == [r.file.path for r in records]
    assert [raw for _, raw in found] == [r.file.path.read_bytes() for r in records]
    for record, raw in found:
        assert record.file.sha256 == hashlib.sha256(raw).hexdigest()
    assert list(contents.ahead([], reader)) == []


def test_two_groups_are_in_memory_or_one_and_a_large_file(tmp_path, reader, in_memory):
    sizes = [50, 50, 60, 40, 30, 400, 300, 20, 20]
    records = files(tmp_path, *sizes)
    for number, _ in enumerate(contents.ahead(records, reader), 1):
        reader.submit(int).result()  # what was asked for so far has been read
        beyond = sizes[number : len(in_memory)]
        assert sum(size for size in beyond if size <= 100) <= 150
        assert len([size for size in beyond if size > 100]) <= (sizes[number - 1] <= 100)
    assert len(in_memory) == len(sizes)


def test_what_cannot_be_read_or_changes_has_no_content(tmp_path, reader):
    gone, touched, other, whole = files(tmp_path, 5, 5, 5, 5)
    gone.file.path.unlink()
    touched.file.path.write_bytes(b"longer than before")
    other = Record(
        InputFile(**{**vars(other.file), "sha256": "of other bytes"}), other.version, "new"
    )
    found = list(contents.ahead([gone, touched, other, whole], reader))
    assert [raw is None for _, raw in found] == [True, True, True, False]
    reasons = [record.reason for record, _ in found]
    assert reasons[0] == "cannot be read: No such file or directory"
    assert reasons[1:] == ["was changed while it was being read"] * 2 + [None]


def test_one_large_file_is_in_memory_at_a_time(tmp_path, reader, in_memory, monkeypatch):
    class Large(bytes):
        alive = 0

        def __init__(self, *_: object) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    monkeypatch.setattr(contents, "_bytes", lambda path: Large(path.read_bytes()))
    for _, content in contents.ahead(files(tmp_path, 200, 300, 400), reader):
        assert content is not None
        assert Large.alive == 1
        del content
