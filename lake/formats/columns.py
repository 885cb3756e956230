"""Arrow columns in the few types that every astronomical format has, and as text."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError

Batches = Iterator[pa.RecordBatch]

# Big-endian NumPy types in which VOTable and FITS store numbers and (as a letter) booleans. Both
# have one unsigned type, of one byte: the others widen.
STORED = {
    pa.bool_(): "S1",
    pa.uint8(): "u1",
    pa.int8(): ">i2",
    pa.int16(): ">i2",
    pa.uint16(): ">i4",
    pa.int32(): ">i4",
    pa.uint32(): ">i8",
    pa.int64(): ">i8",
    pa.uint64(): ">i8",
    pa.float32(): ">f4",
    pa.float64(): ">f8",
}


def metadata(field: pa.Field, key: bytes) -> str | None:
    """Text of one entry of the field metadata (``b"unit"``, ``b"ucd"``, ...), None if absent."""
    value = (field.metadata or {}).get(key)
    return None if value is None else value.decode()


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Type in which a column of type `kind` goes out.

    Encodings are undone, decimals become int64 (scale 0, as DuckDB's sums of integers) or
    float64, binary becomes list<uint8>, time zones become UTC; lists and structs are followed.

    Parameters
    ----------
    kind : pa.DataType

    Returns
    -------
    pa.DataType
        One of null-free basic types: bool, integers, float32, float64, string, date32,
        time64, timestamp, list, fixed_size_list, struct.

    Raises
    ------
    LacusError
        For a type without a plain counterpart (union, month interval, ...).
    """
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_boolean(kind) or types.is_integer(kind) or kind in (pa.float32(), pa.float64()):
        return kind
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 else pa.float64()
    if types.is_duration(kind):
        return pa.float64()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_null(kind):
        return pa.string()
    if types.is_date(kind):
        return pa.date32()
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_timestamp(kind):
        return pa.timestamp(kind.unit, tz="UTC" if kind.tz else None)
    if types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type), kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_map(kind):
        entry = [("key", plain_type(kind.key_type)), ("value", plain_type(kind.item_type))]
        return pa.list_(pa.struct(entry))
    if types.is_struct(kind):
        return pa.struct([(child.name, plain_type(child.type)) for child in kind])
    if _is_binary(kind):
        return pa.list_(pa.uint8())
    raise LacusError(f"columns of type {kind} cannot be exported; cast them in the query")


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` with every type made plain and the field metadata kept.

    Raises
    ------
    LacusError
        For a type without a plain counterpart, naming the column; for two columns of one name.
    """
    fields = []
    for field in schema:
        try:
            fields.append(field.with_type(plain_type(field.type)))
        except LacusError as error:
            raise LacusError(f"column {field.name!r}: {error}") from None
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        raise LacusError(f"two columns are called {doubled[0]!r}; rename one in the query")
    return pa.schema(fields)


def plain_array(array: pa.Array) -> pa.Array:
    """`array` in its `plain_type`, nulls kept.

    Raises
    ------
    pa.ArrowInvalid
        If a whole decimal is outside int64.
    """
    kind, target = array.type, plain_type(array.type)
    if kind == target:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return plain_array(array.storage)
    if pa.types.is_dictionary(kind):
        return plain_array(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return plain_array(pc.run_end_decode(array))
    if pa.types.is_duration(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        return pc.divide(array.cast(pa.int64()).cast(pa.float64(), safe=False), float(per_second))
    if _is_binary(kind):
        # Offsets of a null are a repetition in large_binary, which from_arrays needs spelled out.
        lengths = pc.fill_null(pc.binary_length(array.cast(pa.large_binary())), 0).to_numpy()
        values = b"".join(v for v in array.to_pylist() if v is not None)
        bytes_ = pa.array(np.frombuffer(values, np.uint8))
        return make_list(bytes_, lengths, array.is_null())
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays(
            [plain_array(_flat(array, array.keys)), plain_array(_flat(array, array.items))],
            names=["key", "value"],
        )
        lengths = np.diff(array.offsets.to_numpy())
        return make_list(entries, np.where(array.is_null(), 0, lengths), array.is_null())
    if pa.types.is_struct(kind):
        children = [plain_array(pc.struct_field(array, i)) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())
    if pa.types.is_list_view(kind):
        array = array.cast(pa.list_(kind.value_type))
    if pa.types.is_list(target):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        return make_list(plain_array(array.flatten()), lengths, array.is_null())
    if pa.types.is_fixed_size_list(target):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(
            plain_array(values), kind.list_size, mask=array.is_null()
        )
    # A decimal has more digits than a double; that is what going out as double means.
    return array.cast(target, safe=not pa.types.is_floating(target))


def _flat(array: pa.MapArray, child: pa.Array) -> pa.Array:
    """Keys or items of a map array's own slice."""
    offsets = array.offsets.to_numpy()
    return child.slice(offsets[0], offsets[-1] - offsets[0])


def make_list(
    values: pa.Array, lengths: np.ndarray, is_null: pa.Array | None = None
) -> pa.ListArray:
    """List array whose rows take `lengths` of `values` in turn, null where `is_null`."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=is_null)


def plain_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with plain columns, under `schema` (from `plain_schema`)."""
    columns = []
    for name, column in zip(schema.names, batch.columns, strict=True):
        try:
            columns.append(plain_array(column))
        except pa.ArrowInvalid as error:
            raise LacusError(f"column {name!r}: {error}") from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def slices(batch: pa.RecordBatch, nbytes: int = 1 << 24) -> Batches:
    """Cut `batch` into slices of about `nbytes`, so that a writer's memory is bounded."""
    rows = max(1, int(batch.num_rows * nbytes / max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def rebatched(batches: Iterable[pa.RecordBatch], rows: int) -> Batches:
    """Put batches together and cut them, so that all but the last have as many rows."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        count = sum(each.num_rows for each in pending)
        if count < rows:
            continue
        joined = _joined(pending)
        for start in range(0, count - rows + 1, rows):
            yield joined.slice(start, rows)
        rest = joined.slice(count - count % rows)
        pending = [rest] if rest.num_rows else []
    if pending:
        yield _joined(pending)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def is_numeric_list(kind: pa.DataType) -> bool:
    """Whether `kind` is a list of numbers or booleans: an array cell in VOTable and FITS."""
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    value = kind.value_type
    return bool(
        pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value)
    )


def list_parts(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Elements of a (fixed-size) list array end to end, and the length of each row (null: 0)."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return array.flatten(), lengths


def stored(values: pa.Array, dtype: str, null: int, name: str) -> np.ndarray:
    """Integers or floats as a big-endian NumPy array.

    Parameters
    ----------
    values : pa.Array
        Of a numeric type.
    dtype : str
        Of `STORED`, or wider.
    null : int
        What stands for a null among integers; among floats NaN does.
    name : str
        Of the column, for the message.

    Raises
    ------
    LacusError
        For an unsigned integer above int64.
    """
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, float("nan")).to_numpy().astype(dtype)
    try:
        wide = values.cast(pa.from_numpy_dtype(np.dtype(dtype).newbyteorder("=")))
    except pa.ArrowInvalid as error:
        raise LacusError(f"column {name!r}: {error}, and the format has no such type") from None
    return pc.fill_null(wide, null).to_numpy().astype(dtype)


def simple_text(array: pa.Array, nan: str = "NaN", infinity: str = "Inf") -> pa.StringArray:
    """Plain numbers, booleans, strings, dates and times as text; null stays null.

    Floats are written with the fewest digits that read back to the same value, times in ISO
    8601 (with ``Z`` where they are UTC by declaration).
    """
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_floating(kind):
        text = pc.cast(array, pa.string())
        finite = pc.fill_null(pc.is_finite(array), True)
        if not pc.all(finite).as_py() and len(array):
            text = pc.if_else(pc.fill_null(pc.is_nan(array), False), nan, text)
            text = pc.replace_substring(text, "inf", infinity)
        return text
    if pa.types.is_timestamp(kind):
        form = "%Y-%m-%dT%H:%M:%SZ" if kind.tz else "%Y-%m-%dT%H:%M:%S"
        return pc.strftime(array, format=form)
    return pc.cast(array, pa.string())


def cell_text(array: pa.Array) -> pa.StringArray:
    """Text of plain values, JSON where they are nested; null stays null."""
    if pa.types.is_nested(array.type):
        return pc.if_else(array.is_valid(), json_text(array), None)
    return simple_text(array)


_JSON_ESCAPES = [("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")]


def json_text(array: pa.Array) -> pa.StringArray:
    """Each value as a JSON text, null as ``null``; never null itself.

    JSON has no NaN and no infinity: both become ``null``.
    """
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        elements, lengths = list_parts(array)
        cells = make_list(json_text(elements), lengths, array.is_null())
        text = _wrap("[", pc.binary_join(cells, ","), "]")
    elif pa.types.is_struct(kind):
        parts = [
            _wrap(_json_key(child.name) + ":", json_text(pc.struct_field(array, i)), "")
            for i, child in enumerate(kind)
        ]
        text = pc.if_else(array.is_valid(), _wrap("{", join(parts, ","), "}"), None)
    elif pa.types.is_string(kind):
        text = array
        for character, escape in _JSON_ESCAPES:
            text = pc.replace_substring(text, character, escape)
        if pc.any(pc.match_substring_regex(text, "[\x01-\x1f]|\\x00")).as_py():
            for code in range(0x20):
                text = pc.replace_substring(text, chr(code), f"\\u{code:04x}")
        text = _wrap('"', text, '"')
    elif pa.types.is_floating(kind):
        text = pc.if_else(pc.fill_null(pc.is_finite(array), False), simple_text(array), None)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        text = simple_text(array)
    else:
        text = _wrap('"', simple_text(array), '"')
    return pc.fill_null(text, "null")


def _json_key(name: str) -> str:
    return json_text(pa.array([name]))[0].as_py()


def _wrap(before: str, text: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, text, after, "")


def join(columns: list[pa.Array], separator: str) -> pa.Array:
    """Text columns (no nulls) joined row by row."""
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*columns, separator)


def text_bytes(array: pa.StringArray) -> memoryview:
    """The texts of an array without nulls end to end, as one buffer and without a copy."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4)
    return memoryview(data)[bounds[0] : bounds[-1]]


class Display(NamedTuple):
    """How a column is shown: ``F9.4`` is letter F, width 9, 4 decimals."""

    letter: str
    width: int | None
    decimals: int | None


def display(field: pa.Field) -> Display | None:
    """Display format of a field (``b"format"``), None if it has none.

    Both notations of the archives are understood: Fortran's (``F9.4``, ``I5``, ``A22``), as
    FITS and the CSC have it, and VOTable's precision (``F4``; ``E5`` are five significant
    figures, that is four decimals).
    """
    text = (metadata(field, b"format") or "").strip(" ()").upper()
    if precision := re.fullmatch(r"([FE])(\d+)", text):
        letter, digits = precision[1], int(precision[2])
        width = metadata(field, b"width")
        decimals = digits if letter == "F" else max(digits - 1, 0)
        return Display(letter, int(width) if width else None, decimals)
    if fortran := re.fullmatch(r"([AI])(\d+)|([FEDG])(\d+)\.(\d+)(?:E\d+)?", text):
        if fortran[1]:
            return Display(fortran[1], int(fortran[2]), None)
        return Display(fortran[3], int(fortran[4]), int(fortran[5]))
    return None
