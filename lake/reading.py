"""Reading the lake: its DuckDB connections, queries of the present and of any former snapshot."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lake import contracts, extensions
from lake.binding import bound
from lake.commit import current_snapshot
from lake.errors import LacusError, UsageError
from lake.scan import scan, whole_files

#: Statements that write files, wherever they are told to.
_WRITE = (duckdb.StatementType.COPY, duckdb.StatementType.EXPORT)


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


class Reading:
    """What may be asked of the lake below one directory; `lake.writing.Writing` also writes it.

    Parameters
    ----------
    directory : Path
        Holds `catalog.sqlite` and `data/`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.catalog = directory / "catalog.sqlite"
        self.data = directory / "data"
        # Kept open: each transaction sees the newest snapshot, and opening costs far more.
        self._reading: duckdb.DuckDBPyConnection | None = None
        self._inode: int | None = None
        self._held: list[dict[str, Any]] | None = None

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
        data = contracts.literal(f"{self.data}/")
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
        connection = self._opened(read_only=read_only, at=at)
        extensions.widen(connection)
        return connection

    def _opened(
        self, *, read_only: bool = True, at: int | str | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Open what `connect` does; it has one thread yet, see `extensions.connect`."""
        if read_only and not self.exists:
            raise LacusError(f"{self.directory}: there is no lake here yet; `lacus run` makes one")
        connection = extensions.connect()
        try:
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

        It is worked out when it is fetched; a value that cannot be cast, say, is told only then.

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
            If the query is not valid SQL on this lake, or gives no rows.
        """
        connection = self._for(at, apart)
        query.encode()  # what is no text is told as such; the parser speaks of types
        try:
            # Asked first: they would have been carried out when no relation comes of them.
            if any(each.type in _WRITE for each in connection.extract_statements(query)):
                raise UsageError("that statement writes files; `sql` only reads, `export` writes")
            text = bound(query, params) if params else query
            relation = (
                connection.sql(query, params=list(params)) if text is None else connection.sql(text)
            )
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
            return self.sql(query, params, at=at).to_arrow_table()
        except duckdb.Error as error:  # valid SQL may fail on a value, as a cast does
            raise UsageError(str(error)) from error

    def scan(
        self, table: str, where: Mapping[str, str], columns: Sequence[str] = (), size: int = 2048
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows of a table: straight from its files where all that counts is in them.

        Parameters
        ----------
        table : str
            With its namespace.
        where : mapping
            What columns of text must be equal to; at least one.
        columns : sequence of str
            All that are declared by default.
        size : int
            Rows of a batch, at most.

        Yields
        ------
        pyarrow.RecordBatch
        """
        names = columns or [column.name for column in contracts.table(table).columns]
        paths = whole_files(self._shared(), table, [*names, *where])
        if paths is not None:
            yield from scan(paths, where, names, size)
            return
        wanted = ", ".join(map(contracts.quote, names))
        tests = " AND ".join(f"{contracts.quote(name)} = ?" for name in where)
        query = f"SELECT {wanted} FROM {table} WHERE {tests}"
        yield from self.sql(query, list(where.values()), apart=True).to_arrow_reader(size)

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
        return current_snapshot(self._shared())

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
        if str(at).isdecimal() and int(at) < max(known):
            raise UsageError(f"snapshot {at} is no more: a clean-up (`lacus gc`) has taken it")
        raise UsageError(
            f"no snapshot or pin {at!r}; there are snapshots {min(known)} to {max(known)}"
            + (f" and pins {', '.join(sorted(pins))}" if pins else "")
        )

    def refresh(self) -> None:
        """Close the connections that are kept open; the next use opens them again."""
        if self._reading is not None:
            self._reading.close()
        self._reading = None

    def made(self, release: str) -> dict[str, Made]:
        """What every table of a release that was ever committed was made from, by table name."""
        rows = self.releases()
        return {row["table_name"]: _made(row) for row in rows if row["release"] == release}

    def fingerprints(self, release: str) -> dict[str, str]:
        """Fingerprint of every table of a release that was ever committed, by table name."""
        return {name: made.fingerprint for name, made in self.made(release).items()}

    def states_across(self, table: str) -> dict[str, str]:
        """State (see `Made`) of a table in every release that has rows of it."""
        rows = [row for row in self.releases() if row["table_name"] == table and row["rows"] > 0]
        return {row["release"]: _made(row).state for row in rows}

    def releases(self) -> list[dict[str, Any]]:
        """Rows of `meta.releases`, which in a lake of older contracts lack columns."""
        if self._held is not None:
            return self._held
        return self.arrow("SELECT * FROM meta.releases").to_pylist() if self.exists else []

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let all that is asked within of `meta.releases` be answered by one reading of it.

        Whether a release is up to date asks for it some ten times, and it has a file for every
        commit: a look at many releases would take the square of their number.
        """
        if self._held is not None:
            yield
            return
        self._held = self.releases()
        try:
            yield
        finally:
            self._held = None


def _made(row: Mapping[str, Any]) -> Made:
    return Made(
        row["fingerprint"],
        row["code_version"],
        row["snapshot"],
        row.get("content"),
        row.get("read_snapshot"),
    )
