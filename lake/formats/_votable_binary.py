"""BINARY and BINARY2 to Arrow: the rows of a block as one array of records."""

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import InputError
from lake.formats._votable_header import Field
from lake.formats._votable_stream import ByteStream
from lake.formats._votable_values import (
    BoolArray,
    CellError,
    as_text,
    finish_numbers,
    finish_strings,
    null_where,
    slices,
    wrap,
)

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

# Bytes of one element (VOTable 1.4, section 6); bits are packed and counted apart.
_SIZES = {
    "boolean": 1,
    "unsignedByte": 1,
    "short": 2,
    "int": 4,
    "long": 8,
    "char": 1,
    "unicodeChar": 2,
    "float": 4,
    "double": 8,
    "floatComplex": 8,
    "doubleComplex": 16,
}
_NUMBERS = {
    "unsignedByte": ">u1",
    "short": ">i2",
    "int": ">i4",
    "long": ">i8",
    "float": ">f4",
    "double": ">f8",
    "floatComplex": ">f4",
    "doubleComplex": ">f8",
}
_WHITE_SPACE = b" \t\n\r\f\v"

# What a byte says as a boolean: 0 and 1, 2 for unknown, 3 for none of these.
_BOOLEAN = np.full(256, 3, np.uint8)
_BOOLEAN[list(b"Ff0")] = 0
_BOOLEAN[list(b"Tt1")] = 1
_BOOLEAN[list(b"? \0")] = 2


@dataclass(frozen=True)
class _Group:
    """Fields of fixed width that follow one another, and the variable one that ends them."""

    fixed: tuple[tuple[int, int], ...]
    width: int
    variable: int | None


def read_binary(
    stream: ByteStream, fields: list[Field], schema: pa.Schema, prefix: str, *, flags: bool
) -> Iterator[pa.RecordBatch]:
    """Read the content of the STREAM of a BINARY or BINARY2 element.

    Parameters
    ----------
    stream : ByteStream
        At the first byte after the start tag of STREAM; left at its end tag.
    fields : list of Field
        The columns.
    schema : pyarrow.Schema
        Of the batches.
    prefix : str
        The namespace prefix of the file's tags, with its colon.
    flags : bool
        Whether null flags precede each row (BINARY2).

    Yields
    ------
    pyarrow.RecordBatch
        The rows of about one block of the file.

    Raises
    ------
    lake.errors.InputError
        A truncated file, text that is not base64, a row that the stream cuts off, a cell that is
        not what its field declares.
    """
    flag_bytes = (len(fields) + 7) // 8 if flags else 0
    groups = _layout(fields, flag_bytes)
    rows, rest = 0, b""
    for decoded in _decode(stream, prefix):
        data = rest + decoded
        bounds, used = _row_bounds(data, groups, fields)
        rest = data[used:]
        if not len(bounds):
            continue
        columns: list[pa.Array] = []
        try:
            for cells in _read_columns(data, bounds, groups, fields, flag_bytes):
                columns.append(cells)
        except CellError as error:
            raise error.in_file(stream.name, fields[len(columns)], rows) from None
        rows += len(bounds)
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
    if rest:
        problem = f"the data end {len(rest)} bytes into the row"
        raise InputError(stream.name, problem, f"row {rows + 1}")


def _decode(stream: ByteStream, prefix: str) -> Iterator[bytes]:
    """Decode the base64 text piece by piece."""
    rest = b""
    try:
        for piece in stream.until(f"</{prefix}STREAM".encode(), b""):
            text = rest + piece.translate(None, _WHITE_SPACE)
            if b"&" in text:
                # Line ends as some XML writers put them; one of them may be incomplete.
                for reference in (b"&#13;", b"&#xD;", b"&#xd;", b"&#10;", b"&#xA;", b"&#xa;"):
                    text = text.replace(reference, b"")
            whole = text.find(b"&", len(text) - 5) if b"&" in text[-5:] else len(text)
            whole -= whole % 4
            rest = text[whole:]
            yield binascii.a2b_base64(text[:whole], strict_mode=True) if whole else b""
        if rest:
            raise InputError(stream.name, "the base64 text is not whole", "STREAM")
    except binascii.Error as error:
        raise InputError(stream.name, f"not base64: {error}", "STREAM") from None
    except EOFError:
        problem = "the file ends inside the data; truncated"
        raise InputError(stream.name, problem, "STREAM") from None


