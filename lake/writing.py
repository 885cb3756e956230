"""Writing the lake: rows are staged in files, and committed under the lock of all writers.

A writer stages Parquet outside any lock, then registers it inside one transaction under a file
lock, so that a reader sees the old state or the new one, never a mixture, whatever is killed when.
"""

import contextlib
import getpass
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import filelock
import pyarrow as pa

from lake import disk, extensions, migrate
from lake.commit import Commit, current_snapshot
from lake.errors import LacusError
from lake.reading import Reading
from lake.staging import Stage
from lake.whole import is_abandoned

_LOCK_PATIENCE_S = 3600.0


class Writing(Reading):
    """The lake below one directory, to be read as `Reading` says, and its transactions.

    Parameters
    ----------
    directory : Path
        Holds `catalog.sqlite`, `data/` and, while something is being written, `staging/`.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._writing: duckdb.DuckDBPyConnection | None = None
        # The snapshot at which the lake was last found in line with the contracts.
        self._in_line: int | None = None
        self._swept = False

    def refresh(self) -> None:
        """Close the connections that are kept open; the next use opens them again."""
        super().refresh()
        if self._writing is not None:
            self._writing.close()
        self._writing = self._in_line = None

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
        """Staged files that killed writers left."""
        return [p for p in sorted((self.directory / "staging").glob("*")) if is_abandoned(p)]

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
                    [author or login(), message, json.dumps(dict(info or {}), sort_keys=True)],
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
        connection = aside._opened(read_only=False)
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
            extensions.widen(connection)
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
        """Hold the one lock of all writers: without it the catalogue loses commits.

        Raises
        ------
        LacusError
            If another process has held it for an hour.
        """
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


def login() -> str:
    """Return the name of the user's account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"
