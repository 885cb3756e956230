"""What an ingest has to do: the registered files of a release against those in the lake."""

import errno
import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lake import inputs
from lake.home import Home
from lake.inputs import InputFile, RecordRole, Role
from lake.sources import Source
from lake.store import Store

#: Role, SHA-256, options as JSON, version of the reader.
Identity = tuple[str, str, str, int]

#: How the reason of a file begins that is not read because another one holds its bytes.
COPY = "has the bytes of "
#: Which rows of `meta.files` say so.
IS_COPY = f"status = 'superseded' AND starts_with(reason, '{COPY}')"

_FILES = f"""
SELECT role, path, size, mtime_ns, coalesce(options, '{{}}'), coalesce(reader_version, 0),
    coalesce(sha256, ''), status, reason, rows_read, rows_committed, rows_rejected
FROM meta.files
WHERE mission = ? AND release = ?
    AND (status <> 'superseded' OR {IS_COPY})
ORDER BY ALL
"""

#: Role, path, size, time of modification in ns, options as JSON, version of the reader: a
#: registered file, as it is.
_Stamp = tuple[str, str, int, int, str, int]
#: What `_FILES` gives of a file: its stamp, then places among others.
_Row = tuple[Any, ...]
_STAMP, _ROLE, _SHA256, _STATUS = slice(0, 6), 0, 6, 7


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

    @functools.cached_property
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
    kept : sequence of Record
        In the lake, and to stay.
    refused : list of Record
        Records of former refusals of files that are in `new`.
    unreadable : list of Record
        Refusals of registered paths that cannot be read.
    copies : list of Record
        Files whose bytes another file of their role has, which counts for both: superseded.
    changed : bool
        Whether anything differs from when the release was last ingested. A file that was refused
        then is read again only if something has changed.
    known : sequence of Record
        What the lake recorded when the plan was made.
    registered : sequence of Record
        Registered files that can be read, as they are now.
    """

    new: list[Record]
    gone: list[Record]
    kept: Sequence[Record]
    refused: list[Record]
    unreadable: list[Record]
    copies: list[Record]
    changed: bool
    known: Sequence[Record]
    registered: Sequence[Record]


class _Records(Sequence[Record]):
    """Records of rows of `meta.files`, made when one is looked at: mostly, only their number is."""

    def __init__(self, rows: Sequence[_Row], mission: str, release: str) -> None:
        self._rows, self._of = rows, (mission, release)

    @functools.cached_property
    def _records(self) -> list[Record]:
        return [_record(row, *self._of) for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]


def plan(home: Home, mission: str, release: str) -> Plan:
    """Compare the registered files of a release with those in the lake.

    A file is hashed only if its size or time of modification differ from when it last was. Where
    all files are as they were, each is looked at and no more is done.
    """
    rows: list[_Row] = []
    if home.store.exists:
        with home.store.reader() as connection:
            rows = connection.execute(_FILES, [mission, release]).fetchall()
    listings = _listings(home, mission, release)
    if _all_as_they_were(listings, rows):
        return _nothing_new(rows, mission, release)
    known = [_record(row, mission, release) for row in rows]
    return compare(*_registered(listings, known), known)


def originals(store: Store, mission: str, release: str) -> dict[str, str]:
    """Files of a release that are not read because another file of their role has their bytes.

    Returns
    -------
    dict of str to str
        Path of the copy -> path of the file that was read.
    """
    if not store.exists:
        return {}
    found = store.sql(
        f"SELECT c.path, f.path FROM (FROM meta.files WHERE {IS_COPY}) AS c"
        " JOIN meta.files AS f USING (mission, release, role, sha256)"
        " WHERE c.mission = ? AND c.release = ? AND f.status = 'committed'",
        [mission, release],
    )
    return dict(found.fetchall())


def describe(todo: Plan) -> str:
    """Say in a few words what an ingest would find changed."""
    leaving = {r.place: r for r in todo.gone}
    before = {r.registration for r in todo.refused}
    again = [r for r in todo.new if r.place in leaving]
    reader = [r for r in again if r.version != leaving[r.place].version]
    replaced = {r.place for r in again}
    counts = {
        "new": sum(r.place not in replaced and r.registration not in before for r in todo.new),
        "changed": len(again) - len(reader),
        "to be read by a newer reader": len(reader),
        "gone": sum(r.place not in replaced for r in todo.gone),
        "refused before": len(todo.refused),
        "not to be read": len(todo.unreadable),
        "copies of others": len(todo.copies),
    }
    told = [f"{number} {what}" for what, number in counts.items() if number]
    return f"files: {', '.join(told)}" if told else "what was refused before is no longer there"


def _all_as_they_were(listings: "list[_Listing]", rows: Sequence[_Row]) -> bool:
    """Whether registered files and rows of `meta.files` agree one to one.

    If so, `compare` finds no change; it knows more of files that were moved, touched or never
    read.
    """
    if len(rows) != sum(len(listing.files) for listing in listings):
        return False
    read = [(row[_ROLE], row[_SHA256]) for row in rows if row[_STATUS] != "superseded"]
    if "" in {sha256 for _, sha256 in read} or len(set(read)) < len(read):
        return False
    if not set(read).issuperset((row[_ROLE], row[_SHA256]) for row in rows):
        return False
    now = {stamp for listing in listings for stamp in listing.stamps()}
    return len(now) == len(rows) and now == {row[_STAMP] for row in rows}


def _nothing_new(rows: Sequence[_Row], mission: str, release: str) -> Plan:
    """Give the plan of a release of which every file is as the lake recorded it."""
    known = _Records(rows, mission, release)
    kept = _Records([row for row in rows if row[_STATUS] == "committed"], mission, release)
    refused = [_record(row, mission, release) for row in rows if row[_STATUS] == "rejected"]
    new = [Record(r.file, r.version, "new") for r in refused]
    return Plan(new, [], kept, refused, [], [], False, known, known)


def compare(wanted: Iterable[Record], unreadable: list[Record], known: Sequence[Record]) -> Plan:
    """Set registered files beside the records of the lake.

    Parameters
    ----------
    wanted : iterable of Record
        Registered files; those of equal bytes in one role count once, with the options of the
        first.
    unreadable : list of Record
        Refusals of registered paths that cannot be read.
    known : sequence of Record
        What the lake recorded.
    """
    registered = list(wanted)
    unhashed = [r for r in registered if not r.file.sha256]
    hashed = [r for r in registered if r.file.sha256]
    once: dict[tuple[str, str], Record] = {}
    for record in hashed:
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
    standing = replaced(refused, known)
    taken = {i: r for i, r in (present | rejected).items() if i in files}
    copies = list(_copies(hashed, taken))
    # What was moved is on record once something else is written.
    there = {r.file.path for r in registered}
    copied_before = {r.registration for r in known if r.status == "superseded"}
    changed = (
        bool(unhashed)
        or any(r.registration not in copied_before and of in there for r, of in copies)
        or any((r.file.role, r.file.sha256) not in standing for r in gone)
        or len(new) > len(refused)
        or len(rejected) > len(refused)
        or lost != lost_before
    )
    kept = [r for i, r in present.items() if i not in leaving]
    return Plan(
        new + unhashed, gone, kept, refused, unreadable, [r for r, _ in copies], changed, known,
        registered,
    )  # fmt: skip


def replaced(refused: Iterable[Record], known: Iterable[Record]) -> set[tuple[str, str]]:
    """Role and SHA-256 of what was in the places of files that are refused, or a copy of it."""
    places = {r.place for r in refused}
    return {(r.file.role, r.file.sha256) for r in known if r.place in places}


def _copies(
    hashed: Iterable[Record], taken: Mapping[Identity, Record]
) -> Iterator[tuple[Record, Path]]:
    """Registered files that are not read because another file of their role has their bytes.

    Of files of the same bytes the one that was read before stands for all, even if it is there no
    more, else the first is read. Its path comes with each of the others.
    """
    before = {(r.file.role, r.file.sha256): r.file.path for r in taken.values()}
    alike: dict[tuple[str, str], dict[Path, Record]] = {}
    for record in hashed:
        same = alike.setdefault((record.file.role, record.file.sha256), {})
        same.setdefault(record.file.path, record)
    for key, same in alike.items():
        stays = before.get(key) or next(iter(same))
        for path, record in same.items():
            if path != stays:
                reason = f"{COPY}{stays}"
                yield Record(record.file, record.version, "superseded", reason), stays


def _record(row: _Row, mission: str, release: str) -> Record:
    """Record of a row that `_FILES` gives."""
    role, path, size, mtime_ns, options, version, sha256, status, reason, *rows = row
    file = InputFile(
        Path(path), mission, release, role, _options(options), size, mtime_ns, sha256
    )  # fmt: skip
    return Record(file, version, status, reason, *rows)


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


@dataclass(frozen=True)
class _Listing:
    """The files of one registered path, sorted, as they are now; see `inputs.stats_below`."""

    source: Source
    role: Role
    files: list[tuple[str, os.stat_result | OSError]]

    def stamps(self) -> Iterator[_Stamp]:
        """Stamps of those that can be read."""
        options = inputs.in_json(self.source.options)
        for path, stat in self.files:
            if isinstance(stat, os.stat_result):
                yield (
                    self.role.name, path, stat.st_size, stat.st_mtime_ns, options,
                    self.role.version,
                )  # fmt: skip


def _listings(home: Home, mission: str, release: str) -> list[_Listing]:
    """Files of every registered path of a release, in the order in which roles are ingested."""
    roles = inputs.roles(mission)
    sources = [s for s in home.sources() if (s.mission, s.release) == (mission, release)]
    listings = []
    for name in roles:
        of_role = [(s, path) for s in sources if s.role == name for path in s.paths]
        below = _nested([path for _, path in of_role])
        for source, path in of_role:
            files = _named(inputs.stats_below(path, roles[name].suffixes))
            # What lies below a path that is registered by itself has the options of that one.
            if inner := below.get(path):
                files = (f for f in files if inner.isdisjoint((Path(f[0]), *Path(f[0]).parents)))
            listings.append(_Listing(source, roles[name], sorted(files)))
    return listings


def _nested(paths: Sequence[Path]) -> dict[Path, set[Path]]:
    """Which of some paths lie below which others of them."""
    there, below = set(paths), defaultdict[Path, set[Path]](set)
    for path in paths:
        for folder in there.intersection(path.parents):
            below[folder].add(path)
    return below


def _named(
    files: Iterable[tuple[str, os.stat_result | OSError]],
) -> Iterator[tuple[str, os.stat_result | OSError]]:
    """Files with names that the lake can hold: one that it cannot is refused under a like one."""
    for name, stat in files:
        if (text := inputs.readable(name)) != name:
            yield text, OSError(errno.EILSEQ, "its name is not UTF-8; rename the file")
        else:
            yield name, stat


def _registered(listings: list[_Listing], known: list[Record]) -> tuple[list[Record], list[Record]]:
    """Registered files as they are now, and paths that cannot be read."""
    hashes = {(str(r.file.path), r.file.size, r.file.mtime_ns): r.file.sha256 for r in known}
    # A known file that was moved, renamed or touched is recognised by its bytes, without being
    # taken again.
    likenesses = {(r.file.path.name, r.file.size) for r in known}
    there = {name for listing in listings for name, _ in listing.files}
    missed = {r.file.size for r in known if str(r.file.path) not in there}
    files, unreadable = [], []
    for listing in listings:
        role, source = listing.role, listing.source
        named = (source.mission, source.release, role.name, source.options)
        for name, stat in listing.files:
            path = Path(name)
            try:
                if isinstance(stat, OSError):
                    raise stat
                stamp = (stat.st_size, stat.st_mtime_ns)
                sha256 = hashes.get((name, *stamp), "")
                alike = (path.name, stamp[0]) in likenesses or stamp[0] in missed
                if not sha256 and (alike or not isinstance(role, RecordRole)):
                    sha256 = inputs.sha256(path)
                files.append(Record(InputFile(path, *named, *stamp, sha256), role.version, "new"))
            except OSError as error:
                nothing = InputFile(path, *named, 0, 0, "")
                reason = error.strerror or str(error)
                unreadable.append(Record(nothing, role.version, "rejected", reason))
    return files, unreadable
