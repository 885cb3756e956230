"""What the files of a role hold, gathered until much of it is made Arrow at once."""

from collections.abc import Callable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.columns import Columns, Misfit
from lake.formats.room import turn_over
from lake.inputs import RecordRole, Records
from lake.intake import failure

#: Rows are made Arrow once their lists hold this many bytes, which fit into a cache.
_LIST_BYTES = 1 << 22
#: And rows once they are so many.
_ROWS = 1000


class Gathering:
    """Rows of all tables of a role.

    Parameters
    ----------
    role : RecordRole
    release : str
    """

    def __init__(self, role: RecordRole, release: str) -> None:
        self._role = role
        self._columns = {name: Columns(contracts.table(name), release) for name in role.tables}
        self._forget()

    def _forget(self) -> None:
        self._found: list[Any] = []
        self._hashes: list[str] = []
        self._bytes = 0

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Schema of each table."""
        return {name: columns.schema for name, columns in self._columns.items()}

    def extend(self, records: Records, sha256: str) -> None:
        """Add what a reader gave for one file."""
        if self._role.columns is None:
            for name, columns in self._columns.items():
                columns.extend(records.get(name, ()), sha256)
            return
        found = records[self._role.table]
        self._found += found
        self._hashes += [sha256] * len(found)
        self._bytes += sum(each.nbytes for each in found)

    def batches(
        self, refuse: Callable[[Mapping[str, str]], None], last: bool = False
    ) -> dict[str, list[pa.RecordBatch]]:
        """Give the rows of tables that have enough of them, as all have behind the last file.

        Parameters
        ----------
        refuse : callable
            Called with the reasons, by SHA-256, of files that no columns can be made of, or with a
            value that its column cannot hold; they are dropped from all tables.
        last : bool
        """
        if last or self._bytes > _LIST_BYTES or len(self._found) >= _ROWS:
            self._turn(refuse)
        full = self._full(last)
        while True:
            try:
                made = {name: columns.batches() for name, columns in full.items()}
            except Misfit as error:
                for columns in self._columns.values():
                    columns.drop(error.reasons)
                refuse(error.reasons)
                continue
            for columns in full.values():
                columns.clear()
            if full:
                turn_over()
            return made

    def _turn(self, refuse: Callable[[Mapping[str, str]], None]) -> None:
        """Make columns of what was found; a file that they cannot be made of is refused."""
        turn, pairs = self._role.columns, list(zip(self._hashes, self._found, strict=True))
        if turn is None or not pairs:
            return
        try:
            made = [(turn(self._found), self._hashes)]
        except Exception:  # at some file: the others go on
            made = []
            for sha256, of_file in groupby(pairs, itemgetter(0)):
                found = [each for _, each in of_file]
                try:
                    made.append((turn(found), [sha256] * len(found)))
                except Exception as error:
                    refuse({sha256: failure(error)})
        for columns, hashes in made:
            for name, values in columns.items():
                self._columns[name].extend_columns(values, hashes)
        self._forget()

    def _full(self, last: bool) -> dict[str, Columns]:
        # Lists are often views of their file: none waits for long.
        many = sum(columns.list_bytes for columns in self._columns.values()) > _LIST_BYTES
        return {
            name: columns
            for name, columns in self._columns.items()
            if last or (many and columns.list_bytes) or columns.rows >= _ROWS
        }
