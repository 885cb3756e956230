"""The lake: Parquet files below `data/`, a transactional catalogue beside them (DuckLake).

Readers see one integer snapshot of all tables at once. A writer stages Parquet outside any lock,
then registers it inside one transaction under a file lock, so that a reader sees the old state or
the new one, never a mixture, whatever is killed when.
"""

import contextlib
import getpass
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import filelock
import pyarrow as pa

from lake import contracts, extensions, migrate
from lake.commit import Commit, Stage, now, only
from lake.errors import LacusError, UsageError

_LOCK_PATIENCE_S = 3600.0
_STAGING_LIFE_S = 86_400.0


@dataclass(frozen=True)
class Snapshot:
    """A commit: when, who, why and from what."""

    id: int
    time: datetime
    author: str | None
    message: str | None
    info: dict[str, Any]


@dataclass(frozen=True)
class Made:
    """What a release's rows of a table were made from: a row of `meta.releases`.

    Attributes
    ----------
    fingerprint : str
        Digest of all that the rows depend on.
    code_version : str
    snapshot : int
        Of the commit.
    content : str or None
        Digest of what the rows say, where their computation gives one.
    read_snapshot : int or None
        Snapshot that they were computed from, where their computation notes it.
    """

    fingerprint: str
    code_version: str
    snapshot: int
    content: str | None = None
    read_snapshot: int | None = None

    @property
    def state(self) -> str:
        """What tables that are made from this one depend on.

        A table made again with the same content leaves what depends on it as it is.
        """
        return self.content or self.fingerprint


@dataclass(frozen=True)
class Part:
    """The part of a release's rows that a computation replaces.

    Attributes
    ----------
    keys : pyarrow.Table
        Columns without nulls that each of the tables has; the rows of these values are replaced,
        all others stay.
    snapshot : int
        `Made.snapshot` of the rows that are changed: those that the part was computed for.
    """

    keys: pa.Table
    snapshot: int


