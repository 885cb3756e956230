"""A synthetic EPIC observation: three cameras, a mask, and what calibrates two of the cameras.

The cameras look at one field of point sources and a cluster of galaxies. Their true boresight is
a little off the constants of the cameras, as it is in orbit, so that headers alone are wrong by
about an arcsecond; the event list and the control points tell.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lake.sample.epic_file import BIN, EVENTS, Exposure, event_file, image_file, mask_file
from lake.sample.sizes import Size, number_of
from lake.xmm.geometry import CAMERAS, Camera, DetectorFrame
from lake.xmm.sky import directions, standard_coordinates

Floats = npt.NDArray[np.float64]

RELEASE = "XMM-sample"
#: Photons of each camera.
SIZES = {"small": 60_000, "medium": 300_000, "large": 1_000_000}

_START = 757_382_400.0  # 2022
_LENGTH = 42_000.0
#: Pixels of an image; X and Y of the centre of its first pixel.
_SIDE, _FIRST = 900, 3_425.5
_MASK_SIDE, _MASK_PIXEL = 30, 30 / 3600
_MOST_EVENTS = 20_000
_CONTROL = 25
#: Radius of the field of view, units of 0.05 arcsec.
_FIELD = 17_500


class _Optics(NamedTuple):
    """What of a camera `geometry` does not know."""

    identifier: str
    submode: str
    shift: tuple[tuple[int, int], tuple[int, int]]  # of its axis for a shift of the boresight
    middle: tuple[float, float]  # of its field of view
    gap: float  # half of what lies between two CCDs


_OPTICS = {
    "EPN": _Optics("S003", "PrimeFullWindowExtended", ((1, 0), (0, -1)), (-2200, -1110), 50),
    "EMOS1": _Optics("S001", "PrimeFullWindow", ((0, 1), (1, 0)), (100, 200), 110),
    "EMOS2": _Optics("S002", "PrimeFullWindow", ((-1, 0), (0, 1)), (-30, 70), 110),
}


def write_sample(directory: Path, *, size: Size | int = "small", seed: int = 42) -> dict[str, Path]:
    """Write a mask, an image of each camera, an event list and control points.

    The same size and seed give the same bytes.

    Parameters
    ----------
    directory : Path
        Made if absent.
    size : {"small", "medium", "large"} or int
        60,000, 300,000 or 1,000,000 photons of each camera, or any number of them.
    seed : int

    Returns
    -------
    dict
        ``masks``: a FITS image of 30 x 30 pixels of 30 arcsec whose zeros are to be cut out;
        ``images``: a folder of ``pnS003-obj-image-sky.fits`` and those of MOS1 and MOS2;
        ``control``: a folder of ``mos2S002-allevc.fits`` (events) and ``pnS003-control.csv``
        (25 places with right ascension, declination, DETX and DETY). MOS1 has neither.

    Raises
    ------
    UsageError
        For an unknown size.
    """
    count = number_of(size, SIZES)
    rng = np.random.default_rng(seed)
    images, control = directory / "images", directory / "control"
    for folder in (images, control):
        folder.mkdir(parents=True, exist_ok=True)
    field = _Field(rng)
    for camera in CAMERAS.values():
        view = field.seen_by(camera)
        photons = field.photons(view, count)
        counts = _binned(photons.x, photons.y)
        name = view.exposure.name
        (images / f"{name}-obj-image-sky.fits").write_bytes(
            image_file(view.exposure, counts, _FIRST)
        )
        if camera.name == "EPN":
            _write_control(control / f"{name}-control.csv", view, rng)
            mask = field.mask(view, photons)
            (directory / "steady_mask.fits").write_bytes(mask)
        elif camera.name == "EMOS2":
            events = _events(rng, view, photons)
            (control / f"{name}-allevc.fits").write_bytes(event_file(view.exposure, events))
    return {"images": images, "control": control, "masks": directory / "steady_mask.fits"}


class _Photons(NamedTuple):
    x: Floats  # sky pixels
    y: Floats
    detx: Floats
    dety: Floats
    time: Floats  # seconds since 1998


class _View(NamedTuple):
    """A camera on the field, with its detector frame as it truly is."""

    exposure: Exposure
    frame: DetectorFrame
    optics: _Optics

    def to_detector(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return self.frame.of_sky_pixels(self.exposure.sky, x, y)

    def to_sky(self, detx: Floats, dety: Floats) -> tuple[Floats, Floats]:
        return self.frame.to_sky_pixels(self.exposure.sky, detx, dety)

    def ccds(self, detx: Floats, dety: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        """CCD of each place, from 1, and how far it is from the edge of that."""
        x, y = detx - self.optics.middle[0], dety - self.optics.middle[1]
        if self.exposure.instrument == "EPN":
            column = np.clip((x + 15_750) // 5_250, 0, 5).astype(np.int64)
            edge = np.minimum(np.abs(x - np.rint(x / 5_250) * 5_250), np.abs(y))
            return 1 + column + 6 * (y < 0), edge
        # A middle column of three CCDs, and two of two: 7 1 4 between 5 6 and 3 2, from below.
        column = np.digitize(x, [-6_600, 6_600])
        cell = np.where(column == 1, np.digitize(y, [-6_600, 6_600]), np.digitize(y, [0]))
        across = np.where(column == 1, np.abs(np.abs(y) - 6_600), np.abs(y))
        number = np.array([[5, 6, 0], [7, 1, 4], [3, 2, 0]])[column, cell]
        return number, np.minimum(across, np.abs(np.abs(x) - 6_600))


class _Field:
    """Pointing, sources, and the drift of the attitude: the same for all cameras."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.ra = float(np.round(rng.uniform(0, 360), 6))
        self.dec = float(np.round(np.degrees(np.arcsin(rng.uniform(-0.9, 0.9))), 6))
        self.pa = float(np.round(rng.uniform(60, 300), 6))
        self.revolution = int(rng.integers(4000, 4100))
        self.boresight = rng.uniform(10, 20, 2) * rng.choice([-1, 1], 2)
        number = 80
        radius = 15_500 * np.sqrt(rng.uniform(size=number))
        angle = rng.uniform(0, 2 * np.pi, number)
        self.place = 25_921 + np.array([radius * np.cos(angle), radius * np.sin(angle)])
        self.brightness = rng.pareto(1.2, number) + 1
        self.brightness /= self.brightness.sum()
        self.cluster = 25_921 + rng.uniform(-4_000, 4_000, 2)
        # Slow waves of the attitude: 0.3 arcsec in the median.
        self.periods, self.phases = rng.uniform(2_000, 20_000, (2, 3)), rng.uniform(0, 7, (2, 3))

    def seen_by(self, camera: Camera) -> _View:
        optics = _OPTICS[camera.name]
        start = _START + float(self.rng.integers(0, 4_000))
        exposure = Exposure(
            camera.name, optics.identifier, f"{9_990_000_000 + self.revolution:010d}",
            "Sample field", self.revolution, self.ra, self.dec, self.pa, start, start + _LENGTH,
            optics.submode,
        )  # fmt: skip
        shift = np.array(optics.shift) @ self.boresight
        frame = DetectorFrame(
            self.ra, self.dec, self.pa, camera.nominal, camera.roll,
            camera.det_x + float(shift[0]), camera.det_y + float(shift[1]),
        )  # fmt: skip
        return _View(exposure, frame, optics)

    def photons(self, view: _View, count: int) -> _Photons:
        """Draw what a camera counts: sources with the mirrors' vignetting, and background."""
        rng = self.rng
        of_sources, of_cluster = int(0.25 * count), int(0.15 * count)
        source = rng.choice(len(self.brightness), of_sources, p=self.brightness)
        x, y = self.place[:, source] + _king(rng, of_sources, core=100, slope=1.5)
        wide = _king(rng, of_cluster, core=1_200, slope=1.7) + self.cluster[:, None]
        sky = view.to_detector(np.r_[x, wide[0]], np.r_[y, wide[1]])
        off_axis = np.hypot(sky[0] - view.frame.det_x, sky[1] - view.frame.det_y)
        # Mirrors collect about half as much at 12 arcmin.
        seen = rng.uniform(size=len(off_axis)) < 1 / (1 + (off_axis / 14_400) ** 2)
        rest = count - of_sources - of_cluster
        radius, angle = _FIELD * np.sqrt(rng.uniform(size=rest)), rng.uniform(0, 2 * np.pi, rest)
        detx = np.r_[sky[0][seen], view.optics.middle[0] + radius * np.cos(angle)]
        dety = np.r_[sky[1][seen], view.optics.middle[1] + radius * np.sin(angle)]
        inside = np.hypot(detx - view.optics.middle[0], dety - view.optics.middle[1]) < _FIELD
        inside &= view.ccds(detx, dety)[1] > view.optics.gap
        detx, dety = np.rint(detx[inside]), np.rint(dety[inside])
        time = np.sort(rng.uniform(view.exposure.start, view.exposure.stop, len(detx)))
        drift = 4 * np.sin(2 * np.pi * time / self.periods[..., None] + self.phases[..., None])
        true = view.to_sky(detx, dety)
        order = rng.permutation(len(detx))
        x, y = (np.rint(t[order] + d) for t, d in zip(true, drift.sum(axis=1), strict=True))
        return _Photons(x, y, detx[order], dety[order], time)

    def mask(self, view: _View, photons: _Photons) -> bytes:
        """Mark the pixels of a turned grid in which a narrow band has photons."""
        narrow = self.rng.uniform(size=len(photons.x)) < 700 / len(photons.x)
        centre = view.exposure.sky.to_sky(*self.cluster)
        angle = float(np.round(self.rng.uniform(20, 70), 2))
        ra, dec = view.exposure.sky.to_sky(photons.x[narrow], photons.y[narrow])
        xi, eta = standard_coordinates(ra, dec, *centre)
        east, north = -xi / _MASK_PIXEL, eta / _MASK_PIXEL
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        edges = np.arange(_MASK_SIDE + 1) - _MASK_SIDE / 2
        column, row = cosine * east - sine * north, sine * east + cosine * north
        counts = np.histogram2d(row, column, (edges, edges))[0]
        place = (float(centre[0]), float(centre[1]))
        return mask_file(view.exposure, (counts > 0).astype(int), place, _MASK_PIXEL, angle)


