"""From characters and numbers of cells to Arrow arrays: the rules of the datatypes, once."""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InputError
from lake.formats._votable_header import Field
from lake.formats.columns import list_parts, make_list

BoolArray = npt.NDArray[np.bool_]

# Lists, not Arrow arrays: making one imports pandas where there is one, which takes a while.
_TRUTH = ["T", "TRUE", "1", "F", "FALSE", "0"]
_TRUTH_VALUES = [True, True, True, False, False, False]
_UNKNOWN = ["?", "\0", "", "NULL"]
_NUMBER_NULLS = ["nan", "NaN", "NAN", "null", "NULL", "Null"]
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)")


class CellError(ValueError):
    """A cell that cannot be taken.

    Parameters
    ----------
    index : int
        Its place in the array at hand, from 0.
    problem : str
        What was found and what was expected.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.problem = problem

    def in_file(self, path: str, field: Field, rows_before: int) -> InputError:
        """Say where in the file it is, the array being `rows_before` rows into the table."""
        where = f"row {rows_before + self.index + 1}, column {field.name!r}"
        return InputError(path, self.problem, where)


def slices(
    data: bytes | npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    missing: BoolArray | None = None,
) -> pa.BinaryArray:
    """Copy slices of a buffer into an Arrow array.

    Parameters
    ----------
    data : bytes or numpy.ndarray of uint8
        The buffer.
    starts, ends : numpy.ndarray of int64, shape (n,)
        Where each slice begins and ends, in rising order.
    missing : numpy.ndarray of bool, shape (n,), optional
        Which slices are null.

    Returns
    -------
    pyarrow.BinaryArray
        Of length n, with a buffer of its own.
    """
    # Arrow's offsets say where a value ends by where the next begins. Between two slices lies
    # one value more, of no use; taking every second leaves the slices, copied by Arrow.
    offsets = np.empty(2 * len(starts), np.int32)
    offsets[0::2] = starts
    offsets[1::2] = ends
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    if not len(starts):
        return pa.array([], pa.binary())
    both = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    return both.take(pa.array(np.arange(0, len(offsets), 2), mask=missing))


def as_text(cells: pa.BinaryArray) -> pa.StringArray:
    """Take bytes as UTF-8.

    Raises
    ------
    CellError
        Bytes that are not.
    """
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        for index, cell in enumerate(cells.to_pylist()):
            try:
                (cell or b"").decode()
            except UnicodeDecodeError as error:
                raise CellError(index, f"not in the declared character set: {error}") from None
        raise


def null_where(values: pa.Array, missing: BoolArray | pa.BooleanArray | None) -> pa.Array:
    """Put nulls where `missing` is true."""
    if missing is None:
        return values
    mask = missing if isinstance(missing, pa.Array) else pa.array(missing)
    if not pc.any(mask).as_py():
        return values
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(None, values.type), values)


def finish_numbers(values: pa.Array, field: Field) -> pa.Array:
    """Put nulls for the declared null value and, in scalars, for NaN.

    The standard's null of a scalar floating column is NaN; within arrays NaN is a number like
    others (VOTable 1.4, section 2.2 and 4.7).

    Parameters
    ----------
    values : pyarrow.Array
        Elements of `field`.
    field : Field
        Whose declaration counts.

    Returns
    -------
    pyarrow.Array
    """
    if field.is_complex or pa.types.is_boolean(values.type):
        return values
    if pa.types.is_floating(values.type) and not field.is_list:
        values = null_where(values, pc.is_nan(values))
    if field.null is not None:
        null = _cast(pa.array([field.null.strip()]), values.type)
        if null[0].is_valid:
            values = null_where(values, pc.equal(values, null[0]))
    return values


def finish_strings(values: pa.Array, field: Field) -> pa.Array:
    """Trim blanks and NULs; put nulls for the declared null and for empty strings.

    TABLEDATA and BINARY cannot tell an empty string from none, so the three serialisations
    agree on null.

    Parameters
    ----------
    values : pyarrow.StringArray
        Strings as they stand in the file.
    field : Field
        Whose declaration counts.

    Returns
    -------
    pyarrow.StringArray
    """
    values = pc.ascii_rtrim(values, characters=" \t\n\r\f\v\0")
    if pc.any(pc.match_substring(values, "\0")).as_py():
        # A NUL ends the string before its declared length (VOTable 1.4, section 6).
        values = pc.ascii_rtrim_whitespace(pc.replace_substring_regex(values, r"(?s)\x00.*", ""))
    values = pc.ascii_ltrim_whitespace(values)
    values = null_where(values, pc.equal(pc.binary_length(values), 0))
    if field.null:
        values = null_where(values, pc.equal(values, field.null))
    return values


def convert_cells(cells: pa.StringArray, field: Field) -> pa.Array:
    """Convert the text of cells.

    Parameters
    ----------
    cells : pyarrow.StringArray
        Trimmed text, null where empty; not trimmed for several strings in a cell.
    field : Field
        What they are.

    Returns
    -------
    pyarrow.Array
        Of type ``field.type``.

    Raises
    ------
    CellError
        A cell that is not what the field declares.
    """
    if field.is_text and field.is_list:
        return _split_strings(cells, field)
    if field.is_text:
        return null_where(cells, pc.equal(cells, field.null)) if field.null else cells
    if not field.is_list and not field.is_complex:
        return _scalars(cells, field)
    if not field.is_list:
        cells = null_where(cells, pc.is_in(cells, value_set=pa.array(_NUMBER_NULLS)))
    lists = _split_bits(cells) if field.datatype == "bit" else _split_values(cells)
    offsets = lists.offsets.to_numpy()
    try:
        elements = _scalars(lists.values, field)
    except CellError as error:
        row = int(np.searchsorted(offsets, error.index, side="right")) - 1
        raise CellError(row, error.problem) from None
    return wrap(elements, np.diff(offsets), field, pc.is_null(cells).to_numpy(False))


def wrap(
    elements: pa.Array, counts: npt.NDArray[np.int64], field: Field, missing: BoolArray | None
) -> pa.Array:
    """Gather elements into the cells they belong to.

    Parameters
    ----------
    elements : pyarrow.Array
        The elements of all cells, one after another; of complex fields, their two parts.
    counts : numpy.ndarray of int, shape (n,)
        How many of them each cell has.
    field : Field
        What the cells are.
    missing : numpy.ndarray of bool, shape (n,), optional
        Which cells are null, whatever they have.

    Returns
    -------
    pyarrow.Array
        Of type ``field.type`` and length n.

    Raises
    ------
    CellError
        A cell with a number of elements that its arraysize does not allow.
    """
    parts = 2 if field.is_complex else 1
    step = parts * (field.step // field.dims[0] if field.is_text else field.step)
    wrong = (counts % step != 0) if field.variable and step else (counts != step)
    if missing is not None:
        wrong &= ~missing
    if wrong.any():
        index = int(np.argmax(wrong))
        expected = f"a multiple of {step}" if field.variable else str(step)
        raise CellError(index, f"{counts[index]} values, expected {expected}")
    if field.is_complex and not field.is_list:
        present = np.ones(len(counts), bool) if missing is None else ~missing
        pairs = np.full((len(counts), 2), np.nan, elements.type.to_pandas_dtype())
        pairs[counts == 2] = elements.to_numpy(zero_copy_only=False).reshape(-1, 2)
        present &= ~np.isnan(pairs).any(axis=1)
        return pa.FixedSizeListArray.from_arrays(pairs.ravel(), 2, mask=pa.array(~present))
    if field.is_complex:
        elements = pa.FixedSizeListArray.from_arrays(elements, 2)
    return make_list(elements, counts // parts, None if missing is None else pa.array(missing))


def _scalars(cells: pa.StringArray, field: Field) -> pa.Array:
    """Convert one value per cell."""
    if field.null and not field.is_complex:
        cells = null_where(cells, pc.equal(cells, field.null))
    if pa.types.is_boolean(field.element_type):
        return _booleans(cells, field)
    kind = field.element_type.value_type if field.is_complex else field.element_type
    try:
        return finish_numbers(cells.cast(kind), field)
    except pa.ArrowInvalid:
        values = _cast(cells, kind)
        failed = pc.and_(pc.is_null(values), pc.is_valid(cells))
        if pa.types.is_integer(kind):
            # NaN stands for null in integers too; services write it where none is declared.
            failed = pc.and_(failed, pc.invert(pc.is_in(cells, value_set=pa.array(_NUMBER_NULLS))))
        if pc.any(failed).as_py():
            index = pc.index(failed, True).as_py()
            raise CellError(index, f"{cells[index].as_py()!r} is not a {field.datatype}") from None
        return finish_numbers(values, field)


def _cast(cells: pa.StringArray, kind: pa.DataType) -> pa.Array:
    """Convert cell by cell, in all the spellings; null where none fits."""
    limits = np.iinfo(kind.to_pandas_dtype()) if pa.types.is_integer(kind) else None
    values: list[float | int | None] = []
    for text in cells.to_pylist():
        value: float | int | None = None
        if text is not None and limits is not None and _INTEGER.fullmatch(text):
            value = int(text, 16 if "x" in text.lower() else 10)
            value = value if limits.min <= value <= limits.max else None
        elif text is not None and limits is None and "_" not in text:
            try:
                value = float(text)
            except ValueError:
                value = float("nan") if text.lower() == "null" else None
        values.append(value)
    return pa.array(values, kind)


def _booleans(cells: pa.StringArray, field: Field) -> pa.Array:
    spelt = pc.ascii_upper(cells)
    places = pc.index_in(spelt, value_set=pa.array(_TRUTH))
    if places.null_count > cells.null_count:
        known = pc.is_in(spelt, value_set=pa.array(_UNKNOWN))
        failed = pc.and_not(pc.and_(pc.is_null(places), pc.is_valid(cells)), known)
        if pc.any(failed).as_py():
            index = pc.index(failed, True).as_py()
            raise CellError(index, f"{cells[index].as_py()!r} is not a {field.datatype}")
    return pa.array(_TRUTH_VALUES).take(places)


def _split_values(cells: pa.StringArray) -> pa.ListArray:
    """Split at white space, and at commas, which some writers put between numbers."""
    lists = pc.ascii_split_whitespace(
        pc.ascii_trim_whitespace(pc.replace_substring(cells, ",", " "))
    )
    return make_list(*list_parts(lists))


def _split_bits(cells: pa.StringArray) -> pa.ListArray:
    """Split into characters: bits stand together or apart."""
    packed = pc.fill_null(pc.replace_substring_regex(cells, r"[\s,]+", ""), "")
    characters = pa.array(list("".join(packed.to_pylist())), pa.string())
    return make_list(characters, pc.utf8_length(packed).to_numpy())


def _split_strings(cells: pa.StringArray, field: Field) -> pa.Array:
    """Cut each cell into strings of the declared length."""
    width = field.dims[0]
    pieces = [
        None if text is None else [text[i : i + width] for i in range(0, len(text), width)]
        for text in cells.to_pylist()
    ]
    lists = pa.array(pieces, pa.list_(pa.string()))
    elements = finish_strings(lists.flatten(), field)
    counts = np.array([len(piece or ()) for piece in pieces], np.int64)
    return make_list(elements, counts, pc.is_null(lists))
