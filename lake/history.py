"""What every commit did: which tables of which releases it changed, and how their rows grew."""

from dataclasses import dataclass, field

from lake.reading import Reading, Snapshot

#: What each commit wrote of `meta.releases`, without what a compaction wrote again.
_CHANGES = """
SELECT snapshot_id, table_name, release, rows,
    lag(rows) OVER (PARTITION BY table_name, release ORDER BY snapshot_id) AS rows_before
FROM ducklake_table_insertions('lake', 'meta', 'releases', {first}, {last})
WHERE snapshot = snapshot_id AND mission <> 'meta'
ORDER BY snapshot_id, table_name
"""


@dataclass(frozen=True)
class Change:
    """A table of a release that a commit changed.

    `rows_before` is null for the first of its commits that is still there.
    """

    table: str
    release: str
    rows: int
    rows_before: int | None


@dataclass(frozen=True)
class Entry:
    """A snapshot, its pins, and what its commit changed."""

    snapshot: Snapshot
    pins: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def entries(store: Reading) -> list[Entry]:
    """All snapshots, the newest last."""
    found = {snapshot.id: Entry(snapshot) for snapshot in store.snapshots()}
    for name, snapshot in store.sql("SELECT name, snapshot FROM meta.pins ORDER BY 1").fetchall():
        if snapshot in found:
            found[snapshot].pins.append(name)
    query = _CHANGES.format(first=min(found), last=max(found))
    for snapshot, *change in store.sql(query).fetchall():
        if snapshot in found:  # of one that a clean-up took, the rows may still be needed
            found[snapshot].changes.append(Change(*change))
    for entry in found.values():
        info = entry.snapshot.info
        if "withdrawn" in info:
            entry.changes.extend(
                Change(table, info["withdrawn"], 0, rows) for table, rows in info["rows"].items()
            )
    return list(found.values())
