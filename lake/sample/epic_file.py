"""EPIC images, event lists and masks as the SAS and CIAO write them.

Source of the layout: files of evselect 3.71.1 (SAS 20.0.0) and reproject_image_grid (CIAO 4.14).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lake.xmm.sky import SkyPixels

if TYPE_CHECKING:
    from astropy.io.fits import Header

#: Columns of an event list.
EVENTS = np.dtype(
    [
        ("TIME", ">f8"), ("RAWX", ">i2"), ("RAWY", ">i2"), ("DETX", ">i2"), ("DETY", ">i2"),
        ("X", ">i4"), ("Y", ">i4"), ("PHA", ">i2"), ("PI", ">i2"), ("FLAG", ">i4"),
        ("PATTERN", "u1"), ("CCDNR", "u1"),
    ]
)  # fmt: skip
_UNITS = {
    "TIME": "s", "RAWX": "PIXELS", "RAWY": "PIXELS", "PHA": "CHAN", "PI": "CHAN",
    "DETX": "pixel", "DETY": "pixel", "X": "pixel", "Y": "pixel",
}  # fmt: skip
#: Value of X and Y of events without a place on the sky.
NO_SKY = -99_999_999

_EPOCH = datetime(1998, 1, 1)
#: Terrestrial Time ahead of UTC since 2017.
_AHEAD = timedelta(seconds=69.184)
#: Largest X and Y of the sky pixel system.
_LARGEST = 51_840
#: Sky pixels to a pixel of an image.
BIN = 50


@dataclass(frozen=True)
class Exposure:
    """What the headers of an exposure's files say.

    Attributes
    ----------
    instrument : str
        ``EPN``, ``EMOS1`` or ``EMOS2``.
    identifier : str
        ``S003``.
    obsid, object : str
    revolution : int
    ra, dec, pa : float
        Pointing and position angle, degrees.
    start, stop : float
        Seconds since 1998-01-01 TT.
    submode, filter : str
    """

    instrument: str
    identifier: str
    obsid: str
    object: str
    revolution: int
    ra: float
    dec: float
    pa: float
    start: float
    stop: float
    submode: str
    filter: str = "Medium"

    @property
    def name(self) -> str:
        """Name in the ESAS: ``pnS003``."""
        return self.instrument[1:].lower() + self.identifier

    @property
    def sky(self) -> SkyPixels:
        """The sky pixels, which touch the sphere at the pointing."""
        return SkyPixels(self.ra, self.dec)

    def cards(self) -> dict[str, tuple[Any, str]]:
        """Keywords that all files of the exposure have: value and comment."""
        start, stop = (_iso(t) for t in (self.start, self.stop))
        camera = self.instrument.removeprefix("E").rstrip("12")
        return {
            "CREATOR": ("lacus sample", "no observation"),
            "DATE": (_iso(self.stop + 86_400 * 30), "creation date"),
            "ORIGIN": ("synthetic", ""),
            "FILTER": (self.filter, "Filter ID"),
            "TELESCOP": ("XMM", "Telescope (mission) name"),
            "INSTRUME": (self.instrument, "Instrument name"),
            "REVOLUT": (self.revolution, "XMM revolution number"),
            "OBS_MODE": ("POINTING", "Observation mode (pointing or slew)"),
            "OBS_ID": (self.obsid, "Observation identifier"),
            "EXP_ID": (self.obsid + self.identifier[1:], "Exposure identifier"),
            "EXPIDSTR": (self.identifier, "Exposure identifier (Xnnn)"),
            "CONTENT": (f"EPIC {camera} IMAGING MODE EVENT LIST", ""),
            "DATAMODE": ("IMAGING", "Instrument mode (IMAGING, TIMING, BURST, etc.)"),
            "SUBMODE": (self.submode, "Guest Observer mode"),
            "OBJECT": (self.object, "Name of observed object"),
            "DATE-OBS": (start, "Start Time (UTC) of exposure"),
            "DATE-END": (stop, "End Time (UTC) of exposure"),
            "DURATION": (self.stop - self.start, "[s] Duration of observation"),
            "TIMESYS": ("TT", "XMM time is TT (Terrestrial Time)"),
            "MJDREF": (50_814.0, "[d] 1998-01-01T00:00:00 (TT) as MJD"),
            "TIMEZERO": (0, "Clock correction (if not zero)"),
            "TIMEUNIT": ("s", "All times in s unless specified otherwise"),
            "CLOCKAPP": (True, "Clock correction applied"),
            "TIMEREF": ("LOCAL", "Reference location of photon arrival times"),
            "TASSIGN": ("SATELLITE", "Location of time assignment"),
            "OBSERVER": ("nobody", "Name of PI"),
            "RA_OBJ": (self.ra, "[deg] Ra of the observed object"),
            "DEC_OBJ": (self.dec, "[deg] Dec of the observed object"),
            "RA_NOM": (self.ra, "[deg] Ra of boresight"),
            "DEC_NOM": (self.dec, "[deg] Dec of boresight"),
            "EXPSTART": (start, "Start Time (UTC) of exposure"),
            "EXPSTOP": (stop, "End Time (UTC) of exposure"),
            "ATT_SRC": ("AHF", "Source of attitude data (AHF|RAF|THF)"),
            "EQUINOX": (2000.0, "Equinox for sky coordinate x/y axes"),
            "RADECSYS": ("FK5", "World coord. system for this file"),
            **self._axis("X", "RA---TAN", self.ra, self.sky.x_ref, self.sky.x_step),
            **self._axis("Y", "DEC--TAN", self.dec, self.sky.y_ref, self.sky.y_step),
            "AVRG_PNT": ("MEDIAN", "Meaning of PNT values (mean or median)"),
            "RA_PNT": (self.ra, "[deg] Actual (mean) pointing RA"),
            "DEC_PNT": (self.dec, "[deg] Actual (mean) pointing Dec"),
            "PA_PNT": (self.pa, "[deg] Actual (mean) measured position angle"),
        }  # fmt: skip

    @staticmethod
    def _axis(
        axis: str, kind: str, value: float, pixel: float, step: float
    ) -> dict[str, tuple[Any, str]]:
        return {
            f"REF{axis}CTYP": (kind, "WCS Coord. type: tangent plane projection"),
            f"REF{axis}CRPX": (int(pixel), f"WCS {axis} axis reference pixel"),
            f"REF{axis}CRVL": (value, f"[deg] WCS coord. at {axis} axis ref. pixel"),
            f"REF{axis}CDLT": (round(step, 18), f"[deg/pix] WCS {axis} increment at ref. pixel"),
            f"REF{axis}LMIN": (1, f"WCS minimum legal {axis}"),
            f"REF{axis}LMAX": (_LARGEST, f"WCS maximum legal {axis}"),
            f"REF{axis}CUNI": ("deg", f"WCS Physical units of {axis} axis"),
        }


def image_file(exposure: Exposure, counts: npt.NDArray[np.integer], first: float) -> bytes:
    """Give the bytes of an image in sky pixels, as ``evselect withimageset=yes`` makes it.

    Parameters
    ----------
    exposure : Exposure
    counts : ndarray, shape (height, width)
        Rows from below.
    first : float
        X and Y of the centre of the first pixel.
    """
    from astropy.io import fits

    image = fits.PrimaryHDU(counts.astype(">i4"))
    sky = exposure.sky
    systems = (("X", "RA---TAN", sky.ra, sky.x_ref, sky.x_step),
               ("Y", "DEC--TAN", sky.dec, sky.y_ref, sky.y_step))  # fmt: skip
    cards = exposure.cards()
    cards["SLCTEXPR"] = ("(PATTERN<=4)&&(PI in [200:12000])", "")
    cards |= _class("IMAGE", "TOTAL")
    for i, (axis, kind, value, pixel, step) in enumerate(systems, 1):
        cards |= {
            f"CTYPE{i}": (kind, "Coord. type: tangent plane projection"),
            f"CRPIX{i}": ((pixel - first) / BIN + 1, "WCS reference pixel"),
            f"CRVAL{i}": (value, f"[deg] coord. at {axis} axis ref. pixel"),
            f"CUNIT{i}": ("deg", f"Physical units of {axis} axis"),
            f"CDELT{i}": (step * BIN, "WCS pixel size"),
            f"CTYPE{i}L": (axis, "WCS coordinate name"),
            f"CRPIX{i}L": (1, "WCS reference pixel"),
            f"CRVAL{i}L": (first, "WCS reference pixel value"),
            f"CDELT{i}L": (float(BIN), "WCS pixel size"),
            f"LTV{i}": (1 - first / BIN, ""),
            f"LTM{i}_{i}": (1 / BIN, ""),
        }
    cards |= {
        "WCSNAMEL": ("PHYSICAL", "WCS L name"),
        "WCSAXESL": (2, "No. of axes for WCS L"),
        "EXPOSURE": (exposure.stop - exposure.start, "[s] max of ONTIMEnn values"),
    }
    _set(image.header, cards)
    return _bytes(image)


def event_file(exposure: Exposure, events: npt.NDArray[np.void]) -> bytes:
    """Give the bytes of an event list with an interval of good time.

    Parameters
    ----------
    exposure : Exposure
    events : ndarray of `EVENTS`
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    _set(primary.header, exposure.cards())
    table = fits.BinTableHDU(events, name="EVENTS")
    cards = exposure.cards() | _class("EVENTS", "ACCEPTED")
    sky = exposure.sky
    systems = {
        "DETX": ("DETX_ANG", 0, 0.0, abs(sky.x_step)), "DETY": ("DETY_ANG", 0, 0.0, sky.y_step),
        "X": ("RA---TAN", int(sky.x_ref), sky.ra, sky.x_step),
        "Y": ("DEC--TAN", int(sky.y_ref), sky.dec, sky.y_step),
    }  # fmt: skip
    for i, column in enumerate(EVENTS.names or (), 1):
        if unit := _UNITS.get(column):
            cards[f"TUNIT{i}"] = (unit, "physical unit of field")
        if column in ("X", "Y"):
            cards[f"TNULL{i}"] = (NO_SKY, "Null value of the column")
            cards[f"TLMIN{i}"] = (1, "minimum legal value")
            cards[f"TLMAX{i}"] = (_LARGEST, "maximum legal value")
        if column in systems:
            kind, pixel, value, step = systems[column]
            cards |= {
                f"TCTYP{i}": (kind, "Coord. type"), f"TCUNI{i}": ("deg", "Physical units"),
                f"TCRPX{i}": (pixel, "axis reference pixel"),
                f"TCRVL{i}": (value, "[deg] coord. at reference pixel"),
                f"TCDLT{i}": (round(step, 18), "[deg/pix] increment at reference pixel"),
            }  # fmt: skip
    _set(table.header, cards)
    good = np.array([(exposure.start, exposure.stop)], [("START", ">f8"), ("STOP", ">f8")])
    intervals = fits.BinTableHDU(good, name="STDGTI01")
    units = {"TUNIT1": ("s", ""), "TUNIT2": ("s", "")}
    _set(intervals.header, units | _class("GTI", "STANDARD"))
    return _bytes(primary, table, intervals)


