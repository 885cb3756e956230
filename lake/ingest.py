"""Registered sources -> fingerprint -> reader -> checks -> one commit."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa

from lake import checks, contracts, inputs
from lake.commit import Commit, Staged, now
from lake.conform import conform
from lake.errors import InputError
from lake.home import Home
from lake.inputs import Role
from lake.plan import Record, fingerprint, plan

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Outcome:
    """Result of an ingest.

    Attributes
    ----------
    snapshot : int or None
        The snapshot that was made; None if nothing was written.
    committed : list of Record
        Files whose rows this ingest brought in.
    unchanged : int
        Files that were in the lake already.
    rejected : list of Record
        Files that are not in the lake, and why; those of former ingests that are still so
        included.
    superseded : int
        Files whose rows this ingest took out.
    """

    snapshot: int | None
    committed: list[Record] = field(default_factory=list)
    unchanged: int = 0
    rejected: list[Record] = field(default_factory=list)
    superseded: int = 0

    def describe(self) -> str:
        """One sentence, for messages and logs."""
        rows = sum(record.rows_committed for record in self.committed)
        return (
            f"{len(self.committed)} files in ({rows} rows), {self.unchanged} unchanged,"
            f" {self.superseded} out, {len(self.rejected)} rejected"
        )

    @property
    def partly_rejected(self) -> list[Record]:
        """Files that were committed without some of their rows."""
        return [record for record in self.committed if record.rows_rejected]


def ingest(home: Home, mission: str, release: str, progress: Progress | None = None) -> Outcome:
    """Bring one release of a mission into line with its registered sources, in one commit.

    Files that are in the lake already are left alone; new and changed ones are read, files that
    are registered no more are taken out. A file that cannot be taken is recorded as rejected
    with its reason and changes nothing else; the rows of the file that it was meant to replace
    stay.

    Parameters
    ----------
    home : Home
    mission, release : str
    progress : callable, optional
        Called with a file's name and the rows read from it so far.

    Returns
    -------
    Outcome
    """
    todo = plan(home, mission, release)
    if not todo.changed:
        return Outcome(None, [], len(todo.kept), todo.refused + todo.unreadable, 0)
    gone, kept = todo.gone, todo.kept
    while True:
        job = _Job(home, mission, release, gone, progress or (lambda name, rows: None))
        try:
            done = [job.take(record) for record in todo.new]
            rejected = [r for r in done if r.status == "rejected"]
            paths = {r.file.path for r in rejected}
            spared = [r for r in gone if r.file.path in paths]
            if spared:  # what was refused was to replace these: they stay, so check against them
                gone, kept = [r for r in gone if r not in spared], kept + spared
                continue
            committed = [r for r in done if r.status == "committed"]
            snapshot = job.commit(committed, rejected + todo.unreadable, kept)
            return Outcome(snapshot, committed, len(kept), rejected + todo.unreadable, len(gone))
        finally:
            job.discard()


class _Job:
    """One ingest under way: what is staged, and what the checks compare it with."""

    def __init__(
        self, home: Home, mission: str, release: str, gone: list[Record], progress: Progress
    ) -> None:
        self.store, self.mission, self.release = home.store, mission, release
        self.gone = gone
        self.progress = progress
        self.staged: list[Staged] = []
        self.has_lake = self.store.exists
        self.connection = self.store.connect() if self.has_lake else duckdb.connect()

    def take(self, record: Record) -> Record:
        """Read, conform, stage and check one file; the record says what became of it."""
        role = inputs.role(self.mission, record.file.role)
        read = 0
        staged = None
        try:
            with role.read(record.file) as reader:
                rows = conform(reader, record.file, role, self._stored(role.table))
                with self.store.stage(role.table, self.release, rows.schema) as stage:
                    for batch in rows:
                        read += batch.num_rows
                        stage.write(batch)
                        self.progress(record.file.path.name, read)
            staged = stage.staged
            if staged is None:
                raise InputError(record.file.path, "the table has no rows")
            staged, reason = self._check(role, record, staged)
        except InputError as error:
            if staged is not None:
                staged.path.unlink(missing_ok=True)
            return replace(
                record, status="rejected", reason=error.reason, rows_read=read, rows_rejected=read
            )
        self.staged.append(staged)
        return replace(
            record,
            status="committed",
            reason=reason,
            rows_read=read,
            rows_committed=staged.rows,
            rows_rejected=read - staged.rows,
        )

    def _stored(self, table: str) -> dict[str, pa.DataType]:
        """Types of the columns that inputs brought into a table: in the lake, or staged."""
        types = {
            f.name.lower(): f.type
            for staged in self.staged
            if staged.table == table
            for f in staged.schema
        }
        if self.has_lake:
            relation = self.connection.sql(f"SELECT * FROM lake.{table} LIMIT 0")
            types |= {f.name.lower(): f.type for f in relation.to_arrow_table().schema}
        return types

    def _check(self, role: Role, record: Record, staged: Staged) -> tuple[Staged, str | None]:
        """Check a staged file by itself and beside what stands in the release."""
        keep_first = record.file.options.get("duplicates") == "first"
        path = record.file.path
        staged, reason = checks.unique(self.connection, staged, path, keep_first=keep_first)
        checks.apart(self.connection, staged, self._others(role.table), path)
        if role.matches is not None:
            table, column = role.matches
            checks.matches(self.connection, staged, table, column, self._others(table), path)
        return staged, reason

    def _others(self, table: str) -> str:
        """Query for the rows of a table that will stand beside a file's after the commit."""
        parts = []
        if files := [str(staged.path) for staged in self.staged if staged.table == table]:
            names = ", ".join(map(contracts.literal, files))
            parts.append(f"SELECT * FROM read_parquet([{names}], union_by_name => true)")
        if self.has_lake:
            kept = f"SELECT * FROM lake.{table} WHERE release = {contracts.literal(self.release)}"
            if self.gone:
                gone = ", ".join(contracts.literal(r.file.sha256) for r in self.gone)
                kept += f" AND file_sha256 NOT IN ({gone})"
            parts.append(kept)
        return " UNION ALL BY NAME ".join(parts)

    def commit(self, committed: list[Record], rejected: list[Record], kept: list[Record]) -> int:
        """Register what is staged, take out what is gone, and record it, in one transaction."""
        self.connection.close()
        words = [
            f"{len(committed)} files in", f"{len(self.gone)} out", f"{len(rejected)} rejected",
        ]  # fmt: skip
        info = {
            "fingerprint": fingerprint(kept + committed),
            "inputs": {r.file.path.name: r.file.sha256 for r in committed[:100]},
        }
        message = f"ingest {self.mission} {self.release}: {', '.join(words)}"
        with self.store.commit(message, info) as commit:
            for record in self.gone:
                where = "release = ? AND file_sha256 = ?"
                commit.delete(self._table(record), where, [self.release, record.file.sha256])
            for staged in self.staged:
                commit.add(staged)
            self._record(commit, committed + rejected)
            for table in sorted({self._table(r) for r in committed + self.gone}):
                part = [r for r in kept + committed if self._table(r) == table]
                version = max((r.version for r in part), default=0)
                commit.record(table, self.release, fingerprint(part), str(version))
        return commit.snapshot

    def _table(self, record: Record) -> str:
        return inputs.role(self.mission, record.file.role).table

    def _record(self, commit: Commit, records: list[Record]) -> None:
        """Write `meta.files`: what was taken and refused now, what is of account no more."""
        supersede = (
            "UPDATE lake.meta.files SET status = 'superseded' WHERE mission = ? AND release = ?"
        )
        here = [self.mission, self.release]
        commit.connection.execute(f"{supersede} AND status = 'rejected'", here)
        for record in self.gone:
            commit.connection.execute(
                f"{supersede} AND status = 'committed' AND role = ? AND sha256 = ?",
                [*here, record.file.role, record.file.sha256],
            )
        time = now()
        rows = [
            {
                "mission": self.mission,
                "release": self.release,
                "role": record.file.role,
                "name": record.file.path.name,
                "path": str(record.file.path),
                "size": record.file.size,
                "mtime_ns": record.file.mtime_ns,
                "sha256": record.file.sha256 or None,
                "options": record.file.options_json,
                "reader_version": record.version,
                "status": record.status,
                "reason": record.reason,
                "rows_read": record.rows_read,
                "rows_committed": record.rows_committed,
                "rows_rejected": record.rows_rejected,
                "ingested_at": time,
                "snapshot": commit.snapshot,
            }
            for record in records
        ]
        if rows:
            commit.insert("meta.files", rows)

    def discard(self) -> None:
        """Remove what is staged and was not registered."""
        self.connection.close()
        for staged in self.staged:
            staged.path.unlink(missing_ok=True)
