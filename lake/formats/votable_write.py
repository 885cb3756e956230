"""Arrow to VOTable 1.4, streamed: memory is bounded by a slice of a batch.

Source of the format: IVOA Recommendation VOTable 1.4 (2019), sections 3 and 4; the rows
are in `lake.formats.votable_rows`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.compute as pc

from lake.formats.columns import (
    display,
    metadata,
    plain_batch,
    plain_schema,
    slices,
)
from lake.formats.votable_rows import (
    Kind,
    kind_of,
    null_element,
    write_binary2,
    write_tabledata,
)

Serialization = Literal["binary2", "tabledata"]
Infos = Sequence[tuple[str, str]]

# VOTable 1.4 has its own names of systems, and no equinox by default.
_SYSTEMS: dict[str, dict[str, str | None]] = {"FK5": {"system": "eq_FK5", "equinox": "J2000"}}
_ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


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
        Reference system (``"ICRS"``, or ``"FK5"``, which is that of J2000) of the columns whose
        UCD starts with ``pos.eq``.

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
    kinds = [kind_of(field, ascii_only) for field in schema]
    opening, closing = _document(schema, kinds, name, description, params or {}, infos, coosys)
    write_rows = write_binary2 if serialization == "binary2" else write_tabledata
    if not isinstance(path, (str, Path)):
        return _write(path, data, schema, kinds, opening, closing, write_rows)
    with open(path, "wb") as out:
        return _write(out, data, schema, kinds, opening, closing, write_rows)


def header_only(
    schema: pa.Schema,
    lengths: Mapping[str, int],
    *,
    description: str | None = None,
    infos: Infos = (),
    coosys: str | None = None,
) -> str:
    """The document of `write_votable` without data, as VOParquet keeps it.

    Parameters
    ----------
    schema : pa.Schema
        Plain.
    lengths : mapping
        Greatest length of each text column, in characters: astropy joins the fields of this
        document with the columns of the data only where both have a length.
    description, infos, coosys
        As in `write_votable`.
    """
    kinds = [kind_of(field, frozenset()) for field in schema]
    for i, field in enumerate(schema):
        if field.name in lengths and pa.types.is_string(field.type):
            kinds[i] = kinds[i]._replace(arraysize=str(lengths[field.name]))
    return "".join(_document(schema, kinds, None, description, {}, infos, coosys))


def _write(
    out: BinaryIO,
    data: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    kinds: list[Kind],
    opening: str,
    closing: str,
    write_rows: Callable[[BinaryIO, Iterator[pa.RecordBatch], list[Kind]], int],
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
    kinds: list[Kind],
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
        known = _SYSTEMS.get(coosys, {"system": coosys})
        opening += f'<COOSYS ID="system"{_attributes(**known)}/>\n'
    opening += f"<TABLE{_attributes(name=name)}>\n"
    if description:
        opening += f"<DESCRIPTION>{escape(_text(description))}</DESCRIPTION>\n"
    opening += "".join(_param(key, value) for key, value in params.items())
    for field, kind in zip(schema, kinds, strict=True):
        opening += _field(field, kind, coosys)
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


def _field(field: pa.Field, kind: Kind, coosys: str | None) -> str:
    ucd, xtype = metadata(field, b"ucd"), metadata(field, b"xtype")
    if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
        xtype = "timestamp"
    form = display(field)
    precision = None
    if form and form.decimals is not None:
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
