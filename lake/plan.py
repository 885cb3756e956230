"""What an ingest has to do: the registered files of a release against those in the lake."""

import errno
import functools
import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb

from lake import inputs
from lake.home import Home
from lake.inputs import InputFile, RecordRole

#: Role, SHA-256, options as JSON, version of the reader.
Identity = tuple[str, str, str, int]

_FILES = """
SELECT role, path, size, mtime_ns, sha256, options, reader_version, status, reason,
    rows_read, rows_committed, rows_rejected
FROM meta.files
WHERE mission = ? AND release = ? AND status <> 'superseded'
ORDER BY ALL
"""


@dataclass(frozen=True)
class Record:
    """What became of one input file; a row of `meta.files`."""

    file: InputFile
    version: int
    status: str
    reason: str | None = None
    rows_read: int = 0
    rows_committed: int = 0
    rows_rejected: int = 0

    @functools.cached_property
    def identity(self) -> Identity:
        """Role, bytes, options and reader: records that agree in these hold the same rows."""
        return (self.file.role, self.file.sha256, self.file.options_json, self.version)

    @property
    def registration(self) -> tuple[str, Path, str]:
        """Role, path and options: one registered file, whatever its bytes."""
        return (self.file.role, self.file.path, self.file.options_json)

    @property
    def place(self) -> tuple[str, Path]:
        """Role and path: a file replaces the one that was read in the same place."""
        return (self.file.role, self.file.path)


@dataclass(frozen=True)
class Plan:
    """Registered files of a release against those in the lake.

    Attributes
    ----------
    new : list of Record
        To be read. A file of records that is not known is hashed only then (its sha256 is empty),
        so that it is opened once; `compare` tells afterwards whether it was new at all.
    gone : list of Record
        In the lake, and registered no more or replaced.
    kept : list of Record
        In the lake, and to stay.
    refused : list of Record
        Records of former refusals of files that are in `new`.
    unreadable : list of Record
        Refusals of registered paths that cannot be read.
    changed : bool
        Whether anything differs from when the release was last ingested. A file that was refused
        then is read again only if something has changed.
    known : list of Record
        What the lake recorded when the plan was made.
    registered : list of Record
        Registered files that can be read, as they are now.
    """

    new: list[Record]
    gone: list[Record]
    kept: list[Record]
    refused: list[Record]
    unreadable: list[Record]
    changed: bool
    known: list[Record]
    registered: list[Record]


def plan(home: Home, mission: str, release: str) -> Plan:
    """Compare the registered files of a release with those in the lake.

    A file is hashed only if its size or time of modification differ from when it last was.
    """
    known = []
    if home.store.exists:
        with home.store.reader() as connection:
            known = _recorded(connection, mission, release)
    return compare(*_registered(home, mission, release, known), known)


def compare(wanted: Iterable[Record], unreadable: list[Record], known: list[Record]) -> Plan:
    """Set registered files beside the records of the lake.

    Parameters
    ----------
    wanted : iterable of Record
        Registered files; those of equal bytes in one role count once, with the options of the
        first.
    unreadable : list of Record
        Refusals of registered paths that cannot be read.
    known : list of Record
        What the lake recorded.
    """
    registered = list(wanted)
    unhashed = [r for r in registered if not r.file.sha256]
    once: dict[tuple[str, str], Record] = {}
    for record in registered:
        if record.file.sha256:
            once.setdefault((record.file.role, record.file.sha256), record)
    files: dict[Identity, Record] = {r.identity: r for r in once.values()}
    present = {r.identity: r for r in known if r.status == "committed"}
    rejected = {r.identity: r for r in known if r.status == "rejected" and r.file.sha256}
    lost = {r.file.path for r in unreadable}
    lost_before = {r.file.path for r in known if r.status == "rejected" and not r.file.sha256}
    new = [r for i, r in files.items() if i not in present]
    refused = [rejected[r.identity] for r in new if r.identity in rejected]
    gone = [r for i, r in present.items() if i not in files and not _below(r.file.path, lost)]
    leaving = {r.identity for r in gone}
    # What a refused file was to replace is still there, and stays for as long as it is refused.
    standing = {r.place for r in refused}
    changed = (
        bool(unhashed)
        or any(r.place not in standing for r in gone)
        or len(new) > len(refused)
        or len(rejected) > len(refused)
        or lost != lost_before
    )
    kept = [r for i, r in present.items() if i not in leaving]
    return Plan(new + unhashed, gone, kept, refused, unreadable, changed, known, registered)


def _recorded(connection: duckdb.DuckDBPyConnection, mission: str, release: str) -> list[Record]:
    """Records of `meta.files` that are still of account, in one order."""
    records = []
    for row in connection.execute(_FILES, [mission, release]).fetchall():
        role, path, size, mtime_ns, sha256, options, version, status, reason, *rows = row
        file = InputFile(
            Path(path), mission, release, role, _options(options or "{}"), size, mtime_ns,
            sha256 or "",
        )  # fmt: skip
        records.append(Record(file, version or 0, status, reason, *rows))
    return records


@functools.lru_cache(maxsize=1024)
def _options(text: str) -> Mapping[str, str]:
    """Options of a registration, shared by the many files that it stands for."""
    return MappingProxyType(json.loads(text))


def fingerprint(records: Iterable[Record]) -> str:
    """Digest of the inputs of a release: the same inputs in any order give the same."""
    digest = hashlib.sha256()
    for identity in sorted(record.identity for record in records):
        digest.update(json.dumps(identity).encode())
    return digest.hexdigest()


def _below(path: Path, roots: set[Path]) -> bool:
    """Whether a path is one of some paths or lies below one."""
    return bool(roots) and (path in roots or not roots.isdisjoint(path.parents))


def _registered(
    home: Home, mission: str, release: str, known: list[Record]
) -> tuple[list[Record], list[Record]]:
    """Registered files as they are now, and paths that cannot be read."""
    hashes = {(r.file.path, r.file.size, r.file.mtime_ns): r.file.sha256 for r in known}
    # A known file that was moved or touched is recognised by its bytes, without being taken again.
    likenesses = {(r.file.path.name, r.file.size) for r in known}
    sources = [s for s in home.sources() if (s.mission, s.release) == (mission, release)]
    order = list(inputs.roles(mission))
    sources.sort(key=lambda source: order.index(source.role))
    files, unreadable = [], []
    for source in sources:
        role = inputs.role(mission, source.role)
        named = (mission, release, role.name, source.options)
        for registered in source.paths:
            for path in inputs.files_below(registered, role.suffixes):
                try:
                    found = path.stat()
                    if not stat.S_ISREG(found.st_mode):
                        raise IsADirectoryError(errno.EISDIR, "is not a file")
                    stamp = (found.st_size, found.st_mtime_ns)
                    sha256 = hashes.get((path, *stamp), "")
                    later = isinstance(role, RecordRole) and (path.name, stamp[0]) not in likenesses
                    if not sha256 and not later:
                        sha256 = inputs.sha256(path)
                    record = Record(InputFile(path, *named, *stamp, sha256), role.version, "new")
                    files.append(record)
                except OSError as error:
                    nothing = InputFile(path, *named, 0, 0, "")
                    reason = error.strerror or str(error)
                    unreadable.append(Record(nothing, role.version, "rejected", reason))
    return files, unreadable
