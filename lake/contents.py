"""Content of input files, read and hashed ahead of what is done with it."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

from lake.intake import refused
from lake.plan import Record

#: Files are read in groups of this many bytes.
_GROUP_BYTES = 1 << 22

Content = tuple[Record, bytes | None]
"""Record of a file, with its checksum, and its bytes; None if the file is refused."""


def ahead(records: Sequence[Record], reader: Executor) -> Iterator[Content]:
    """Read files in their order, a group of them ahead of those that are given out.

    Memory holds two groups, or a group and one larger file.

    Parameters
    ----------
    records : sequence of Record
    reader : Executor
        Of one thread.
    """
    under_way: deque[Future[list[Content]]] = deque()
    for group in _groups(records):
        under_way.append(reader.submit(_read_all, group))
        while len(under_way) > (1 if group[-1].file.size < _GROUP_BYTES else 0):
            yield from under_way.popleft().result()
    for future in under_way:
        yield from future.result()


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Files in order, as many as are read at once; a large one is alone."""
    group: list[Record] = []
    size = 0
    for record in records:
        if group and size + record.file.size > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(record)
        size += record.file.size
    if group:
        yield group


def _read_all(records: Sequence[Record]) -> list[Content]:
    return [read(record) for record in records]


def read(record: Record) -> Content:
    """Read and hash one file."""
    file = record.file
    try:
        raw = _bytes(file.path)
    except OSError as error:
        return refused(record, f"cannot be read: {error.strerror or error}"), None
    sha256 = hashlib.sha256(raw).hexdigest()
    if (file.sha256 and sha256 != file.sha256) or not file.is_as_it_was():
        return refused(record, "was changed while it was being read"), None
    return replace(record, file=replace(file, sha256=sha256)), raw


def _bytes(path: Path) -> bytes:
    """Content of a file; unbuffered, which for a small one is a third faster."""
    with open(path, "rb", buffering=0) as stream:
        return stream.read()
