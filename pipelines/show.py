"""Results for people and for programs: tables, JSON, CSV, Parquet on stdout."""

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lake.formats.reader import TableReader
from pipelines.progress import mark

out = Console(soft_wrap=True, highlight=False, markup=False)

Format = Literal["table", "csv", "json", "parquet"]

#: Rows that a table for people shows.
_SHOWN_ROWS = 40
#: Rows that DuckDB counts for it: of more, it says that they are more than 9999.
_COUNTED_ROWS = 10_000
#: Rows that are objects of Python at a time.
_JSON_ROWS = 1_000
#: Characters to a line where no terminal is: as many as the result needs.
_ANY_WIDTH = 100_000


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    digits: int = 6,
) -> None:
    """Print a table for people, folded into the terminal; elsewhere one line for each row.

    Parameters
    ----------
    header : sequence of str
    rows : iterable of sequence
    right : sequence of str
        Columns that end at the right.
    digits : int
        Significant digits of fractional numbers.
    """
    cells = [[text(value, digits) for value in row] for row in rows]
    if not out.is_terminal:
        _plain_table(header, cells, right)
        return
    made = Table(header_style="bold", box=None, pad_edge=False)
    for name in header:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    out.print(made, soft_wrap=False)


def _plain_table(header: Sequence[str], rows: list[list[str]], right: Sequence[str]) -> None:
    lines = [list(header), *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = []
        for name, cell, width in zip(header, line, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if name in right else cell + space)
        print("  ".join(padded).rstrip())


def title(words: str) -> None:
    """Print a heading, bold on a terminal."""
    out.print(Text(words, "bold"))


def text(value: object, digits: int = 6) -> str:
    """One value for people; an absent one is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) > 99_999 else str(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def as_json(value: object) -> None:
    """Print JSON; times are ISO 8601, NaN and the infinities, which JSON lacks, are null."""
    print(_json(value))


def _json(value: object) -> str:
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(_plain(value), indent=2, ensure_ascii=ascii_only)


def arrow(data: pa.Table | TableReader, form: Format) -> None:
    """Print rows in one of the forms, batch by batch; Parquet keeps units in its Arrow schema."""
    schema = data.schema
    batches = iter(data.to_batches() if isinstance(data, pa.Table) else data)
    if form == "json":
        _pass_on(lambda path: _write_json(batches, path))
    elif form == "csv":
        from lake.formats.text_write import write_csv

        _pass_on(lambda path: write_csv(batches, schema, path))
    elif form == "parquet":
        import pyarrow.parquet as pq

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)

        _pass_on(write)
    else:
        import duckdb

        # DuckDB draws its own box, which those who use its shell know, and counts so far only.
        first: list[pa.RecordBatch] = []
        while sum(batch.num_rows for batch in first) < _COUNTED_ROWS and (
            batch := next(batches, None)
        ):
            first.append(batch)
        width = max(out.width, 60) if out.is_terminal else _ANY_WIDTH
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.from_arrow(pa.Table.from_batches(first, schema))
            rows.show(max_width=width, max_rows=_SHOWN_ROWS, null_value="")


def _write_json(batches: Iterable[pa.RecordBatch], path: Path) -> None:
    """Write what `as_json` prints of the rows."""
    pieces = (
        batch.slice(at, _JSON_ROWS).to_pylist()
        for batch in batches
        for at in range(0, batch.num_rows, _JSON_ROWS)
    )
    with path.open("w", encoding="utf-8") as file:
        before = "["
        for rows in pieces:
            file.write(before + _json(rows)[1:-2])
            before = ","
        file.write("[]\n" if before == "[" else "\n]\n")


def _pass_on(write: Callable[[Path], object]) -> None:
    """Write a file and pass its bytes on to stdout."""
    with tempfile.TemporaryDirectory(prefix="lacus-") as directory:
        path = Path(directory) / "result"
        write(path)
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def done(message: str) -> None:
    """Say on stderr what was done."""
    mark("✓", "green", message)


def warn(message: str) -> None:
    """Say on stderr what is not as it should be."""
    mark("!", "yellow", message)


def failed(message: str) -> None:
    """Say on stderr what failed."""
    mark("✗", "red", message)


def count(number: int, noun: str) -> str:
    """Number and noun: 1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
