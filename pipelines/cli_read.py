"""Commands that read: tables, SQL, exports, snapshots, and the classification of own sources."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

import lake
from lake.query import as_query
from pipelines import progress, show
from pipelines.command import Command, examples, in_home

#: Detections or sources that `classify` shows on a terminal.
_SHOWN_ROWS = 40

FORMAT = click.Choice(["table", "csv", "json", "parquet"])


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
    from lake import contracts, models

    made = models.views().get(table) or contracts.table(table)
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
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result to a file, as `lacus export` does.",
)  # fmt: skip
@click.option("--init", is_flag=True, help="Print what attaches the lake in any DuckDB shell.")
def sql(
    home: lake.Home,
    query: str | None,
    at: str | None,
    form: str,
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
    if form == "parquet":  # the one form here that has a place for units
        from lake import query as queries

        show.arrow(queries.annotated(home.store, text, at=at).read_all(), "parquet")
        return
    show.arrow(home.store.arrow(as_query(text), at=at), form)  # type: ignore[arg-type]


@click.command(
    cls=Command,
    short_help="Write a table, view or query to a file, with units and origin.",
    epilog=examples(
        "lacus export csc.uniquely_classified -o unique.vot",
        'lacus export "SELECT name, ra, dec FROM csc.detections" -o positions.fits --at paper1',
    ),
)
@in_home
@click.argument("table_or_query")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The file.")
@click.option("--at", help="Snapshot or pin.")
def export(home: lake.Home, table_or_query: str, output: Path, at: str | None) -> None:
    """Write a table, view or query to a file, with units, UCDs and its origin.

    The format is that of the name: .parquet .csv .vot .fits .fits.gz .tex .json
    """
    _export(home, table_or_query, output, at)


def _export(home: lake.Home, text: str, output: Path, at: str | None) -> None:
    from lake import export as exports
    from lake import query

    reader = query.annotated(home.store, text, at=at)
    origin = origin_of(home, text, at, output.stem)
    with progress.shown(f"writing {output}"):
        rows = exports.export(reader, output, origin)
    show.done(f"{output}: {show.count(rows, 'row')} of snapshot {origin.snapshot}")


def origin_of(home: lake.Home, text: str, at: str | None, title: str) -> Any:
    """Say where a product comes from: query, snapshot, releases, and what to cite."""
    from importlib.metadata import version

    from lake import contracts, query
    from lake.commit import now
    from lake.export import Origin

    missions = sorted({n.split(".")[0] for n in query.reads(text)} - {"meta"})
    missions = [mission for mission in missions if mission in contracts.missions()]
    releases = home.sql(
        "SELECT DISTINCT mission || ':' || release FROM meta.releases WHERE mission <> 'meta'"
        " ORDER BY 1",
        at=at,
    ).fetchall()
    modules = [importlib.import_module(f"lake.{mission}") for mission in missions]
    return Origin(
        title=title,
        query=text.strip(),
        snapshot=home.store.snapshot() if at is None else home.store.resolve(at),
        releases=tuple(r for (r,) in releases if r.split(":")[0] in missions),
        created=now().isoformat(timespec="seconds"),
        software=f"lacus {version('lacus')}",
        citations=tuple(text for module in modules for text in module.CITATIONS),
    )


@click.command(
    cls=Command,
    short_help="Every commit: when, who, why; and the pins.",
    epilog=examples("lacus snapshots"),
)
@in_home
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def snapshots(home: lake.Home, as_json: bool) -> None:
    """List every commit: when, who, why; and the pins."""
    pins: dict[int, list[str]] = {}
    for name, snapshot in home.sql("SELECT name, snapshot FROM meta.pins").fetchall():
        pins.setdefault(snapshot, []).append(name)
    found = home.store.snapshots()
    if as_json:
        show.as_json([{**vars(s), "pins": pins.get(s.id, [])} for s in found])
        return
    show.table(
        ["snapshot", "time (UTC)", "author", "message", "pins"],
        [(s.id, s.time, s.author, s.message, ", ".join(pins.get(s.id, []))) for s in found],
        right=["snapshot"],
    )


@click.command(
    cls=Command,
    short_help="Name a snapshot, so that a paper can cite it.",
    epilog=examples("lacus pin paper1"),
)
@in_home
@click.argument("name")
@click.argument("snapshot", type=int, required=False)
def pin(home: lake.Home, name: str, snapshot: int | None) -> None:
    """Name a snapshot, the present one by default: a paper cites the name."""
    chosen = home.store.pin(name, snapshot)
    show.done(f"{name} is snapshot {chosen}")
    print(chosen)


@click.command(
    cls=Command,
    short_help="What changed between two snapshots or pins.",
    epilog=examples("lacus diff paper1 12", "lacus diff paper1 12 csc.master_class"),
)
@in_home
@click.argument("a")
@click.argument("b")
@click.argument("table", required=False)
@click.option("--format", "-f", "form", type=FORMAT, default="table", show_default=True)
def diff(home: lake.Home, a: str, b: str, table: str | None, form: str) -> None:
    """Compare two snapshots or pins, the earlier first; with TABLE, row by row."""
    from lake import diff as differ

    if table is None:
        found = differ.summary(home.store, a, b)
    else:
        found = differ.rows(home.store, a, b, table)
        counts = {
            row["values"]: row["counts"] for row in found["change"].value_counts().to_pylist()
        }
        words = [f"{counts.get(word, 0)} {word}" for word in ("added", "removed", "changed")]
        show.done(f"{table}: {', '.join(words)}")
    show.arrow(found, form)  # type: ignore[arg-type]


@click.command(
    cls=Command,
    short_help="Classify your own X-ray sources; no lake is needed.",
    epilog=examples(
        "lacus classify my_detections.vot",
        "lacus classify my_detections.csv --model lake --method posterior -o classes.fits",
    ),
)
@in_home
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default="reference", show_default=True, metavar="reference|lake|ID")
@click.option(
    "--method", type=click.Choice(["softmin", "posterior"]), default=None,
    help="softmin by default; posterior needs a model of the lake.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write every probability.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def classify(
    home: lake.Home,
    file: Path,
    model: str,
    method: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Classify your own X-ray sources; no lake is needed.

    FILE is a table of detections as the Chandra Source Catalog gives them: VOTable, FITS, CSV,
    command-line TSV or Parquet. The published classifier is used unless `--model lake` asks for
    the one that `lacus run` trained last.
    """
    from lake.csc import own, registry

    trained = None
    if model != "reference":
        trained = registry.load(home.models, _lake_model(home) if model == "lake" else model)
    table = own.read_own(file)
    classified = own.classify_table(table, model=trained, method=method or "softmin")  # type: ignore[arg-type]
    masters = own.master_classes(classified)
    if output is not None:
        from lake import export as exports

        rows = exports.export(classified, output, _own_origin(file, model, classified))
        show.done(f"{output}: {show.count(rows, 'detection')}")
    if as_json:
        show.as_json({"detections": classified.to_pylist(), "sources": masters.to_pylist()})
        return
    _show_classes("Detections", classified, ["name", "obsid"], "detection_class")
    _show_classes("Sources", masters, ["name", "detection_count"], "soft_master_class")


