"""What changed among the detections of a release: of its sources, only those that were touched.

What a classifier reads of a detection is compared: its features, its label, and the file that
its rows name.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from lake import contracts, models
from lake.commit import only
from lake.csc.features import FEATURES, feature_matrix, label_codes
from lake.freshness import base_tables
from lake.store import Store

_KEY = ("name", "obsid", "obi", "region_id")
_FILE = ", file_sha256"
_VIEW = "csc.labelled_features"


@dataclass(frozen=True)
class Changes:
    """What differs between two states of a release.

    Attributes
    ----------
    rows : pyarrow.Table
        Detections (`csc.labelled_features`) of the sources that differ as they are now, ordered
        by name, obsid and row of the file; none of the sources that are gone.
    names : pyarrow.Table
        Column name: these sources, those that are gone included.
    detections : int
        Detections added, removed, or changed in a feature or in their label. Another file that
        says the same is no change here, though its rows are among `rows`: they name their file.
    moved : int
        Those of them that were added, removed or changed in a feature.
    labelled : int
        Those of them that have, or had, all features and one of the ten classes for a label.
    """

    rows: pa.Table
    names: pa.Table
    detections: int
    moved: int
    labelled: int


def changes(store: Store, release: str, then: int | None, now: int) -> Changes | None:
    """Find the detections that differ between two snapshots, in a time that follows their number.

    The tables tell which sources were touched; what a classifier reads of these is compared, so
    that a file that was corrected in a few rows counts for these alone.

    Parameters
    ----------
    store : Store
    release : str
    then, now : int
        Snapshots, the earlier first.

    Returns
    -------
    Changes or None
        None if it cannot be told: the earlier snapshot is unknown or was expired, or the views
        read the detections otherwise then.
    """
    known = {snapshot.id for snapshot in store.snapshots()}
    if then is None or then not in known or then >= now:
        return None
    with store.connect(at=now) as connection:
        connection.execute(store.attach_sql(at=then, name="was"))
        if _text(connection, "was") != _text(connection, "lake"):
            return None
        touched = " UNION ".join(
            f"SELECT name FROM ducklake_table_{kind}('lake', 'csc', '{table}', {then + 1}, {now})"
            " WHERE release = $1"
            for table in ("detections", "labels")
            for kind in ("insertions", "deletions")
        )
        connection.execute(f"CREATE TEMP TABLE touched AS {touched}", [release])
        connection.execute("ATTACH ':memory:' AS part; CREATE SCHEMA part.csc; USE part")
        for side, table in (("was", "before"), ("lake", "after")):
            _read(connection, side, release, table)
        return _compared(connection)


def between(store: Store, other: str, release: str, now: int) -> Changes:
    """Find the detections in which a release differs from another one.

    Parameters
    ----------
    store : Store
    other, release : str
    now : int
        Snapshot.
    """
    with store.connect(at=now) as connection:
        for side, table in ((other, "before"), (release, "after")):
            connection.execute(
                f"CREATE TEMP TABLE {table} AS SELECT * FROM {_VIEW} WHERE release = ?", [side]
            )
        return _compared(connection)


def _compared(connection: duckdb.DuckDBPyConnection) -> Changes:
    """Compare the temporary tables `before` and `after`."""
    whole = ", ".join((*_KEY, *FEATURES, "main_type"))
    differing = connection.execute(_differing(whole)).to_arrow_table()
    keys = ", ".join((*_KEY, *FEATURES))
    moved = f"SELECT count(DISTINCT ({', '.join(_KEY)})) FROM ({_differing(keys)})"
    connection.execute(
        f"CREATE TEMP TABLE other AS SELECT DISTINCT name FROM ({_differing(whole + _FILE)})"
    )
    rows = "SELECT * FROM after WHERE name IN (FROM other) ORDER BY name, obsid, file_row"
    return Changes(
        connection.execute(rows).to_arrow_table(),
        connection.execute("FROM other ORDER BY name").to_arrow_table(),
        _detections(differing),
        int(only(connection.execute(moved).fetchone())),
        _detections(differing.filter(_taught(differing))),
    )


def _read(connection: duckdb.DuckDBPyConnection, side: str, release: str, table: str) -> None:
    """Read the touched sources on one side into a temporary table.

    The views are laid over these sources alone: what they join and rank is as little as that.
    """
    for below in base_tables([_VIEW]):
        connection.execute(
            f"CREATE OR REPLACE VIEW {below} AS SELECT * FROM {side}.{below}"
            f" WHERE release = {contracts.literal(release)} AND name IN (FROM temp.touched)"
        )
    for view in _views():
        connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS {view.sql}")
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM {_VIEW}")


def _views() -> list[models.View]:
    """The view that is read and those below it, in an order in which they can be made."""
    made = models.views()
    wanted = {_VIEW}
    for name in reversed(made):
        wanted |= set(made[name].depends) if name in wanted else set()
    return [view for name, view in made.items() if name in wanted]


def _text(connection: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, str]:
    """Texts of these views as a lake has them."""
    rows = connection.execute(
        "SELECT schema_name || '.' || view_name, sql FROM duckdb_views() WHERE database_name = ?",
        [catalog],
    ).fetchall()
    names = {view.name for view in _views()}
    return {name: text for name, text in rows if name in names}


def _differing(columns: str) -> str:
    """Query for what either side says that the other does not."""
    before, after = (f"SELECT {columns} FROM {side}" for side in ("before", "after"))
    return f"({before} EXCEPT ALL {after}) UNION ALL ({after} EXCEPT ALL {before})"


def _detections(rows: pa.Table) -> int:
    """Different detections among some rows."""
    return rows.group_by(list(_KEY)).aggregate([]).num_rows


def _taught(rows: pa.Table) -> pa.Array:
    """Whether a model learns a class from a row."""
    complete = ~np.isnan(feature_matrix(rows)).any(axis=1)
    return pa.array(complete & (label_codes(rows["main_type"]) >= 0))