def _layout(fields: list[Field], flag_bytes: int) -> list[_Group]:
    groups = []
    fixed: list[tuple[int, int]] = []
    width = flag_bytes
    for index, field in enumerate(fields):
        if field.variable:
            groups.append(_Group(tuple(fixed), width, index))
            fixed, width = [], 0
        else:
            fixed.append((index, width))
            width += _fixed_width(field)
    if fixed or width or not groups:
        groups.append(_Group(tuple(fixed), width, None))
    return groups


def _fixed_width(field: Field) -> int:
    return (field.step + 7) // 8 if field.datatype == "bit" else field.step * _SIZES[field.datatype]


def _row_bounds(data: bytes, groups: list[_Group], fields: list[Field]) -> tuple[Places, int]:
    """Find where the parts of each whole row begin.

    Parameters
    ----------
    data : bytes
        Rows, the last one perhaps incomplete.
    groups : list of _Group
        The parts.
    fields : list of Field
        The columns.

    Returns
    -------
    bounds : numpy.ndarray of int64, shape (rows, 1 + 2 v)
        Where the row begins, then for each of its v variable fields where the values begin,
        after their count, and where they end.
    used : int
        Where the first incomplete row begins.
    """
    variable = [group for group in groups if group.variable is not None]
    tail = 0 if groups[-1].variable is not None else groups[-1].width
    if not variable:
        rows = len(data) // tail if tail else 0
        return np.arange(rows, dtype=np.int64)[:, None] * tail, rows * tail
    # A row's length is known only from the counts in it, so this one walk is row by row; it does
    # nothing but add up lengths.
    plan = [(g.width, _SIZES.get(fields[g.variable or 0].datatype, 0)) for g in variable]
    unpack = struct.Struct(">I").unpack_from
    places: list[int] = []
    note = places.append
    row = position = 0
    try:
        while position <= len(data):
            row = position
            note(row)
            for width, size in plan:
                position += width
                count = unpack(data, position)[0]
                position += 4
                note(position)
                position += count * size if size else (count + 7) >> 3
                note(position)
            position += tail
    except struct.error:
        pass  # The last row is incomplete, as it may be; what is left is the caller's to judge.
    columns = 1 + 2 * len(plan)
    bounds = np.array(places[: len(places) // columns * columns], np.int64).reshape(-1, columns)
    return bounds[bounds[:, 0] < row], row


def _read_columns(
    data: bytes, bounds: Places, groups: list[_Group], fields: list[Field], flag_bytes: int
) -> Iterator[pa.Array]:
    """Give the columns of the rows at `bounds`, one by one and in order."""
    flags = _gather(data, bounds[:, 0], flag_bytes)
    missing = np.unpackbits(flags, axis=1).astype(bool) if flag_bytes else None
    for number, group in enumerate(groups):
        block = _gather(data, bounds[:, 2 * number], group.width)
        for index, offset in group.fixed:
            field = fields[index]
            flat = np.ascontiguousarray(block[:, offset : offset + _fixed_width(field)]).reshape(-1)
            counts = np.full(len(bounds), field.step)
            yield _cells(flat, counts, field, None if missing is None else missing[:, index])
        if group.variable is not None:
            begins, ends = bounds[:, 2 * number + 1], bounds[:, 2 * number + 2]
            flat = np.frombuffer(slices(data, begins, ends).buffers()[2] or b"", np.uint8)
            counts = _gather(data, begins - 4, 4).view(">u4").astype(np.int64).reshape(-1)
            flagged = None if missing is None else missing[:, group.variable]
            yield _cells(flat, counts, fields[group.variable], flagged)


def _gather(data: bytes, starts: Places, width: int) -> Bytes:
    """Copy `width` bytes from each start: an array of shape (rows, width)."""
    if not width:
        return np.empty((len(starts), 0), np.uint8)
    windows = np.ndarray(len(data) - width + 1, np.dtype(f"V{width}"), data, strides=(1,))
    return windows[starts].view(np.uint8).reshape(-1, width)


def _cells(flat: Bytes, counts: Places, field: Field, missing: BoolArray | None) -> pa.Array:
    """Convert the bytes of a column.

    Parameters
    ----------
    flat : numpy.ndarray of uint8
        The bytes of all cells, one after another.
    counts : numpy.ndarray of int64, shape (rows,)
        The number of elements in each cell.
    field : Field
        What they are.
    missing : numpy.ndarray of bool, shape (rows,), or None
        Which cells are flagged as null.

    Returns
    -------
    pyarrow.Array
        Of type ``field.type``.

    Raises
    ------
    CellError
        A cell that is not what the field declares.
    """
    if field.is_text and not field.is_list:
        return null_where(_strings(flat, counts, field), missing)
    if field.is_text and (counts % field.dims[0]).any():
        index = int(np.argmax(counts % field.dims[0] != 0))
        problem = f"{counts[index]} characters, expected a multiple of {field.dims[0]}"
        raise CellError(index, problem)
    try:
        if field.is_text:
            counts = counts // field.dims[0]
            elements = _strings(flat, np.full(int(counts.sum()), field.dims[0]), field)
        elif field.datatype == "bit":
            elements = _bits(flat, counts)
        else:
            elements = _elements(flat, field)
    except CellError as error:
        row = int(np.searchsorted(np.cumsum(counts), error.index, side="right"))
        raise CellError(row, error.problem) from None
    if field.is_list or field.is_complex:
        return wrap(elements, counts * (2 if field.is_complex else 1), field, missing)
    return null_where(elements, missing)


def _elements(flat: Bytes, field: Field) -> pa.Array:
    if field.datatype == "boolean":
        codes = _BOOLEAN[flat]
        if (codes == 3).any():
            index = int(np.argmax(codes == 3))
            raise CellError(index, f"the byte {flat[index]:#04x} is not a boolean")
        return pa.array(codes == 1, mask=codes == 2)
    numbers = flat.view(_NUMBERS[field.datatype])
    return finish_numbers(pa.array(numbers.astype(numbers.dtype.newbyteorder("="))), field)


def _bits(flat: Bytes, counts: Places) -> pa.Array:
    """Unpack bits, the first one of each cell in the highest place of its first byte."""
    if (counts == 1).all():
        # Some writers (astropy) set another bit of a single one's byte than the first.
        return pa.array(flat != 0)
    lengths = (counts + 7) // 8 * 8
    place = np.arange(flat.size * 8) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return pa.array(np.unpackbits(flat)[place < np.repeat(counts, lengths)].astype(bool))


def _strings(flat: Bytes, counts: Places, field: Field) -> pa.StringArray:
    """Make strings of `counts` characters each, up to a NUL where one stands before."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    if field.datatype == "unicodeChar":
        codes = flat.view(">u2")
        if codes.size and codes.max() > 0x7F:
            return finish_strings(_utf16_strings(flat.tobytes(), offsets * 2), field)
        flat = codes.astype(np.uint8)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(flat)]
    values = pa.Array.from_buffers(pa.binary(), len(counts), buffers)
    return finish_strings(as_text(values), field)


def _utf16_strings(data: bytes, offsets: Places) -> pa.StringArray:
    strings = []
    for index, (begin, end) in enumerate(pairwise(offsets.tolist())):
        try:
            strings.append(data[begin:end].decode("utf-16-be"))
        except UnicodeDecodeError as error:
            raise CellError(index, f"not UTF-16: {error}") from None
    return pa.array(strings, pa.string())
