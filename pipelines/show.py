"""Results for people and for programs: tables, JSON, CSV, Parquet on stdout."""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.progress import err

out = Console()

Format = Literal["table", "csv", "json", "parquet"]

#: Rows that a table for people shows.
_SHOWN_ROWS = 40


def table(
    title: str | None,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
) -> None:
    """Print a table for people."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in header:
        made.add_column(
            name, justify="right" if name in right else "left", overflow="fold", no_wrap=False
        )
    for row in rows:
        made.add_row(*map(text, row))
    out.print(made, highlight=False, markup=False)


def text(value: object) -> str:
    """One value for people; an absent one is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) > 99_999 else str(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def as_json(value: object) -> None:
    """Print JSON; times are ISO 8601, NaN is null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def arrow(data: pa.Table, form: Format) -> None:
    """Print the rows of a table in one of the forms."""
    if form == "json":
        as_json(data.to_pylist())
    elif form == "csv":
        import pyarrow.csv

        sink = io.BytesIO()
        pyarrow.csv.write_csv(data, sink)
        sys.stdout.buffer.write(sink.getvalue())
        sys.stdout.buffer.flush()
    elif form == "parquet":
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(data, sink, compression="zstd")
        sys.stdout.buffer.write(sink.getvalue())
        sys.stdout.buffer.flush()
    else:
        import duckdb

        # DuckDB draws its own box, which those who use its shell know.
        with duckdb.connect() as connection:
            connection.from_arrow(data).show(
                max_width=max(out.width, 60), max_rows=_SHOWN_ROWS, null_value=""
            )


def done(message: str) -> None:
    """Say on stderr what was done."""
    err.print(f"[green]✓[/] {message}", highlight=False)


def warn(message: str) -> None:
    """Say on stderr what is not as it should be."""
    err.print("[yellow]![/]", message, highlight=False, markup=True)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
