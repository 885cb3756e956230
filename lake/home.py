"""A home: the one directory below which a lake, its sources and its products live."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lake import inputs
from lake.commit import now
from lake.errors import UsageError
from lake.sources import Source, SourcesFile, Watching
from lake.store import Store

if TYPE_CHECKING:
    import duckdb


class Home:
    """A home directory; nothing is created before something is written to it.

    Parameters
    ----------
    root : str or Path, optional
        ``$LACUS_HOME`` or ``./lacus-home`` by default.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        chosen = root or os.environ.get("LACUS_HOME") or "lacus-home"
        self.root = Path(chosen).expanduser().absolute()
        self.sources_file = self.root / "sources.toml"
        self._sources = SourcesFile(self.sources_file)
        self.models = self.root / "models"
        self.products = self.root / "products"
        self.pinned = self.root / "pinned"
        self.dagster = self.root / "dagster"
        self.store = Store(self.root / "lake")

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    def sql(
        self, query: str, params: Sequence[object] = (), *, at: int | str | None = None
    ) -> "duckdb.DuckDBPyRelation":
        """Query the lake: ``home.sql("SELECT ... FROM csc.class_summary").pl()``.

        Parameters
        ----------
        query : str
        params : sequence
            Values of the query's ``?``.
        at : int or str, optional
            A snapshot or a pin instead of the present.
        """
        return self.store.sql(query, params, at=at)

    def sources(self) -> list[Source]:
        """Registered sources, in the order of `sources.toml`.

        Raises
        ------
        LacusError
            If `sources.toml` is not what it should be.
        """
        return self._sources.sources()

    def watching(self) -> Watching:
        """How this home watches its inputs; raises as `sources` does."""
        return self._sources.watching()

    def add(self, source: Source) -> None:
        """Register a source; see `SourcesFile.add`."""
        self._sources.add(source)

    def forget(self, mission: str, release: str) -> None:
        """Take the sources of a release out of `sources.toml`; see `SourcesFile.forget`."""
        self._sources.forget(mission, release)

    def product(self, path: Path, mission: str, release: str, kind: str) -> dict[str, object]:
        """Row of `meta.products` for a file below the home, as it is now."""
        return {
            "mission": mission,
            "release": release,
            "path": path.relative_to(self.root).as_posix(),
            "kind": kind,
            "sha256": inputs.sha256(path),
            "size": path.stat().st_size,
            "made_at": now(),
        }

    def release_of(self, table: str, column: str, value: str, release: str | None = None) -> str:
        """Give the newest release whose rows of a table have a value in a column.

        Parameters
        ----------
        table, column : str
        value : str
        release : str, optional
            The release it has to be.

        Raises
        ------
        UsageError
            If there is none.
        """
        found = self.sql(
            f"SELECT t.release FROM {table} AS t JOIN meta.releases AS r ON r.release = t.release"
            f" AND r.table_name = ? WHERE t.{column} = ? AND coalesce(t.release = ?, TRUE)"
            " ORDER BY r.snapshot DESC LIMIT 1",
            [table, value, release],
        ).fetchone()
        if found is None:
            where = f" of release {release}" if release else ""
            raise UsageError(f"no {column} {value!r} in {table}{where}")
        return str(found[0])

    def releases(self) -> list[tuple[str, str]]:
        """Registered releases as (mission, release), each once, in the order of registration."""
        return list(dict.fromkeys((s.mission, s.release) for s in self.sources()))


def open(root: str | Path | None = None) -> Home:
    """Open a home; see `Home`."""
    return Home(root)
