"""Parquet files as Arrow tables in plain types, with the metadata that VOParquet puts in them.

Source of the convention: IVOA Note VOParquet 1.0 (Taylor et al. 2025).
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import InputError, LacusError
from lake.formats.columns import plain_batch, plain_schema
from lake.formats.delimited_types import without_nan
from lake.formats.reader import TableReader
from lake.formats.source import Source, head, label, load, unique_names
from lake.formats.votable import scan_votable

_CONTENT = b"IVOA.VOTable-Parquet.content"


def scan_parquet(source: Source, *, batch_rows: int = 50_000) -> TableReader:
    """Read a Parquet file batch by batch; see `read_parquet`.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file.
    batch_rows : int
        Rows in a batch, at most.

    Raises
    ------
    InputError
        It is not Parquet, or cut off.
    """
    path = label(source)
    if head(source, 4) != b"PAR1":
        raise InputError(path, "is not a Parquet file: it does not begin with PAR1")
    data = load(source, mapped=True)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        stored = file.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(path, f"is cut off or not Parquet: {error}") from error
    # What pandas notes of its index says nothing of this table.
    about = {k: v for k, v in (stored.metadata or {}).items() if k not in (b"pandas", _CONTENT)}
    renamed = pa.schema(
        [
            field.with_name(name)
            for field, name in zip(stored, unique_names(stored.names), strict=True)
        ],
        metadata=about or None,
    )
    described = _described(path, renamed, file.metadata.metadata or {})
    try:
        plain = plain_schema(described).with_metadata(described.metadata)
    except LacusError as error:
        raise InputError(path, str(error)) from error
    return TableReader(plain, _batches(path, file, plain, batch_rows))


def _described(path: str, schema: pa.Schema, metadata: dict[bytes, bytes]) -> pa.Schema:
    """Schema with the metadata of the VOTable in the file's footer, where there is one."""
    if _CONTENT not in metadata:
        return schema
    try:
        described = scan_votable(metadata[_CONTENT]).schema
    except InputError as error:
        raise InputError(path, f"the VOTable in its footer: {error.reason}") from error
    about = {field.name: field.metadata or {} for field in described}
    fields = [
        field.with_metadata({**(field.metadata or {}), **about.get(field.name, {})} or None)
        for field in schema
    ]
    return pa.schema(fields, metadata={**(schema.metadata or {}), **(described.metadata or {})})


def _batches(
    path: str, file: pq.ParquetFile, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    rows = 0
    batches = file.iter_batches(batch_rows)
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            plain = plain_batch(batch, schema)
        except (pa.ArrowInvalid, OSError, LacusError) as error:
            raise InputError(
                path, str(error), f"in the {batch_rows} rows from {rows + 1}"
            ) from error
        rows += plain.num_rows
        arrays = [without_nan(array) for array in plain.columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def read_parquet(source: Source) -> pa.Table:
    """Read a Parquet file.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file.

    Returns
    -------
    pyarrow.Table
        Plain types (see `lake.formats.columns.plain_type`); NaN in a scalar column is null.
        Field metadata are those of the Arrow schema and of the VOTable in the footer
        (VOParquet), where the file has them.

    Raises
    ------
    InputError
        It is not Parquet, is cut off, or has a column that no plain type holds.
    """
    return scan_parquet(source).read_all()
