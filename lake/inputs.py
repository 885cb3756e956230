"""What a mission takes in: its roles, and the files registered for them."""

import errno
import functools
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.errors import UsageError
from lake.formats.reader import TableReader
from lake.missions import offered


@dataclass(frozen=True)
class InputFile:
    """One registered file, as it lies on the disk now.

    Attributes
    ----------
    path : Path
    mission, release, role : str
    options : mapping
        Options of the registration.
    size : int
        Bytes.
    mtime_ns : int
    sha256 : str
    """

    path: Path
    mission: str
    release: str
    role: str
    options: Mapping[str, str]
    size: int
    mtime_ns: int
    sha256: str

    @functools.cached_property
    def options_json(self) -> str:
        """Options in the one spelling that `meta.files` and fingerprints use."""
        return in_json(self.options)

    def is_as_it_was(self, found: os.stat_result | None = None) -> bool:
        """Whether the file has the size and time of modification that it had when hashed.

        What the system says of it now may be given.
        """
        try:
            found = found or self.path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


def in_json(options: Mapping[str, str]) -> str:
    """Options in the one spelling that `meta.files` and fingerprints use."""
    return _in_json(tuple(sorted(options.items())))


@functools.lru_cache(maxsize=1024)
def _in_json(options: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(options))


@dataclass(frozen=True, kw_only=True)
class Role:
    """A kind of input file of a mission; `TableRole` and `RecordRole` say how the lake takes it.

    Attributes
    ----------
    name : str
        ``detections``, ``labels``, ``spectra``, ...
    table : str
        Table that the rows go to; of several, the one whose rows are counted.
    suffixes : tuple of str
        Endings of the files that are taken from a registered directory.
    options : mapping
        Options of a registration and what each means.
    version : int
        Raised whenever the reader gives other rows for the same file: files are then read again.
    """

    name: str
    table: str
    suffixes: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that the rows go to."""
        return (self.table,)


@dataclass(frozen=True, kw_only=True)
class TableRole(Role):
    """Files that are each a table of many rows.

    Attributes
    ----------
    read : callable
        Turns a file into batches whose columns are named as in the table; it raises
        `lake.errors.InputError`.
    required : tuple of str
        Columns that an input must have, and that must not be null.
    hints : mapping
        What to say beside, by required column, of a file that lacks it.
    keeps_other_columns : bool
        Whether columns that the contract does not declare are kept under their own names.
    matches : tuple, optional
        ``(table, column)``: a file is rejected if no row of it has a value of the column that
        also occurs in the table.
    """

    read: Callable[[InputFile], TableReader]
    required: tuple[str, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    keeps_other_columns: bool = False
    matches: tuple[str, str] | None = None


Records = Mapping[str, Sequence[Any] | pa.Table]
"""Rows by table, mappings from column to value or an Arrow table; see `RecordRole`."""


@dataclass(frozen=True, kw_only=True)
class RecordRole(Role):
    """Files that are each a few records of several tables, in whatever number.

    They are opened once: the same read gives checksum and rows.

    Attributes
    ----------
    records : callable
        Turns a file and its bytes (decompressed) into rows by table. Values are Python scalars,
        None, or, for a list, a NumPy array of any byte order, best a view of the bytes, whose
        masked elements are null; a column left out is null; release and file_sha256 are added,
        and file_row, the place in its list, where it is not given. The rows of a table that a
        file has many of are an Arrow table with the contract's types, which is not copied. Rows
        that cannot be taken are named under ``rejected``, with file_row and reason; a file that
        cannot raises `lake.errors.InputError`.
    columns : callable, optional
        Of a role whose files are many and small: makes columns of them at once. `records` then
        gives, under the name of `table`, objects of any kind with ``nbytes``, one for each row
        and with no key twice; of a list of those of many files this makes values by table and
        column, file_row among them, each a sequence with a value to an object. If it fails, it is
        asked for the columns of each file alone, and those at which it fails again are refused.
    also : tuple of str
        The tables beside `table`.
    some : tuple of str
        Those of them that not every file has rows for.
    yields : str, optional
        Condition in SQL on rows of `table`: of files with one key, those with such rows are the
        ones that are refused, though they were there first.
    """

    records: Callable[[InputFile, bytes], Records]
    columns: Callable[[Sequence[Any]], Mapping[str, Mapping[str, Sequence[Any]]]] | None = None
    also: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    yields: str | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that the rows go to."""
        return (self.table, *self.also)


