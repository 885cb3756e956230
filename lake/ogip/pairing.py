"""Which background, response and effective area go with a spectrum, and how that is known.

BACKFILE, RESPFILE and ANCRFILE count first, looked up beside the spectrum's own file; then files
of the same instrument and observation whose names agree but for the part they are; then what the
registration says. A grating spectrum without another background has that of its columns
BACKGROUND_UP and BACKGROUND_DOWN, added up as the CIAO script tg_bkg does. What is named and not
there, and what does not fit, is written down.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from lake import contracts
from lake.ogip.names import Reference, is_background, plain, reference, stem
from lake.ogip.rmf import ROW_SUM

Row = dict[str, Any]

#: Columns of each table that pairing looks at.
SPECTRA = (
    "release", "spec_id", "path", "hdu", "row", "extname", "telescope", "instrument", "detector",
    "obs_id", "t_start", "t_stop", "backfile", "respfile", "ancrfile", "content", "n_channels",
    "backscup", "backscdn", "file_sha256",
)  # fmt: skip
RESPONSES = (
    "response_id", "path", "hdu", "extname", "telescope", "instrument", "detector", "includes_area",
    "t_start", "t_stop", "n_energies", "n_channels", "energy_min", "energy_max", "max_row_sum",
)  # fmt: skip
AREAS = (
    "area_id", "path", "hdu", "row", "extname", "telescope", "instrument", "obs_id", "n_energies",
    "energ_lo", "energ_hi",
)  # fmt: skip

#: Relative difference of the energy ranges of a matrix and an area that belong together.
_TOLERANCE = 1e-3


class _Kind(NamedTuple):
    """What is looked for: its name, the spectrum's column and the key of the candidates."""

    name: str
    column: str
    key: str


_BACKGROUND = _Kind("background", "backfile", "spec_id")
_RESPONSE = _Kind("response", "respfile", "response_id")
_AREA = _Kind("area", "ancrfile", "area_id")


class _Candidates:
    """Rows of one kind by file, and by what their names say."""

    def __init__(
        self,
        kind: _Kind,
        rows: Sequence[Row],
        named_alike: Sequence[Row],
        copies: Mapping[str, Sequence[str]],
    ) -> None:
        self.kind = kind
        self._copies = copies
        self._by_path: dict[str, list[Row]] = defaultdict(list)
        self._by_row: dict[tuple[str, int], list[Row]] = defaultdict(list)
        self._by_base: dict[str, set[str]] = defaultdict(set)
        self._by_stem: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in rows:
            for path in self._paths(row):
                self._by_path[path].append(row)
                self._by_base[os.path.basename(path)].add(path)
                if row.get("row"):
                    self._by_row[path, row["row"]].append(row)
        for row in named_alike:
            for path in self._paths(row):
                if name := stem(path):
                    self._by_stem[os.path.dirname(path), name].add(path)
                    if row.get("obs_id"):
                        self._by_stem[row["obs_id"], name].add(path)

    def _paths(self, row: Row) -> list[str]:
        """Where the file of a row is: it may have been copied."""
        return [_file(path) for path in (row["path"], *self._copies.get(row["path"], ()))]

    def named(self, spectrum: Row, name: str) -> str | None:
        """File that a keyword names, relative to that of the spectrum."""
        for folder in map(os.path.dirname, self._paths(spectrum)):
            for place in (name, os.path.basename(name)):
                path = _file(os.path.join(folder, place))
                if path in self._by_path:
                    return path
        return None

    def given(self, name: str) -> str | None:
        """File that an option names: a path, or the end of one."""
        wanted = _file(os.path.expanduser(name))
        found = [
            path for path in self._by_base.get(os.path.basename(wanted), ())
            if f"/{path}".endswith("/" + wanted.lstrip("/"))
        ]  # fmt: skip
        # Copies are all the same.
        of = {tuple(row[self.kind.key] for row in self._by_path[path]) for path in found}
        return found[0] if len(of) == 1 else None

    def alike(self, spectrum: Row) -> list[str]:
        """Files called like that of the spectrum: beside it, else of the same observation."""
        places = [(os.path.dirname(path), stem(path)) for path in self._paths(spectrum)]
        for known in (places, [(spectrum["obs_id"], name) for _, name in places]):
            if found := {path for place in known for path in self._by_stem.get(place, ())}:
                return sorted(found)
        return []

    def rows(self, path: str, spectrum: Row, wanted: Reference) -> list[Row]:
        """Rows of a file that a spectrum may be meant to go with, best one alone."""
        number = wanted.number or spectrum["row"]
        rows = self._by_row.get((path, number)) if number else None
        if rows is None:
            rows = self._by_path[path]
            if wanted.number:
                rows = rows[wanted.number - 1 : wanted.number]
        if wanted.extension is not None:
            rows = _of_extension(rows, wanted.extension)
        rows = [row for row in rows if row.get("spec_id") != spectrum["spec_id"]]
        if len(rows) > 1:
            # A file may hold source and background.
            rows = [row for row in rows if row.get("content") == "BKG"] or rows
        rows = _in_time(spectrum, rows) if len(rows) > 1 else rows
        return _as_one(rows) if self.kind is _RESPONSE and len(rows) > 1 else rows


