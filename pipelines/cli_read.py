"""Commands that read the lake: tables, SQL, exports, pictures."""

import re
import sys
from pathlib import Path
from typing import Any, get_args

import click

import lake
from lake.missions import offered, offering
from lake.query import annotated, as_query, in_order, streamed
from pipelines import progress, show
from pipelines.command import Command, Product, examples, in_home

FORMAT = click.Choice(get_args(show.Format))


@click.command(
    cls=Command,
    short_help="All tables and views, and what a row of each is.",
    epilog=examples("lacus tables"),
)
@in_home
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tables(home: lake.Home, as_json: bool) -> None:
    """List all tables and views, and what a row of each is."""
    from lake import contracts, models

    counts = {}
    if home.store.exists:
        counts = dict(
            home.sql("SELECT table_name, sum(rows) FROM meta.releases GROUP BY ALL").fetchall()
        )
    rows = [
        {"name": t.name, "kind": "table", "rows": counts.get(t.name), "description": t.description}
        for t in contracts.tables().values()
    ]
    rows += [
        {"name": v.name, "kind": "view", "rows": None, "description": v.description}
        for v in models.views().values()
    ]
    rows.sort(key=lambda row: str(row["name"]))
    if as_json:
        show.as_json(rows)
    else:
        header = ["name", "kind", "rows", "description"]
        show.table(header, [list(row.values()) for row in rows], right=["rows"])


@click.command(
    cls=Command,
    short_help="Columns of a table or view: type, unit, UCD, meaning.",
    epilog=examples("lacus describe csc.detections"),
)
@in_home
@click.argument("table")
@click.option("--at", help="Snapshot or pin.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(home: lake.Home, table: str, at: str | None, as_json: bool) -> None:
    """Describe the columns of a table or view: type, unit, UCD, meaning."""
    from lake import models

    made = models.named(table)
    if home.store.exists:
        columns = home.sql(
            "SELECT column_name, datatype, unit, ucd, description, origin FROM meta.columns"
            " WHERE table_name = ? ORDER BY position",
            [table],
            at=at,
        ).fetchall()
    else:
        types = models.view_types().get(table, {})
        columns = [
            (c.name, types.get(c.name) or getattr(c, "duckdb", ""), c.unit, c.ucd, c.description,
             "view" if table in types else "contract")
            for c in made.columns
        ]  # fmt: skip
    header = ["column", "type", "unit", "ucd", "description", "origin"]
    if as_json:
        rows = [dict(zip(header, row, strict=True)) for row in columns]
        show.as_json(
            {
                "name": table,
                "description": made.description,
                "key": list(made.key),
                "columns": rows,
            }
        )
        return
    show.title(table)
    print(f"{made.description}\nkey: {', '.join(made.key)}\n")
    show.table(header[:-1], [row[:-1] for row in columns])


@click.command(
    cls=Command,
    short_help="Query the lake in SQL.",
    epilog=examples(
        'lacus sql "SELECT class, soft_sources FROM csc.class_summary"',
        "lacus sql csc.class_summary -f csv",
        "lacus sql --init > lake.sql; duckdb -init lake.sql",
    ),
)
@in_home
@click.argument("query", required=False)
@click.option("--at", help="Snapshot or pin.")
@click.option("--format", "-f", "form", type=FORMAT, default="table", show_default=True)
@click.option(
    "--output", "-o", type=Product(), help="Write the result to a file, as `lacus export` does."
)
@click.option("--init", is_flag=True, help="Print what attaches the lake in any DuckDB shell.")
def sql(
    home: lake.Home,
    query: str | None,
    at: str | None,
    form: show.Format,
    output: Path | None,
    init: bool,
) -> None:
    """Query the lake in DuckDB's SQL; a table's name alone gives all of it, `-` reads stdin."""
    if init:
        home.store.snapshot()  # there is a lake, and it opens
        snapshot = None if at is None else home.store.resolve(at)
        print("INSTALL ducklake; LOAD ducklake;\nINSTALL sqlite; LOAD sqlite;")
        print(f"{home.store.attach_sql(at=snapshot)};\nUSE lake;")
        return
    if query is None:
        raise lake.UsageError("give a query, - to read it from stdin, or --init")
    text = sys.stdin.read() if query == "-" else query
    if output is not None:
        _export(home, text, output, at)
        return
    # Parquet is the one form here that has a place for units.
    read = annotated if form == "parquet" else streamed
    with read(home.store, text, at=at) as rows:
        show.arrow(rows, form)


@click.command(
    cls=Command,
    short_help="Write a table, view or query to a file, with units and origin.",
    epilog=examples(
        "lacus export csc.uniquely_classified -o unique.vot",
        'lacus export "SELECT name, ra, dec FROM csc.detections" -o positions.fits --at paper1',
        "lacus export csc.detections -o detections.hats",
        "lacus export ogip.spectra --where \"telescope = 'CHANDRA'\" -o spectra/",
    ),
)
@in_home
@click.argument("table_or_query")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="The file or folder."
)
@click.option("--where", metavar="CONDITION", help="Only the rows of the table that meet it.")
@click.option("--at", help="Snapshot or pin.")
def export(
    home: lake.Home, table_or_query: str, output: Path, where: str | None, at: str | None
) -> None:
    """Write a table, view or query to a file, with units, UCDs and its origin.

    The format is that of the name: .parquet .csv .vot .fits .fits.gz .tex .json, or .hats for a
    HATS catalogue, a folder of Parquet files by place on the sky, which LSDB loads; its rows need
    positions. Any other name is that of a folder, into which the files that the rows came from
    are written again, where the table has such files (ogip.spectra).
    """
    from lake import export as exports
    from lake import originals

    text = _chosen(table_or_query, where)
    if not exports.has_format(output) and originals.writer(table_or_query):
        at = str(home.store.snapshot()) if at is None else at
        origin = origin_of(home, text, at, output.name)
        with progress.shown(f"writing {output}"):
            rows = as_query(text)
            paths = originals.write(home.store, table_or_query, rows, output, origin, at=at)
        show.done(f"{output}: {show.count(len(paths), 'file')} of snapshot {origin.snapshot}")
        return
    _export(home, text, output, at)


