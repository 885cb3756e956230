"""Arrow to Parquet with a data-less VOTable in its footer.

Source of the convention: IVOA Note VOParquet 1.0 (Taylor et al. 2025): the file metadata
``IVOA.VOTable-Parquet.version`` and ``IVOA.VOTable-Parquet.content``.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.formats.columns import Batches, plain_batch, plain_schema, slices
from lake.formats.votable_write import Infos, header_only

# DuckDB's row group; what is held in memory is bounded by the second number too.
ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 1 << 26


def write_voparquet(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    *,
    description: str | None = None,
    infos: Infos = (),
    coosys: str | None = None,
) -> int:
    """Write Parquet (zstd) that TOPCAT and astropy's ``parquet.votable`` read with its metadata.

    Units, UCDs and descriptions are in the VOTable of the footer and, as field metadata, in the
    Arrow schema.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
    schema : pa.Schema
        Of the batches.
    path : str or Path
    description, infos, coosys
        Of the VOTable, as in `lake.formats.votable_write.write_votable`.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    LacusError
        For a type that no export has.
    """
    schema = plain_schema(schema).remove_metadata()
    rows = 0
    longest = text_lengths(schema)
    # The Arrow schema goes into the footer at the end, by hand: readers look there, and only
    # there, for what was learnt on the way.
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for group in row_groups(batches, schema):
            lengthen(longest, group)
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
        known = footer(schema, longest, description=description, infos=infos, coosys=coosys)
        arrow = schema.with_metadata(known).serialize().to_pybytes()
        known["ARROW:schema"] = base64.b64encode(arrow).decode("ascii")
        writer.add_key_value_metadata(known)
    return rows


def footer(
    schema: pa.Schema,
    longest: Mapping[str, int],
    *,
    description: str | None = None,
    infos: Infos = (),
    coosys: str | None = None,
) -> dict[str, str]:
    """File metadata of a VOParquet file.

    Parameters
    ----------
    schema : pa.Schema
        Plain.
    longest : mapping
        Greatest length of each text column, in characters, as `lengthen` finds it.
    description, infos, coosys
        As in `write_voparquet`.
    """
    return {
        "IVOA.VOTable-Parquet.version": "1.0",
        "IVOA.VOTable-Parquet.content": header_only(
            schema, longest, description=description, infos=infos, coosys=coosys
        ),
        # astropy sizes its string columns by these and, without them, fails at a null.
        **{f"table::len::{name}": str(length) for name, length in longest.items()},
    }


def text_lengths(schema: pa.Schema) -> dict[str, int]:
    """Length 1 for each text column of a plain schema, for `lengthen` to raise."""
    return {field.name: 1 for field in schema if _is_text(field.type)}


def lengthen(longest: dict[str, int], table: pa.Table) -> None:
    """Raise the greatest length of each text column to that in `table`, in place."""
    for name in longest:
        longest[name] = max(longest[name], _longest(table[name]))


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.list_(pa.string()))


def _longest(column: pa.ChunkedArray) -> int:
    texts = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return pc.max(pc.utf8_length(texts)).as_py() or 0


def row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Put small batches together and cut large ones: row groups of even size, in plain types."""
    held: list[pa.RecordBatch] = []
    rows = nbytes = 0
    pieces: Batches = (piece for batch in batches for piece in slices(batch))
    for piece in pieces:
        held.append(plain_batch(piece, schema))
        rows += piece.num_rows
        nbytes += held[-1].nbytes
        if rows >= ROW_GROUP_ROWS or nbytes >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held, schema)
            held, rows, nbytes = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, schema)
