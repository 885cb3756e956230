"""The Science Archive Server of the SDSS: lite spectra of plates, or of a list.

They lie in ``<release>/<project>/spectro/redux/<run2d>/spectra/lite/<plate>/``, below which the
server lists what there is. Source of the paths: https://www.sdss4.org/dr17/spectro/ and
https://dr16.sdss.org/optical/spectrum/view/data/access; of the versions of the reductions: the
data pages of the releases.
"""

import html
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urljoin

from lake.errors import UsageError
from lake.fetch.archives import Archive, Parameters, Request, Result
from lake.fetch.download import Wanted, download, each
from lake.fetch.folder import digest
from lake.fetch.session import FetchError, expect
from lake.sdss.archive_request import Plates, Spectrum, plates, spectra, united

#: The reductions of the SDSS spectrographs: of the main survey, of stellar clusters, of SEGUE-2.
_LEGACY = ("sdss/26", "sdss/103", "sdss/104")
#: Reductions of the BOSS spectrographs by data release.
_BOSS = {
    8: (),
    9: ("boss/v5_4_45",),
    10: ("boss/v5_5_12",),
    11: ("boss/v5_6_5",),
    12: ("boss/v5_7_0", "boss/v5_7_2"),
    13: ("eboss/v5_9_0",),
    14: ("eboss/v5_10_0",),
    15: ("eboss/v5_10_0",),
    16: ("eboss/v5_13_0",),
    17: ("eboss/v5_13_2",),
}
#: The first plate of the BOSS spectrographs.
_FIRST_BOSS = 3510

_LINK = re.compile(r'<a\s[^>]*?href\s*=\s*["\']([^"\']+)["\'][^>]*>', re.IGNORECASE)
_ROW_END = re.compile(r"</tr|</pre|</table|<hr", re.IGNORECASE)
_CHECKSUM = re.compile(r"^([0-9a-fA-F]{32,64}) [ *](.+)$", re.MULTILINE)
_SPEC = re.compile(r"spec-(\d{4,5})-(\d{5})-(\d{4})\.fits")


