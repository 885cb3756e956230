"""Arrow to CSV and JSON, streamed."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lake.formats.columns import (
    cell_text,
    json_text,
    metadata,
    plain_batch,
    plain_schema,
    slices,
    text_bytes,
)


def write_csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: str | Path) -> int:
    """Write CSV (RFC 4180) with a line of column names.

    A null is an empty cell, an empty string ``""``; dates and times are ISO 8601, lists and
    other nested values JSON.

    Returns
    -------
    int
        Rows written.
    """
    schema = plain_schema(schema)
    names = schema.names
    as_is = [pa.types.is_primitive(t) and not pa.types.is_temporal(t) for t in schema.types]
    kinds = [t if keep else pa.string() for t, keep in zip(schema.types, as_is, strict=True)]
    cells = pa.schema(list(zip(names, kinds, strict=True)))
    rows = 0
    with pa.csv.CSVWriter(path, cells) as writer:
        for batch in batches:
            for piece in slices(batch):
                plain = plain_batch(piece, schema).columns
                columns = [
                    column if keep else cell_text(column)
                    for column, keep in zip(plain, as_is, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=cells))
                rows += piece.num_rows
    return rows


def write_json(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    *,
    origin: Mapping[str, object],
) -> int:
    """Write one JSON object: ``origin``, ``columns`` with their metadata, ``rows`` as objects.

    JSON has neither NaN nor infinities: they become ``null``, as nulls do.

    Returns
    -------
    int
        Rows written.
    """
    schema = plain_schema(schema)
    columns = [
        {"name": field.name, "type": str(field.type)}
        | {
            key: text
            for key in ("unit", "ucd", "utype", "description")
            if (text := metadata(field, key.encode())) is not None
        }
        for field in schema
    ]
    rows = 0
    with open(path, "wb") as out:
        head = json.dumps({"origin": origin, "columns": columns}, ensure_ascii=False)
        out.write(head[:-1].encode() + b', "rows": [')
        for batch in batches:
            for piece in slices(batch):
                plain = plain_batch(piece, schema)
                objects = json_text(plain.to_struct_array())
                lines = pc.binary_join_element_wise(",\n", objects, "")
                # The first row of all has no comma before it.
                out.write(text_bytes(lines)[0 if rows else 1 :])
                rows += piece.num_rows
        out.write(b"\n]}\n")
    return rows
