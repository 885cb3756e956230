"""Withdrawal: a release leaves the lake in one commit; its former states stay readable."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lake import chunks, contracts, inputs
from lake.contracts import literal
from lake.errors import UsageError
from lake.home import Home
from lake.plan import IS_COPY

#: What `meta.files` says of the files of a release that was withdrawn.
REASON = "withdrawn"


@dataclass(frozen=True)
class Withdrawal:
    """What leaves with a release.

    Attributes
    ----------
    rows : dict
        Rows by table, of tables that have some.
    files : int
        Input files; they stay in `meta.files` as superseded, with the reason "withdrawn".
    products : int
        Files made from the release; they stay on the disk until a clean-up.
    sources : list of Path
        Registered paths.
    snapshot : int or None
        The last snapshot that has the release; None if the lake never had it.
    """

    rows: dict[str, int]
    files: int
    products: int
    sources: list[Path]
    snapshot: int | None


def look(home: Home, mission: str, release: str) -> Withdrawal:
    """Say what would leave with a release.

    Raises
    ------
    UsageError
        If there is no such mission, or no such release in the lake or among the sources.
    """
    inputs.roles(mission)  # there is such a mission
    here = [s for s in home.sources() if (s.mission, s.release) == (mission, release)]
    found = Withdrawal({}, 0, 0, [path for source in here for path in source.paths], None)
    if home.store.exists:
        found = replace(found, **_recorded(home, mission, release))
    if found.snapshot is None and not here:
        raise UsageError(f"there is no release {mission} {release}; there are: {_known(home)}")
    return found


def withdraw(home: Home, mission: str, release: str, waiting: Callable[[], None]) -> Withdrawal:
    """Take a release out of the sources and, in one commit, out of the lake.

    The sources go first: were this killed in between, no run would bring the release back, and
    withdrawing it again does the rest.

    Parameters
    ----------
    home : Home
    mission, release : str
    waiting : callable
        Called if another process ingests the release at this moment; that is waited for.

    Raises
    ------
    UsageError
        See `look`.
    """
    look(home, mission, release)  # or nothing is touched
    with home.store.ingesting(mission, release, waiting):
        found = look(home, mission, release)
        home.forget(mission, release)
        if found.snapshot is not None:
            info = {"mission": mission, "withdrawn": release, "rows": found.rows}
            with home.store.commit(f"withdraw {mission} {release}", info) as commit:
                own = [mission, release]
                for name in _tables(mission):
                    commit.delete(name, "release = ?", [release])
                commit.connection.execute(
                    "UPDATE lake.meta.files SET status = 'superseded', reason = ?"
                    " WHERE mission = ? AND release = ?"
                    f" AND (status <> 'superseded' OR {IS_COPY})",
                    [REASON, *own],
                )
                for name in ("meta.products", "meta.releases", "meta.failed_checks"):
                    commit.delete(name, "mission = ? AND release = ?", own)
        chunks.forget(home.store, mission, release)
    return found


def _recorded(home: Home, mission: str, release: str) -> dict[str, Any]:
    """What the lake has of a release."""
    store, of_release = home.store, f"release = {literal(release)}"
    own = f"mission = {literal(mission)} AND {of_release}"
    there = {
        name for (name,) in store.sql("SELECT DISTINCT table_name FROM meta.columns").fetchall()
    }
    tables = [name for name in _tables(mission) if name in there]
    counted = {name: f"{name} WHERE {of_release}" for name in tables}
    counted |= {
        "files": f"meta.files WHERE {own} AND status <> 'superseded'",
        "products": f"meta.products WHERE {own}",
        "releases": f"meta.releases WHERE {own}",
    }
    counts = (f"SELECT {literal(what)}, count(*) FROM {rows}" for what, rows in counted.items())
    found = dict(store.sql(" UNION ALL ".join(counts)).fetchall())
    if not any(found.values()):
        return {}
    return {
        "rows": {name: found[name] for name in tables if found[name]},
        "files": found["files"],
        "products": found["products"],
        "snapshot": store.snapshot(),
    }


def _tables(mission: str) -> list[str]:
    """Stored tables of a mission."""
    return [t.name for t in contracts.tables().values() if t.namespace == mission]


def _known(home: Home) -> str:
    known = dict.fromkeys(home.releases())
    if home.store.exists:
        recorded = "SELECT DISTINCT mission, release FROM meta.releases WHERE mission <> 'meta'"
        known |= dict.fromkeys(home.sql(f"{recorded} ORDER BY ALL").fetchall())
    return ", ".join(" ".join(pair) for pair in known) or "none"
