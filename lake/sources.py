"""`sources.toml`: what a lake is made from, and how a home watches its inputs.

People edit the file, too: it is checked whenever it is read, and keeps its comments.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import filelock
import tomlkit

from lake import inputs
from lake.errors import LacusError, UsageError
from lake.whole import write_whole

#: What a release may be called: it becomes a directory, a partition and a Dagster tag.
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

#: Where a table of `sources.toml` begins, other than one within a source.
_HEADER = re.compile(r"^(?=\[\[[^]\n]*\]\]|\[(?!\s*source\b)[\w. -]+\])", re.MULTILINE)

_GREETING = """\
What this lake is made from. `lacus add` writes here, and you may too: each [[source]] names a
mission, a release, the role that its files play, and their paths (files or folders; relative ones
start at this file's folder). [watch] names folders in which new releases are dropped as
<mission>/<release>/: folders = ["incoming"]; `lacus watch` and `lacus ui` look there.
"""


@dataclass(frozen=True)
class Source:
    """Registered inputs: files or folders that play one role in one release of a mission.

    Attributes
    ----------
    mission, release, role : str
    paths : tuple of Path
    options : mapping
        Of the role.
    fetch : mapping
        What was asked of which ``archive``, where the paths were fetched from one
        (`lake.fetch.archives`); empty elsewhere.
    """

    mission: str
    release: str
    role: str
    paths: tuple[Path, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    fetch: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Watching:
    """The table ``[watch]`` of `sources.toml`; see `lake.watch`.

    Attributes
    ----------
    folders : tuple of Path
        Where releases are dropped, as ``<folder>/<mission>/<release>/``.
    marker : str
        File that says that a folder is complete, of a name that no input has (`inputs.is_note`).
    settle_seconds : float
        How long nothing must have changed where there is no marker.
    retry_seconds : tuple of float
        How long to wait after the first, second, ... failure; after the last one no more is tried.
    withdrawn : tuple of str
        Dropped releases, as ``mission:release``, that are not to be registered:
        `SourcesFile.forget` writes them here, lest what was withdrawn comes back by itself.
    """

    folders: tuple[Path, ...] = ()
    marker: str = "_COMPLETE"
    settle_seconds: float = 60.0
    retry_seconds: tuple[float, ...] = (60.0, 300.0, 1800.0)
    withdrawn: tuple[str, ...] = ()


class SourcesFile:
    """The file `sources.toml` of a home.

    Parameters
    ----------
    path : Path
        It need not be there; its folder is the home.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._root = path, path.parent
        # The text that was parsed last, and its sources: each look at a release asks for them.
        self._parsed: tuple[str, list[Source]] = ("", [])

    def sources(self) -> list[Source]:
        """Registered sources, in the order of the file.

        Raises
        ------
        LacusError
            If the file is not what it should be.
        """
        with self._reporting():
            text = self._text()
            if text != self._parsed[0]:
                entries = tomllib.loads(text).get("source", [])
                if not isinstance(entries, list):
                    raise UsageError("sources are written as [[source]], with two brackets")
                sources = [self._source(number, entry) for number, entry in enumerate(entries, 1)]
                self._parsed = text, sources
            return list(self._parsed[1])

    def watching(self) -> Watching:
        """How this home watches its inputs.

        Raises
        ------
        LacusError
            If the file is not what it should be.
        """
        with self._reporting():
            return _watching(tomllib.loads(self._text()).get("watch", {}), self._root)

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Name the file in every error about what it says."""
        try:
            yield
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, UsageError) as error:
            raise LacusError(f"{self.path}: {error}") from None

    def _source(self, number: int, entry: object) -> Source:
        if not isinstance(entry, dict):
            raise UsageError(f"source {number}: is not a table")
        missing = {"mission", "release", "role", "paths"} - set(entry)
        if missing:
            raise UsageError(f"source {number}: {', '.join(sorted(missing))} missing")
        paths = entry["paths"]
        options = entry.get("options", {})
        fetch = entry.get("fetch", {})
        if not isinstance(paths, list) or not isinstance(options, dict):
            raise UsageError(f"source {number}: paths is a list, options a table")
        if not isinstance(fetch, dict) or (fetch and "archive" not in fetch):
            raise UsageError(f"source {number}: fetch is a table that names an archive")
        source = Source(
            str(entry["mission"]),
            str(entry["release"]),
            str(entry["role"]),
            tuple(Path(os.path.abspath(self._root / str(path))) for path in paths),
            {str(key): str(value) for key, value in options.items()},
            {str(key): str(value) for key, value in fetch.items()},
        )
        _check(source)
        return source

    def add(self, source: Source) -> None:
        """Register a source; paths registered already for the same role take the new options.

        Raises
        ------
        UsageError
            If mission, release, role or an option is not valid, or a path does not exist.
        """
        _check(source)
        for path in source.paths:
            if not path.exists():
                raise UsageError(f"{path}: no such file or folder")
            if inputs.readable(str(path)) != str(path):
                raise UsageError(f"{inputs.readable(str(path))}: its name is not UTF-8; rename it")
        self._root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self.sources(), self.watching()  # a broken file is reported, never overwritten
            document = self._document()
            _register(document, source, self._root)
            write_whole(self.path, tomlkit.dumps(document))

    def forget(self, mission: str, release: str) -> None:
        """Take the sources of a release out of `sources.toml`; its comments stay.

        What was dropped into a watched folder is noted there as withdrawn.
        """
        if not self.path.exists():
            return
        with self._locked():
            sources = self.sources()  # a broken file is reported, never overwritten
            theirs = [s for s in sources if (s.mission, s.release) == (mission, release)]
            before = self.path.read_text(encoding="utf-8")
            after = _without(before, mission, release)
            folders = self.watching().folders
            if any(p.is_relative_to(f) for s in theirs for p in s.paths for f in folders):
                after = _withdrawn(after, f"{mission}:{release}")
            if after != before:
                write_whole(self.path, after)

    def _locked(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self._root / ".sources.lock")

    def _document(self) -> tomlkit.TOMLDocument:
        """Read `sources.toml` with its comments, or begin one."""
        if self.path.exists():
            return tomlkit.parse(self.path.read_text(encoding="utf-8"))
        document = tomlkit.document()
        for line in _GREETING.splitlines():
            document.add(tomlkit.comment(line))
        return document


def _register(document: tomlkit.TOMLDocument, source: Source, root: Path) -> None:
    """Add a source; what was registered for the same role leaves its former entry."""
    entries: Any = document.setdefault("source", tomlkit.aot())
    # Without `..`, so that one file has one path; a link stays the link that was given.
    new = list(dict.fromkeys(os.path.abspath(path) for path in source.paths))
    moved = set(new)
    # New options of what was fetched leave it what it is.
    fetch: Mapping[str, str] = source.fetch
    for entry in list(entries):
        if (entry["mission"], entry["release"], entry["role"]) != (
            source.mission, source.release, source.role,
        ):  # fmt: skip
            continue
        left = [path for path in entry["paths"] if os.path.abspath(root / path) not in moved]
        if not left:
            fetch = fetch or entry.get("fetch", {})
            entries.remove(entry)
        elif len(left) < len(entry["paths"]):
            entry["paths"] = left
    entry = tomlkit.table()
    entry.update({"mission": source.mission, "release": source.release, "role": source.role})
    listed = tomlkit.array()
    # What lies in the home moves with it.
    inside = os.path.join(os.path.abspath(root), "")
    listed.extend(path.removeprefix(inside) for path in new)
    entry["paths"] = listed.multiline(len(new) > 1)
    if source.options:
        entry["options"] = dict(source.options)
    if fetch:
        entry["fetch"] = dict(fetch)
    entries.append(entry)


def _without(text: str, mission: str, release: str) -> str:
    """Give `sources.toml` without the entries of a release.

    A parser takes a comment in front of an entry for a part of the entry before it. So entries
    are cut out of the text, but for the comments behind their last line.
    """

    def theirs(entry: Mapping[str, Any]) -> bool:
        return (str(entry["mission"]), str(entry["release"])) == (mission, release)

    wanted = tomllib.loads(text)
    wanted["source"] = [entry for entry in wanted.get("source", []) if not theirs(entry)]
    blocks = _HEADER.split(text)
    for number, block in enumerate(blocks):
        if _HEADER.match(block) and any(map(theirs, tomllib.loads(block).get("source", []))):
            lines = block.splitlines(keepends=True)
            while lines and lines[-1].lstrip()[:1] in ("", "#"):
                lines.pop()
            blocks[number] = block[len("".join(lines)) :].lstrip("\n")
    after = "".join(blocks)
    if {"source": [], **tomllib.loads(after)} == wanted:
        return after
    document = tomlkit.parse(text)  # written in another of TOML's ways
    entries: Any = document["source"]
    for entry in [entry for entry in entries if theirs(entry)]:
        entries.remove(entry)
    return tomlkit.dumps(document)


def _withdrawn(text: str, name: str) -> str:
    """Give `sources.toml` with a release among those that are not to be registered by themselves.

    It has a table ``[watch]``, which names the folder that the release lies in.
    """
    document = tomlkit.parse(text)
    table: Any = document["watch"]
    listed = [*table.get("withdrawn", []), name]
    table["withdrawn"] = list(dict.fromkeys(listed))
    return tomlkit.dumps(document)


def _watching(table: object, root: Path) -> Watching:
    """Settings of a table ``[watch]``; relative folders start at the home."""
    if not isinstance(table, dict):
        raise UsageError("watch: is not a table; it is written as [watch]")
    known = [setting.name for setting in fields(Watching)]
    for name in table:
        if name not in known:
            raise UsageError(f"watch: no setting {name!r}; there are {', '.join(known)}")
    given = dict(table)
    folders = _texts(table, "folders", "paths")
    given["folders"] = tuple(Path(os.path.abspath(root / folder)) for folder in folders)
    given["withdrawn"] = _texts(table, "withdrawn", "releases, as csc:CSC2.0")
    marker = given.get("marker", Watching.marker)
    if not isinstance(marker, str) or not inputs.is_note(marker) or "/" in marker:
        raise UsageError(
            f"watch: marker is a file name like _COMPLETE or .complete, not {marker!r}"
        )
    waits = given.get("retry_seconds", [])
    if not isinstance(waits, list):
        raise UsageError("watch: retry_seconds is a list of numbers")
    for seconds in [*waits, given.get("settle_seconds", 0)]:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise UsageError(f"watch: {seconds!r} is no number of seconds")
    if "retry_seconds" in given:
        given["retry_seconds"] = tuple(waits)
    return Watching(**given)


def _texts(table: Mapping[str, Any], name: str, of: str) -> tuple[str, ...]:
    """Give a setting that is a list of texts; nothing if it is absent."""
    listed = table.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise UsageError(f"watch: {name} is a list of {of}")
    return tuple(listed)


def _check(source: Source) -> None:
    """Raise UsageError if mission, release, role or an option is not valid."""
    check_release(source.release)
    inputs.check_options(source.mission, source.role, source.options)


def check_release(release: str) -> None:
    """Raise UsageError if a release cannot be called this."""
    if not _RELEASE.fullmatch(release):
        raise UsageError(
            f"release {release!r}: letters, digits, '_', '.', '-' only, at most 63, "
            "the first a letter or a digit"
        )