@dataclass
class _Found:
    """What the archive has of what is asked for.

    Attributes
    ----------
    files : dict
        By name below the folder: where it may lie, the likeliest place first.
    failures : list of FetchError
    unknown : list of str
        Folders of plates of which it could not be found out.
    """

    files: dict[str, list[Wanted]] = field(default_factory=dict)
    failures: list[FetchError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def fetch(request: Request) -> Result:
    """Bring the spectra of a request into its folder; see `lake.fetch.archives.Archive`."""
    found, folder = _find(request), request.folder
    missing: set[str] = set()

    def get(name: str) -> None:
        places = found.files[name]
        for place, wanted in enumerate(places, 1):
            try:
                download(request.session, wanted, folder)
                return
            except FetchError as error:
                if error.is_missing and place < len(places):
                    continue
                if error.is_missing:
                    missing.add(name)
                raise

    names = list(found.files)
    failures = found.failures + each(
        request.session, names, get, lambda done: request.report("spectra", done, len(names))
    )
    entries = folder.entries
    if not any(name in entries and name not in missing for name in names):
        # An archive that has nothing at all is likelier to be out of order: nothing is removed.
        raise (failures or [FetchError(request.url, "has nothing of what was asked for")])[0]
    unsure = tuple(f"{plate}/" for plate in found.unknown)
    folder.keep(
        [name for name in names if name not in missing]
        + [name for name in entries if name.startswith(unsure)]
    )
    versions = {
        name: _version(entry.etag, entry.last_modified, entry.size)
        for name, entry in folder.entries.items()
    }
    return Result(_digest(found, versions), failures)


def state(request: Request) -> str:
    """Digest of the listings; where they say no version, of what the server says of the files."""
    found = _find(request)
    for failure in found.failures:
        if not failure.is_missing:
            raise failure
    versions: dict[str, list[object]] = {}

    def ask(name: str) -> None:
        for wanted in found.files[name]:
            headers = {"Accept-Encoding": "identity"}
            with request.session.head(wanted.url, headers=headers, allow_redirects=True) as said:
                if said.status_code in (404, 410):
                    continue
                expect(said, 200)
                etag, modified = said.headers.get("ETag"), said.headers.get("Last-Modified")
                size = int(said.headers.get("Content-Length", -1))
                versions[name] = _version(etag, modified, size)
                return

    names = [name for name, places in found.files.items() if places[0].stamp is None]
    for failure in each(
        request.session, names, ask, lambda done: request.report("versions", done, len(names))
    ):
        raise failure
    return _digest(found, versions)


def merged(former: Parameters, new: Parameters) -> Parameters:
    """Parameters of what was asked for before, and of what is asked for in addition."""
    return {
        key: united(former.get(key, ""), new.get(key, ""), _SEPARATORS[key])
        for key in _SEPARATORS
        if former.get(key) or new.get(key)
    }


def _version(etag: str | None, modified: str | None, size: int) -> list[object]:
    return [etag, modified] if etag or modified else [size]


def _digest(found: _Found, versions: Mapping[str, list[object]]) -> str:
    return digest(
        [name, places[0].stamp or versions.get(name)]
        for name, places in sorted(found.files.items())
    )


def _find(request: Request) -> _Found:
    """Ask the listings where everything is that is asked for."""
    asked = plates(request.parameters.get("plates", ""))
    lists = request.parameters.get("list", "").split("\n")
    listed = {path: spectra(Path(path)) for path in lists if path}
    if not asked and not listed:
        raise UsageError("sdss: expected plates or a list of spectra")
    search = _Search(request)
    for items in asked:
        search.plates(items)
    search.open()
    for path, wanted in listed.items():
        for spectrum in wanted:
            search.spectrum(spectrum, path)
    return search.found


class _Search:
    """The way to the files of a request."""

    def __init__(self, request: Request) -> None:
        self.request, self.session = request, request.session
        number, self.reductions = _reductions(request.release, request.parameters.get("run2d", ""))
        self.root = f"{request.url}/dr{number}"
        self.found = _Found()
        there = {reduction: self._plates_of(reduction) for reduction in self.reductions}
        #: Plates of the reductions; None where the server does not list them.
        self.there = there if any(there.values()) else dict.fromkeys(there)
        self.todo: list[tuple[int, Plates]] = []

    def _folder(self, reduction: str, plate: int | None = None) -> str:
        project, run2d = reduction.split("/")
        below = "" if plate is None else f"{plate:04d}/"
        return f"{self.root}/{project}/spectro/redux/{run2d}/spectra/lite/{below}"

    def _plates_of(self, reduction: str) -> set[int] | None:
        """Plates that are listed of a reduction; None if the list may not be seen."""
        self.request.report(f"plates of {reduction}", None, None)
        url = self._folder(reduction)
        try:
            names = listing(url, self.session.text(url))
        except FetchError as error:
            if error.is_missing:
                return set()
            if error.status == 403:
                return None
            raise
        return {int(name[:-1]) for name in names if re.fullmatch(r"\d{4,5}/", name)}

    def places(self, plate: int) -> list[str]:
        """Reductions that have or may have a plate, the likeliest first."""
        there = [r for r, known in self.there.items() if known is None or plate in known]
        return sorted(there, key=lambda r: r.startswith("sdss/") != (plate < _FIRST_BOSS))

    def plates(self, items: Plates) -> None:
        """Note plates to be opened; a range stands for those of it that there are."""
        for plate in range(items.first, items.last + 1):
            if self.places(plate) or items.first == items.last:
                self.todo.append((plate, items))

    def open(self) -> None:
        """Read the listings of the plates."""
        read: dict[int, dict[str, Wanted]] = {}
        numbers = list(dict.fromkeys(plate for plate, _ in self.todo))

        def look(plate: int) -> None:
            read[plate] = self._files_of(plate)

        failures = each(
            self.session, numbers, look,
            lambda done: self.request.report("plates", done, len(numbers)),
        )  # fmt: skip
        self.found.failures += failures
        self.found.unknown += [f"{plate:04d}" for plate in numbers if plate not in read]
        for plate, items in self.todo:
            if plate not in read:
                continue
            files = {
                name: wanted for name, wanted in read[plate].items()
                if items.mjd is None or f"-{items.mjd}-" in name
            }  # fmt: skip
            if not files and items.first == items.last:
                self._miss(self.root, f"no plate {items.text}")
            for name, wanted in files.items():
                there = Wanted(
                    name, wanted.url, f"plates={items.text}", wanted.checksum, wanted.stamp
                )
                self.found.files.setdefault(name, [there])

    def _files_of(self, plate: int) -> dict[str, Wanted]:
        """Spectra of a plate, by name; of those in two reductions, the first."""
        files: dict[str, Wanted] = {}
        for reduction in self.places(plate):
            url = self._folder(reduction, plate)
            try:
                names = listing(url, self.session.text(url))
            except FetchError as error:
                if error.is_missing:
                    continue
                raise
            checksums = self._checksums(url, names)
            for name, said in names.items():
                match = _SPEC.fullmatch(name)
                if match is None or int(match[1]) != plate:
                    continue
                checksum = checksums.get(name)
                stamp = " ".join(filter(None, [said, checksum and checksum[1]])) or None
                path = f"{plate:04d}/{name}"
                files.setdefault(path, Wanted(path, url + name, None, checksum, stamp))
        return files

    def _checksums(self, url: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Algorithm and digest by name, from the files of checksums in a listing."""
        found: dict[str, tuple[str, str]] = {}
        for name in names:
            if name.endswith((".md5sum", ".sha1sum", ".sha256sum")):
                algorithm = name.rpartition(".")[2].removesuffix("sum")
                for digits, path in _CHECKSUM.findall(self.session.text(url + name)):
                    found[posixpath.basename(path.strip())] = (algorithm, digits.lower())
        return found

    def spectrum(self, spectrum: Spectrum, path: str) -> None:
        """Note a spectrum of a list, unless its plate was asked for."""
        name = f"{spectrum.plate:04d}/{spectrum.file}"
        places = [
            Wanted(name, self._folder(reduction, spectrum.plate) + spectrum.file, f"list={path}")
            for reduction in self.places(spectrum.plate)
        ]
        if not places:
            self._miss(self.root, f"no plate {spectrum.plate}, for {spectrum.file} of {path}")
        elif name not in self.found.files:
            self.found.files[name] = places

    def _miss(self, url: str, what: str) -> None:
        self.found.failures.append(
            FetchError(url, f"{what} in {', '.join(self.reductions)}", status=404)
        )


def listing(url: str, text: str) -> dict[str, str | None]:
    """Names in a folder's index, folders with a slash, and what it says of each: date and size.

    Parameters
    ----------
    url : str
        Of the folder, with a slash at the end.
    text : str
        HTML, of whatever server.
    """
    names: dict[str, str | None] = {}
    links = list(_LINK.finditer(text))
    for link, after in zip(links, [*links[1:], None], strict=True):
        target = urljoin(url, html.unescape(link[1]))
        name = unquote(target.removeprefix(url))
        if not target.startswith(url) or not re.fullmatch(r"[^/?#]+/?", name):
            continue
        rest = text[link.end() : after.start() if after else None].partition("</a>")[2]
        said = html.unescape(re.sub(r"<[^>]*>", " ", _ROW_END.split(rest)[0]))
        words = " ".join(said.split())
        names[name] = words if re.search(r"\d", words) else names.get(name)
    return names


def _reductions(release: str, run2d: str) -> tuple[int, list[str]]:
    """Number of a data release, and its reductions as ``project/run2d``."""
    match = re.match(r"DR(\d+)(?![0-9A-Za-z])", release, re.IGNORECASE)
    if match is None:
        raise UsageError(f"release {release!r}: expected DR17, or DR17- and a word of your own")
    number = int(match[1])
    boss = "boss" if number < 13 else "eboss"
    given = [part.strip() for part in run2d.split(",") if part.strip()]
    for part in given:
        if not re.fullmatch(r"([a-z]+/)?\w+", part):
            raise UsageError(f"run2d {part!r}: expected 26, v5_13_2 or eboss/v5_13_2")
    if given:
        return number, [
            part if "/" in part else f"{'sdss' if part.isdigit() else boss}/{part}"
            for part in given
        ]
    if number not in _BOSS:
        known = ", ".join(f"DR{each}" for each in _BOSS)
        raise UsageError(
            f"release {release!r}: its reductions are not known (those of {known} are);"
            " name them with --run2d"
        )
    return number, [*_LEGACY, *_BOSS[number]]


_SEPARATORS = {"plates": ",", "list": "\n", "run2d": ","}

ARCHIVES = (
    Archive(
        name="sdss",
        mission="sdss",
        role="spectra",
        url="https://data.sdss.org/sas",
        description="lite spectra of the SDSS from the Science Archive Server",
        parameters={
            "plates": "plates, ranges of plates, plates with MJD: 266,1000-1010,267-51608",
            "list": "files that list spectra: plate, mjd and fiberid, or names of spec files",
            "run2d": "versions of the reduction: 26, v5_13_2 or eboss/v5_13_2",
        },
        fetch=fetch,
        state=state,
        merged=merged,
    ),
)
