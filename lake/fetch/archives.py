"""Archives that releases are fetched from, and what a home has fetched from them.

A mission names its archives in ``ARCHIVES`` of its package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lake.errors import UsageError
from lake.fetch.download import Report
from lake.fetch.folder import ARCHIVE, Entry, Folder
from lake.fetch.session import FetchError, Session
from lake.fetch.settings import Settings, settings
from lake.home import Home
from lake.missions import offered, offering
from lake.sources import Source, check_release

Parameters = Mapping[str, str]


def _replaced(former: Parameters, new: Parameters) -> Parameters:
    return new


@dataclass(frozen=True)
class Archive:
    """Where a mission's releases can be fetched from.

    Attributes
    ----------
    name : str
        As `lacus fetch` and sources.toml call it.
    mission, role : str
        What the files are registered for.
    url : str
        Endpoint, without a slash at the end.
    description : str
    parameters : mapping
        Parameters of a request and what each means.
    fetch : callable
        Brings what a `Request` asks for into its folder, and removes from there what the archive
        gives no more.
    state : callable
        Digest of what the archive would give now, cheap beside giving it.
    settings : Settings
        How it is asked if sources.toml does not say.
    merged : callable
        Parameters of a former request for the same release, and those of a new one -> parameters
        of the request for both; by default the new ones.
    """

    name: str
    mission: str
    role: str
    url: str
    description: str
    parameters: Mapping[str, str]
    fetch: Callable[["Request"], "Result"]
    state: Callable[["Request"], str]
    settings: Settings = field(default_factory=Settings)
    merged: Callable[[Parameters, Parameters], Parameters] = _replaced


@dataclass(frozen=True)
class Request:
    """What an archive is asked for.

    Attributes
    ----------
    archive : Archive
    release : str
    parameters : mapping
    url : str
        Endpoint, without a slash at the end.
    folder : Folder
        That the files go to; no other process fetches into it.
    home : Home
    session : Session
        For all requests, with the archive's settings.
    report : callable
        See `lake.fetch.download.Report`.
    """

    archive: Archive
    release: str
    parameters: Parameters
    url: str
    folder: Folder
    home: Home
    session: Session
    report: Report


@dataclass(frozen=True)
class Result:
    """What became of a request.

    Attributes
    ----------
    state : str
        What `Archive.state` gave, or would have given, when the fetch began.
    failures : sequence of FetchError
        What could not be had.
    """

    state: str
    failures: Sequence[FetchError] = ()


@dataclass(frozen=True)
class Fetched:
    """What a fetch changed.

    Attributes
    ----------
    source : Source
        As it is registered.
    new, changed, removed : list of str
        Names of files below the folder.
    kept : int
        Files that were here already.
    failures : sequence of FetchError
        What could not be had.
    """

    source: Source
    new: list[str]
    changed: list[str]
    removed: list[str]
    kept: int
    failures: Sequence[FetchError]

    def describe(self) -> str:
        """One sentence, for messages and logs."""
        return (
            f"{len(self.new)} files new, {len(self.changed)} changed, {self.kept} kept,"
            f" {len(self.removed)} removed, {len(self.failures)} not to be had"
        )


def archives() -> dict[str, Archive]:
    """All archives by name, in the order of the missions."""
    return {a.name: a for mission in offering("ARCHIVES") for a in offered(mission, "ARCHIVES")}


def archive(name: str) -> Archive:
    """One archive.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    known = archives()
    if name not in known:
        raise UsageError(f"no archive {name!r}; there are {', '.join(known)}")
    return known[name]


