"""What became of input files: the rows of `meta.files` that an ingest writes."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from lake import contracts
from lake.commit import Commit, now
from lake.fetch.folder import origins
from lake.plan import IS_COPY, Plan, Record


def enter(
    commit: Commit,
    root: Path,
    mission: str,
    release: str,
    todo: Plan,
    gone: Sequence[Record],
    taken: Sequence[Record],
) -> None:
    """Write what was taken and refused now, and what is of account no more.

    Parameters
    ----------
    commit : Commit
        Of the ingest.
    root : Path
        Of the home; its archive knows where files were fetched.
    mission, release : str
    todo : Plan
        What the lake recorded before, and the copies of files as they are now.
    gone : sequence of Record
        Files whose rows leave.
    taken : sequence of Record
        Committed and rejected ones.
    """
    here = [mission, release]
    of_release = "mission = ? AND release = ?"
    supersede = f"UPDATE lake.meta.files SET status = 'superseded' WHERE {of_release}"
    if any(r.status == "superseded" for r in todo.known):
        # Copies are on record as they are now, and as they were where they were to be replaced.
        refused = [str(r.file.path) for r in taken if r.status == "rejected"]
        where = f"{of_release} AND {IS_COPY} AND NOT list_contains(?, path)"
        commit.delete("meta.files", where, [*here, refused])
    if any(r.status == "rejected" for r in todo.known):
        commit.connection.execute(f"{supersede} AND status = 'rejected'", here)
    for role in sorted({r.file.role for r in gone}):
        hashes = [r.file.sha256 for r in gone if r.file.role == role]
        commit.connection.execute(
            f"{supersede} AND status = 'committed' AND role = ? AND sha256 IN (SELECT unnest(?))",
            [*here, role, hashes],
        )
    if entered := [*taken, *todo.copies]:
        commit.insert("meta.files", _rows(root, release, entered, commit.snapshot))


def _rows(root: Path, release: str, entered: Sequence[Record], snapshot: int) -> pa.Table:
    number, files = len(entered), [r.file for r in entered]
    urls, queries = origins(root, files)
    columns = {
        "mission": [f.mission for f in files],
        "release": [release] * number,
        "role": [f.role for f in files],
        "name": [f.path.name for f in files],
        "path": [str(f.path) for f in files],
        "url": urls,
        "query": queries,
        "size": [f.size for f in files],
        "mtime_ns": [f.mtime_ns for f in files],
        "sha256": [f.sha256 or None for f in files],
        "options": [f.options_json for f in files],
        "reader_version": [r.version for r in entered],
        "status": [r.status for r in entered],
        "reason": [r.reason for r in entered],
        "rows_read": [r.rows_read for r in entered],
        "rows_committed": [r.rows_committed for r in entered],
        "rows_rejected": [r.rows_rejected for r in entered],
        "ingested_at": [now()] * number,
        "snapshot": [snapshot] * number,
    }
    return pa.table(columns, contracts.table("meta.files").schema())
