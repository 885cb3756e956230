"""A table that is read batch by batch: what every reader of a format gives."""

from collections.abc import Iterator

import pyarrow as pa


class TableReader:
    """Record batches of one schema, made while they are asked for.

    It reads like `pyarrow.RecordBatchReader`: once, from front to back. What the producer
    raises (`lake.errors.InputError` for bad input) reaches the caller as it was raised. Through
    `__arrow_c_stream__`, DuckDB, Polars and pyarrow take it as it is.

    Parameters
    ----------
    schema : pyarrow.Schema
        The schema of every batch, with units, UCDs and descriptions in the field metadata.
    batches : iterator of pyarrow.RecordBatch
        Usually a generator; closed, and its file with it, when the reader is.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self._batches = iter(batches)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches

    def read_all(self) -> pa.Table:
        """Read what is left into one table, of zero rows where nothing is.

        Returns
        -------
        pyarrow.Table
        """
        return pa.Table.from_batches(list(self._batches), schema=self.schema)

    def close(self) -> None:
        """Stop reading and release the file."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "TableReader":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the batches to another library (the Arrow PyCapsule protocol)."""
        stream = pa.RecordBatchReader.from_batches(self.schema, self._batches)
        return stream.__arrow_c_stream__(requested_schema)