def _file(path: str) -> str:
    return os.path.normpath(plain(path))


def pair(
    spectra: pa.Table,
    responses: pa.Table,
    areas: pa.Table,
    options: Mapping[str, Mapping[str, str]] | None = None,
    copies: Mapping[str, str] | None = None,
) -> pa.Table:
    """Find what goes with each spectrum.

    Parameters
    ----------
    spectra, responses, areas : pyarrow.Table
        `ogip.spectra`, `ogip.responses` and `ogip.effective_area` of one release, with at least
        the columns `SPECTRA`, `RESPONSES` and `AREAS`.
    options : mapping, optional
        By SHA-256 of a spectrum's file, the options of its registration: ``background``,
        ``response``, ``area``.
    copies : mapping, optional
        Path of a file that is not in the lake -> path of the one of the same bytes that is: a
        response is stored once, in however many folders it lies.

    Returns
    -------
    pyarrow.Table
        Rows of `ogip.pairs`, in the order of `spectra`.
    """
    given = options or {}
    also: dict[str, list[str]] = defaultdict(list)
    for copy, original in (copies or {}).items():
        also[original].append(copy)
    rows = spectra.select(SPECTRA).to_pylist()
    backgrounds = _Candidates(_BACKGROUND, rows, [row for row in rows if _is_background(row)], also)
    found = responses.select(RESPONSES).to_pylist()
    matrices = _Candidates(_RESPONSE, found, found, also)
    found = [_with_range(row) for row in areas.select(AREAS).to_pylist()]
    curves = _Candidates(_AREA, found, found, also)
    paired = [
        _paired(row, backgrounds, matrices, curves, given.get(row["file_sha256"], {}))
        for row in rows
    ]
    return contracts.table("ogip.pairs").arrow(paired)


def _with_range(area: Row) -> Row:
    low, high = area.pop("energ_lo"), area.pop("energ_hi")
    return {**area, "energy_min": min(low), "energy_max": max(high)}


def _paired(
    spectrum: Row,
    backgrounds: _Candidates,
    matrices: _Candidates,
    curves: _Candidates,
    options: Mapping[str, str],
) -> Row:
    """Row of `ogip.pairs`."""
    problems: list[str] = []
    missing: list[str] = []
    background = how_background = area = how_area = None
    if not _is_background(spectrum) and spectrum["content"] != "NET":
        background, how_background = _find(
            spectrum, backgrounds, options, problems, lambda row: _channel_misfit(spectrum, row)
        )
        if background is None and (spectrum["backscup"] or spectrum["backscdn"]):
            how_background = "columns"
        missing += [] if how_background else ["background"]
    response, how_response = _find(
        spectrum, matrices, options, problems, lambda row: _channel_misfit(spectrum, row)
    )
    missing += [] if response else ["response"]
    if response is None or not response["includes_area"]:
        area, how_area = _find(
            spectrum, curves, options, problems, lambda row: _energy_misfit(response, row)
        )
        # Whether one is needed, the response says.
        missing += ["area"] if response and not area else []
    fits = response is not None and not _channel_misfit(spectrum, response)
    if fits and response is not None and not response["includes_area"]:
        fits = area is not None and not _energy_misfit(response, area)
    return {
        "release": spectrum["release"],
        "spec_id": spectrum["spec_id"],
        "background_id": background and background["spec_id"],
        "background_from": how_background,
        "response_id": response and response["response_id"],
        "response_from": how_response,
        "response_parts": response and response.get("parts"),
        "response_kind": response and ("rsp" if response["includes_area"] else "rmf"),
        "area_id": area and area["area_id"],
        "area_from": how_area,
        "missing": missing,
        "problems": problems,
        "foldable": fits,
        "file_sha256": spectrum["file_sha256"],
    }