def _king(rng: np.random.Generator, number: int, core: float, slope: float) -> Floats:
    """Draw offsets from a King profile (1 + (r / core)**2)**-slope, shape (2, number)."""
    radius = core * np.sqrt((1 - rng.uniform(0, 0.98, number)) ** (1 / (1 - slope)) - 1)
    angle = rng.uniform(0, 2 * np.pi, number)
    return np.array([radius * np.cos(angle), radius * np.sin(angle)])


def _binned(x: Floats, y: Floats) -> npt.NDArray[np.int64]:
    column = np.floor((x - _FIRST) / BIN + 0.5).astype(np.int64)
    row = np.floor((y - _FIRST) / BIN + 0.5).astype(np.int64)
    inside = (column >= 0) & (column < _SIDE) & (row >= 0) & (row < _SIDE)
    flat = np.bincount(row[inside] * _SIDE + column[inside], minlength=_SIDE * _SIDE)
    return flat.reshape(_SIDE, _SIDE)


def _events(rng: np.random.Generator, view: _View, photons: _Photons) -> npt.NDArray[np.void]:
    """Give some photons as events, with energies and the pixels of their CCDs."""
    number = min(_MOST_EVENTS, len(photons.time))
    chosen = np.sort(rng.permutation(len(photons.time))[:number])
    events = np.zeros(number, EVENTS)
    for name, values in zip(("X", "Y", "DETX", "DETY", "TIME"), photons, strict=True):
        events[name] = values[chosen]
    detx, dety = photons.detx[chosen], photons.dety[chosen]
    events["CCDNR"] = view.ccds(detx, dety)[0]
    # A pixel of a MOS is 1.1 arcsec.
    events["RAWX"], events["RAWY"] = (v // 22 % 600 + 1 for v in (detx + 6_600, dety + 6_600))
    energy = np.clip(200 + rng.exponential(1_500, number), 200, 12_000)
    events["PI"], events["PHA"] = energy, energy / 3.4
    events["PATTERN"] = rng.choice([0, 1, 2, 3, 4], number, p=[0.7, 0.1, 0.08, 0.07, 0.05])
    return events


def _write_control(path: Path, view: _View, rng: np.random.Generator) -> None:
    """Write places as `esky2det` gives them, to a tenth of a unit."""
    radius = 0.9 * _FIELD * np.sqrt(rng.uniform(size=_CONTROL))
    angle = rng.uniform(0, 2 * np.pi, _CONTROL)
    sky = view.exposure.sky
    # What is given on the sky is rounded too, and the detector pixels follow from that.
    ra, dec = directions(
        radius * np.cos(angle) / 72_000, radius * np.sin(angle) / 72_000, sky.ra, sky.dec
    )
    ra, dec = np.round(ra, 7), np.round(dec, 7)
    detx, dety = view.to_detector(*sky.of_sky(ra, dec))
    with path.open("w", newline="", encoding="ascii") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(["obsid", "exposure", "instrument", "ra", "dec", "detx", "dety"])
        exposure = view.exposure
        for row in zip(ra, dec, detx, dety, strict=True):
            out.writerow(
                [exposure.obsid, exposure.name, exposure.instrument]
                + [f"{v:.7f}" for v in row[:2]] + [f"{v:.1f}" for v in row[2:]]
            )  # fmt: skip
