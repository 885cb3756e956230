"""Files read whole, and hashed while those before them are parsed."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from lake.plan import Record

#: Bytes of files that are read and hashed together.
_GROUP_BYTES = 1 << 21


class Opened(NamedTuple):
    """A file that was read.

    Attributes
    ----------
    record : Record
    raw : bytes
        Its content.
    problem : str or None
        Why that cannot be used.
    """

    record: Record
    raw: bytes
    problem: str | None


def read_ahead(records: Iterable[Record]) -> Iterator[tuple[Opened, str]]:
    """Read files, a group ahead of what is done with them.

    Hashing needs no interpreter: a thread does it beside the parsing.

    Parameters
    ----------
    records : iterable of Record

    Yields
    ------
    Opened
    str
        SHA-256 of its content, hexadecimal.
    """
    coming: deque[tuple[list[Opened], Future[list[str]]]] = deque()
    with ThreadPoolExecutor(1) as hasher:
        for group in _groups(records):
            opened = [_open(record) for record in group]
            coming.append((opened, hasher.submit(_hashes, opened)))
            if len(coming) > 1:
                yield from _hashed(*coming.popleft())
        while coming:
            yield from _hashed(*coming.popleft())


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += record.file.size
        if size > _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _open(record: Record) -> Opened:
    file = record.file
    try:
        raw, found = content(str(file.path))
    except OSError as error:
        return Opened(record, b"", f"cannot be read: {error.strerror or error}")
    changed = (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns)
    return Opened(record, raw, "was changed while it was being read" if changed else None)


def content(path: str) -> tuple[bytes, os.stat_result]:
    """Content of a file, and what the system says of it afterwards.

    Half the time that a Python file takes, for a small one.

    Raises
    ------
    OSError
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(descriptor).st_size
        raw = os.read(descriptor, size)
        # The system reads less at once than the largest files hold.
        while len(raw) < size and (more := os.read(descriptor, size - len(raw))):
            raw += more
        return raw, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _hashes(opened: list[Opened]) -> list[str]:
    return [hashlib.sha256(one.raw).hexdigest() for one in opened]


def _hashed(opened: list[Opened], hashes: Future[list[str]]) -> Iterator[tuple[Opened, str]]:
    yield from zip(opened, hashes.result(), strict=True)