def mask_file(
    exposure: Exposure, values: npt.NDArray[np.integer], centre: tuple[float, float],
    pixel: float, angle: float,
) -> bytes:  # fmt: skip
    """Give the bytes of a mask: a small image on a grid of its own, turned against north.

    Parameters
    ----------
    exposure : Exposure
        One that the mask was made from.
    values : ndarray, shape (height, width)
        Rows from below.
    centre : (float, float)
        Right ascension and declination of the middle of the grid, degrees.
    pixel : float
        Side of a pixel, degrees.
    angle : float
        Degrees by which the axes are turned (the angle of PC1_1 and PC1_2).
    """
    from astropy.io import fits

    image = fits.PrimaryHDU(values.astype(">i8"))
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cards = exposure.cards() | _class("IMAGE", "TOTAL")
    for i, (kind, value, step) in enumerate(
        (("RA---TAN", centre[0], -pixel), ("DEC--TAN", centre[1], pixel)), 1
    ):
        cards |= {
            f"CTYPE{i}": (kind, ""), f"CRVAL{i}": (value, ""), f"CUNIT{i}": ("deg", ""),
            f"CRPIX{i}": ((values.shape[2 - i] + 1) / 2, ""), f"CDELT{i}": (step, ""),
        }  # fmt: skip
    turned = {"PC1_1": cosine, "PC1_2": sine, "PC2_1": -sine, "PC2_2": cosine}
    cards |= {keyword: (float(value), "") for keyword, value in turned.items()}
    _set(image.header, cards)
    return _bytes(image)


def _class(first: str, second: str) -> dict[str, tuple[Any, str]]:
    return {"HDUCLASS": ("OGIP", ""), "HDUCLAS1": (first, ""), "HDUCLAS2": (second, "")}


def _iso(seconds: float) -> str:
    """UTC of seconds since the beginning of 1998 TT."""
    return (_EPOCH + timedelta(seconds=round(seconds)) - _AHEAD).isoformat(timespec="seconds")


def _set(header: "Header", cards: Mapping[str, tuple[Any, str]]) -> None:
    for keyword, card in cards.items():
        header[keyword] = card


def _bytes(*hdus: Any) -> bytes:
    from astropy.io import fits

    out = BytesIO()
    fits.HDUList(list(hdus)).writeto(out)
    return out.getvalue()
