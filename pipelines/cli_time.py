"""Commands of the lake's history: snapshots, pins, differences, clean-up, withdrawal, migration."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa

import lake
from lake.history import Change
from pipelines import progress, show
from pipelines.cli_read import FORMAT, origin_of
from pipelines.command import Command, Product, examples, in_home
from pipelines.update import RENEWED


@click.command(
    cls=Command,
    short_help="Every commit: when, who, why, what; and the pins.",
    epilog=examples(
        "lacus snapshots", "lacus snapshots csc.class_probabilities", "lacus snapshots -n 5 --json"
    ),
)
@in_home
@click.argument("table", required=False)
@click.option("--limit", "-n", type=click.IntRange(1), help="Only so many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def snapshots(home: lake.Home, table: str | None, limit: int | None, as_json: bool) -> None:
    """List every commit, the newest last: when, who, why, which tables it changed; and the pins.

    A table is shown with its rows after the commit and, in brackets, how many more or less these
    are than before. TABLE lists only the commits that changed it.
    """
    from lake import contracts, history

    found = history.entries(home.store)
    if table is not None:
        contracts.table(table)
        found = [entry for entry in found if table in {c.table for c in entry.changes}]
    found = found[-limit:] if limit else found
    if as_json:
        show.as_json(
            [
                {**vars(e.snapshot), "pins": e.pins, "changes": [vars(c) for c in e.changes]}
                for e in found
            ]
        )
        return
    rows = [
        (
            e.snapshot.id, e.snapshot.time, e.snapshot.author, e.snapshot.message,
            ", ".join(map(_grown, e.changes)), ", ".join(e.pins),
        )
        for e in found
    ]  # fmt: skip
    show.table(
        ["snapshot", "time (UTC)", "author", "message", "tables: rows", "pins"],
        rows,
        right=["snapshot"],
    )


def _grown(change: Change) -> str:
    more = change.rows - (change.rows_before or 0)
    words = f"{change.table}: {show.text(change.rows)}"
    return f"{words} ({more:+,})" if change.rows_before is not None and more else words


@click.command(
    cls=Command,
    short_help="Name a snapshot, so that a paper can cite it.",
    epilog=examples("lacus pin paper1", "lacus pin paper1-draft 17", "lacus unpin paper1-draft"),
)
@in_home
@click.argument("name")
@click.argument("snapshot", type=int, required=False)
def pin(home: lake.Home, name: str, snapshot: int | None) -> None:
    """Name a snapshot, the present one by default: a paper cites the name.

    No clean-up takes a pinned snapshot, nor anything that it needs. Its products (figures, region
    tables) are copied, with their checksums: the next run writes them anew in their place.
    """
    from lake import pins

    with _renewal_told(home):
        found = pins.pin(home, name, snapshot)
    show.done(f"{name} is snapshot {found.snapshot}")
    if found.kept:
        show.done(f"{show.count(len(found.kept), 'product')} of it: {found.folder}")
    if found.lost:
        show.warn(
            f"{show.count(len(found.lost), 'product')} written anew since snapshot"
            f" {found.snapshot}, and not kept: {', '.join(found.lost[:3])}"
            f"{', ...' if len(found.lost) > 3 else ''}"
        )
    print(found.snapshot)


@click.command(
    cls=Command,
    short_help="Take a pin away.",
    epilog=examples("lacus unpin paper1-draft"),
)
@in_home
@click.argument("name")
def unpin(home: lake.Home, name: str) -> None:
    """Take a pin away: the next clean-up may take its snapshot, and the copies of its products."""
    _lake(home)
    with _renewal_told(home):
        snapshot = home.store.unpin(name)
    show.done(f"snapshot {snapshot} is called {name} no more; `lacus gc` may take it")


@click.command(
    cls=Command,
    short_help="What changed between two snapshots or pins.",
    epilog=examples(
        "lacus diff paper1 12",
        "lacus diff paper1 12 csc.class_probabilities",
        "lacus diff paper1 12 csc.master_class --summary -f json",
        "lacus diff paper1 12 sdss.cnn_predictions -o changes.vot",
    ),
)
@in_home
@click.argument("a")
@click.argument("b")
@click.argument("table", required=False)
@click.option("--format", "-f", "form", type=FORMAT, default="table", show_default=True)
@click.option("--summary", is_flag=True, help="Only the numbers, and the classes by class.")
@click.option(
    "--output", "-o", type=Product(), help="Write the rows to a file, as `lacus export` does."
)
def diff(
    home: lake.Home,
    a: str,
    b: str,
    table: str | None,
    form: show.Format,
    summary: bool,
    output: Path | None,
) -> None:
    """Compare two snapshots or pins, the earlier first; with TABLE, row by row.

    TABLE may be a view. Where its rows have a class, those whose class differs are reclassified:
    they are counted by former and present class, and show both, with their probabilities. A row
    that another model made is still the same row.
    """
    from lake import diff as differ
    from lake import export as exports

    if table is None:
        if summary or output is not None:
            raise lake.UsageError("--summary and --output go with a table")
        _differing(differ.summary(home.store, a, b), form, "no table differs")
        return
    with progress.shown(f"comparing {table}"):
        found = differ.differences(home.store, a, b, table)
    show.done(f"{table}: {', '.join(f'{n:,} {word}' for word, n in found.counts.items())}")
    if output is not None:
        origin = origin_of(home, table, b, output.stem)
        origin = dataclasses.replace(origin, query=f"lacus diff {a} {b} {table}")
        rows = exports.export(found.rows.to_reader(), output, origin)
        show.done(f"{output}: {show.count(rows, 'row')}")
        return
    classes = found.classes
    if summary and form == "json":
        counted = [] if classes is None else classes.to_pylist()
        show.as_json({"table": table, "counts": found.counts, "classes": counted})
        return
    nothing = "nothing differs"
    # A person reads both tables; a program, one.
    if classes is not None and (summary or (form == "table" and classes.num_rows)):
        _differing(classes, form, "no class differs" if found.rows.num_rows else nothing)
    if not summary:
        _differing(found.rows, form, nothing)


def _differing(rows: pa.Table, form: show.Format, nothing: str) -> None:
    """Print what differs; people are told in words if nothing does."""
    if form == "table" and not rows.num_rows:
        show.done(nothing)
    else:
        show.arrow(rows, form)


@click.command(
    cls=Command,
    short_help="Clean up: take old snapshots and what only they need.",
    epilog=examples(
        "lacus gc --dry-run", "lacus gc --keep-pins --older-than 90d", "lacus gc --older-than 0d"
    ),
)
@in_home
@click.option(
    "--older-than", default="90d", show_default=True, metavar="AGE",
    help="Snapshots of this age go: 12h, 90d, 2w.",
)  # fmt: skip
@click.option("--keep-pins", is_flag=True, help="Keep what is pinned; it always is.")
@click.option("--dry-run", "-n", is_flag=True, help="Only list what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(home: lake.Home, older_than: str, keep_pins: bool, dry_run: bool, as_json: bool) -> None:
    """Clean up: take old snapshots and what only they need.

    Those go that are older than AGE, but never the present one, nor one that is pinned (`lacus
    unpin` takes a pin away). With them go the data files, products and models that no other
    snapshot names, and what killed writers left. Small data files are put together; those that
    they were made from go with the snapshots that need them. Files that Lacus did not write are
    never touched.
    """
    from lake import upkeep

    _lake(home)
    with _renewal_told(home), progress.shown("cleaning up"):
        found = upkeep.clean(home, upkeep.age(older_than), dry_run=dry_run)
    if as_json:
        show.as_json(
            {
                "dry_run": dry_run,
                "snapshots": [snapshot.id for snapshot in found.snapshots],
                "pinned": [snapshot.id for snapshot in found.pinned],
                "files": [vars(file) for file in found.files],
                "compacted": [
                    {"table": g.table, "release": g.release or None, "files": len(g.files)}
                    for g in found.groups
                ],
                "bytes": found.size,
            }
        )
        return
    if dry_run:
        rows = [("snapshot", "-", f"{s.id}: {s.message or ''}") for s in found.snapshots]
        rows += [(f.kind, _bytes(f.size), str(f.path)) for f in found.files]
        if rows:
            show.table(["what", "size", "name"], rows, right=["size"])
    would, become = ("would go", "would become") if dry_run else ("freed", "became")
    for g in found.groups:
        what = f"{g.table} {g.release}".strip()
        show.done(f"{what}: {show.count(len(g.files), 'small file')} {become} one")
    kinds = Counter(file.kind for file in found.files)
    words = [show.count(len(found.snapshots), "snapshot")]
    words += [show.count(number, f"{kind} file") for kind, number in sorted(kinds.items())]
    show.done(f"{', '.join(words)}, {_bytes(found.size)} {would}")
    if found.pinned:
        show.done(f"{show.count(len(found.pinned), 'old snapshot')} pinned: kept")


def _bytes(size: int) -> str:
    """Give a size as people write it."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


