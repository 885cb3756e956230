"""File formats to Arrow, and back, with nothing lost.

All readers take a path or the bytes of a file, see through gzip, and give Arrow tables with
units, UCDs and descriptions in the field metadata. `read_table` finds the format by itself.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from lake.errors import InputError
from lake.formats.delimited import read_delimited, scan_delimited
from lake.formats.fits import read_fits, read_fits_file, scan_fits
from lake.formats.parquet import read_parquet, scan_parquet
from lake.formats.reader import TableReader
from lake.formats.source import PACKED, Source, head, label
from lake.formats.votable import read_votable, scan_votable

__all__ = [
    "TableReader",
    "format_of",
    "read_delimited",
    "read_fits",
    "read_fits_file",
    "read_parquet",
    "read_table",
    "read_votable",
    "scan_delimited",
    "scan_fits",
    "scan_parquet",
    "scan_table",
    "scan_votable",
]


def _scan_votable(source: Source, **options: Any) -> TableReader:
    reader = scan_votable(source, **options)
    return TableReader(reader.schema, iter(reader))


_SCANNERS: dict[str, Callable[..., TableReader]] = {
    "delimited": scan_delimited,
    "fits": scan_fits,
    "parquet": scan_parquet,
    "votable": _scan_votable,
}
_EXPECTED = "FITS, VOTable, Parquet or delimited text"
_NOT_TABLES = {**PACKED, b"\x89HDF": "HDF5", b"%PDF": "PDF"}


def format_of(source: Source) -> str:
    """Format of a file, by its content: the name is not looked at.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.

    Returns
    -------
    str
        ``fits``, ``votable``, ``parquet`` or ``delimited``.

    Raises
    ------
    InputError
        It cannot be read, is empty, or is none of these.
    """
    start = head(source, 4096)
    if not start.strip():
        raise InputError(label(source), "the file is empty")
    if start.startswith(b"SIMPLE  ="):
        return "fits"
    if start.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _NOT_TABLES.items():
        if start.startswith(magic):
            raise InputError(label(source), f"is {what}, expected {_EXPECTED}")
    # In UTF-16 every other byte of the markup is 0.
    text = (
        start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe \t\r\n").lower()
    )
    if text.startswith(b"<"):
        if text.startswith((b"<!doctype html", b"<html")):
            raise InputError(label(source), f"is a web page, expected {_EXPECTED}")
        return "votable"
    return "delimited"


def scan_table(source: Source, *, batch_rows: int = 50_000, **options: Any) -> TableReader:
    """Read a table of any format batch by batch; see `read_table`.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    batch_rows : int
        Rows in a batch, at most.
    **options
        Of the format's own reader.
    """
    return _SCANNERS[format_of(source)](source, batch_rows=batch_rows, **options)


def read_table(source: Source, **options: Any) -> pa.Table:
    """Read a table of any format, found by the file's content.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    **options
        Of the format's own reader: ``hdu`` for FITS, ``column_types`` for delimited text, ...

    Returns
    -------
    pyarrow.Table
        With units, UCDs and descriptions in the field metadata.

    Raises
    ------
    InputError
        It is of no known format, or its reader rejects it.
    """
    return scan_table(source, **options).read_all()
