"""The lake: Parquet files below `data/`, a transactional catalogue beside them (DuckLake).

Readers see one integer snapshot of all tables at once; each commit makes the next.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.commit import Commit, now, only
from lake.errors import LacusError, UsageError
from lake.writing import Writing, login


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


class Store(Writing):
    """The lake below one directory, as `Writing` has it, with its derived tables and pins."""

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

    def pin(
        self,
        name: str,
        snapshot: int | None = None,
        keep: Callable[[Commit, int], None] | None = None,
    ) -> int:
        """Name a snapshot, the present one by default, and keep it from every clean-up.

        Parameters
        ----------
        name : str
        snapshot : int, optional
        keep : callable, optional
            Called with the commit and the snapshot before it is pinned, while no clean-up can run:
            see `lake.pins`.

        Returns
        -------
        int
            The snapshot.

        Raises
        ------
        UsageError
            If the name is taken or is a number, or the snapshot does not exist.
        """
        if not name.strip() or name.isdecimal():
            raise UsageError(f"a pin needs a name, not {name!r}")
        chosen = self.snapshot() if snapshot is None else self.resolve(snapshot)
        row = {"name": name, "snapshot": chosen, "author": login(), "pinned_at": now()}
        with self.commit(f"pin {name}: snapshot {chosen}", {"pin": name}) as commit:
            taken = "SELECT count(*) FROM lake.meta.pins WHERE name = ?"
            if only(commit.connection.execute(taken, [name]).fetchone()):
                raise UsageError(f"there is a pin {name!r} already")
            # Asked again under the lock: a clean-up may have been faster.
            there = "SELECT count(*) FROM lake.snapshots() WHERE snapshot_id = ?"
            if not only(commit.connection.execute(there, [chosen]).fetchone()):
                raise UsageError(f"there is no snapshot {chosen} any more")
            if keep is not None:
                keep(commit, chosen)
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
