"""Checks that failed, kept in the lake until they pass: a table that is not made again stays wrong.

Only what failed is kept. A commit is made when that changes, so that a lake in which all is well
has none for its checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from lake.commit import now
from lake.errors import UsageError
from lake.reading import Reading
from lake.store import Store

_TABLE = "meta.failed_checks"


@dataclass(frozen=True)
class FailedCheck:
    """A check of a release's rows of a table or view that failed, and what it found."""

    mission: str
    release: str
    table: str
    check: str
    found: str

    @property
    def what(self) -> str:
        """The check in words."""
        return f"check {self.check} of {self.table}"

    def __str__(self) -> str:
        return f"{self.mission}:{self.release}: {self.what} failed: {self.found}"


def failed_checks(store: Reading) -> list[FailedCheck]:
    """All checks that failed when they were last made, by release, table and name."""
    if not store.exists:
        return []
    query = f"SELECT mission, release, table_name, check_name, found FROM {_TABLE} ORDER BY ALL"
    try:
        rows = store.sql(query).fetchall()
    except UsageError as error:
        if isinstance(error.__cause__, duckdb.CatalogException):
            return []  # a lake of older contracts has no such table
        raise
    return [FailedCheck(*row) for row in rows]


def note(store: Store, release: str, outcomes: Mapping[tuple[str, str], str | None]) -> None:
    """Note what checks of a release found, in one commit if that differs from what is noted.

    Parameters
    ----------
    store : Store
    release : str
    outcomes : mapping
        By table or view and name of the check: what is wrong, or None if it passed.
    """
    noted = {
        (check.table, check.check): check.found
        for check in failed_checks(store)
        if check.release == release and (check.table, check.check) in outcomes
    }
    failed = {key: found for key, found in outcomes.items() if found is not None}
    if noted == failed:
        return
    changed = sorted(key for key in outcomes if noted.get(key) != failed.get(key))
    rows = [
        {
            "mission": table.partition(".")[0],
            "release": release,
            "table_name": table,
            "check_name": check,
            "found": failed[table, check],
            "noted_at": now(),
        }
        for table, check in changed
        if (table, check) in failed
    ]
    words = [f"{check} of {table} {'fails' if (table, check) in failed else 'passes'}"
             for table, check in changed]  # fmt: skip
    mission = changed[0][0].partition(".")[0]
    with store.commit(f"{mission} {release}: check {', '.join(words)}") as commit:
        for key in changed:
            own = "release = ? AND table_name = ? AND check_name = ?"
            commit.delete(_TABLE, own, [release, *key])
        if rows:
            commit.insert(_TABLE, rows)
