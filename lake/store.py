"""The lake: Parquet files below `data/`, a transactional catalogue beside them (DuckLake).

Readers see one integer snapshot of all tables at once. A writer stages Parquet outside any lock,
then registers it inside one transaction under a file lock, so that a reader sees the old state or
the new one, never a mixture, whatever is killed when.
"""

import contextlib
import getpass
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import filelock
import pyarrow as pa

from lake import contracts, disk, migrate
from lake.commit import Commit, Stage, current_snapshot, now, only
from lake.errors import LacusError, UsageError
from lake.reading import Reading

_LOCK_PATIENCE_S = 3600.0
_STAGING_LIFE_S = 86_400.0


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


class Store(Reading):
    """The lake below one directory, to be read as `Reading` says, and to be written.

    Parameters
    ----------
    directory : Path
        Holds `catalog.sqlite`, `data/` and, while something is being written, `staging/`.
    """

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
            for left in self.abandoned():
                left.unlink(missing_ok=True)
        stage = Stage(table, release, directory / f"{uuid.uuid4()}.parquet", schema)
        try:
            with disk.told(directory):
                yield stage
                stage.close()
        except BaseException:
            stage.discard()
            raise

    def abandoned(self) -> list[Path]:
        """Staged files that killed writers left: no ingest of one file lasts for a day."""
        found = []
        for path in sorted((self.directory / "staging").glob("*")):
            with contextlib.suppress(FileNotFoundError):  # its writer has just taken it away
                if time.time() - path.stat().st_mtime > _STAGING_LIFE_S:
                    found.append(path)
        return found

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
        with disk.told(self.directory), self.locked():
            connection, snapshot = self._writable()
            commit = None
            try:
                connection.execute("BEGIN")
                commit = Commit(self.data, connection, snapshot + 1)
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
        with disk.told(self.directory), self.locked():
            self._writable()

    def _writable(self) -> tuple[duckdb.DuckDBPyConnection, int]:
        """Give the connection that is kept open for writing, and the present snapshot.

        The lake is in line with the contracts.
        """
        self._forget_other_lake()
        if self._writing is None:
            self._writing = self.connect(read_only=False) if self.exists else self._made_whole()
        connection = self._writing
        try:
            # Asking for the snapshot is a third of the work of looking at the contracts.
            snapshot = current_snapshot(connection)
            if snapshot != self._in_line:
                if migrate.sync(connection):
                    snapshot = current_snapshot(connection)
                self._in_line = snapshot
            self._inode = self.catalog.stat().st_ino
        except BaseException:
            self._writing = None
            with contextlib.suppress(duckdb.Error):  # there may be nothing to roll back
                connection.execute("ROLLBACK")
            connection.close()
            raise
        return connection, snapshot

    def _made_whole(self) -> duckdb.DuckDBPyConnection:
        """Make a lake aside: whoever looks for it finds none, or one with all its tables."""
        aside = Reading(self.directory / "new")
        shutil.rmtree(aside.directory, ignore_errors=True)  # of a writer that was killed
        aside.directory.mkdir()
        aside.data = self.data
        connection = aside.connect(read_only=False)
        try:
            # Whoever uses a lake reads all of its catalogue before it leaves it.
            connection.execute("USE memory")
            with connection.cursor() as making:
                making.execute("USE lake")
                migrate.sync(making, comments=False)
            connection.execute("DETACH lake")
            with contextlib.closing(sqlite3.connect(aside.catalog)) as catalog:
                migrate.comment_all(catalog)
            os.replace(aside.catalog, self.catalog)
            connection.execute(f"{self.attach_sql(read_only=False)}; USE lake")
            self._in_line = current_snapshot(connection)
        except BaseException:
            connection.close()
            raise
        shutil.rmtree(aside.directory)
        return connection

    def migrate(self, *, destructive: bool = False) -> bool:
        """Bring the lake into line with the contracts, as every commit does; see `migrate.sync`.

        Parameters
        ----------
        destructive : bool
            Whether changes that lose values are made too.

        Returns
        -------
        bool
            Whether anything was changed.
        """
        self.refresh()
        with self.locked(), self.connect(read_only=False) as connection:
            return migrate.sync(connection, destructive=destructive)

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
    def locked(self) -> Iterator[None]:
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
                if made:
                    # At once: a statement for each of thousands takes minutes.
                    paths = [product["path"] for product in made]
                    commit.delete("meta.products", "path IN (SELECT unnest(?))", [paths])
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
        if not name.strip() or name.isdecimal():
            raise UsageError(f"a pin needs a name, not {name!r}")
        chosen = self.snapshot() if snapshot is None else self.resolve(snapshot)
        row = {"name": name, "snapshot": chosen, "author": _login(), "pinned_at": now()}
        with self.commit(f"pin {name}: snapshot {chosen}", {"pin": name}) as commit:
            taken = "SELECT count(*) FROM lake.meta.pins WHERE name = ?"
            if only(commit.connection.execute(taken, [name]).fetchone()):
                raise UsageError(f"there is a pin {name!r} already")
            # Asked again under the lock: a clean-up may have been faster.
            there = "SELECT count(*) FROM lake.snapshots() WHERE snapshot_id = ?"
            if not only(commit.connection.execute(there, [chosen]).fetchone()):
                raise UsageError(f"there is no snapshot {chosen} any more")
            commit.insert("meta.pins", [row])
        return chosen

    def unpin(self, name: str) -> int:
        """Take a pin away; the next clean-up may take its snapshot, which is returned.

        Raises
        ------
        UsageError
            If there is no such pin.
        """
        with self.commit(f"unpin {name}", {"unpin": name}) as commit:
            pins = dict(
                commit.connection.execute("SELECT name, snapshot FROM lake.meta.pins").fetchall()
            )
            if name not in pins:
                there = f"there are {', '.join(sorted(pins))}" if pins else "there is none"
                raise UsageError(f"no pin {name!r}; {there}")
            commit.delete("meta.pins", "name = ?", [name])
        return int(pins[name])


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


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"
