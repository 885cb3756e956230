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

from pipelines.progress import mark

out = Console(soft_wrap=True, highlight=False, markup=False)

Format = Literal["table", "csv", "json", "parquet"]

#: Rows that a table for people shows.
_SHOWN_ROWS = 40
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
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(_plain(value), indent=2, ensure_ascii=ascii_only))


def arrow(data: pa.Table, form: Format) -> None:
    """Print the rows of a table in one of the forms; Parquet keeps units in its Arrow schema."""
    if form == "json":
        as_json(data.to_pylist())
    elif form == "csv":
        from lake.formats.text_write import write_csv

        _pass_on(lambda path: write_csv(data.to_batches(), data.schema, path))
    elif form == "parquet":
        import pyarrow.parquet as pq

        _pass_on(lambda path: pq.write_table(data, path, compression="zstd"))
    else:
        import duckdb

        # DuckDB draws its own box, which those who use its shell know.
        width = max(out.width, 60) if out.is_terminal else _ANY_WIDTH
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.from_arrow(data).show(max_width=width, max_rows=_SHOWN_ROWS, null_value="")


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
