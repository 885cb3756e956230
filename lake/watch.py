"""What is to be seen of inputs without reading them: dropped releases, and files that change.

Under a watched folder each ``<mission>/<release>/`` is a release. Its subfolders that are named
like a role of the mission are registered for that role; if there is none, the folder itself is,
for the mission's first role. It is complete once it holds a marker file that is younger than all
else in it, or once nothing in it has changed for a while.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lake import inputs
from lake.errors import LacusError, UsageError
from lake.home import Home
from lake.sources import Source, Watching, check_release
from lake.whole import write_whole

_REPORT = "watch.json"


@dataclass(frozen=True)
class Inputs:
    """Registered inputs of a release, as they are to be seen from outside.

    Attributes
    ----------
    digest : str
        Of the registrations, and of path, size and time of modification of each file.
    changed_at : float
        When a file last changed, seconds since 1970; 0 if there is none.
    complete : bool
        Whether a marker says so.
    """

    digest: str
    changed_at: float
    complete: bool

    def settled(self, settings: Watching, now: float) -> bool:
        """Whether nobody seems to be writing any more."""
        return self.complete or now - self.changed_at >= settings.settle_seconds


@dataclass(frozen=True)
class Dropped:
    """What was found under the watched folders.

    Attributes
    ----------
    registered : list of Source
        Registered now.
    unsettled : list of Path
        Folders of releases that are not complete yet.
    strange : list of str
        What is no mission, release or role, and why.
    """

    registered: list[Source] = field(default_factory=list)
    unsettled: list[Path] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)


def look(home: Home, mission: str, release: str) -> Inputs:
    """See whether the inputs of a registered release have changed; nothing is opened."""
    settings = home.watching()
    digest, newest, marked = hashlib.sha256(), 0, []
    for source in home.sources():
        if (source.mission, source.release) != (mission, release):
            continue
        role = inputs.role(mission, source.role)
        said = [source.role, role.version, [str(path) for path in source.paths]]
        digest.update(json.dumps([*said, inputs.in_json(source.options)]).encode())
        for path in source.paths:
            lines, found = [], 0
            for name, stat in inputs.stats_below(path, role.suffixes):
                if isinstance(stat, OSError):
                    lines.append(f"{name}\0{stat.errno}")
                    continue
                lines.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
                found = max(found, stat.st_ctime_ns)
            digest.update("\n".join(sorted(lines)).encode(errors="surrogateescape"))
            newest = max(newest, found)
            marked.append(_marked(path, settings.marker, found))
    return Inputs(digest.hexdigest(), newest / 1e9, bool(marked) and all(marked))


def register(home: Home, now: float) -> Dropped:
    """Register the complete releases under the watched folders that are not registered yet.

    Parameters
    ----------
    home : Home
    now : float
        Seconds since 1970.
    """
    settings, dropped = home.watching(), Dropped()
    known = {(s.mission, s.release, path) for s in home.sources() for path in s.paths}
    for folder in _releases(settings, dropped.strange):
        mission, release = folder.parent.name, folder.name
        roles = inputs.roles(mission)
        named = [folder / role for role in roles if (folder / role).is_dir()]
        places = named or [folder]
        new = [place for place in places if (mission, release, place) not in known]
        if not new:
            continue
        if f"{mission}:{release}" in settings.withdrawn:
            dropped.strange.append(f"{folder}: was withdrawn; `lacus add` brings it back")
            continue
        if not _complete(folder, settings, now):
            dropped.unsettled.append(folder)
            continue
        for place in new:
            role = place.name if named else next(iter(roles))
            source = Source(mission, release, role, (place,))
            try:
                home.add(source)
            except UsageError as error:  # it was moved away meanwhile
                dropped.strange.append(f"{place}: {error}")
                continue
            dropped.registered.append(source)
    return dropped


def report(home: Home, now: float, told: Mapping[str, str]) -> None:
    """Write down what a look at the inputs found, for `last_report`.

    Parameters
    ----------
    home : Home
    now : float
        Seconds since 1970.
    told : mapping
        By ``mission:release`` or path, whatever is not simply up to date.
    """
    said = {
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "told": {inputs.readable(name): inputs.readable(text) for name, text in told.items()},
    }
    write_whole(home.root / _REPORT, json.dumps(said, indent=1, ensure_ascii=False))


def last_report(home: Home) -> dict[str, Any] | None:
    """What `report` wrote last: ``at``, when (ISO 8601, UTC), and ``told``; None if nothing.

    Raises
    ------
    LacusError
        If somebody has written something else there.
    """
    if not (home.root / _REPORT).exists():
        return None
    try:
        found: dict[str, Any] = json.loads((home.root / _REPORT).read_text(encoding="utf-8"))
    except ValueError as error:
        raise LacusError(f"{home.root / _REPORT}: is not JSON: {error}") from None
    return found


def _releases(settings: Watching, strange: list[str]) -> Iterator[Path]:
    """Folders of releases below the watched ones, sorted; what else is there is named."""
    for folder in settings.folders:
        for mission in _folders(folder, strange):
            try:
                inputs.roles(mission.name)
            except UsageError as error:
                strange.append(f"{mission}: {error}")
                continue
            for release in _folders(mission, strange):
                try:
                    check_release(release.name)
                except UsageError as error:
                    strange.append(f"{release}: {error}")
                    continue
                yield release


def _folders(folder: Path, strange: list[str]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        strange.append(f"{folder}: {error.strerror}")
        return []
    return [folder / name for name in names]


def _complete(folder: Path, settings: Watching, now: float) -> bool:
    """Whether a dropped folder holds something, and nobody is writing there any more."""
    newest = 0
    for name, stat in inputs.stats_below(folder, ("",)):
        if isinstance(stat, OSError):
            # A link that leads nowhere, say, is for the ingest to refuse; it must not hold up all.
            try:
                stat = os.lstat(name)
            except OSError:  # it has just left: somebody is at work
                return False
        newest = max(newest, stat.st_ctime_ns)
    if not newest:
        return False
    return _marked(folder, settings.marker, newest) or (
        now - newest / 1e9 >= settings.settle_seconds
    )


def _marked(path: Path, marker: str, newest: int) -> bool:
    """Whether a folder, or the one above it, has a marker that no file below it is younger than.

    A release that is dropped has one marker, also where its roles are registered one by one.
    """
    for place in (path, path.parent):
        try:
            if (place / marker).stat().st_ctime_ns >= newest:
                return True
        except OSError:
            continue
    return False
