"""Chunks of files that an ingest has read and staged, kept for the one after an interruption.

A note beside the staged Parquet files says what became of each input file. A note is of use while
the files, their options, the reader and the contracts are the same.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lake import contracts, migrate
from lake.inputs import RecordRole
from lake.intake import Batch
from lake.plan import Record
from lake.staging import Staged
from lake.store import Store
from lake.whole import write_whole

Place = tuple[str, int, int, str]
"""What must be the same for a file to count as read: path, size, time, options."""


def place(record: Record) -> Place:
    """Give the place of a file."""
    file = record.file
    return (str(file.path), file.size, file.mtime_ns, file.options_json)


def _heading(mission: str, release: str, role: RecordRole) -> dict[str, Any]:
    """What must be the same for a finished chunk to be of use."""
    return {
        "mission": mission,
        "release": release,
        "role": role.name,
        "version": role.version,
        "contracts": migrate.digest(),
    }


def note(directory: Path, mission: str, release: str, role: RecordRole, batch: Batch) -> None:
    """Leave a note that a chunk is finished; until it is there, the chunk counts for nothing."""
    files = [
        [*place(r), r.file.sha256, r.status, r.reason, r.rows_read, r.rows_committed,
         r.rows_rejected]
        for r in batch.records
    ]  # fmt: skip
    content = _heading(mission, release, role) | {
        "files": files,
        "staged": [[s.table, s.path.name, s.rows] for s in batch.staged],
    }
    path = directory / "staging" / f"{uuid.uuid4()}.chunk.json"
    write_whole(path, json.dumps(content))


def finished(
    directory: Path,
    mission: str,
    release: str,
    role: RecordRole,
    wanted: Mapping[Place, Record],
) -> Iterator[Batch]:
    """Chunks that an earlier ingest of the release finished; those of no use any more go."""
    heading = _heading(mission, release, role)
    for path in sorted((directory / "staging").glob("*.chunk.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if any(content[k] != heading[k] for k in ("mission", "release", "role")):
            continue
        places = [tuple(entry[:4]) for entry in content["files"]]
        staged = [
            Staged(table, release, path.with_name(name), rows, contracts.table(table).schema())
            for table, name, rows in content["staged"]
        ]
        same = all(content[k] == v for k, v in heading.items())
        if same and all(p in wanted for p in places) and all(s.path.exists() for s in staged):
            yield Batch(
                [_restored(wanted[tuple(e[:4])], e[4:]) for e in content["files"]],
                staged,
            )
        else:
            path.unlink()
            for left in staged:
                left.path.unlink(missing_ok=True)


def _restored(record: Record, rest: list[Any]) -> Record:
    sha256, status, reason, read, committed, rejected = rest
    file = replace(record.file, sha256=sha256)
    return replace(
        record, file=file, status=status, reason=reason, rows_read=read,
        rows_committed=committed, rows_rejected=rejected,
    )  # fmt: skip


def forget(store: Store, mission: str, release: str) -> None:
    """Remove a release's finished chunks, once they are committed or of no use."""
    for path in (store.directory / "staging").glob("*.chunk.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["mission"], content["release"]) == (mission, release):
            path.unlink()
            for _, name, _ in content["staged"]:
                path.with_name(name).unlink(missing_ok=True)