#: Options that every role of tables has.
TABLE_OPTIONS = {
    "duplicates": "what happens if a key is repeated within a file; reject (default): the file is "
    "rejected; first: the first row of each key is kept, the others count as rejected rows",
}

_COMPRESSED = (".gz",)


def roles(mission: str) -> Mapping[str, Role]:
    """Roles of a mission by name, in the order in which they are ingested.

    Raises
    ------
    UsageError
        If there is no such mission.
    """
    if mission not in contracts.missions():
        raise UsageError(f"no mission {mission!r}; there are {', '.join(contracts.missions())}")
    found: Mapping[str, Role] = offered(mission, "ROLES")
    return found


def role(mission: str, name: str) -> Role:
    """One role of a mission; see `roles`."""
    known = roles(mission)
    if name not in known:
        raise UsageError(f"{mission} has no role {name!r}; it has {', '.join(known)}")
    return known[name]


def options_of(role: Role) -> Mapping[str, str]:
    """Options that a registration for a role may have, and what each means."""
    return {**(TABLE_OPTIONS if isinstance(role, TableRole) else {}), **role.options}


def tables(mission: str) -> list[str]:
    """Tables of a mission that its input files go to, in the order of its roles."""
    return list(dict.fromkeys(table for role in roles(mission).values() for table in role.tables))


def check_options(mission: str, name: str, options: Mapping[str, str]) -> None:
    """Raise UsageError for an option that the role does not have."""
    known = options_of(role(mission, name))
    for option in options:
        if option not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(f"{mission} {name} has no option {option!r}; {there}")
    if options.get("duplicates", "reject") not in ("reject", "first"):
        raise UsageError(f"duplicates={options['duplicates']}: expected reject or first")


def files_below(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files that a registered path stands for: itself, or what lies below it, sorted."""
    return [Path(name) for name in sorted(name for name, _ in stats_below(path, suffixes))]


def stats_below(
    path: Path, suffixes: tuple[str, ...]
) -> Iterator[tuple[str, os.stat_result | OSError]]:
    """Look once at each file that a registered path stands for, in no order.

    Yields
    ------
    name : str
    stat : os.stat_result or OSError
        Why there is none, if so. A folder that cannot be listed counts as such a file: what lies
        below it is unknown, not gone.
    """
    if not os.path.isdir(path):
        yield str(path), _stat(path)
        return
    wanted = suffixes + tuple(s + c for s in suffixes for c in _COMPRESSED)
    folders = [str(path)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            yield folder, error
            continue
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif (
                entry.name.lower().endswith(wanted)
                and not is_note(entry.name)
                and not entry.is_dir()
            ):
                yield entry.path, _stat(entry)


def readable(name: str) -> str:
    """A file's name as text that can be stored and printed: bytes that are not UTF-8 escaped."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def is_note(name: str) -> bool:
    """Whether a file name is of no input, as ``.DS_Store`` and ``_SUCCESS`` are none."""
    return name.startswith(".") or (name.startswith("_") and "." not in name)


def _stat(file: "Path | os.DirEntry[str]") -> os.stat_result | OSError:
    try:
        found = file.stat()
    except OSError as error:
        return error
    if stat.S_ISREG(found.st_mode):
        return found
    return IsADirectoryError(errno.EISDIR, "is not a file")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