@click.command(
    cls=Command,
    short_help="Withdraw a release: from the sources and from the lake.",
    epilog=examples("lacus remove csc CSC2.0 --dry-run", "lacus remove csc CSC2.0 --yes"),
)
@in_home
@click.argument("mission")
@click.argument("release")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would leave.")
def remove(home: lake.Home, mission: str, release: str, yes: bool, dry_run: bool) -> None:
    """Withdraw a release: from the sources and, in one commit, from all tables of the lake.

    Its input files stay where they are, and on record in meta.files as superseded, "withdrawn".
    Former snapshots and pins still have the release.
    """
    from lake import withdraw

    found = withdraw.look(home, mission, release)
    rows = [(name, number) for name, number in found.rows.items()]
    if rows:
        show.table(["table", "rows"], rows, right=["rows"])
    words = [show.count(len(found.sources), "registered path"), show.count(found.files, "file")]
    words.append(show.count(found.products, "product"))
    show.done(
        f"{mission} {release}: {', '.join(words)}, {show.count(sum(found.rows.values()), 'row')}"
    )
    if dry_run:
        return
    if not yes:
        click.confirm(f"Withdraw {mission} {release}?", abort=True, err=True)
    waiting = lambda: show.warn(f"{mission} {release} is being ingested; waiting")  # noqa: E731
    with _renewal_told(home):
        found = withdraw.withdraw(home, mission, release, waiting)
    _forget_partition(home, mission, release)
    show.done(f"{mission} {release} is withdrawn")
    if found.snapshot is not None:
        show.done(
            f"its last state is snapshot {found.snapshot}: `lacus sql ... --at {found.snapshot}`,"
            f" or `lacus pin NAME {found.snapshot}` to keep it from clean-ups"
        )
    if any(pair[0] == mission for pair in home.releases()):
        show.done("`lacus run` renews what is made from all releases")


