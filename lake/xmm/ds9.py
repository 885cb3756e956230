"""DS9 region files: read in every coordinate system that a mask can be given in, and written.

The package `regions` knows neither DS9's ``detector`` system nor its ``physical`` one, which
are those of the ESAS; so the format is read here. Format: DS9 reference manual, "Regions"; and
that of CIAO ("ahelp dmregions"), which names no system: sexagesimal places are on the sky.
"""

import re
from collections.abc import Sequence

import numpy as np

from lake.errors import InputError
from lake.formats.source import Source, label, load
from lake.xmm.shapes import SHAPES, Regions, make, turnable
from lake.xmm.sky import Floats, directions, standard_coordinates

#: Coordinate systems on the sky and the names that astropy has for them; ICRS and FK5 agree to
#: 0.03 arcsec, less than any mask needs.
SKY = {
    "fk5": "fk5", "j2000": "fk5", "icrs": "fk5", "fk4": "fk4", "b1950": "fk4",
    "galactic": "galactic", "wcs": "fk5",
}  # fmt: skip
PIXELS = ("image", "physical", "detector")
_OTHERS = ("ecliptic", "linear", "amplifier", "wcsa")
_SHAPES = {
    "circle": "CIRCLE", "box": "ROTBOX", "rotbox": "ROTBOX", "ellipse": "ELLIPSE",
    "annulus": "ANNULUS", "polygon": "POLYGON", "point": "POINT", "panda": "PIE",
    "pie": "PIE", "rectangle": "POLYGON", "sector": "SECTOR",
}  # fmt: skip
#: Shapes of DS9 that region tables do not know.
_UNKNOWN = frozenset({"epanda", "bpanda"})
_NAMES = {"ROTBOX": "box", "ELLIPTANNULUS": "ellipse", "PIE": "panda"}
#: What DS9 draws that is no region.
_DRAWN = frozenset(
    {"line", "vector", "text", "ruler", "compass", "projection", "segment", "composite"}
)
_SHAPE = re.compile(r"([+!-]?)\s*([a-z]+)\s*(?:\(([^)]*)\)|\s([^(]*))", re.IGNORECASE)
_UNITS = {"": 0.0, '"': 1.0, "'": 60.0, "d": 3600.0, "r": np.degrees(3600.0)}
_PIXEL_UNITS = frozenset("ip")
_HEADING = (
    "# Region file format: DS9 version 4.1\n"
    'global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman" select=1 '
    "highlite=1 dash=0 fixed=0 edit=1 move=1 delete=1 include=1 source=1\n"
)


