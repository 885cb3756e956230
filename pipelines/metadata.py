"""What the UI shows beside an asset: columns with units and UCDs, counts, small pictures."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import dagster as dg

from lake import contracts, models


def column_schema(name: str) -> dg.TableSchema:
    """Columns of a table or view; a view's columns say what they are computed from."""
    view = models.views().get(name)
    if view is None:
        return dg.TableSchema(
            columns=[
                _column(c.name, c.duckdb, c.description, c.unit, c.ucd, c.nullable)
                for c in contracts.table(name).columns
            ]
        )
    types = models.view_types()[name]
    return dg.TableSchema(
        columns=[
            _column(c.name, types[c.name], _with_sources(c), c.unit, c.ucd) for c in view.columns
        ]
    )


def _with_sources(column: models.ViewColumn) -> str:
    """Say the lineage in words: the open-source UI draws none for columns."""
    shown = [f"{table}.{name}" for table, name in column.sources[:4]]
    more = ["..."] if len(column.sources) > 4 else []
    return f"{column.description} (from {', '.join(shown + more)})" if shown else column.description


def _column(
    name: str, kind: str, text: str, unit: str | None, ucd: str | None, nullable: bool = True
) -> dg.TableColumn:
    tags = {key: value for key, value in {"unit": unit, "ucd": ucd}.items() if value}
    return dg.TableColumn(name, kind, text, dg.TableColumnConstraints(nullable=nullable), tags=tags)


def lineage(name: str) -> dg.TableColumnLineage | None:
    """Column lineage of a view; None for a table."""
    view = models.views().get(name)
    if view is None:
        return None
    return dg.TableColumnLineage(
        {
            column.name: [dg.TableColumnDep(key(table), source) for table, source in column.sources]
            for column in view.columns
        }
    )


def key(name: str) -> dg.AssetKey:
    """Asset key of a table or view: ``csc.detections`` is ``csc/detections``."""
    return dg.AssetKey(name.split("."))


def bars(counts: Mapping[str, float]) -> dg.MarkdownMetadataValue | None:
    """A bar chart small enough to show at once; None if there is nothing to show."""
    top = max(counts.values(), default=0)
    if not top:
        return None
    widths = [round(110 * value / top) for value in counts.values()]
    strokes = "".join(f"M60,{12 * i + 6}h{width}" for i, width in enumerate(widths))
    drawn = f"<path d='{strokes}' stroke='%2336c' stroke-width='8'/>{_labels(counts)}"
    return _picture("bars", 180, 12 * len(counts), drawn)


def heat(shares: Sequence[Sequence[float]], names: Sequence[str]) -> dg.MarkdownMetadataValue:
    """A small square of shades, one row for each true class; see `bars`."""
    cells = "".join(
        f"<path d='M{60 + 20 * column},{12 * row + 6}h20' opacity='{share:.1g}'/>"
        for row, line in enumerate(shares)
        for column, share in enumerate(line)
        if share >= 0.005
    )
    drawn = f"<g stroke='%2336c' stroke-width='12'>{cells}</g>{_labels(names)}"
    return _picture("confusion", 60 + 20 * len(names), 12 * len(names), drawn)


def _labels(names: Iterable[str]) -> str:
    lines = "".join(f"<tspan x='0' dy='12'>{name}</tspan>" for name in names)
    return f"<text y='-3' font-size='9'>{lines}</text>"


def _picture(name: str, width: int, height: int, drawn: str) -> dg.MarkdownMetadataValue:
    """Inline an SVG, quoting no more than a data URI inside Markdown needs."""
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'>{drawn}</svg>"
    return dg.MarkdownMetadataValue(f"![{name}](<data:image/svg+xml,{quote(svg, safe=_SAFE)}>)")


#: Characters that a data URI in angle brackets bears unquoted; % is ours, quoted already.
_SAFE = "=:/'*.,% "


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table; None becomes an empty cell."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)
    return dg.MarkdownMetadataValue(text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