def _chosen(table_or_query: str, where: str | None) -> str:
    """Query for the rows of a table that meet a condition."""
    if where is None:
        return table_or_query
    query = as_query(table_or_query)
    if query == table_or_query:
        raise lake.UsageError("--where goes with the name of a table; a query has a WHERE itself")
    return in_order(f"{query} WHERE {where}", table_or_query)


def _export(home: lake.Home, text: str, output: Path, at: str | None) -> None:
    from lake import export as exports
    from lake import query

    while True:
        origin = origin_of(home, text, at, output.stem)
        reader = query.annotated(home.store, text, at=at)
        # A commit may have come between: then the reader sees more than the origin says.
        if at is not None or home.store.snapshot() == origin.snapshot:
            break
    with progress.shown(f"writing {output}"):
        rows = exports.export(reader, output, origin)
    show.done(f"{output}: {show.count(rows, 'row')} of snapshot {origin.snapshot}")


def origin_of(home: lake.Home, text: str, at: str | None, title: str) -> Any:
    """Say where a product comes from: query, snapshot, releases, and what to cite."""
    from lake import contracts, query
    from lake.export import Origin

    read = {name.split(".")[0] for name in query.reads(text)}
    missions = sorted(read & set(contracts.missions()))
    releases = home.sql(
        "SELECT DISTINCT mission || ':' || release FROM meta.releases WHERE mission <> 'meta'"
        " ORDER BY 1",
        at=at,
    ).fetchall()
    return Origin.now(
        title,
        text.strip(),
        snapshot=home.store.snapshot() if at is None else home.store.resolve(at),
        releases=(r for (r,) in releases if r.split(":")[0] in missions),
        citations=(text for mission in missions for text in offered(mission, "CITATIONS")),
    )


@click.command(
    cls=Command,
    short_help="The standard picture of one object.",
    epilog=examples(
        "lacus plot sdss 0390-51900-0282",
        'lacus plot csc "2CXO J004244.3+411608" -o source.svg',
    ),
)
@in_home
@click.argument("mission")
@click.argument("identifier", metavar="ID")
@click.option("--release", "-r", help="The newest that has the object by default.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="The file: .png, .svg or .pdf; the object's name with .png by default.",
)  # fmt: skip
def plot(
    home: lake.Home, mission: str, identifier: str, release: str | None, output: Path | None
) -> None:
    """Draw the standard picture of one object: a source's classes, a spectrum with its lines."""
    from lake import figures

    drawing = offering("plot")
    if mission not in drawing:
        raise lake.UsageError(f"no pictures of {mission!r}; there are of {', '.join(drawing)}")
    name = re.sub(r"[^\w.+-]+", "_", identifier)
    path = output or Path(f"{mission}-{name}.png")
    picture = offered(mission, "plot")(home, identifier, release)
    show.done(str(figures.save(picture, path)))


COMMANDS = (tables, describe, sql, export, plot)