def read_ds9(source: Source) -> tuple[Regions, str]:
    """Read the regions of a DS9 file; lines, texts and the like are passed over.

    Parameters
    ----------
    source : str, PathLike or bytes
        A region file; sexagesimal coordinates, units, several regions on a line and exclusions
        (``-`` or ``!``) are understood.

    Returns
    -------
    regions : Regions
        On the sky: right ascension and declination in degrees (FK5), lengths in arcsec. Excluded
        regions are of component 0, each included one of its own.
    system : str
        ``fk5`` (also for what was given in another system on the sky), ``image``, ``physical``
        or ``detector``.

    Raises
    ------
    InputError
        A line is no region, or the regions are not of one system.
    """
    path, data = label(source), bytes(load(source))
    if b"\0" in data:
        raise InputError(path, "is no text: expected a DS9 region file")
    # Only names that are drawn beside regions can be other than ASCII.
    text = data.decode("utf-8-sig", "replace")
    system: str | None = None
    found: list[tuple[str, bool, str, list[str], int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        for statement in _statements(line):
            word = statement.split("(")[0].split()[0].lower() if statement.split() else ""
            if not word or word == "global":
                continue
            if word in SKY or word in PIXELS:
                system = word
                rest = statement[len(word) :].strip()
                if not rest:
                    continue
                statement = rest
            if word in _OTHERS:
                raise InputError(
                    path, f"is in {word} coordinates: save it in fk5", f"line {number}"
                )
            match = _SHAPE.match(statement)
            if match is not None and (name := match[2].lower()) in _UNKNOWN:
                problem = f"is of the shape {name}, which region tables do not know"
                raise InputError(path, problem, f"line {number}")
            if match is None or (name := match[2].lower()) not in (_SHAPES.keys() | _DRAWN):
                raise InputError(path, f"{statement[:60]!r} is no DS9 region", f"line {number}")
            if name in _DRAWN:
                continue
            if rest := statement[match.end() :].strip():
                problem = f"{rest[:60]!r} follows a region: each needs a line of its own"
                raise InputError(path, problem, f"line {number}")
            numbers = re.split(r"[,\s]+", (match[3] or match[4] or "").strip())
            default = "fk5" if ":" in numbers[0] else "physical"
            included = match[1] not in ("-", "!")
            found.append((name, included, system or default, numbers, number))
    systems = sorted({"fk5" if f[2] in SKY else f[2] for f in found})
    if len(systems) > 1:
        raise InputError(path, f"has regions in {' and '.join(systems)}, expected one of them")
    if not found:
        raise InputError(path, "has no region")
    return _regions(path, found), systems[0]


def _statements(line: str) -> list[str]:
    """Statements of a line without comments and properties."""
    # A comment may hold semicolons, and a text of it anything.
    return [s.strip().removesuffix("||").strip() for s in line.split("#")[0].split(";")]


def _regions(path: str, found: Sequence[tuple[str, bool, str, list[str], int]]) -> Regions:
    shapes: list[str] = []
    include: list[bool] = []
    places, r, rotang = [], [], []
    vertices: dict[int, Floats] = {}
    for name, included, system, texts, line in found:
        try:
            parts = _numbers(name, texts, system)
        except ValueError as error:
            raise InputError(path, f"{name}: {error}", f"line {line}") from None
        for shape, place, lengths, angles in parts:
            if system in SKY and SKY[system] != "fk5":
                place, angles = _to_fk5(SKY[system], place, angles)
            middle = place[0]
            if shape == "POLYGON":
                vertices[len(shapes)] = place
                middle = _middle(place, system in SKY)
            shapes.append(shape)
            include.append(included)
            places.append(middle)
            r.append(lengths + [np.nan] * (4 - len(lengths)))
            rotang.append(angles + [np.nan] * (2 - len(angles)))
    chosen = np.array(include)
    component = np.where(chosen, np.cumsum(chosen), 0)
    x, y = np.array(places).T
    return make(shapes, x, y, r, rotang, chosen, component, vertices)


def _middle(corners: Floats, on_sky: bool) -> Floats:
    """Mean of corners, also where their right ascensions lie on both sides of 0."""
    if not on_sky:
        return corners.mean(axis=0)
    turns = (corners[:, 0] - corners[0, 0] + 180) % 360 - 180
    return np.array([(corners[0, 0] + turns.mean()) % 360, corners[:, 1].mean()])


_Part = tuple[str, Floats, list[float], list[float]]


def _numbers(name: str, texts: Sequence[str], system: str) -> list[_Part]:
    """Shape, places (k, 2), lengths and angles; of a box annulus those of its four sides."""
    shape, on_sky = _SHAPES[name], system in SKY
    if name == "rectangle":
        (x0, y0), (x1, y1) = _places(_few(texts, 4), system)
        return [(shape, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), [], [])]
    if shape == "POLYGON":
        if len(texts) < 6 or len(texts) % 2:
            raise ValueError(f"has {len(texts)} coordinates, expected pairs, three or more")
        return [(shape, _places(texts, system), [], [])]
    place, rest = _places(texts[:2], system), texts[2:]
    lengths: list[float] = []
    angles: list[float] = []
    if shape == "CIRCLE":
        lengths = [_length(t, on_sky) for t in _few(rest, 1)]
    elif shape == "ANNULUS":
        if len(rest) < 2:
            raise ValueError("has fewer than two radii")
        # Rings between more radii make one annulus together.
        radii = sorted(_length(t, on_sky) for t in rest)
        lengths = [radii[0], radii[-1]]
    elif name == "pie":
        # CIAO gives the radii first.
        lengths = [_length(t, on_sky) for t in _few(rest, 4)[:2]]
        angles = [float(t) for t in rest[2:]]
    elif shape == "SECTOR":
        angles = [float(t) for t in _few(rest, 2)]
    elif shape == "PIE":
        start, stop, _, inner, outer = _few(rest, 5, 6)[:5]
        lengths = [_length(t, on_sky) for t in (inner, outer)]
        angles = [float(start), float(stop)]
    elif shape in ("ELLIPSE", "ROTBOX"):
        if len(rest) % 2 == 0:
            rest = [*rest, "0"]
        *sizes, angle = rest
        lengths = [_length(t, on_sky) for t in sizes]
        angles = [float(angle)]
        if len(lengths) < 2:
            raise ValueError(f"has {len(lengths)} lengths, expected two or more")
        if len(lengths) > 2:
            lengths = [*lengths[:2], *lengths[-2:]]
            if shape == "ROTBOX":
                return _sides(place, lengths, angles[0], on_sky)
            shape, angles = "ELLIPTANNULUS", angles * 2
    if shape == "PIE" and angles[0] != angles[1] and (angles[1] - angles[0]) % 360 == 0:
        shape, angles = "ANNULUS", []
    return [(shape, place, lengths, angles)]


def _sides(place: Floats, lengths: list[float], angle: float, on_sky: bool) -> list[_Part]:
    """Four boxes that make a box without the smaller box in its middle."""
    inner, outer = sorted(lengths[::2]), sorted(lengths[1::2])
    (w, wide), (h, high) = inner, outer
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    found: list[_Part] = []
    for across, along, size in (
        (0.0, (high + h) / 4, [wide, (high - h) / 2]),
        (0.0, -(high + h) / 4, [wide, (high - h) / 2]),
        ((wide + w) / 4, 0.0, [(wide - w) / 2, h]),
        (-(wide + w) / 4, 0.0, [(wide - w) / 2, h]),
    ):
        x, y = c * across - s * along, s * across + c * along
        centre, turned = place[0] + (x, y), angle
        if on_sky:
            # North of a side is not that of the middle: its axis is followed both ways.
            step = np.array([0.0, 60.0, -60.0])
            ra, dec = directions(-(x + c * step) / 3600, (y + s * step) / 3600, *place[0])
            xi, eta = standard_coordinates(ra[1:], dec[1:], ra[0], dec[0])
            centre = np.array([ra[0], dec[0]])
            turned = float(np.degrees(np.arctan2(eta[0] - eta[1], xi[1] - xi[0])))
        found.append(("ROTBOX", centre.reshape(1, 2), size, [turned]))
    return found


def _few(texts: Sequence[str], *numbers: int) -> Sequence[str]:
    if len(texts) not in numbers:
        expected = " or ".join(str(n) for n in numbers)
        raise ValueError(f"has {len(texts)} numbers after its centre, expected {expected}")
    return texts


def _places(texts: Sequence[str], system: str) -> Floats:
    values = [_coordinate(t, system, n % 2 == 0) for n, t in enumerate(texts)]
    if len(values) < 2:
        raise ValueError("has no centre")
    places = np.array(values).reshape(-1, 2)
    if not np.isfinite(places).all() or (system in SKY and (np.abs(places[:, 1]) > 90).any()):
        raise ValueError(f"{', '.join(texts)} is no place")
    return places


def _coordinate(text: str, system: str, first: bool) -> float:
    if system not in SKY:
        return float(text.rstrip("ip"))
    if text.endswith("r"):
        return float(np.degrees(float(text[:-1])))
    parts = [p for p in re.split(r"[:hms°'\"d]", text) if p]
    if len(parts) == 1:
        return float(parts[0])
    size = sum(abs(float(p)) / 60**n for n, p in enumerate(parts))
    # Hours, minutes and seconds are of right ascensions only, unless they are marked as degrees.
    hours = first and SKY[system] in ("fk5", "fk4") and "d" not in text
    return (-size if text.startswith("-") else size) * (15 if hours else 1)


def _length(text: str, on_sky: bool) -> float:
    """Length in arcsec on the sky, else in pixels."""
    unit = text[-1] if text and text[-1] in "\"'drip" else ""
    value = float(text[: len(text) - len(unit)])
    if not 0 <= value < np.inf:
        raise ValueError(f"the length {text} is not 0 or more")
    if not on_sky:
        if unit and unit not in _PIXEL_UNITS:
            raise ValueError(f"the length {text} is an angle, but the file is in pixels")
        return value
    if unit in _PIXEL_UNITS:
        raise ValueError(f"the length {text} is in pixels, but the file is on the sky")
    # Without a unit, lengths are degrees.
    return value * (_UNITS[unit] or 3600.0)


def _to_fk5(system: str, place: Floats, angles: list[float]) -> tuple[Floats, list[float]]:
    """Places and angles of another system on the sky in FK5."""
    from astropy.coordinates import SkyCoord

    there = SkyCoord(place[:, 0], place[:, 1], unit="deg", frame=system)
    north = there.directional_offset_by(0.0, 1e-3 * there.data.lon.unit)
    here, up = there.fk5, north.fk5
    # North of the other system, seen in FK5: position angles run from north to east.
    turn = here.position_angle(up).deg[0]
    return np.stack([here.ra.deg, here.dec.deg], axis=1), [(a + turn) % 360 for a in angles]


# --- writing -----------------------------------------------------------------------------------


def ds9_text(regions: Regions, system: str) -> str:
    """Write regions as a DS9 region file.

    Parameters
    ----------
    regions : Regions
        On the sky (degrees, arcsec) for ``fk5``, else units of the system.
    system : str
        ``fk5``, ``physical``, ``detector`` or ``image``.

    Returns
    -------
    str
        One region a line; positions with 1e-7 degrees or 0.001 units.
    """
    digits, unit = (7, '"') if system in SKY else (3, "")
    regions = turnable(regions)
    lines = np.empty(len(regions), object)
    for shape in np.unique(regions.shape).tolist():
        rows = np.flatnonzero(regions.shape == shape)
        if regions.vertices.keys() & set(rows.tolist()):
            for row in rows.tolist():
                place = ",".join(f"{v:.{digits}f}" for v in regions.vertices[row].ravel())
                sign = "" if regions.include[row] else "-"
                lines[row] = f"{sign}{shape.lower()}({place})\n"
            continue
        # Regions of one shape are lines of one form.
        form, numbers = _form(shape, regions.r[rows], regions.rotang[rows], unit)
        values = np.stack([regions.x[rows], regions.y[rows], *numbers], axis=1)
        signs = np.where(regions.include[rows], "", "-").tolist()
        form = f"%s{_NAMES.get(shape, shape.lower())}(%.{digits}f,%.{digits}f{form})\n"
        lines[rows] = [form % (sign, *v) for sign, v in zip(signs, values.tolist(), strict=True)]
    return f"{_HEADING}{system}\n{''.join(lines)}"


def _form(shape: str, r: Floats, rotang: Floats, unit: str) -> tuple[str, list[Floats]]:
    """Form of what follows a centre, and the columns that fill it."""
    known = SHAPES[shape]
    lengths = [r[:, i] for i in range(known.lengths)]
    # DS9 turns both ellipses of an annulus alike.
    angles = [rotang[:, i] for i in range(1 if shape == "ELLIPTANNULUS" else known.angles)]
    length, angle = f",%.3f{unit}", ",%.4f"
    if shape == "PIE":
        return angle * 2 + ",1" + length * 2 + ",1", angles + lengths
    return length * len(lengths) + angle * len(angles), lengths + angles
