"""Arrow to VOTable 1.4, streamed: memory is bounded by a slice of a batch.

Source of the format: IVOA Recommendation VOTable 1.4 (2019), sections 5.1 (TABLEDATA), 5.4
(BINARY2) and 6 (values of the types).
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.formats.columns import (
    display,
    is_numeric_list,
    join,
    json_text,
    list_parts,
    make_list,
    metadata,
    plain_batch,
    plain_schema,
    simple_text,
    slices,
    text_bytes,
)

Serialization = Literal["binary2", "tabledata"]
Infos = Sequence[tuple[str, str]]

_ILLEGAL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{FFFE}\x{FFFF}]"
_ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class _Kind(NamedTuple):
    datatype: str
    arraysize: str | None
    dtype: str | None  # big-endian NumPy type of one element in BINARY2; None for text


# VOTable has one unsigned type, of one byte: the others widen.
_NUMBERS = {
    pa.bool_(): ("boolean", "S1"),
    pa.uint8(): ("unsignedByte", "u1"),
    pa.int8(): ("short", ">i2"),
    pa.int16(): ("short", ">i2"),
    pa.uint16(): ("int", ">i4"),
    pa.int32(): ("int", ">i4"),
    pa.uint32(): ("long", ">i8"),
    pa.int64(): ("long", ">i8"),
    pa.uint64(): ("long", ">i8"),
    pa.float32(): ("float", ">f4"),
    pa.float64(): ("double", ">f8"),
}


def _kind(field: pa.Field, ascii_only: frozenset[str]) -> _Kind:
    kind = field.type
    if is_numeric_list(kind):
        # One byte has no value to spare for a null element, so bytes in lists widen as well.
        narrow = pa.types.is_uint8(kind.value_type)
        datatype, dtype = _NUMBERS[pa.int16() if narrow else kind.value_type]
        fixed = pa.types.is_fixed_size_list(kind)
        return _Kind(datatype, str(kind.list_size) if fixed else "*", dtype)
    if kind in _NUMBERS:
        return _Kind(_NUMBERS[kind][0], None, _NUMBERS[kind][1])
    if pa.types.is_temporal(kind) or field.name in ascii_only:
        return _Kind("char", "*", None)
    return _Kind("unicodeChar", "*", None)


def null_element(dtype: str) -> int:
    """Value that stands for a null *element* of an integer list: the smallest of its type."""
    return int(np.iinfo(np.dtype(dtype)).min)


def write_votable(
    data: pa.Table | Iterable[pa.RecordBatch],
    path: str | Path | BinaryIO,
    *,
    schema: pa.Schema | None = None,
    serialization: Serialization = "binary2",
    name: str | None = None,
    description: str | None = None,
    params: Mapping[str, object] | None = None,
    infos: Infos = (),
    coosys: str | None = None,
) -> int:
    """Write a VOTable 1.4 document with one table.

    Nulls are exact: flags in BINARY2, empty cells in TABLEDATA (where, by the standard, an
    empty cell is null whatever the type, so that an empty string or list reads back as null).
    Strings become ``unicodeChar`` unless `data` is a Table in which they are all ASCII; dates
    and times become ISO text with ``xtype="timestamp"`` (times of day without); lists of
    numbers become arrays, a null element the smallest value of an integer type (declared in
    VALUES), NaN or ``?``; nested types and lists of strings become JSON text, because VOTable
    cannot hold strings of different length in one array.

    Parameters
    ----------
    data : pa.Table or iterable of pa.RecordBatch
        Field metadata ``unit``, ``ucd``, ``description``, ``utype``, ``xtype`` and ``format``
        become attributes of the FIELDs.
    path : str, Path or binary file object
        What is written to.
    schema : pa.Schema, optional
        Needed where `data` has no ``schema`` of its own.
    serialization : {"binary2", "tabledata"}
    name, description : str, optional
        Of the table.
    params : mapping, optional
        Names and values (bool, int, float, str) of PARAMs of the table.
    infos : sequence of (name, value)
        INFO elements of the resource, such as its data origin.
    coosys : str, optional
        Reference system (``"ICRS"``) of the columns whose UCD starts with ``pos.eq``.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    LacusError
        For what VOTable cannot hold: an unsigned integer above int64, a control character in
        TABLEDATA, an integer list that uses the value of null elements.
    """
    ascii_only: frozenset[str] = frozenset()
    if isinstance(data, pa.Table):
        schema, ascii_only = data.schema, _ascii_columns(data)
        data = data.to_batches()
    elif schema is None:
        schema = cast(pa.RecordBatchReader, data).schema
    schema = plain_schema(schema)
    opening, closing = _document(schema, ascii_only, name, description, params or {}, infos, coosys)
    kinds = [_kind(field, ascii_only) for field in schema]
    write_rows = _write_binary2 if serialization == "binary2" else _write_tabledata
    if not isinstance(path, (str, Path)):
        return _write(path, data, schema, kinds, opening, closing, write_rows)
    with open(path, "wb") as out:
        return _write(out, data, schema, kinds, opening, closing, write_rows)


def header_only(schema: pa.Schema, **described: object) -> str:
    """The document of `write_votable` without data, as VOParquet keeps it.

    Parameters
    ----------
    schema : pa.Schema
    **described
        `name`, `description`, `params`, `infos`, `coosys` as in `write_votable`.
    """
    settings: dict = {"name": None, "description": None, "params": {}, "infos": (), "coosys": None}
    opening, closing = _document(plain_schema(schema), frozenset(), **{**settings, **described})
    return opening + closing


def _write(
    out: BinaryIO,
    data: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    kinds: list[_Kind],
    opening: str,
    closing: str,
    write_rows: Callable[[BinaryIO, Iterator[pa.RecordBatch], list[_Kind]], int],
) -> int:
    out.write(opening.encode())
    pieces = (plain_batch(piece, schema) for batch in data for piece in slices(batch))
    rows = write_rows(out, pieces, kinds)
    out.write(closing.encode())
    return rows


def _ascii_columns(table: pa.Table) -> frozenset[str]:
    def is_ascii(column: pa.ChunkedArray) -> bool:
        return pc.all(pc.string_is_ascii(column)).as_py() in (True, None)

    return frozenset(
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if (pa.types.is_string(column.type) or pa.types.is_large_string(column.type))
        and is_ascii(column)
    )


# --- the document around the rows -------------------------------------------------------------


def _text(value: str) -> str:
    """`value` fit for XML, which has no control characters."""
    return _ILLEGAL_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value)


def _attributes(**values: str | None) -> str:
    return "".join(
        f" {key}={quoteattr(_text(value), {chr(9): '&#9;'})}"
        for key, value in values.items()
        if value is not None
    )


def _described(element: str, attributes: str, description: str | None, more: str = "") -> str:
    body = f"<DESCRIPTION>{escape(_text(description))}</DESCRIPTION>" if description else ""
    body += more
    return f"<{element}{attributes}>{body}</{element}>\n" if body else f"<{element}{attributes}/>\n"


def _document(
    schema: pa.Schema,
    ascii_only: frozenset[str],
    name: str | None,
    description: str | None,
    params: Mapping[str, object],
    infos: Infos,
    coosys: str | None,
) -> tuple[str, str]:
    """Everything before the rows and everything after them."""
    opening = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation='
        '"http://www.ivoa.net/xml/VOTable/v1.3 http://www.ivoa.net/xml/VOTable/VOTable-1.4.xsd">\n'
        '<RESOURCE type="results">\n'
    )
    opening += "".join(f"<INFO{_attributes(name=key, value=value)}/>\n" for key, value in infos)
    if coosys:
        opening += f'<COOSYS ID="system"{_attributes(system=coosys)}/>\n'
    opening += f"<TABLE{_attributes(name=name)}>\n"
    if description:
        opening += f"<DESCRIPTION>{escape(_text(description))}</DESCRIPTION>\n"
    opening += "".join(_param(key, value) for key, value in params.items())
    opening += "".join(_field(field, _kind(field, ascii_only), coosys) for field in schema)
    return opening, "</TABLE>\n</RESOURCE>\n</VOTABLE>\n"


def _param(name: str, value: object) -> str:
    if isinstance(value, bool):
        kind, text = {"datatype": "boolean"}, "true" if value else "false"
    elif isinstance(value, int):
        kind, text = {"datatype": "long"}, str(value)
    elif isinstance(value, float):
        kind, text = {"datatype": "double"}, repr(value)
    else:
        text = str(value)
        kind = {"datatype": "char" if text.isascii() else "unicodeChar", "arraysize": "*"}
    return f"<PARAM{_attributes(name=name, value=text, **kind)}/>\n"


def _field(field: pa.Field, kind: _Kind, coosys: str | None) -> str:
    ucd, xtype = metadata(field, b"ucd"), metadata(field, b"xtype")
    if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
        xtype = "timestamp"
    form = display(field)
    precision = None
    if form and form.decimals is not None and form.letter in "FEDG":
        # E9.6 has six decimals; VOTable's E counts significant figures.
        precision = f"F{form.decimals}" if form.letter == "F" else f"E{form.decimals + 1}"
    attributes = _attributes(
        name=field.name,
        datatype=kind.datatype,
        arraysize=kind.arraysize,
        width=str(form.width) if form and form.width else None,
        precision=precision,
        unit=metadata(field, b"unit"),
        ucd=ucd,
        utype=metadata(field, b"utype"),
        xtype=xtype,
        ref="system" if coosys and (ucd or "").lower().startswith("pos.eq") else None,
    )
    values = ""
    if kind.arraysize and kind.dtype and "i" in kind.dtype:
        values = f'<VALUES null="{null_element(kind.dtype)}"/>'
    return _described("FIELD", attributes, metadata(field, b"description"), values)


# --- rows --------------------------------------------------------------------------------------


def _elements(values: pa.Array, kind: _Kind, name: str, *, in_list: bool) -> np.ndarray:
    """Numbers or booleans in the big-endian type of BINARY2; nulls as what stands for them."""
    assert kind.dtype is not None
    if pa.types.is_boolean(values.type):
        code = pc.if_else(values, ord("T"), ord("F"))
        return pc.fill_null(code, ord("?")).to_numpy().astype(np.uint8).view("S1")
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, float("nan")).to_numpy().astype(kind.dtype)
    if pa.types.is_uint64(values.type):
        try:
            values = values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise LacusError(f"column {name!r}: {error}; VOTable has no unsigned long") from None
    null = null_element(kind.dtype) if in_list else 0
    if in_list and np.dtype(kind.dtype).itemsize == values.type.bit_width // 8:
        clash = pc.any(pc.equal(values, pa.scalar(null, values.type))).as_py()
        if clash:
            raise LacusError(f"column {name!r}: {null} in a list would read back as null")
    wide = values.cast(pa.from_numpy_dtype(np.dtype(kind.dtype).newbyteorder("=")))
    return pc.fill_null(wide, null).to_numpy().astype(kind.dtype)


def _fixed_elements(column: pa.Array, kind: _Kind, name: str) -> np.ndarray:
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


def _payload(column: pa.Array, kind: _Kind, name: str) -> tuple[np.ndarray, pa.Array]:
    """Element counts of each row of a column of variable length, and the elements' bytes."""
    if kind.dtype is not None:
        elements, counts = list_parts(column)
        raw = _elements(elements, kind, name, in_list=True)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return counts, _binary(raw, offsets * raw.dtype.itemsize)
    strings = pc.fill_null(_strings(column), "")
    if kind.datatype == "char":
        return pc.binary_length(strings).to_numpy(), strings.cast(pa.large_binary())
    raw, offsets = utf16_be(strings)
    return np.diff(offsets), _binary(raw, offsets * 2)


def _strings(column: pa.Array) -> pa.StringArray:
    if pa.types.is_nested(column.type):
        return pc.if_else(column.is_valid(), json_text(column), None)
    return simple_text(column)


def _binary2_rows(batch: pa.RecordBatch, kinds: list[_Kind]) -> memoryview:
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


def _write_binary2(out: BinaryIO, batches: Iterator[pa.RecordBatch], kinds: list[_Kind]) -> int:
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


def _cells(column: pa.Array, kind: _Kind, name: str, first_row: int) -> pa.Array:
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
    strings = pc.fill_null(_strings(column), "")
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


def _write_tabledata(out: BinaryIO, batches: Iterator[pa.RecordBatch], kinds: list[_Kind]) -> int:
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