def fetch(
    home: Home,
    name: str,
    release: str,
    parameters: Parameters,
    report: Report = lambda what, done, total: None,
    url: str | None = None,
) -> Fetched:
    """Fetch from an archive into a folder of the home, and register the folder.

    What is there already and still as the archive has it is not fetched again; what the archive
    gives no more is removed. A fetch that was cut off goes on where it was.

    Parameters
    ----------
    home : Home
    name : str
        Of the archive.
    release : str
        What the release is called, here and by the archive.
    parameters : mapping
        See `Archive.parameters`; those of a former fetch of the release are merged with them, if
        the archive does that.
    report : callable, optional
        See `lake.fetch.download.Report`.
    url : str, optional
        Endpoint, now and whenever the release is fetched again.

    Raises
    ------
    UsageError
        If the archive, the release's name or a parameter is not valid, or the archive has nothing
        of what is asked for.
    FetchError
        If nothing could be had.
    """
    chosen = archive(name)
    check_release(release)
    for key in parameters:
        if key not in chosen.parameters:
            raise UsageError(f"archive {name} has no parameter {key!r}; it has {_known(chosen)}")
    asked: Parameters = {key: value for key, value in parameters.items() if value}
    former = next(
        (s for s in sources(home, chosen.mission, release) if s.fetch["archive"] == name), None
    )
    if former is not None:
        asked = chosen.merged(_parameters(former), asked)
    url = url or (former.fetch.get("url") if former else None)
    origin = {"archive": name, **({"url": url} if url else {}), **asked}
    folder = home.root / ARCHIVE / chosen.mission / release / name
    options = former.options if former else {}
    source = Source(chosen.mission, release, chosen.role, (folder,), options, origin)
    request = _request(home, source, report)
    with request.folder.locked():
        return _fetch(request, source)


def refetch(
    home: Home,
    mission: str,
    release: str,
    report: Report = lambda what, done, total: None,
) -> list[Fetched]:
    """Fetch again what archives have changed of a release since it was fetched.

    Every archive is asked for its state first; where that and the files here are as they were
    after the last fetch, nothing is done.

    Returns
    -------
    list of Fetched
        Of the sources that were fetched again.
    """
    done = []
    for source in sources(home, mission, release):
        request = _request(home, source, report)
        folder = request.folder
        with folder.locked():
            if (
                folder.state is None
                or not all(folder.complete(name) for name in folder.entries)
                or request.archive.state(request) != folder.state
            ):
                done.append(_fetch(request, source))
    return done


def sources(home: Home, mission: str, release: str) -> list[Source]:
    """Sources of a release that were fetched from archives."""
    return [s for s in home.sources() if (s.mission, s.release) == (mission, release) and s.fetch]


def releases(home: Home) -> list[tuple[str, str]]:
    """Releases (mission, release) that have fetched sources, in the order of registration."""
    return list(dict.fromkeys((s.mission, s.release) for s in home.sources() if s.fetch))


def _known(chosen: Archive) -> str:
    return ", ".join(chosen.parameters) or "none"


def _parameters(source: Source) -> dict[str, str]:
    return {key: value for key, value in source.fetch.items() if key not in ("archive", "url")}


def _request(home: Home, source: Source, report: Report) -> Request:
    chosen = archive(source.fetch["archive"])
    chosen_settings = settings(home.sources_file, chosen.name, chosen.settings)
    url = source.fetch.get("url") or chosen_settings.url or chosen.url
    return Request(
        chosen, source.release, _parameters(source), url.rstrip("/"), Folder(source.paths[0]),
        home, Session(chosen_settings), report,
    )  # fmt: skip


def _fetch(request: Request, source: Source) -> Fetched:
    """Ask for all of a request, and compare the folder with what it was."""
    folder = request.folder
    before = folder.entries
    result = request.archive.fetch(request)
    after = folder.entries
    if not after:
        if result.failures:
            raise result.failures[0]
        raise UsageError(f"{request.url}: the archive has nothing of what was asked for")
    # What failed for the moment is to be asked for again, even if the archive stays as it is.
    final = all(failure.is_missing for failure in result.failures)
    folder.finish(result.state if final else None)
    if source not in request.home.sources():
        request.home.add(source)
    return Fetched(source, *_changes(before, after), result.failures)


def _changes(
    before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> tuple[list[str], list[str], list[str], int]:
    """Names of files that are new, changed and gone; number of the others."""
    new = sorted(after.keys() - before.keys())
    changed = sorted(
        name for name in after.keys() & before.keys() if after[name].sha256 != before[name].sha256
    )
    gone = sorted(before.keys() - after.keys())
    return new, changed, gone, len(after) - len(new) - len(changed)
