"""Registered sources -> fingerprint -> reader -> checks -> one commit."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from lake import checks, contracts, inputs
from lake.commit import Commit, Stage, Staged, merge, now
from lake.conform import conform
from lake.errors import InputError
from lake.home import Home
from lake.inputs import Role
from lake.plan import Plan, Record, fingerprint, plan, recorded

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
    while True:
        todo = plan(home, mission, release)
        if not todo.changed:
            unchanged = len(todo.kept) + len(todo.gone)  # what is refused has replaced nothing
            return Outcome(None, [], unchanged, todo.refused + todo.unreadable, 0)
        job = _Job(home, mission, release, todo, progress or (lambda name, rows: None))
        try:
            return job.run()
        except _OvertakenError:
            continue
        finally:
            job.discard()


class _OvertakenError(Exception):
    """Another process has ingested the release since the plan was made."""


@dataclass(frozen=True)
class _Taken:
    """What became of a file by itself: staged, unless its record says that it is rejected."""

    record: Record
    staged: Staged | None

    def refuse(self, reason: str) -> "_Taken":
        """Give the same file, rejected after all."""
        read = self.record.rows_read
        record = replace(
            self.record, status="rejected", reason=reason, rows_committed=0, rows_rejected=read
        )
        return _Taken(record, None)


class _Job:
    """One ingest under way: what is staged, and what the checks compare it with."""

    def __init__(
        self, home: Home, mission: str, release: str, todo: Plan, progress: Progress
    ) -> None:
        self.store, self.mission, self.release, self.todo = home.store, mission, release, todo
        self.progress = progress
        self.gone, self.kept = todo.gone, todo.kept
        self.paths: list[Path] = []
        self.has_lake = self.store.exists
        # A lake costs every statement a look into its catalogue: single files are checked apart.
        self.alone = duckdb.connect()
        self.connection = self.store.reader() if self.has_lake else self.alone
        self._extra: dict[str, dict[str, pa.Field]] = {}

    def run(self) -> Outcome:
        """Take all files, check them beside each other, commit."""
        taken = [self._take(record) for record in self.todo.new]
        while True:
            taken = self._settle(taken)
            # What a refused file was to replace stays: the others are checked against it too.
            refused = {t.record.place for t in taken if t.staged is None}
            spared = [r for r in self.gone if r.place in refused]
            if not spared:
                break
            self.gone = [r for r in self.gone if r.place not in refused]
            self.kept = self.kept + spared
        committed = [t.record for t in taken if t.staged is not None]
        rejected = [t.record for t in taken if t.staged is None] + self.todo.unreadable
        files = [t.staged for t in taken if t.staged is not None]
        snapshot = self._commit(merge(files, self._stage), committed, rejected)
        return Outcome(snapshot, committed, len(self.kept), rejected, len(self.gone))

    def _take(self, record: Record) -> _Taken:
        """Read, conform and stage one file, and check it by itself."""
        role = inputs.role(self.mission, record.file.role)
        path, read, staged = record.file.path, 0, None
        try:
            with role.read(record.file) as reader:
                rows = conform(reader, record.file, role, self._extras(role.table))
                with self._stage(role.table, self.release, rows.schema) as stage:
                    for batch in rows:
                        read += batch.num_rows
                        stage.write(batch)
                        self.progress(path.name, read)
            staged = stage.staged
            if staged is None:
                raise InputError(path, "the table has no rows")
            if not record.file.is_as_it_was():
                raise InputError(path, "was changed while it was being read")
            keep_first = record.file.options.get("duplicates") == "first"
            checked, note = checks.unique(self.alone, staged, path, keep_first=keep_first)
        except InputError as error:
            return _Taken(replace(record, rows_read=read), None).refuse(error.reason)
        self.paths.append(checked.path)
        self._extras(role.table).update({f.name.lower(): f for f in checked.schema})
        done = replace(
            record,
            status="committed",
            reason=note,
            rows_read=read,
            rows_committed=checked.rows,
            rows_rejected=read - checked.rows,
        )
        return _Taken(done, checked)

    @contextlib.contextmanager
    def _stage(self, table: str, release: str, schema: pa.Schema) -> Iterator[Stage]:
        """Stage a file, to be removed with the job unless it is registered."""
        with self.store.stage(table, release, schema) as stage:
            yield stage
        if stage.staged is not None:
            self.paths.append(stage.staged.path)

    def _extras(self, table: str) -> dict[str, pa.Field]:
        """Columns that a table has in the lake or from files staged so far, by lower-case name."""
        if table not in self._extra:
            self._extra[table] = _stored(self.connection, table) if self.has_lake else {}
        return self._extra[table]

    def _settle(self, taken: list[_Taken]) -> list[_Taken]:
        """Refuse the files that cannot stand beside each other and beside what is kept."""
        settled = list(taken)
        for name, role in inputs.roles(self.mission).items():
            self._settle_role(settled, name, role)
        return settled

    def _settle_role(self, taken: list[_Taken], name: str, role: Role) -> None:
        def standing() -> list[int]:
            return [
                i
                for i, t in enumerate(taken)
                if t.record.file.role == name and t.staged is not None
            ]

        if role.matches is not None:
            table, column = role.matches
            places = standing()
            others = self._others(table, taken)
            for k in checks.unrelated(self.connection, _files(taken, places), column, others):
                taken[places[k]] = taken[places[k]].refuse(
                    f"column {column!r}: none of its values occurs in {table}"
                    f" of release {self.release}"
                )
        places = standing()
        beside = self._others(role.table, taken, but=name)
        for k, clash in checks.apart(self.connection, _files(taken, places), beside).items():
            taken[places[k]] = taken[places[k]].refuse(self._clash(role.table, clash))

    def _clash(self, table: str, clash: checks.Clash) -> str:
        records = self.todo.new + self.kept
        names = [r.file.path.name for r in records if r.file.sha256 == clash.other_sha256]
        key = ", ".join(contracts.table(table).key[1:])
        other = names[0] if names else f"another file (sha256 {clash.other_sha256[:12]}...)"
        return f"row {clash.row}: has the key ({key}) of row {clash.other_row} of {other}"

    def _others(self, table: str, taken: list[_Taken], but: str | None = None) -> str:
        """Query for a table's rows that will stand in the release, save those of a role's files."""
        parts = []
        files = [
            str(t.staged.path)
            for t in taken
            if t.staged is not None and t.staged.table == table and t.record.file.role != but
        ]
        if files:
            names = ", ".join(map(contracts.literal, files))
            parts.append(f"SELECT * FROM read_parquet([{names}], union_by_name => true)")
        if self.has_lake:
            kept = f"SELECT * FROM lake.{table} WHERE release = {contracts.literal(self.release)}"
            gone = sorted(r.file.sha256 for r in self.gone if self._table(r) == table)
            if gone:
                kept += f" AND file_sha256 NOT IN ({', '.join(map(contracts.literal, gone))})"
            parts.append(kept)
        return " UNION ALL BY NAME ".join(parts)

    def _commit(self, files: list[Staged], committed: list[Record], rejected: list[Record]) -> int:
        """Register what is staged, take out what is gone, and record it, in one transaction."""
        words = [
            f"{len(committed)} files in", f"{len(self.gone)} out", f"{len(rejected)} rejected",
        ]  # fmt: skip
        info = {
            "fingerprint": fingerprint(self.kept + committed),
            "inputs": {r.file.path.name: r.file.sha256 for r in committed[:100]},
        }
        message = f"ingest {self.mission} {self.release}: {', '.join(words)}"
        with self.store.commit(message, info) as commit:
            if recorded(commit.connection, self.mission, self.release) != self.todo.known:
                raise _OvertakenError
            for table in sorted({self._table(r) for r in self.gone}):
                gone = [r.file.sha256 for r in self.gone if self._table(r) == table]
                where = "release = ? AND file_sha256 IN (SELECT unnest(?))"
                commit.delete(table, where, [self.release, gone])
            for staged in files:
                commit.add(staged)
            self._record(commit, committed + rejected)
            for table in sorted({self._table(r) for r in committed + self.gone}):
                part = [r for r in self.kept + committed if self._table(r) == table]
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
        for role in sorted({r.file.role for r in self.gone}):
            gone = [r.file.sha256 for r in self.gone if r.file.role == role]
            commit.connection.execute(
                f"{supersede} AND status = 'committed' AND role = ?"
                " AND sha256 IN (SELECT unnest(?))",
                [*here, role, gone],
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
        self.alone.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


def _files(taken: list[_Taken], places: list[int]) -> list[Staged]:
    return [staged for i in places if (staged := taken[i].staged) is not None]


def _stored(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, pa.Field]:
    """Fields of a table of the lake by lower-case name, with the units of its columns."""
    meanings = {
        name: contracts.field_metadata(unit, ucd, text)
        for name, unit, ucd, text in connection.execute(
            "SELECT column_name, unit, ucd, description FROM lake.meta.columns"
            " WHERE table_name = ?",
            [table],
        ).fetchall()
    }
    schema = connection.sql(f"SELECT * FROM lake.{table} LIMIT 0").to_arrow_table().schema
    return {f.name.lower(): f.with_metadata(meanings.get(f.name)) for f in schema}
