"""Columns of FITS tables: their bytes as NumPy and Arrow arrays.

Values follow the FITS standard 4.0, sections 7.2 (ASCII tables) and 7.3 (binary tables).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.formats.fits_header import Malformed
from lake.formats.fits_layout import Column

_MAX_ELEMENTS = 2**31 - 1


def physical(column: Column, stored: np.ndarray) -> np.ndarray:
    """Stored elements as the values they stand for.

    Parameters
    ----------
    column : Column
    stored : numpy.ndarray
        Elements of the file's dtype, any shape.

    Returns
    -------
    numpy.ndarray
        Of the same shape; unscaled values are the same array (big-endian), the unsigned
        conventions give exact integers, other scalings float64 (complex128 for C and M).
        Nulls are not looked at.
    """
    if column.flipped is not None:
        return flip_sign(stored, column.flipped)
    if column.scaled:
        return (
            stored.astype(np.complex128 if column.code in "CM" else np.float64) * column.scale
            + column.zero
        )
    return stored


def flip_sign(stored: np.ndarray, kind: str) -> np.ndarray:
    """Integers of the other signedness, of dtype `kind`, whose highest bit is stored flipped."""
    native = stored.astype(stored.dtype.newbyteorder("="))
    bits = native.view(f"u{native.itemsize}")
    return (bits ^ bits.dtype.type(1 << (8 * native.itemsize - 1))).view(kind)


def variable(column: Column, cells: np.ndarray, heap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gather the variable-length arrays of a column from the heap.

    Parameters
    ----------
    column : Column
    cells : numpy.ndarray
        Shape (rows, 2): number of elements and offset in the heap, in bytes.
    heap : numpy.ndarray
        Bytes of the heap (uint8).

    Returns
    -------
    values : numpy.ndarray
        Elements of all rows one after the other, in the file's dtype (bytes for X).
    lengths : numpy.ndarray
        int64, shape (rows,): the number of elements of each row in `values`.

    Raises
    ------
    Malformed
        A cell points outside the heap.
    """
    lengths, starts = cells.astype(np.int64).T
    stored_lengths = -(-lengths // 8) if column.code == "X" else lengths
    size = column.element.itemsize
    outside = (lengths < 0) | (starts < 0) | (starts + stored_lengths * size > len(heap))
    # The offset of an empty cell means nothing, and writers leave anything there.
    outside &= lengths != 0
    if outside.any():
        row = int(outside.argmax())
        raise Malformed(
            f"its {lengths[row]} elements at byte {starts[row]} are not inside the heap"
            f" of {len(heap)} bytes",
            column=column.name, row=row,
        )  # fmt: skip
    widths = stored_lengths * size
    filled = np.flatnonzero(widths)
    total = int(widths.sum())
    if not len(filled):
        return np.empty(0, column.element), stored_lengths
    first = int(starts[filled[0]])
    if np.array_equal(starts[filled[1:]], (starts + widths)[filled[:-1]]):
        packed = heap[first : first + total]
    else:
        # Pieces of memory and no indices, which would be as large as the numbers, eight times over.
        memory = heap.data
        ends = (starts + widths)[filled].tolist()
        pieces = [memory[a:b] for a, b in zip(starts[filled].tolist(), ends, strict=True)]
        packed = np.frombuffer(bytearray().join(pieces), np.uint8)
    return packed.view(column.element), stored_lengths


def to_arrow(column: Column, records: np.ndarray, heap: np.ndarray) -> pa.Array:
    """Cells of a column as an Arrow array of `column.field`'s type.

    Parameters
    ----------
    column : Column
    records : numpy.ndarray
        Structured, shape (rows,), of the layout's dtype.
    heap : numpy.ndarray
        Bytes of the heap (uint8).

    Returns
    -------
    pyarrow.Array
        NaN is null in scalar columns of floating point and stays NaN in lists; TNULL, the
        byte 0 of L and empty text are null.

    Raises
    ------
    Malformed
        Naming column and row (from 0, in `records`).
    """
    rows = len(records)
    if not column.width:
        if column.code == "A":
            return pa.nulls(rows, pa.string())
        return _lists(pa.array([], column.arrow_element), np.zeros(rows, np.int64))
    cells = records[column.name]
    if column.pointer:
        stored, lengths = variable(column, cells, heap)
        if column.code == "A":
            offsets = pa.py_buffer(_offsets(lengths))
            data = pa.py_buffer(np.ascontiguousarray(stored))
            return _text(column, pa.Array.from_buffers(pa.binary(), rows, [None, offsets, data]))
        if column.code == "X":
            counts = cells[:, 0].astype(np.int64)
            return _lists(pa.array(_ragged_bits(stored, lengths, counts)), counts)
        return _lists(_elements(column, stored, lengths), lengths)
    if column.text or column.code == "A":
        size = column.characters or column.width
        plain = np.ascontiguousarray(cells)
        count = plain.nbytes // size
        binary = pa.Array.from_buffers(pa.binary(size), count, [None, pa.py_buffer(plain)])
        texts = _text(column, binary.cast(pa.binary()))
        if column.text:
            return texts if column.code == "A" else _ascii_numbers(column, texts)
        if column.scalar:
            return texts
        return _lists(pc.fill_null(texts, ""), np.full(rows, count // max(rows, 1)))
    if column.code == "X":
        bits = np.unpackbits(cells, axis=1)[:, : column.count]
        return _lists(pa.array(bits.astype(bool).ravel()), np.full(rows, column.count))
    if column.scalar:
        return _elements(column, cells, None)
    lengths = np.full(rows, column.count)
    return _lists(_elements(column, cells.reshape(-1), lengths), lengths)


def _elements(column: Column, stored: np.ndarray, lengths: np.ndarray | None) -> pa.Array:
    """Elements with their nulls; `lengths` of the lists they lie in, None for scalars."""
    if column.code == "L":
        wrong = (stored != ord("T")) & (stored != ord("F")) & (stored != 0)
        if wrong.any():
            at = int(wrong.argmax())
            row = at if lengths is None else int(np.searchsorted(np.cumsum(lengths), at, "right"))
            raise Malformed(
                f"byte {stored[at]} is no logical value, expected T, F or 0 (null)",
                column=column.name, row=row,
            )  # fmt: skip
        return pa.array(stored == ord("T"), mask=stored == 0)
    values = physical(column, stored)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if column.code in "CM":
        parts = pa.array(values.view(values.real.dtype))
        return pa.FixedSizeListArray.from_arrays(parts, 2)
    null = None
    if column.null is not None:
        null = stored == column.null
    elif lengths is None and values.dtype.kind == "f":
        null = np.isnan(values)
    validity = None
    if null is not None and null.any():
        validity = pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(
        column.arrow_element, len(values), [validity, pa.py_buffer(values)]
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    if len(ends) and ends[-1] > _MAX_ELEMENTS:
        raise Malformed("more than 2**31 elements in one batch; ask for fewer rows in a batch")
    offsets = np.zeros(len(lengths) + 1, np.int32)
    offsets[1:] = ends
    return offsets


def _lists(values: pa.Array, lengths: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(_offsets(lengths)), values)


def _ragged_bits(stored: np.ndarray, lengths: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Bits of rows that each begin on a byte of their own."""
    begin = np.repeat(8 * (np.cumsum(lengths) - lengths) - (np.cumsum(bits) - bits), bits)
    return np.unpackbits(stored)[begin + np.arange(int(bits.sum()))].astype(bool)


def _text(column: Column, binary: pa.Array) -> pa.Array:
    """Text of character cells: up to the first NUL, without trailing blanks, empty as null."""
    try:
        texts = binary.cast(pa.string())
    except pa.ArrowInvalid:
        row = next(i for i, value in enumerate(binary.to_pylist()) if not _is_utf8(value))
        raise Malformed(
            f"text {binary[row].as_py()!r} is neither ASCII nor UTF-8", column=column.name, row=row
        ) from None
    texts = pc.ascii_rtrim(texts, " \0")
    if pc.any(pc.match_substring(texts, "\0")).as_py():
        texts = pc.ascii_rtrim(pc.replace_substring_regex(texts, r"(?s)\x00.*", ""), " ")
    null = pc.equal(texts, "")
    if column.null is not None:
        null = pc.or_(null, pc.equal(pc.ascii_trim(texts, " "), str(column.null)))
    return pc.if_else(null, None, texts)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ascii_numbers(column: Column, texts: pa.Array) -> pa.Array:
    """Numbers of an ASCII table: Fortran's exponents and implied decimal points."""
    texts = pc.ascii_trim(texts, " ")
    texts = pc.replace_substring_regex(texts, r"^\+|[ ]", "")
    if column.code != "I":
        texts = pc.replace_substring_regex(texts, r"[Dd]", "E")
        texts = pc.replace_substring_regex(texts, r"([0-9.])([+-])", r"\1E\2")
    kind = pa.int64() if column.code == "I" else pa.float64()
    try:
        values = texts.cast(kind)
    except pa.ArrowInvalid:
        for row, text in enumerate(texts):
            try:
                text.cast(kind)
            except pa.ArrowInvalid:
                raise Malformed(
                    f"{text.as_py()!r} is no number of format {column.code}{column.width}",
                    column=column.name, row=row,
                ) from None  # fmt: skip
        raise
    if column.decimals:
        implied = pc.invert(pc.match_substring_regex(texts, r"[.E]"))
        values = pc.if_else(implied, pc.divide(values, 10.0**column.decimals), values)
    if column.scaled:
        values = pc.add(pc.multiply(values.cast(pa.float64()), column.scale), float(column.zero))
    return values
