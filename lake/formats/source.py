"""What every reader needs first: the bytes of a source, seen through gzip, and its name."""

import contextlib
import gzip
import io
import itertools
import mmap
import os
import zlib
from collections import deque
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO

from lake.errors import InputError

Source = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""

Content = tuple[bytes, os.stat_result]
"""All bytes of a file, and what the system says of it."""

#: Files that are opened ahead, and how much of each is fetched.
_AHEAD = 16
_AHEAD_BYTES = 1 << 22

GZIP_MAGIC = b"\x1f\x8b"
GZIP_FAULTS = (EOFError, gzip.BadGzipFile, zlib.error)
#: How files begin that are packed in another way or lie elsewhere, and what they are.
PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zX": "compressed with xz",
    b"\x1f\x9d": "compressed with compress (.Z)",
    b"version https://git-lfs": "a pointer of git-lfs and not the file itself",
}


def label(source: Source) -> str:
    """Name of a source in messages: its path, or ``<bytes>``."""
    return "<bytes>" if isinstance(source, bytes) else os.fspath(source)


def load(source: Source, *, mapped: bool = False) -> bytes | mmap.mmap:
    """All bytes of a source, decompressed if they are gzip.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file. Gzip is known by its first two bytes, not by the name.
    mapped : bool
        Map an uncompressed file instead of reading it, so that memory holds only the
        pages in use.

    Returns
    -------
    bytes or mmap.mmap
        Both have ``find``, slices that are bytes, and the buffer protocol.

    Raises
    ------
    InputError
        The file cannot be read, is empty, packed in another way than with gzip, or its gzip
        stream is broken.
    """
    try:
        if isinstance(source, bytes):
            data: bytes | mmap.mmap = source
        elif mapped and Path(source).stat().st_size:
            with open(source, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            data, _ = content(source)
    except OSError as error:
        raise InputError(label(source), f"cannot be read: {error.strerror}") from error
    if not len(data):
        raise InputError(label(source), "the file is empty")
    if data[:2] == GZIP_MAGIC:
        try:
            return gzip.decompress(data)
        except GZIP_FAULTS as error:
            raise InputError(label(source), f"broken gzip stream: {error}") from error
    start = data[:32]
    for magic, what in PACKED.items():
        if start.startswith(magic):
            raise InputError(label(source), f"is {what}, expected it plain or with gzip")
    return data


def content(path: str | os.PathLike[str]) -> Content:
    """Content of a file, and what the system says of it afterwards.

    For a small file this takes half the time of a Python file.

    Raises
    ------
    OSError
    """
    return _taken(_opened(path))


def contents(paths: Iterable[str | os.PathLike[str]]) -> Generator[Content | OSError, None, None]:
    """Contents of files in turn, while the system fetches those that come next.

    A file that is read for the first time waits for the disk three times as long as it takes to
    hash it, if nobody has asked for it before.

    Yields
    ------
    tuple of bytes and os.stat_result, or OSError
        As from `content`; the error says why a file cannot be read.
    """
    left, waiting = iter(paths), deque[int | OSError]()
    try:
        while True:
            for path in itertools.islice(left, _AHEAD - len(waiting)):
                try:
                    waiting.append(_announced(path))
                except OSError as error:
                    waiting.append(error)
            if not waiting:
                return
            found: Content | int | OSError = waiting.popleft()
            if isinstance(found, int):
                try:
                    found = _taken(found)
                except OSError as error:
                    found = error
            yield found
    finally:
        for each in waiting:
            if isinstance(each, int):
                os.close(each)


def _opened(path: str | os.PathLike[str]) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def _announced(path: str | os.PathLike[str]) -> int:
    """Open a file that will be read soon; of a long one the system fetches the rest in time."""
    descriptor = _opened(path)
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # what is no file on a disk need not be fetched
            os.posix_fadvise(descriptor, 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
    return descriptor


def _taken(descriptor: int) -> Content:
    """Read a file to its end and close it."""
    try:
        size = os.fstat(descriptor).st_size + 1
        # The system reads less at once than the largest files hold, and knows no size of pipes.
        parts = [os.read(descriptor, size)]
        while more := os.read(descriptor, size):
            parts.append(more)
        return b"".join(parts) if len(parts) > 1 else parts[0], os.fstat(descriptor)
    finally:
        os.close(descriptor)


def open_stream(source: Source) -> BinaryIO:
    """Open a source for reading from its start, seen through gzip.

    Raises
    ------
    InputError
        The file cannot be read. A broken gzip stream shows itself only while reading, as
        one of `GZIP_FAULTS`.
    """
    try:
        # The caller closes it: it is what this function returns.
        raw = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(label(source), f"cannot be read: {error.strerror}") from error
    magic = raw.read(2)
    raw.seek(0)
    return gzip.open(raw) if magic == GZIP_MAGIC else raw  # type: ignore[return-value]


def head(source: Source, size: int) -> bytes:
    """First `size` bytes of a source, seen through gzip.

    Raises
    ------
    InputError
        The file cannot be read or its gzip stream is broken.
    """
    try:
        with open_stream(source) as stream:
            return stream.read(size)
    except GZIP_FAULTS as error:
        raise InputError(label(source), f"broken gzip stream: {error}") from error


def unique_names(names: Iterable[str]) -> list[str]:
    """Column names made unique without regard to case: ``flux``, ``FLUX_2``, ``flux_3``.

    Names are compared without case because FITS and SQL do.
    """
    names = list(names)
    given = {name.casefold() for name in names}
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        # `flux, flux, flux_2` keeps the third name for the column that has it.
        while candidate.casefold() in (taken if number == 1 else taken | given):
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique
