"""FITS files as Arrow tables and NumPy arrays, from bytes parsed in place.

A file is read (or mapped) once; headers are found by their END cards and their keywords by
name, table layouts come from a cache, columns are views of the file's bytes until they are
asked for in another form. astropy is called for tile-compressed images only.
"""

import mmap
from collections.abc import Iterator

import pyarrow as pa

from lake.errors import InputError
from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import Header
from lake.formats.fits_structure import TABLES
from lake.formats.reader import TableReader
from lake.formats.source import Source, label, load

__all__ = ["HDU", "FitsFile", "Header", "read_fits", "read_fits_file", "scan_fits"]


class FitsFile:
    """All HDUs of one file, from one read of its bytes; found when they are asked for.

    ``file[1]`` is by position, ``file["SPECTRUM"]`` by EXTNAME (the first of that name, in
    any case); ``for hdu in file`` goes through all of them.

    Parameters
    ----------
    path : str
        The file, for messages.
    data : bytes or mmap.mmap
        Its content, decompressed.

    Raises
    ------
    InputError
        It is not FITS, or its first header is cut off.
    """

    def __init__(self, path: str, data: bytes | mmap.mmap) -> None:
        if data[:9] != b"SIMPLE  =":
            raise InputError(path, "is not a FITS file: it does not begin with SIMPLE")
        self.path = path
        self._data = data
        self._hdus = [HDU(path, data, 0, 0)]

    def _next(self) -> bool:
        """Find one more HDU."""
        start = self._hdus[-1].end
        # What follows the last HDU without being an extension is allowed (standard, 3.5).
        if self._data[start : start + 9] != b"XTENSION=":
            return False
        self._hdus.append(HDU(self.path, self._data, len(self._hdus), start))
        return True

    def __iter__(self) -> Iterator[HDU]:
        index = 0
        while index < len(self._hdus) or self._next():
            yield self._hdus[index]
            index += 1

    def __len__(self) -> int:
        while self._next():
            pass
        return len(self._hdus)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(hdu.name.casefold() == name.casefold() for hdu in self)

    def __getitem__(self, key: int | str) -> HDU:
        if isinstance(key, str):
            for hdu in self:
                if hdu.name.casefold() == key.strip().casefold():
                    return hdu
        else:
            if key < 0:
                key += len(self)
            while 0 <= key >= len(self._hdus) and self._next():
                pass
            if 0 <= key < len(self._hdus):
                return self._hdus[key]
        there = ", ".join(f"{hdu.index} {hdu.name!r}" for hdu in self)
        raise InputError(self.path, f"no HDU {key!r}; there are {there}")

    def first_table(self) -> HDU:
        """First binary or ASCII table of the file.

        Raises
        ------
        InputError
            There is none.
        """
        for hdu in self:
            if hdu.kind in TABLES:
                return hdu
        kinds = ", ".join(f"{hdu.index} {hdu.kind}" for hdu in self)
        raise InputError(self.path, f"no table in this file; its HDUs are {kinds}")


def read_fits_file(source: Source) -> FitsFile:
    """Open all HDUs of a file with one read.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.

    Returns
    -------
    FitsFile
        ``file[1].column("flux")`` is a NumPy view, ``file[1].table()`` Arrow,
        ``file[0].image()`` pixels, ``file[0].header["EXPTIME"]`` a keyword.

    Raises
    ------
    InputError
        It is not FITS or cut off. What is wrong with a later HDU is raised when that HDU is
        asked for.
    """
    return FitsFile(label(source), load(source))


def scan_fits(
    source: Source, *, hdu: int | str | None = None, batch_rows: int = 50_000
) -> TableReader:
    """Read a table of a FITS file batch by batch; see `read_fits`.

    An uncompressed file is mapped, so memory holds about a batch of it.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    hdu : int or str, optional
        Position (from 0) or EXTNAME of the table.
    batch_rows : int
        Rows in a batch, at most.
    """
    file = FitsFile(label(source), load(source, mapped=True))
    table = file.first_table() if hdu is None else file[hdu]
    return TableReader(table.schema, table.batches(batch_rows))


def read_fits(source: Source, *, hdu: int | str | None = None) -> pa.Table:
    """Read a table of a FITS file.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    hdu : int or str, optional
        Position (from 0) or EXTNAME; the first binary or ASCII table if not given.

    Returns
    -------
    pyarrow.Table
        One column for each of the file, in its order. Integers are exact (the unsigned
        conventions too), other scaled columns float64; vectors, bit arrays and
        variable-length arrays are lists; complex numbers are pairs (real, imaginary).
        TNULL, NaN in a scalar column, logicals without value and empty text are null; NaN
        inside a list stays. Units, UCDs, descriptions, display formats and array shapes
        (``arraysize``: ``12x5``, ``*`` for variable length) are field metadata.

    Raises
    ------
    InputError
        There is no such table, its header is malformed, its data are cut off, or a cell
        holds what its column cannot.
    """
    return scan_fits(source, hdu=hdu).read_all()