def _lake_model(home: lake.Home) -> str:
    found = home.sql(
        "SELECT m.model_id FROM csc.mixture_models AS m JOIN meta.releases AS r"
        " ON r.release = m.release AND r.table_name = 'csc.mixture_models'"
        " ORDER BY r.snapshot DESC LIMIT 1"
    ).fetchone()
    if found is None:
        raise lake.LacusError("this lake has no model yet; `lacus run` trains one")
    return str(found[0])


def _own_origin(file: Path, model: str, classified: pa.Table) -> Any:
    from importlib.metadata import version

    from lake import csc
    from lake.commit import now
    from lake.export import Origin

    ids = set(classified["model_id"].to_pylist())
    return Origin(
        f"Classes of {file.name}", f"lacus classify {file.name} --model {model}", None,
        tuple(f"model:{i}" for i in sorted(ids)), now().isoformat(timespec="seconds"),
        f"lacus {version('lacus')}", csc.CITATIONS,
    )  # fmt: skip


def _show_classes(title: str, data: pa.Table, named: Sequence[str], chosen: str) -> None:
    """Print class, probability, runner-up and grouped probabilities for people."""
    from lake.csc.features import AGGREGATE, CLASSES, PROBABILITIES

    column = dict(zip(CLASSES, PROBABILITIES, strict=True))
    groups: dict[str, list[str]] = {}
    for name, group in AGGREGATE.items():
        groups.setdefault(group, []).append(column[name])
    rows = []
    for row in data.to_pylist():
        best = row[chosen]
        ranked = sorted(CLASSES, key=lambda c: -(row[column[c]] or 0))
        rows.append(
            [
                *(row.get(name) for name in named),
                best,
                None if best is None else f"{row[column[best]]:.3f}",
                None if best is None else next(c for c in ranked if c != best),
                *(
                    None if best is None else f"{sum(row[p] for p in columns):.3f}"
                    for columns in groups.values()
                ),
                *([_digits(row["novelty_p_value"]), row["reason"]] if "reason" in row else
                  [row["hard_master_class"]]),
            ]
        )  # fmt: skip
    if show.out.is_terminal and len(rows) > _SHOWN_ROWS:
        title = f"{title}: the first {_SHOWN_ROWS} of {len(rows):,}; -o FILE writes all"
        rows = rows[:_SHOWN_ROWS]
    last = ["novelty p", "note"] if "reason" in data.column_names else ["hard class"]
    header = [*named, "class", "P", "runner-up", *(f"P({g})" for g in groups), *last]
    print()
    show.title(title)
    show.table(header, rows, right=["P", *(f"P({group})" for group in groups)])


def _digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


COMMANDS = (tables, describe, sql, export, snapshots, pin, diff, classify)
