"""Delimited text (CSV, TSV, CSC exports, aligned columns, ECSV) as Arrow tables.

pyarrow splits the lines into cells; what a column's type is, is decided here over the whole
file, because the first rows of a catalogue are not like the rest of it.
"""

import codecs
import csv
import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from lake.errors import InputError, UsageError
from lake.formats.delimited_header import ALIGNED, Dialect, read_dialect, split_aligned
from lake.formats.delimited_types import (
    NO_NUMBERS,
    NULLS,
    ColumnType,
    clean,
    convert,
    misfit,
    without_nan,
)
from lake.formats.reader import TableReader
from lake.formats.source import GZIP_FAULTS, Source, head, label, open_stream

__all__ = ["NULLS", "read_delimited", "scan_delimited"]

#: Lines that are no rows: blank ones, and the last one of VizieR.
_NO_ROWS = ("", "#END#")
_BLOCK_BYTES = 1 << 22
# Up to here the cells are kept between the pass that finds the types and the one that gives
# the values; beyond, the file is split into cells twice.
_HELD_BYTES = 1 << 26


class _NotAFloat(Exception):
    """A column that is float in the first block is something else further down."""


class _Lines(io.RawIOBase):
    """The lines after the header, checked to be UTF-8; aligned columns as tab-separated values.

    Attributes
    ----------
    quotes : int
        Double quotes read so far.
    """

    def __init__(self, stream: BinaryIO, *, aligned: bool) -> None:
        self._stream = stream
        self._aligned = aligned
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        if self._aligned:
            data = split_aligned(self._stream.read(max(size // 2, 1)) + self._stream.readline())
        else:
            data = self._stream.read(size)
        self.quotes += data.count(b'"')
        # Here, because pyarrow writes tracebacks to stderr over rows that are not UTF-8.
        if not data.isascii() or self._decoder.getstate()[0]:
            self._decoder.decode(data, final=not data)
        return data


class _Delimited:
    """One delimited file: its header, read, and its cells, to be read once or twice."""

    def __init__(
        self,
        source: Source,
        delimiter: str | None,
        column_types: Mapping[str, pa.DataType],
        null_values: Sequence[str],
    ) -> None:
        self.source = source
        self.path = label(source)
        self.dialect: Dialect = read_dialect(source, delimiter)
        self.nulls = pa.array(null_values, pa.string())
        self.forced = dict(column_types)
        if missing := self.forced.keys() - set(self.dialect.names):
            raise InputError(
                self.path,
                f"no column {min(missing)!r}; there are {', '.join(self.dialect.names)}",
            )
        self._held: list[pa.RecordBatch] | None = None
        self._native = self._floats_of_first_block()
        try:
            self.schema = self._infer()
        except _NotAFloat:
            self._native = frozenset()
            self.schema = self._infer()

    def _open(self) -> _Lines:
        stream = open_stream(self.source)
        stream.seek(self.dialect.data_start)
        return _Lines(stream, aligned=self.dialect.delimiter == ALIGNED)

    @property
    def _separator(self) -> str:
        return "\t" if self.dialect.delimiter == ALIGNED else self.dialect.delimiter

    def _raw_batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Cells as they stand in the file: text, save for the native columns."""
        columns = len(self.dialect.names)
        names = [str(number) for number in range(columns)]
        types = [pa.float64() if n in self._native else pa.string() for n in range(columns)]

        def on_ragged(row: pacsv.InvalidRow) -> str:
            return "error" if row.text.strip() not in _NO_ROWS else "skip"

        with self._open() as lines:
            try:
                yield from pacsv.open_csv(
                    lines,
                    read_options=pacsv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
                    parse_options=pacsv.ParseOptions(
                        delimiter=self._separator,
                        newlines_in_values=True,
                        invalid_row_handler=on_ragged,
                    ),
                    convert_options=pacsv.ConvertOptions(
                        column_types=dict(zip(names, types, strict=True)),
                        null_values=[*self.nulls.to_pylist(), *NO_NUMBERS],
                        strings_can_be_null=False,
                        check_utf8=False,
                    ),
                )
            except GZIP_FAULTS as error:
                raise InputError(self.path, f"broken gzip stream: {error}") from error
            except UnicodeDecodeError as error:
                raise self._not_utf8() from error
            except pa.ArrowInvalid as error:
                if "Empty CSV file" in str(error):
                    return
                if "CSV conversion error to double" in str(error):
                    raise _NotAFloat from error
                raise self._explained(error, columns) from error
            # pyarrow takes a quote that is never closed for the text of one long cell.
            if lines.quotes % 2:
                for _ in self._records():
                    pass

    def _not_utf8(self) -> InputError:
        with open_stream(self.source) as stream:
            for line, text in enumerate(stream, 1):
                try:
                    text.decode()
                except UnicodeDecodeError as error:
                    problem = f"byte {text[error.start]:#04x} is not UTF-8"
                    return InputError(self.path, problem, f"line {line}")
        return InputError(self.path, "the text is not UTF-8")

    def _explained(self, error: Exception, columns: int) -> InputError:
        """Find the line that pyarrow could not take: it does not know it itself."""
        for row, (line, cells) in enumerate(self._records(), 1):
            if len(cells) != columns:
                problem = f"{len(cells)} cells, expected {columns}"
                return InputError(self.path, problem, f"line {line}, row {row}")
        return InputError(self.path, f"cannot be split into cells: {error}")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of each row, in Python: slow, for messages only.

        Raises
        ------
        InputError
            A quote is never closed, or a line ends in CR alone.
        """
        with open_stream(self.source) as stream:
            stream.seek(self.dialect.data_start)
            aligned = self.dialect.delimiter == ALIGNED
            texts = (
                (split_aligned(line) if aligned else line).decode("utf-8", "replace")
                for line in stream
            )
            reader = csv.reader(texts, delimiter=self._separator, strict=True)
            line, row = 1, 0
            try:
                for cells in reader:
                    if len(cells) > 1 or any(cell.strip() for cell in cells):
                        row += 1
                        yield self.dialect.lines + line, cells
                    line = reader.line_num + 1
            except csv.Error as error:
                unclosed = "unexpected end" in str(error)
                problem = "a quote is never closed" if unclosed else f"cannot be split: {error}"
                where = f"line {self.dialect.lines + line}, row {row + 1}"
                raise InputError(self.path, problem, where) from error

    def _column_types(self) -> list[ColumnType]:
        declared = self.dialect.declared
        return [ColumnType(declared.get(name, "")) for name in self.dialect.names]

    def _floats_of_first_block(self) -> frozenset[int]:
        """Columns to try as floats: pyarrow splits and converts these in one go.

        Integers and text are not among them, because what they are shows in their spelling.
        """
        self._native = frozenset()
        with closing(self._raw_batches()) as batches:
            raw = next(batches, None)
            if raw is None or next(batches, None) is None:
                return frozenset()
        native = set()
        for number, kind in enumerate(self._column_types()):
            kind.see(clean(raw.column(number), self.nulls), raw.column(number))
            if self.forced.get(self.dialect.names[number], kind.type) == pa.float64():
                native.add(number)
        return frozenset(native)

    def _infer(self) -> pa.Schema:
        """Types over the whole file; keeps the cells if they are not too many."""
        names = self.dialect.names
        kinds = self._column_types()
        held: list[pa.RecordBatch] | None = []
        held_bytes = 0
        for raw in self._raw_batches():
            batch = self._cleaned(raw)
            for number, kind in enumerate(kinds):
                if names[number] not in self.forced and number not in self._native:
                    kind.see(batch.column(number), raw.column(number))
            held_bytes += batch.nbytes
            if held is not None:
                held.append(batch)
            if held_bytes > _HELD_BYTES:
                held = None
        self._held = held
        types = [pa.float64() if n in self._native else kind.type for n, kind in enumerate(kinds)]
        return pa.schema(
            [
                pa.field(
                    name, self.forced.get(name, kind), metadata=self.dialect.metadata.get(name)
                )
                for name, kind in zip(names, types, strict=True)
            ]
        )

    def _cleaned(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            without_nan(column) if number in self._native else clean(column, self.nulls)
            for number, column in enumerate(raw.columns)
        ]
        return pa.RecordBatch.from_arrays(columns, names=raw.schema.names)

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Typed rows."""
        before = 0
        held = self._held
        for batch in held if held is not None else map(self._cleaned, self._raw_batches()):
            typed = [
                column if number in self._native else self._convert(column, field, before)
                for number, (column, field) in enumerate(
                    zip(batch.columns, self.schema, strict=True)
                )
            ]
            before += batch.num_rows
            whole = pa.RecordBatch.from_arrays(typed, schema=self.schema)
            for start in range(0, whole.num_rows, batch_rows):
                yield whole.slice(start, batch_rows)

    def _convert(self, cells: pa.Array, field: pa.Field, before: int) -> pa.Array:
        try:
            return convert(cells, field.type)
        except pa.ArrowInvalid as error:
            index = misfit(cells, field.type) or 0
            row = before + index + 1
            line = next((line for n, (line, _) in enumerate(self._records(), 1) if n == row), None)
            raise InputError(
                self.path,
                f"{cells[index].as_py()!r} is not {field.type}",
                f"line {line}, row {row}, column {field.name!r}",
            ) from error


def scan_delimited(
    source: Source,
    *,
    delimiter: str | None = None,
    column_types: Mapping[str, pa.DataType] | None = None,
    null_values: Sequence[str] = NULLS,
    batch_rows: int = 50_000,
) -> TableReader:
    """Read delimited text batch by batch; see `read_delimited`.

    The whole file is gone through once before the first batch, to find the types; memory
    holds a batch and at most 64 MiB of cells.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    delimiter : str, optional
        One character, or a blank for columns aligned with blanks; found if not given.
    column_types : mapping of str to pyarrow.DataType, optional
        Types that are not to be found but forced.
    null_values : sequence of str
        Cells that mean no value.
    batch_rows : int
        Rows in a batch, at most.
    """
    if head(source, 9).lstrip(b"\xef\xbb\xbf").startswith(b"# %ECSV"):
        if delimiter or column_types:
            raise UsageError(f"{label(source)}: ECSV declares its delimiter and types itself")
        from lake.formats.ecsv import read_ecsv

        table = read_ecsv(source)
        return TableReader(table.schema, iter(table.to_batches(max_chunksize=batch_rows)))
    file = _Delimited(source, delimiter, column_types or {}, null_values)
    return TableReader(file.schema, file.batches(batch_rows))


def read_delimited(
    source: Source,
    *,
    delimiter: str | None = None,
    column_types: Mapping[str, pa.DataType] | None = None,
    null_values: Sequence[str] = NULLS,
) -> pa.Table:
    """Read delimited text: CSV, TSV, aligned columns, CSC command-line exports, ECSV.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file (UTF-8), gzipped or not.
    delimiter : str, optional
        One character, or a blank for columns aligned with blanks; if not given, comma, tab,
        semicolon, bar or blanks, whichever divides the first lines evenly.
    column_types : mapping of str to pyarrow.DataType, optional
        Types that are not to be found but forced.
    null_values : sequence of str
        Cells that mean no value, whatever the type of the column.

    Returns
    -------
    pyarrow.Table
        Types are found over the whole file: bool where every value is TRUE or FALSE (as
        such, capitalised or in small letters), int64, uint64, float64, else string. Codes
        with leading zeros and integers past 64 bits stay text. A display format that the
        file declares (CSC exports) keeps a column of numbers from becoming integers, and of
        text from becoming numbers. Blanks around cells are trimmed. Empty cells and
        `null_values` are null, and so are NaN, NA and N/A in columns of numbers or booleans;
        infinities stay. Unit, UCD, description and display format are field metadata where the
        file has them; units may stand in a line below the names. Names are unique without
        regard to case (``_2`` appended).

    Raises
    ------
    InputError
        Not text in UTF-8, no header, rows of another number of cells, a cell that does not
        fit its forced type: with the line, and row and column where there are such.
    """
    return scan_delimited(
        source, delimiter=delimiter, column_types=column_types, null_values=null_values
    ).read_all()
