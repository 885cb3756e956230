"""The rows of a VOTable: BINARY2 and TABLEDATA, a batch at a time and no Python per row.

Source of the format: IVOA Recommendation VOTable 1.4 (2019), sections 5.1, 5.4 and 6.
"""

import binascii
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.formats.columns import (
    STORED,
    cell_text,
    is_numeric_list,
    join,
    list_parts,
    make_list,
    simple_text,
    stored,
    text_bytes,
)

_ILLEGAL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{FFFE}\x{FFFF}]"


class Kind(NamedTuple):
    """How VOTable holds a column."""

    datatype: str
    arraysize: str | None
    dtype: str | None  # big-endian NumPy type of one element in BINARY2; None for text


_DATATYPES = {
    "S1": "boolean",
    "u1": "unsignedByte",
    ">i2": "short",
    ">i4": "int",
    ">i8": "long",
    ">f4": "float",
    ">f8": "double",
}


def kind_of(field: pa.Field, ascii_only: frozenset[str]) -> Kind:
    """How VOTable holds a plain `field`; `ascii_only` names text columns that need no more."""
    kind = field.type
    if is_numeric_list(kind):
        # One byte has no value to spare for a null element, so bytes in lists widen as well.
        narrow = pa.types.is_uint8(kind.value_type)
        dtype = STORED[pa.int16() if narrow else kind.value_type]
        fixed = pa.types.is_fixed_size_list(kind)
        return Kind(_DATATYPES[dtype], str(kind.list_size) if fixed else "*", dtype)
    if kind in STORED:
        return Kind(_DATATYPES[STORED[kind]], None, STORED[kind])
    if pa.types.is_temporal(kind) or field.name in ascii_only:
        return Kind("char", "*", None)
    return Kind("unicodeChar", "*", None)


def null_element(dtype: str) -> int:
    """Value that stands for a null *element* of an integer list: the smallest of its type."""
    return int(np.iinfo(np.dtype(dtype)).min)


def _elements(values: pa.Array, kind: Kind, name: str, *, in_list: bool) -> np.ndarray:
    """Numbers or booleans in the big-endian type of BINARY2; nulls as what stands for them."""
    assert kind.dtype is not None
    if pa.types.is_boolean(values.type):
        code = pc.if_else(values, ord("T"), ord("F"))
        return pc.fill_null(code, ord("?")).to_numpy().astype(np.uint8).view("S1")
    null = null_element(kind.dtype) if in_list and "i" in kind.dtype else 0
    same_range = values.type == pa.from_numpy_dtype(np.dtype(kind.dtype).newbyteorder("="))
    if null and same_range and pc.any(pc.equal(values, null)).as_py():
        raise LacusError(f"column {name!r}: {null} in a list would read back as null")
    return stored(values, kind.dtype, null, name)


def _fixed_elements(column: pa.Array, kind: Kind, name: str) -> np.ndarray:
    """Fixed-size lists as shape (rows, size); what a null row holds is flagged, so anything."""
    size = column.type.list_size
    values = column.values.slice(column.offset * size, len(column) * size)
    return _elements(values, kind, name, in_list=True).reshape(len(column), size)