class Store:
    """The lake below one directory.

    Parameters
    ----------
    directory : Path
        Holds `catalog.sqlite`, `data/` and, while something is being written, `staging/`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.catalog = directory / "catalog.sqlite"
        # Kept open: each transaction sees the newest snapshot, and opening costs far more.
        self._reading: duckdb.DuckDBPyConnection | None = None
        self._writing: duckdb.DuckDBPyConnection | None = None
        self._inode: int | None = None
        self._swept = False

    @property
    def exists(self) -> bool:
        """Whether anything was ever committed."""
        return self.catalog.exists()

    def attach_sql(
        self, *, read_only: bool = True, at: int | None = None, name: str = "lake"
    ) -> str:
        """Give the statement that attaches the lake in any DuckDB with the extension ducklake."""
        options = ["READ_ONLY"] if read_only else []
        if at is not None:
            options.append(f"SNAPSHOT_VERSION {at}")
        # The stored path is absolute or relative to the working directory: a moved home needs
        # the override. Inlined rows are invisible to Parquet readers and wrong after rewrites.
        data = contracts.literal(f"{self.directory / 'data'}/")
        options += [f"DATA_PATH {data}"]
        options += ["OVERRIDE_DATA_PATH true", "DATA_INLINING_ROW_LIMIT 0"]
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 60000"]
        target = contracts.literal(f"ducklake:sqlite:{self.catalog}")
        return f"ATTACH {target} AS {name} ({', '.join(options)})"

    def connect(
        self, *, read_only: bool = True, at: int | str | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Open a DuckDB of its own on the lake, its tables named as in ``csc.detections``.

        Parameters
        ----------
        read_only : bool
        at : int or str, optional
            A snapshot or the name of a pin; the present state by default.

        Raises
        ------
        LacusError
            If there is no lake here.
        UsageError
            If there is no such snapshot or pin.
        """
        if read_only and not self.exists:
            raise LacusError(f"{self.directory}: there is no lake here yet; `lacus run` makes one")
        connection = duckdb.connect(config={"threads": os.cpu_count() or 1})
        try:
            extensions.load(connection)
            version = None if at is None else self.resolve(at)
            connection.execute(self.attach_sql(read_only=read_only, at=version))
            connection.execute("USE lake")
        except duckdb.Error as error:
            connection.close()
            raise LacusError(f"{self.directory}: the lake does not open: {error}") from error
        except LacusError:
            connection.close()
            raise
        return connection

    def reader(self) -> duckdb.DuckDBPyConnection:
        """Give a further connection to the DuckDB that `sql` reads through; the caller closes it.

        It streams one result at a time, as every connection does, and holds its own temporary
        tables and views.
        """
        connection = self._shared().cursor()
        connection.execute("USE lake")
        return connection

    def _shared(self) -> duckdb.DuckDBPyConnection:
        """Give the connection that is kept open for reading."""
        self._forget_other_lake()
        self._reading = self._reading or self.connect()
        return self._reading

    def _forget_other_lake(self) -> None:
        """Close the kept connections if the catalogue they opened is gone or another one now."""
        inode = self.catalog.stat().st_ino if self.exists else None
        if inode != self._inode:
            self.refresh()
            self._inode = inode

    def sql(
        self,
        query: str,
        params: Sequence[object] = (),
        *,
        at: int | str | None = None,
        apart: bool = False,
    ) -> duckdb.DuckDBPyRelation:
        """Query the lake; the relation gives `.pl()`, `.arrow()`, `.df()`, `.fetchall()`.

        Parameters
        ----------
        query : str
        params : sequence
            Values of the query's ``?``.
        at : int or str, optional
            A snapshot or a pin instead of the present.
        apart : bool
            On a connection of its own, as a result that is streamed needs.

        Raises
        ------
        UsageError
            If the query is not valid SQL on this lake.
        """
        connection = self._for(at, apart)
        try:
            relation = connection.sql(query, params=list(params) or None)
        except duckdb.Error as error:
            raise UsageError(str(error)) from error
        if relation is None:
            raise UsageError("that statement gives no rows; `sql` only reads")
        return relation

    def arrow(
        self, query: str, params: Sequence[object] = (), *, at: int | str | None = None
    ) -> pa.Table:
        """Query the lake into one Arrow table; see `sql`."""
        try:
            if not params:
                return self.sql(query, at=at).to_arrow_table()
            # A relation with parameters would be worked out row by row first.
            return self._for(at).execute(query, list(params)).to_arrow_table()
        except duckdb.Error as error:  # valid SQL may fail on a value, as a cast does
            raise UsageError(str(error)) from error

    def _for(self, at: int | str | None, apart: bool = False) -> duckdb.DuckDBPyConnection:
        """Give the connection that a query is asked on."""
        if at is not None:
            return self.connect(at=at)
        return self.reader() if apart else self._shared()

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first."""
        rows = self.sql(
            "SELECT snapshot_id, snapshot_time, author, commit_message, commit_extra_info"
            " FROM lake.snapshots() ORDER BY snapshot_id"
        ).fetchall()
        return [Snapshot(i, t, a, m, json.loads(e) if e else {}) for i, t, a, m, e in rows]

    def snapshot(self) -> int:
        """Return the present snapshot."""
        return int(only(self.sql("SELECT id FROM lake.current_snapshot()").fetchone()))

    def resolve(self, at: int | str) -> int:
        """Snapshot of a number or of the name of a pin.

        Raises
        ------
        UsageError
            If there is neither.
        """
        pins = dict(self.sql("SELECT name, snapshot FROM meta.pins").fetchall())
        if str(at) in pins:
            return int(pins[str(at)])
        known = {s[0] for s in self.sql("SELECT snapshot_id FROM lake.snapshots()").fetchall()}
        if str(at).isdecimal() and int(at) in known:
            return int(at)
        raise UsageError(
            f"no snapshot or pin {at!r}; there are snapshots {min(known)} to {max(known)}"
            + (f" and pins {', '.join(sorted(pins))}" if pins else "")
        )

    @contextlib.contextmanager
    def stage(self, table: str, release: str, schema: pa.Schema) -> Iterator[Stage]:
        """Write rows of one table and release into Parquet that no reader sees yet.

        On leaving without an error, `Stage.staged` is what `Commit.add` takes (None if no row
        was written); on an error nothing is left.
        """
        directory = self.directory / "staging"
        directory.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            _sweep(directory)
        stage = Stage(table, release, directory / f"{uuid.uuid4()}.parquet", schema)
        try:
            yield stage
            stage.close()
        except BaseException:
            stage.discard()
            raise

    @contextlib.contextmanager
    def commit(
        self, message: str, info: Mapping[str, Any] | None = None, author: str | None = None
    ) -> Iterator[Commit]:
        """Change any number of tables in one transaction, under the lake's lock.

        Parameters
        ----------
        message : str
            Why, for `lacus snapshots`.
        info : mapping, optional
            Inputs (fingerprint, code version, command), kept as JSON with the snapshot.
        author : str, optional
            The login name by default.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            connection = self._writable()
            commit = None
            try:
                connection.execute("BEGIN")
                commit = Commit(self.directory / "data", connection)
                yield commit
                connection.execute(
                    "CALL lake.set_commit_message(?, ?, extra_info => ?)",
                    [author or _login(), message, json.dumps(dict(info or {}), sort_keys=True)],
                )
                connection.execute("COMMIT")
            except BaseException:
                self._writing = None
                with contextlib.suppress(duckdb.Error):  # there may be nothing to roll back
                    connection.execute("ROLLBACK")
                if commit is not None:
                    with contextlib.suppress(duckdb.Error):  # unknown outcome: the files stay
                        commit.undo_moves()
                connection.close()
                raise

    def prepare(self) -> None:
        """Do what a commit begins with: open the lake, bring it into line with the contracts.

        That takes as long as reading hundreds of files, but hardly needs the interpreter: a
        thread can do it while they are read.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            # The first look at a lake that was just made reads its catalogue: that is done, too.
            migrate.sync(self._writable())

    def _writable(self) -> duckdb.DuckDBPyConnection:
        """Give the connection that is kept open for writing, on a lake as the contracts have it."""
        self._forget_other_lake()
        connection = self._writing = self._writing or self.connect(read_only=False)
        try:
            migrate.sync(connection)
            self._inode = self.catalog.stat().st_ino
        except BaseException:
            self._writing = None
            with contextlib.suppress(duckdb.Error):  # there may be nothing to roll back
                connection.execute("ROLLBACK")
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def ingesting(self, mission: str, release: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the one process that ingests a release; others call `waiting` and wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.directory / f"{mission}-{release}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            waiting()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the one lock of all writers: without it the catalogue loses commits."""
        lock = filelock.FileLock(self.directory / "lock", timeout=_LOCK_PATIENCE_S)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise LacusError(
                f"{lock.lock_file}: another process has been writing for {_LOCK_PATIENCE_S:.0f} s"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def refresh(self) -> None:
        """Close the connections that are kept open; the next use opens them again."""
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None

    def replace(
        self,
        release: str,
        names: Sequence[str],
        rows: Iterable[tuple[str, pa.Table]],
        *,
        fingerprint: str,
        code_version: str,
        message: str,
        products: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
        content: Mapping[str, str] = MappingProxyType({}),
        read_snapshot: int | None = None,
        part: Part | None = None,
    ) -> int:
        """Replace a release's rows of derived tables, or a part of them, in one commit.

        Parameters
        ----------
        release : str
        names : sequence of str
            The tables.
        rows : iterable of (str, pyarrow.Table)
            Their rows, in parts of any size; they are written as they come.
        fingerprint, code_version : str
            For `meta.releases`.
        message : str
        products : callable
            Gives, once all rows are there, the rows of `meta.products` for files made on the way;
            they replace those of equal path.
        content, read_snapshot
            For `meta.releases`; see `Made`.
        part : Part, optional
            Which rows are replaced; all of the release by default.

        Returns
        -------
        int
            The snapshot.

        Raises
        ------
        LacusError
            If another process made one of the tables after the part was computed for it.
        """
        info = {"fingerprint": fingerprint, "code_version": code_version, "tables": list(names)}
        with contextlib.ExitStack() as stack:
            stages = {
                name: stack.enter_context(self.stage(name, release, contracts.table(name).schema()))
                for name in names
            }
            for name, data in rows:
                for batch in _as_declared(name, data).to_batches():
                    stages[name].write(batch)
        staged = {name: stage.staged for name, stage in stages.items()}
        try:
            made = products()
            with self.commit(message, info) as commit:
                if part is not None:
                    _still(commit, release, names, part)
                for name, file in staged.items():
                    if part is None:
                        commit.delete(name, "release = ?", [release])
                    else:
                        commit.delete_keys(name, release, part.keys)
                    if file is not None:
                        commit.add(file)
                made_from = dict.fromkeys(names, (fingerprint, code_version))
                commit.record(release, made_from, content, read_snapshot)
                for product in made:
                    commit.delete("meta.products", "path = ?", [product["path"]])
                if made:
                    commit.insert("meta.products", made)
        finally:
            for left in staged.values():
                if left is not None:
                    left.path.unlink(missing_ok=True)
        return commit.snapshot

    def pin(self, name: str, snapshot: int | None = None) -> int:
        """Name a snapshot, the present one by default, and keep it from every clean-up.

        Raises
        ------
        UsageError
            If the name is taken or is a number, or the snapshot does not exist.
        """
        chosen = self.snapshot() if snapshot is None else self.resolve(snapshot)
        if not name.strip() or name.isdecimal():
            raise UsageError(f"a pin needs a name, not {name!r}")
        row = {"name": name, "snapshot": chosen, "author": _login(), "pinned_at": now()}
        with self.commit(f"pin {name}: snapshot {chosen}") as commit:
            taken = "SELECT count(*) FROM lake.meta.pins WHERE name = ?"
            if only(commit.connection.execute(taken, [name]).fetchone()):
                raise UsageError(f"there is a pin {name!r} already")
            commit.insert("meta.pins", [row])
        return chosen

    def made(self, release: str) -> dict[str, Made]:
        """What every table of a release that was ever committed was made from, by table name."""
        return {row["table_name"]: _made(row) for row in self._releases("release = ?", release)}

    def fingerprints(self, release: str) -> dict[str, str]:
        """Fingerprint of every table of a release that was ever committed, by table name."""
        return {name: made.fingerprint for name, made in self.made(release).items()}

    def states_across(self, table: str) -> dict[str, str]:
        """State (see `Made`) of a table in every release that has rows of it."""
        rows = self._releases("table_name = ? AND rows > 0", table)
        return {row["release"]: _made(row).state for row in rows}

    def _releases(self, where: str, value: str) -> list[dict[str, Any]]:
        """Rows of `meta.releases`, which in a lake of older contracts lacks columns."""
        if not self.exists:
            return []
        return self.arrow(f"SELECT * FROM meta.releases WHERE {where}", [value]).to_pylist()


def _made(row: Mapping[str, Any]) -> Made:
    return Made(
        row["fingerprint"],
        row["code_version"],
        row["snapshot"],
        row.get("content"),
        row.get("read_snapshot"),
    )


def _still(commit: Commit, release: str, names: Sequence[str], part: Part) -> None:
    """Refuse a part that was computed for other rows than those that are there."""
    tables = ", ".join(map(contracts.literal, names))
    found = commit.connection.execute(
        "SELECT table_name, snapshot FROM lake.meta.releases"
        f" WHERE table_name IN ({tables}) AND release = ?",
        [release],
    ).fetchall()
    if dict(found) != dict.fromkeys(names, part.snapshot):
        raise LacusError(
            f"{', '.join(names)} of {release}: made by another process meanwhile; run it again"
        )


def _as_declared(name: str, data: pa.Table) -> pa.Table:
    """Rows of a derived table as its contract declares them; columns not computed are null."""
    schema = contracts.table(name).schema()
    if unknown := set(data.column_names) - set(schema.names):
        raise LacusError(f"{name}: the contract declares no {', '.join(sorted(unknown))}")
    for field in schema:
        if field.name not in data.column_names:
            data = data.append_column(field.name, pa.nulls(data.num_rows, field.type))
    try:
        return data.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, ValueError) as error:
        raise LacusError(f"{name}: {error}") from error


def _sweep(directory: Path) -> None:
    """Remove what killed writers left: no ingest of one file lasts for a day."""
    for left in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if time.time() - left.stat().st_mtime > _STAGING_LIFE_S:
                left.unlink()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"
