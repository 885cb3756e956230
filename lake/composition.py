"""What a release is to be composed of: files that were read beside those that stay in the lake."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import duckdb

from lake import checks, contracts
from lake.inputs import RecordRole, Role, TableRole
from lake.intake import Batch, refused
from lake.plan import Record, fingerprint, replaced
from lake.staging import Staged


@dataclass
class Composition:
    """Files of a release, while an ingest is deciding which of them it will hold.

    Attributes
    ----------
    release : str
    roles : mapping
        All roles of the mission by name, in the order in which they are ingested.
    has_lake : bool
        Whether there was a lake before, which may have rows of the release.
    gone, kept : list of Record
        Files in the lake whose rows go, and whose rows stay.
    batches : dict
        Files that were read, by role.
    """

    release: str
    roles: Mapping[str, Role]
    has_lake: bool
    gone: list[Record]
    kept: list[Record]
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    #: Role and SHA-256 of files that are refused because they yield: they keep nothing in place.
    _yielded: set[tuple[str, str]] = field(default_factory=set)

    @property
    def all_batches(self) -> list[Batch]:
        """What was read, of all roles."""
        return [b for batches in self.batches.values() for b in batches]

    @property
    def records(self) -> list[Record]:
        """Files that were read, of all roles; committed (unless they are refused yet) or not."""
        return [r for b in self.all_batches for r in b.records]

    def tables(self, record: Record) -> tuple[str, ...]:
        """Tables that a file has rows of."""
        return self.roles[record.file.role].tables

    def going(self, table: str) -> list[str]:
        """SHA-256 of the files whose rows of a table go."""
        return [r.file.sha256 for r in self.gone if table in self.tables(r)]

    def made_from(self, of_all: str) -> dict[str, tuple[str, str]]:
        """Fingerprint and reader's version of every table that changes.

        Parameters
        ----------
        of_all : str
            Fingerprint of all files that the release will hold: that of a table which all of
            them have rows of.
        """
        committed = [r for r in self.records if r.status == "committed"]
        made, digests = {}, {}
        for table in sorted({t for r in committed + self.gone for t in self.tables(r)}):
            feeding = tuple(name for name, role in self.roles.items() if table in role.tables)
            part = [r for r in self.kept + committed if r.file.role in feeding]
            if feeding not in digests:
                alone = len(part) == len(self.kept) + len(committed)
                digests[feeding] = of_all if alone else fingerprint(part)
            made[table] = (digests[feeding], str(max((r.version for r in part), default=0)))
        return made

    def settle(
        self, connection: Callable[[], duckdb.DuckDBPyConnection], known: Iterable[Record]
    ) -> None:
        """Refuse the files that cannot stand beside each other and beside what is kept.

        Parameters
        ----------
        connection : callable
            Gives DuckDB, with the lake if there was one. It is asked for only if it is needed:
            opening it costs more than most comparisons.
        known : iterable of Record
            All files that the lake knew before. Of those that were to go, the ones that a refused
            file was to replace are kept.
        """
        self._give_way(connection)
        while True:
            self._refuse_clashes(connection)
            # What a refused file was to replace stays: the others are checked against it too.
            refusals = [
                r
                for r in self.records
                if r.status != "committed" and (r.file.role, r.file.sha256) not in self._yielded
            ]
            held = replaced(refusals, known)
            spared = [r for r in self.gone if (r.file.role, r.file.sha256) in held]
            if not spared:
                return
            self.gone = [r for r in self.gone if (r.file.role, r.file.sha256) not in held]
            self.kept = self.kept + spared

    def _give_way(self, connection: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """Take files out of what is kept that yield to new ones, and refuse them from now on."""
        for name, role in self.roles.items():
            if not isinstance(role, RecordRole) or role.yields is None:
                continue
            staged, order = self._standing(name, role.table)
            own = {r.file.sha256: r for r in self.kept if r.file.role == name}
            if not staged or not own:
                continue
            there = (
                f"SELECT * FROM lake.{role.table} WHERE release = {contracts.literal(self.release)}"
                f" AND file_sha256 IN ({', '.join(map(contracts.literal, own))})"
            )
            found = checks.giving_way(connection(), staged, order, there, role.yields)
            for sha256, clash in found.items():
                self.kept.remove(own[sha256])
                self.gone.append(own[sha256])
                self._yielded.add((name, sha256))
                reason = self._clash(role.table, clash)
                self.batches[name].append(Batch([refused(own[sha256], reason)]))

    def _refuse_clashes(self, connection: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """Refuse the files that cannot stand beside each other and beside what is kept."""
        for name, role in self.roles.items():
            if isinstance(role, TableRole) and role.matches is not None:
                table, column = role.matches
                staged, order = self._standing(name, role.table)
                others = self._others(table)
                lone = checks.unrelated(connection(), staged, order, column, others)
                reason = (
                    f"column {column!r}: none of its values occurs in {table}"
                    f" of release {self.release}"
                )
                self._refuse(name, dict.fromkeys(lone, reason))
            staged, order = self._standing(name, role.table)
            beside = self._others(role.table, but=name)
            if not beside and checks.distinct(staged):
                continue
            last: set[str] = set()
            if isinstance(role, RecordRole) and role.yields is not None:
                last = checks.yielding(connection(), staged, role.yields)
                order.sort(key=last.__contains__)
            clashes = checks.apart(connection(), staged, order, beside)
            new = set(order)
            self._yielded |= {
                (name, s) for s, c in clashes.items() if s in last and c.other_sha256 in new - last
            }
            self._refuse(name, {s: self._clash(role.table, c) for s, c in clashes.items()})

    def _standing(self, role: str, table: str) -> tuple[list[Staged], list[str]]:
        """Give what is staged for a table by a role's files, and their hashes in order."""
        batches = self.batches[role]
        staged = [s for b in batches for s in b.staged if s.table == table and b.standing]
        return staged, [r.file.sha256 for b in batches for r in b.standing]

    def _refuse(self, role: str, reasons: dict[str, str]) -> None:
        if reasons:
            for batch in self.batches[role]:
                batch.refuse(reasons)

    def _clash(self, table: str, clash: checks.Clash) -> str:
        there = {r.file.path: r.file.sha256 for r in self.records + self.kept}
        paths = [path for path, sha256 in there.items() if sha256 == clash.other_sha256]
        key = ", ".join(contracts.table(table).key[1:])
        other = f"another file (sha256 {clash.other_sha256[:12]}...)"
        if paths:
            # Folders may have files of the same name.
            alike = sum(path.name == paths[0].name for path in there) > 1
            other = str(paths[0]) if alike else paths[0].name
        return f"row {clash.row}: has the key ({key}) of row {clash.other_row} of {other}"

    def _others(self, table: str, but: str | None = None) -> str:
        """Query for a table's rows that will stand in the release, save those of a role's files."""
        parts = []
        for name in self.batches:
            staged, order = self._standing(name, table) if name != but else ([], [])
            if staged:
                files = ", ".join(contracts.literal(str(s.path)) for s in staged)
                hashes = ", ".join(map(contracts.literal, order))
                parts.append(
                    f"SELECT * FROM read_parquet([{files}], union_by_name => true)"
                    f" WHERE file_sha256 IN ({hashes})"
                )
        if self.has_lake and self._has_rows(table):
            kept = f"SELECT * FROM lake.{table} WHERE release = {contracts.literal(self.release)}"
            if gone := sorted(self.going(table)):
                kept += f" AND file_sha256 NOT IN ({', '.join(map(contracts.literal, gone))})"
            parts.append(kept)
        return " UNION ALL BY NAME ".join(parts)

    def _has_rows(self, table: str) -> bool:
        """Whether the release may have rows of a table in the lake."""
        feeding = {name for name, role in self.roles.items() if table in role.tables}
        return not feeding or any(r.file.role in feeding for r in [*self.gone, *self.kept])