def _find(
    spectrum: Row,
    candidates: _Candidates,
    options: Mapping[str, str],
    problems: list[str],
    misfit: Callable[[Row], str | None],
) -> tuple[Row | None, str | None]:
    """What goes with a spectrum, and how it was found.

    A file that is named is taken even if it does not fit, which is noted; one that is only called
    alike must fit.
    """
    kind = candidates.kind
    if name := spectrum[kind.column]:
        keyword = f"{kind.column.upper()} {name!r}"
        wanted = reference(name)
        path = candidates.named(spectrum, wanted.name)
        rows = candidates.rows(path, spectrum, wanted) if path else []
        if len(rows) == 1:
            return _noted(rows[0], misfit(rows[0]), keyword, problems), "keyword"
        which = f"names {len(rows) or 'none'} in its file" if path else "is not there"
        problems.append(f"{keyword} {which}")
    # By identifier, as a file and its copy are one.
    found = {
        row[kind.key]: row
        for path in candidates.alike(spectrum)
        for row in candidates.rows(path, spectrum, Reference(path, None, None))
        if _same_instrument(spectrum, row) and not misfit(row)
    }
    if len(found) == 1:
        return next(iter(found.values())), "name"
    if found:
        problems.append(f"{len(found)} {kind.name} files are called alike: none is taken")
    if name := options.get(kind.name):
        wanted = reference(name)
        path = candidates.given(wanted.name)
        rows = candidates.rows(path, spectrum, wanted) if path else []
        if len(rows) == 1:
            return _noted(rows[0], misfit(rows[0]), f"option {kind.name}", problems), "option"
        problems.append(f"option {kind.name} {name!r} is not there")
    return None, None


def _noted(chosen: Row, misfit: str | None, where: str, problems: list[str]) -> Row:
    if misfit:
        problems.append(f"{where}: {misfit}")
    return chosen


def _of_extension(rows: list[Row], extension: str) -> list[Row]:
    """Rows of the HDU that brackets name."""
    name, _, version = (word.strip() for word in extension.partition(","))
    if name.isdigit():
        return [row for row in rows if row["hdu"] == int(name)]
    rows = [row for row in rows if (row["extname"] or "").casefold() == name.casefold()]
    # EXTVER counts the HDUs of one name.
    return rows[int(version) - 1 : int(version)] if version.isdigit() else rows


def _in_time(spectrum: Row, rows: list[Row]) -> list[Row]:
    """Of the matrices of several intervals, the one whose interval is nearest to the middle."""
    times = [spectrum["t_start"], spectrum["t_stop"]]
    times += [row.get(column) for row in rows for column in ("t_start", "t_stop")]
    if any(time is None for time in times):
        return rows
    middle = (spectrum["t_start"] + spectrum["t_stop"]) / 2

    def away(row: Row) -> tuple[float, float]:
        # Files of the GBM end with an interval of no length, for all times after it.
        centre = (row["t_start"] + row["t_stop"]) / 2
        outside = max(row["t_start"] - middle, middle - row["t_stop"], 0.0)
        return outside, abs(centre - middle)

    return [min(rows, key=away)]


def _as_one(rows: list[Row]) -> list[Row]:
    """Of matrices that add up to one, that of the finest energies, with the others as its parts.

    A calorimeter's redistribution is split into a core in narrow bins and tails in wide ones
    (CAL/GEN/92-002a, section 2.1). Their rows add up to 1 together, those of alternatives to 1
    each; matrices with areas in them are always alternatives.
    """
    alike = {(row["n_channels"], row["t_start"], row["t_stop"]) for row in rows}
    together = sum(row["max_row_sum"] for row in rows)
    if len(alike) > 1 or any(row["includes_area"] for row in rows) or together > ROW_SUM:
        return rows
    finest = max(rows, key=lambda row: row["n_energies"])
    parts = [row["response_id"] for row in rows if row is not finest]
    return [{**finest, "parts": parts}]


def _is_background(spectrum: Row) -> bool:
    return spectrum["content"] == "BKG" or is_background(spectrum["path"])


def _same_instrument(one: Row, other: Row) -> bool:
    """Whether telescope and instrument agree, where both files name them."""
    return all(
        not one[c] or not other[c] or one[c].casefold() == other[c].casefold()
        for c in ("telescope", "instrument")
    )


def _channel_misfit(spectrum: Row, other: Row) -> str | None:
    if spectrum["n_channels"] == other["n_channels"]:
        return None
    return f"has {other['n_channels']} channels, the spectrum {spectrum['n_channels']}"


def _energy_misfit(response: Row | None, area: Row) -> str | None:
    if response is None:
        return None
    if response["n_energies"] != area["n_energies"]:
        return f"has {area['n_energies']} energy bins, the matrix {response['n_energies']}"
    for edge in ("energy_min", "energy_max"):
        one, other = response[edge], area[edge]
        if abs(one - other) > _TOLERANCE * max(abs(one), abs(other)):
            return f"ends at {other:g} keV, the matrix at {one:g} keV"
    return None