def _binary(array: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """Bytes cut at `offsets`, as an Arrow column that can be joined with others."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(array)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def utf16_be(strings: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Strings without nulls as UTF-16BE bytes end to end, and their offsets in code units."""
    utf8 = np.frombuffer(text_bytes(strings), np.uint8)
    # A code unit for every byte that starts a character, two where it starts a surrogate pair.
    units = np.zeros(len(utf8) + 1, np.int64)
    np.cumsum(((utf8 & 0xC0) != 0x80).astype(np.int8) + (utf8 >= 0xF0), out=units[1:])
    bounds = np.zeros(len(strings) + 1, np.int64)
    np.cumsum(pc.binary_length(strings).to_numpy(), out=bounds[1:])
    encoded = utf8.tobytes().decode("utf-8").encode("utf-16-be")
    return np.frombuffer(encoded, np.uint8), units[bounds]


def _payload(column: pa.Array, kind: Kind, name: str) -> tuple[np.ndarray, pa.Array]:
    """Element counts of each row of a column of variable length, and the elements' bytes."""
    if kind.dtype is not None:
        elements, counts = list_parts(column)
        raw = _elements(elements, kind, name, in_list=True)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return counts, _binary(raw, offsets * raw.dtype.itemsize)
    strings = pc.fill_null(cell_text(column), "")
    if kind.datatype == "char":
        return pc.binary_length(strings).to_numpy(), strings.cast(pa.large_binary())
    raw, offsets = utf16_be(strings)
    return np.diff(offsets), _binary(raw, offsets * 2)


def _binary2_rows(batch: pa.RecordBatch, kinds: list[Kind]) -> memoryview:
    """Rows in BINARY2: null flags, then the cells, everything big-endian.

    Runs of fixed width are one structured array; they and the contents of variable length
    alternate and are joined by Arrow, so that no row costs Python anything.
    """
    rows = batch.num_rows
    nulls = [column.is_null().to_numpy(zero_copy_only=False) for column in batch.columns]
    flags = np.packbits(np.stack(nulls, axis=1), axis=1)
    run: list[np.ndarray] = [flags]
    segments: list[pa.Array] = []

    def close_run() -> np.ndarray:
        layout = [(f"f{i}", part.dtype, part.shape[1:]) for i, part in enumerate(run)]
        packed = np.empty(rows, layout)
        for i, part in enumerate(run):
            packed[f"f{i}"] = part
        return packed

    for column, kind, name in zip(batch.columns, kinds, batch.schema.names, strict=True):
        if kind.arraysize is None:
            run.append(_elements(column, kind, name, in_list=False))
        elif kind.arraysize != "*":
            run.append(_fixed_elements(column, kind, name))
        else:
            counts, payload = _payload(column, kind, name)
            run.append(counts.astype(">u4"))
            packed = close_run()
            segments += [_binary(packed, np.arange(rows + 1) * packed.dtype.itemsize), payload]
            run = []
    if run:
        packed = close_run()
        if not segments:
            return memoryview(packed.tobytes())
        segments.append(_binary(packed, np.arange(rows + 1) * packed.dtype.itemsize))
    separator = pa.scalar(b"", pa.large_binary())
    return memoryview(pc.binary_join_element_wise(*segments, separator).buffers()[2])


def write_binary2(out: BinaryIO, batches: Iterator[pa.RecordBatch], kinds: list[Kind]) -> int:
    """Write the DATA element in BINARY2; the number of rows is returned."""
    out.write(b'<DATA><BINARY2><STREAM encoding="base64">\n')
    count, rest, line = 0, b"", 48 * 1024
    for batch in batches:
        count += batch.num_rows
        block = rest + bytes(_binary2_rows(batch, kinds))
        whole = len(block) - len(block) % line
        for start in range(0, whole, line):
            out.write(binascii.b2a_base64(memoryview(block)[start : start + line]))
        rest = block[whole:]
    if rest:
        out.write(binascii.b2a_base64(rest))
    out.write(b"</STREAM></BINARY2></DATA>\n")
    return count


def _cells(column: pa.Array, kind: Kind, name: str, first_row: int) -> pa.Array:
    """Text of each TD, empty for null."""
    if kind.dtype is not None and kind.arraysize is not None:
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        elements, counts = list_parts(column)
        raw = _elements(elements, kind, name, in_list=True)
        if raw.dtype.kind == "S":
            text = pa.array(raw.view(np.uint8)).cast(pa.string())
            for letter in "TF?":
                text = pc.replace_substring(text, str(ord(letter)), letter)
        else:
            text = simple_text(pa.array(raw.astype(raw.dtype.newbyteorder("="))))
        return pc.fill_null(pc.binary_join(make_list(text, counts, column.is_null()), " "), "")
    if kind.dtype is not None:
        if pa.types.is_uint64(column.type):
            _elements(column, kind, name, in_list=False)
        return pc.fill_null(simple_text(column), "")
    strings = pc.fill_null(cell_text(column), "")
    illegal = pc.match_substring_regex(strings, _ILLEGAL)
    if pc.any(illegal).as_py():
        row = first_row + pc.index(illegal, True).as_py() + 1
        raise LacusError(
            f"column {name!r}, row {row}: a control character, which XML cannot hold; "
            "write BINARY2 instead of TABLEDATA"
        )
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        strings = pc.replace_substring(strings, character, entity)
    return strings


def write_tabledata(out: BinaryIO, batches: Iterator[pa.RecordBatch], kinds: list[Kind]) -> int:
    """Write the DATA element in TABLEDATA; the number of rows is returned."""
    out.write(b"<DATA><TABLEDATA>\n")
    count = 0
    for batch in batches:
        columns = zip(batch.columns, kinds, batch.schema.names, strict=True)
        cells = [_cells(column, kind, name, count) for column, kind, name in columns]
        joined = join(cells, "</TD><TD>")
        rows = pc.binary_join_element_wise("<TR><TD>", joined, "</TD></TR>\n", "")
        out.write(text_bytes(rows))
        count += batch.num_rows
    out.write(b"</TABLEDATA></DATA>\n")
    return count
