"""Registered sources -> fingerprint -> reader -> checks -> one commit."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from lake import checks, chunks, contracts, extensions, inputs, ledger, records
from lake.composition import Composition
from lake.conform import conform
from lake.errors import InputError
from lake.home import Home
from lake.inputs import RecordRole, TableRole
from lake.intake import Batch, refused
from lake.plan import Plan, Record, compare, fingerprint, plan
from lake.staging import Stage, merge

Progress = Callable[[str, int | None, int | None], None]
"""Called with what is under way, how much of it is done, and of how much where that is known."""


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
    copies : list of Record
        Files that another file of the same bytes stands for.
    """

    snapshot: int | None
    committed: list[Record] = field(default_factory=list)
    unchanged: int = 0
    rejected: list[Record] = field(default_factory=list)
    superseded: int = 0
    copies: list[Record] = field(default_factory=list)

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


def ingest(
    home: Home,
    mission: str,
    release: str,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Outcome:
    """Bring one release of a mission into line with its registered sources, in one commit.

    Files that are in the lake already are left alone; new and changed ones are read, files that
    are registered no more are taken out. A file that cannot be taken is recorded as rejected
    with its reason and changes nothing else; the rows of the file that it was meant to replace
    stay. One process at a time ingests a release, others wait.

    Parameters
    ----------
    home : Home
    mission, release : str
    progress : callable, optional
        See `Progress`.
    processes : int, optional
        That read files of records; as many as there are processors by default, if the files are
        many.

    Returns
    -------
    Outcome
    """
    report = progress or (lambda what, done, total: None)
    before = home.store.snapshot() if home.store.exists else None
    todo = plan(home, mission, release)
    if todo.changed:
        with home.store.ingesting(mission, release, lambda: report("waiting", None, None)):
            if home.store.exists and home.store.snapshot() != before:  # another was faster
                todo = plan(home, mission, release)
            if todo.changed:
                job = _Job(home, mission, release, todo, report)
                try:
                    return job.run(processes)
                finally:
                    job.discard()
    return _nothing(todo)


def _nothing(todo: Plan) -> Outcome:
    """Nothing is written; what is refused has replaced nothing."""
    return Outcome(None, [], len(todo.kept) + len(todo.gone), todo.refused + todo.unreadable, 0)


class _Job:
    """One ingest under way: what is staged, and what the checks compare it with."""

    def __init__(
        self, home: Home, mission: str, release: str, todo: Plan, progress: Progress
    ) -> None:
        self.store, self.mission, self.release, self.todo = home.store, mission, release, todo
        self.root = home.root
        self.progress = progress
        self.has_lake = self.store.exists
        self.files = Composition(
            release, inputs.roles(mission), self.has_lake, todo.gone, list(todo.kept)
        )
        self.paths: list[Path] = []
        self._extra: dict[str, dict[str, pa.Field]] = {}
        self._open = contextlib.ExitStack()

    @functools.cached_property
    def alone(self) -> duckdb.DuckDBPyConnection:
        """DuckDB without the lake, which costs every statement a look into its catalogue."""
        connection = self._open.enter_context(duckdb.connect())
        extensions.silence(connection)
        return connection

    @functools.cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with the lake, if there was one before."""
        return self._open.enter_context(self.store.reader()) if self.has_lake else self.alone

    def run(self, processes: int | None) -> Outcome:
        """Take all files, check them beside each other, commit."""
        for name, role in self.files.roles.items():
            new = [r for r in self.todo.new if r.file.role == name]
            if isinstance(role, RecordRole):
                self.files.batches[name] = self._take_records(role, new, processes)
            elif isinstance(role, TableRole):
                self.files.batches[name] = [self._take_table(role, record) for record in new]
        self._recognise()
        if not self.todo.changed:
            chunks.forget(self.store, self.mission, self.release)
            return _nothing(self.todo)
        files = self.files
        files.settle(lambda: self.connection, self.todo.known)
        taken = files.records
        committed = [r for r in taken if r.status == "committed"]
        rejected = [r for r in taken if r.status != "committed"] + self.todo.unreadable
        snapshot = self._commit(committed, rejected)
        chunks.forget(self.store, self.mission, self.release)
        return Outcome(
            snapshot, committed, len(files.kept), rejected, len(files.gone), self.todo.copies
        )

    def _take_records(
        self, role: RecordRole, new: list[Record], processes: int | None
    ) -> list[Batch]:
        if not new:
            return []
        what = f"{self.mission} {self.release} {role.name}: files"
        with ThreadPoolExecutor(1) as beside:
            prepared = beside.submit(self.store.prepare)
            batches = records.take(
                self.store, self.release, role, new,
                lambda done, total: self.progress(what, done, total), processes,
            )  # fmt: skip
            prepared.result()
        return batches

    def _recognise(self) -> None:
        """Look again at what is new, now that all files have been hashed."""
        if all(r.file.sha256 for r in self.todo.new):
            return
        read = {r.registration: r for r in self.files.records}
        registered = [
            read.get(r.registration, r) if not r.file.sha256 else r for r in self.todo.registered
        ]
        lost = [r for r in registered if not r.file.sha256]
        self.todo = compare(
            [r for r in registered if r.file.sha256], self.todo.unreadable + lost, self.todo.known
        )
        self.files.gone, self.files.kept = self.todo.gone, list(self.todo.kept)
        new = {r.registration for r in self.todo.new}
        for batch in self.files.all_batches:
            batch.keep([r for r in batch.records if r.registration in new])

    def _take_table(self, role: TableRole, record: Record) -> Batch:
        """Read, conform and stage one file, and check it by itself."""
        path, read, staged = record.file.path, 0, None
        try:
            with role.read(record.file) as reader:
                rows = conform(reader, record.file, role, self._extras(role.table))
                with self._stage(role.table, self.release, rows.schema) as stage:
                    for batch in rows:
                        read += batch.num_rows
                        stage.write(batch)
                        self.progress(f"{self.mission} {path.name}: rows", read, None)
            staged = stage.staged
            if staged is None:
                raise InputError(path, "the table has no rows")
            if not record.file.is_as_it_was():
                raise InputError(path, "was changed while it was being read")
            keep_first = record.file.options.get("duplicates") == "first"
            checked, note = checks.unique(self.alone, staged, path, keep_first=keep_first)
        except InputError as error:
            return Batch([refused(record, error.reason, read)])
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
        return Batch([done], [checked])

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

    def _commit(self, committed: list[Record], rejected: list[Record]) -> int:
        """Register what is staged, take out what is gone, and record it, in one transaction."""
        files = self.files
        for batch in files.all_batches:
            batch.whittle(self._stage)
        merged = merge([s for b in files.all_batches for s in b.staged], self._stage)
        words = [
            f"{len(committed)} files in", f"{len(files.gone)} out", f"{len(rejected)} rejected",
        ]  # fmt: skip
        of_all = fingerprint(files.kept + committed)
        info = {
            "fingerprint": of_all,
            "inputs": {r.file.path.name: r.file.sha256 for r in committed[:100]},
        }
        message = f"ingest {self.mission} {self.release}: {', '.join(words)}"
        with self.store.commit(message, info) as commit:
            for table in sorted({t for r in files.gone for t in files.tables(r)}):
                where = "release = ? AND file_sha256 IN (SELECT unnest(?))"
                commit.delete(table, where, [self.release, files.going(table)])
            for staged in merged:
                commit.add(staged)
            ledger.enter(
                commit, self.root, self.mission, self.release, self.todo, files.gone,
                committed + rejected,
            )  # fmt: skip
            commit.record(self.release, files.made_from(of_all))
        return commit.snapshot

    def discard(self) -> None:
        """Remove what is staged and was not registered."""
        self._open.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


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