def _forget_partition(home: lake.Home, mission: str, release: str) -> None:
    """Take the release from Dagster's partitions, if Dagster ever saw it."""
    from pipelines import jobs
    from pipelines.partitions import RELEASES

    if not home.dagster.exists():
        return
    with jobs.instance(home) as dagster:
        name = str(RELEASES[mission].name)
        if dagster.has_dynamic_partition(name, release):
            dagster.delete_dynamic_partition(name, release)


@click.command(
    cls=Command,
    short_help="Bring the lake into line with the present contracts.",
    epilog=examples("lacus migrate --dry-run", "lacus migrate --allow-destructive"),
)
@in_home
@click.option(
    "--allow-destructive", is_flag=True,
    help="Also drop columns and tables that are declared no more, and change types for which not"
    " every value has a place.",
)  # fmt: skip
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would change.")
def migrate(home: lake.Home, allow_destructive: bool, dry_run: bool) -> None:
    """Bring the lake into line with the present contracts, in one transaction.

    New tables, columns, views and wider types need no command: the next commit makes them. What
    would lose values is made only here, and on demand; former snapshots still have the values.
    """
    from lake import health
    from lake import migrate as migrations

    _lake(home)
    if health.in_line(home.store):
        show.done("the lake is in line with the present contracts")
        return
    with home.store.connect() as connection:
        changes = migrations.changes(connection)
    for change in changes:
        say = show.warn if change.destructive else show.done
        say(f"{change.what}{' (loses values)' if change.destructive else ''}")
    if dry_run:
        show.done("descriptions and views would be renewed")
        return
    before = home.store.snapshot()
    home.store.migrate(destructive=allow_destructive)
    show.done(f"migrated; the former state is snapshot {before}")


def _lake(home: lake.Home) -> None:
    """Raise LacusError if there is no lake."""
    home.store.snapshot()


@contextlib.contextmanager
def _renewal_told(home: lake.Home) -> Iterator[None]:
    """Say it if the lake lags behind the contracts and a commit within brings it into line."""
    from lake import health

    lagged = not health.in_line(home.store)
    try:
        yield
    finally:
        if lagged and health.in_line(home.store):
            show.done(RENEWED)


COMMANDS = (snapshots, pin, unpin, diff, gc, remove, migrate)
