"""VOTables to Arrow, streamed: TABLEDATA, BINARY, BINARY2 and FITS, versions 1.1 to 1.5.

What the standard leaves open is settled like this:

- Null is an empty cell, the value that VALUES declares, a BINARY2 flag, NaN in a scalar floating
  column. NaN within an array stays.
- Strings are trimmed of blanks and NULs, and empty ones are null: TABLEDATA and BINARY cannot
  tell them apart.
- ``arraysize="1"`` is a scalar, as those who write it mean. Other arrays are lists, those of
  several dimensions flattened (fastest first) with their shape in ``arraysize``.
- Complex numbers are fixed lists of two, real and imaginary.
- A STREAM is read where it stands in the file; addresses in the file are never followed.

References
----------
Ochsenbein et al. 2019, VOTable Format Definition 1.4, IVOA Recommendation.
"""

import re
import warnings
from collections.abc import Iterator

import pyarrow as pa

from lake.errors import InputError
from lake.formats._votable_binary import read_binary
from lake.formats._votable_header import Document, is_overflow
from lake.formats._votable_stream import ByteStream
from lake.formats._votable_tabledata import ForeignCells, read_tabledata
from lake.formats.columns import rebatched
from lake.formats.source import Source

_TAG = rb"(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>"
_DATA_TAG = re.compile(rb"<(?:[\w.-]+:)?(?:TABLEDATA|STREAM)\b" + _TAG)
_INFO_TAG = re.compile(rb"<(?:[\w.-]+:)?INFO\b" + _TAG)
_STATUS = re.compile(rb"\b(name|value)\s*=\s*[\"']([^\"']*)[\"']")


def scan_votable(
    source: Source, *, table: int | str = 0, batch_rows: int = 50_000
) -> pa.RecordBatchReader:
    """Read a table of a VOTable batch by batch, in the memory of one batch.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or the document itself; may be compressed with gzip.
    table : int or str, default 0
        The number of the TABLE in document order, from 0, or its name or ID.
    batch_rows : int, default 50000
        Rows in every batch but the last.

    Returns
    -------
    pyarrow.RecordBatchReader
        Fields carry ``unit``, ``ucd``, ``utype``, ``xtype``, ``description``, ``format`` (of the
        display, as ``F2``), ``width`` and ``arraysize``, as far as the file gives them; the
        schema ``name``, ``description`` and, as JSON lists, ``params`` (PARAM and INFO),
        ``coosys`` and ``timesys``. A status OVERFLOW that follows the rows is among ``params``;
        where the file is compressed it is not known yet, and a warning is given at the end.

    Raises
    ------
    lake.errors.InputError
        For what precedes the rows here, for the rows while they are read, as it was raised.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows is {batch_rows}, expected at least 1")
    stream, document = _open(source, table)
    overflow = _overflow_at_end(stream.tail(), document.prefix)
    schema = document.schema(overflow)
    batches = _batches(source, stream, document, schema)
    if not overflow:
        batches = _warning_of_overflow(batches, document, stream.name)
    return pa.RecordBatchReader.from_batches(schema, rebatched(batches, batch_rows))


def read_votable(source: Source, *, table: int | str = 0) -> pa.Table:
    """Read a table of a VOTable.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or the document itself; may be compressed with gzip.
    table : int or str, default 0
        The number of the TABLE in document order, from 0, or its name or ID.

    Returns
    -------
    pyarrow.Table
        With the metadata of `scan_votable`.

    Raises
    ------
    lake.errors.InputError
        A document that cannot be taken; the message names the row and column.

    Examples
    --------
    >>> table = read_votable("csc.vot")  # doctest: +SKIP
    >>> table.schema.field("bb_kt").metadata[b"unit"]  # doctest: +SKIP
    b'keV'
    """
    stream, document = _open(source, table)
    schema = document.schema()
    batches = rebatched(_batches(source, stream, document, schema), 50_000)
    read = pa.Table.from_batches(list(batches), schema=schema)
    # By now what follows the rows is known as well.
    return read.replace_schema_metadata(document.schema().metadata)


def _open(source: Source, table: int | str) -> tuple[ByteStream, Document]:
    """Read up to the rows of the table, or to the end of the document if it has none."""
    stream = ByteStream(source)
    document = Document(stream.name, table)
    try:
        while _advance(stream, document) and not document.is_wanted:
            _skip(stream, document)
    except InputError:
        stream.close()
        raise
    return stream, document


def _advance(stream: ByteStream, document: Document) -> bool:
    """Pass what precedes the next table's data to the document; tell whether there are any."""
    while True:
        tag = _DATA_TAG.search(stream.buffer)
        # Without one, the last tag may be half of it.
        cut = tag.end() if tag else stream.buffer.rfind(b"<")
        cut = len(stream.buffer) if cut < 0 else cut
        document.feed(stream.buffer[:cut])
        stream.buffer = stream.buffer[cut:]
        if tag and document.in_data:
            return True
        if tag is None and not stream.more():
            document.feed(stream.buffer)
            document.close()
            return False


def _skip(stream: ByteStream, document: Document) -> None:
    in_rows = document.serialisation == "TABLEDATA"
    end_tag = f"</{document.prefix}{'TABLEDATA' if in_rows else 'STREAM'}".encode()
    try:
        for _ in stream.until(end_tag, b">" if in_rows else b""):
            pass
    except EOFError:
        raise InputError(stream.name, "the file ends inside a table; truncated") from None


def _batches(
    source: Source, stream: ByteStream, document: Document, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Read the rows, then what follows them."""
    rows = 0
    with stream:
        if not document.in_data:
            return
        try:
            for batch in _decode(stream, document, schema):
                rows += batch.num_rows
                yield batch
        except ForeignCells:
            from lake.formats._votable_astropy import read_with_astropy

            whole = read_with_astropy(source, document.number, document.fields, schema)
            yield whole.slice(rows)
            return
        while _advance(stream, document):
            _skip(stream, document)


def _decode(stream: ByteStream, document: Document, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    fields, prefix = document.fields, document.prefix
    match document.serialisation:
        case "TABLEDATA":
            yield from read_tabledata(stream, fields, schema, prefix)
        case "BINARY" | "BINARY2" as kind:
            yield from read_binary(stream, fields, schema, prefix, flags=kind == "BINARY2")
        case "FITS":
            from lake.formats._votable_astropy import read_fits_stream

            extension = document.data_attributes.get("extnum", "1")
            yield read_fits_stream(stream, fields, schema, prefix, extension)
        case other:
            raise InputError(stream.name, f"data as {other!r} are not understood")


def _overflow_at_end(tail: bytes, prefix: str) -> list[dict[str, str]]:
    """Find the status that follows the rows when a service has cut the table."""
    after = tail.rpartition(f"</{prefix}TABLE>".encode())[2]
    found = [dict(_STATUS.findall(tag[0])) for tag in _INFO_TAG.finditer(after)]
    statuses = [{key.decode(): value.decode() for key, value in info.items()} for info in found]
    return [info for info in statuses if is_overflow(info)]


def _warning_of_overflow(
    batches: Iterator[pa.RecordBatch], document: Document, name: str
) -> Iterator[pa.RecordBatch]:
    known = document.overflowed()
    yield from batches
    if document.overflowed() and not known:
        warnings.warn(f"{name}: the service has cut the table (OVERFLOW)", stacklevel=2)
