"""The folder that an archive's files are downloaded into, and its notes of where they are from.

The notes are lines of JSON in a hidden file, appended and flushed to the disk before a file takes
its final name: what bears its final name is complete, and what was complete is not asked for
again, whatever was killed when.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import filelock

from lake.commit import now
from lake.errors import LacusError
from lake.inputs import InputFile, sha256

NOTES = ".fetched.jsonl"

#: Folder of a home below which <mission>/<release>/<archive>/ are the download folders.
ARCHIVE = "archive"


@dataclass(frozen=True)
class Entry:
    """A file that was downloaded completely.

    Attributes
    ----------
    name : str
        Below the folder, with ``/``.
    url : str
        Where it is from.
    query : str or None
        The query that it answers.
    size : int
        Bytes.
    sha256 : str
        Of the bytes.
    etag, last_modified : str or None
        What the server said of its version.
    stamp : str or None
        What a listing of the archive said of its version, such as date and size.
    retrieved_at : str
        ISO 8601, UTC.
    """

    name: str
    url: str
    query: str | None
    size: int
    sha256: str
    etag: str | None
    last_modified: str | None
    stamp: str | None
    retrieved_at: str


class Folder:
    """A download folder and its notes; safe to use from several threads.

    Parameters
    ----------
    path : Path
        Made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._fresh: set[str] = set()
        self._state: str | None = None
        self._read()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Noted files by name."""
        return dict(self._entries)

    @property
    def state(self) -> str | None:
        """The archive's state at the last fetch that came to its end; None before one has."""
        return self._state

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from fetching into the folder.

        Raises
        ------
        LacusError
            If one is at it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.path / ".fetch.lock", timeout=0):
                self._read()  # what another has noted since
                yield
        except filelock.Timeout:
            raise LacusError(f"{self.path}: another process is fetching into it") from None

    def target(self, name: str) -> Path:
        """Final place of a file; its folder is made.

        Raises
        ------
        LacusError
            If the name leads out of the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise LacusError(f"{name!r}: is not the name of a file below {self.path}")
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def complete(self, name: str) -> Entry | None:
        """Note of a file that is here as it was noted; None if it has to be had (again)."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        path = self.target(name)
        part = partial(path)
        # Killed between the note and the new name.
        if part.exists() and part.stat().st_size == entry.size and sha256(part) == entry.sha256:
            settle(part, path)
        return entry if path.exists() and path.stat().st_size == entry.size else None

    def is_fresh(self, name: str) -> bool:
        """Whether a file was noted since the last fetch that came to its end.

        A fetch that was cut off and is started again need not ask for it.
        """
        return name in self._fresh

    def take(
        self,
        name: str,
        *,
        url: str,
        query: str | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        stamp: str | None = None,
        checksum: str | None = None,
    ) -> Entry:
        """Give a file, of which the `partial` is complete, its final name, and note it.

        Parameters
        ----------
        name, url, query, etag, last_modified, stamp
            See `Entry`.
        checksum : str, optional
            SHA-256 of the bytes, where it is known.
        """
        path = self.target(name)
        part = partial(path)
        sync(part)
        entry = Entry(
            name, url, query, part.stat().st_size, checksum or sha256(part), etag, last_modified,
            stamp, now().isoformat(timespec="seconds"),
        )  # fmt: skip
        self.note(entry)
        settle(part, path)
        return entry

    def note(self, entry: Entry) -> None:
        """Note a file that is complete."""
        with self._lock:
            self._append({"file": asdict(entry)})
            self._entries[entry.name] = entry
            self._fresh.add(entry.name)

    def keep(self, names: Iterable[str]) -> list[str]:
        """Remove all noted files but these, and what was begun of others.

        Returns
        -------
        list of str
            Names of the files that were removed, sorted.
        """
        wanted = set(names)
        begun = {partial(self.target(name)) for name in wanted}
        for part in self.path.rglob("*.part"):
            if part not in begun:
                part.unlink()
                validators(part.with_suffix("")).unlink(missing_ok=True)
        gone = sorted(set(self._entries) - wanted)
        for name in gone:
            self.target(name).unlink(missing_ok=True)
            with self._lock:
                self._append({"removed": name})
                del self._entries[name]
                self._fresh.discard(name)
        return gone

    def finish(self, state: str | None) -> None:
        """Note that a fetch came to its end, and the archive's state when it began.

        The state is None if something could not be had that may be had another time.
        """
        with self._lock:
            self._append({"state": state})
            self._state = state
            self._fresh.clear()

    def _append(self, line: Mapping[str, object]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / NOTES).open("ab+") as stream:
            stream.seek(0, os.SEEK_END)
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # a line that was cut off
                    stream.write(b"\n")
            stream.write(json.dumps(line).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self) -> None:
        """Read the notes; a line that was cut off is none."""
        self._entries, self._fresh, self._state = {}, set(), None
        try:
            lines = (self.path / NOTES).read_bytes().splitlines()
        except FileNotFoundError:
            return
        for text in lines:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if "file" in line:
                entry = Entry(**line["file"])
                self._entries[entry.name] = entry
                self._fresh.add(entry.name)
            elif "removed" in line:
                self._entries.pop(line["removed"], None)
                self._fresh.discard(line["removed"])
            else:
                self._state = line["state"]
                self._fresh.clear()


def partial(path: Path) -> Path:
    """Place of a file while it is being downloaded; no role takes files of this ending."""
    return path.with_name(f"{path.name}.part")


def validators(path: Path) -> Path:
    """Place of what the server said of the version that is being downloaded."""
    return path.with_name(f".{path.name}.part.json")


def settle(part: Path, path: Path) -> None:
    """Give a complete file its final name, for good."""
    os.replace(part, path)
    validators(path).unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the disk write down a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(parts: Iterable[object]) -> str:
    """SHA-256 over values that JSON can hold: the state of an archive in one word."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def origins(root: Path, files: Sequence[InputFile]) -> tuple[list[str | None], list[str | None]]:
    """URLs and queries of input files; null for those that were not fetched into this home.

    The notes of a folder are read once, and no others than those of folders that hold a file.

    Parameters
    ----------
    root : Path
        Of the home.
    files : sequence of InputFile
        As they were read: a file that was changed here since it was fetched is from nowhere.
    """
    above = f"{root / ARCHIVE}{os.sep}"
    urls: list[str | None] = [None] * len(files)
    queries = urls.copy()
    folders: dict[str, Mapping[str, Entry]] = {}
    for at, file in enumerate(files):
        path = str(file.path)
        # <mission>/<release>/<archive>/<name>
        place = path[len(above) :].split(os.sep, 3) if path.startswith(above) else ()
        if len(place) < 4:
            continue
        folder = os.path.join(above, *place[:3])
        if folder not in folders:
            folders[folder] = Folder(Path(folder)).entries
        entry = folders[folder].get(place[3].replace(os.sep, "/"))
        if entry is not None and entry.sha256 == file.sha256:
            urls[at], queries[at] = entry.url, entry.query
    return urls, queries
