"""What the header of an image or event list says of its exposure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from lake.errors import InputError
from lake.formats import read_fits_file
from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.source import Source
from lake.inputs import InputFile, Records
from lake.xmm.geometry import CAMERAS, Camera, DetectorFrame
from lake.xmm.options import is_yes
from lake.xmm.sky import SkyPixels

#: Images of more pixels than this keep their geometry, not their pixels.
_MOST_PIXELS = 1 << 22
_NAME = re.compile(r"(?:pn|mos1|mos2)([SU]\d{3})", re.IGNORECASE)
_EXPOSURE_ID = re.compile(r"[SU]\d{3}")


@dataclass(frozen=True)
class Exposure:
    """One exposure of one camera.

    Attributes
    ----------
    obsid : str
        OBS_ID.
    name : str
        As the ESAS names it: ``pnS003``.
    camera : Camera
    ra, dec, pa : float
        Pointing and position angle (RA_PNT, DEC_PNT, PA_PNT), degrees.
    sky : SkyPixels
    created : str or None
        DATE of the file.
    """

    obsid: str
    name: str
    camera: Camera
    ra: float
    dec: float
    pa: float
    sky: SkyPixels
    created: str | None = None

    def nominal_frame(self) -> DetectorFrame:
        """Detector frame by the constants of the camera."""
        c = self.camera
        return DetectorFrame(self.ra, self.dec, self.pa, c.nominal, c.roll, c.det_x, c.det_y)


class Keywords:
    """Keywords of an HDU, and of the primary header for what it lacks; said where if wrong."""

    def __init__(self, file: FitsFile, hdu: HDU) -> None:
        self._path, self._where = file.path, f"HDU {hdu.index}"
        self._headers = [hdu.header] if hdu.index == 0 else [hdu.header, file[0].header]
        self.columns = list(hdu.schema.names) if hdu.kind == "bintable" else []

    def get(self, name: str) -> Any:
        """Value, or None."""
        return next((v for h in self._headers if (v := h.get(name)) is not None), None)

    def text(self, name: str) -> str | None:
        """Value as text without blanks around it; None where it is missing or blank."""
        value = self.get(name)
        return str(value).strip() or None if value is not None else None

    def number(self, name: str) -> float | None:
        """Value as a number."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"keyword {name} is {value!r}, expected a number")
        return float(value)

    def required(self, name: str, meaning: str) -> float:
        """Value as a number that must be there."""
        value = self.number(name)
        if value is None:
            raise self.error(f"keyword {name} ({meaning}) is missing")
        return value

    def error(self, problem: str) -> InputError:
        """Error that names the file and the HDU."""
        return InputError(self._path, problem, self._where)


def read_exposure(source: Source) -> Exposure:
    """Read the exposure that an image, exposure map or event list belongs to.

    Parameters
    ----------
    source : str, PathLike or bytes
        FITS, gzipped or not.

    Returns
    -------
    Exposure

    Raises
    ------
    InputError
        It is not FITS, not of an EPIC camera, or lacks the pointing, the position angle or
        the sky pixel system.
    """
    file = read_fits_file(source)
    return exposure_of(file, Keywords(file, _main(file)))


def exposure_of(file: FitsFile, keywords: Keywords) -> Exposure:
    """Exposure of an open file; see `read_exposure`."""
    instrument = keywords.text("INSTRUME")
    if instrument not in CAMERAS:
        raise keywords.error(f"INSTRUME is {instrument!r}, expected {', '.join(CAMERAS)}")
    obsid = keywords.text("OBS_ID")
    if obsid is None:
        raise keywords.error("keyword OBS_ID (observation identifier) is missing")
    camera = CAMERAS[instrument]
    ra = keywords.required("RA_PNT", "right ascension of the pointing")
    dec = keywords.required("DEC_PNT", "declination of the pointing")
    pa = keywords.required("PA_PNT", "position angle of the pointing")
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise keywords.error(f"the pointing {ra}, {dec} is no direction on the sky")
    return Exposure(
        obsid, camera.prefix + _identifier(file.path, keywords), camera, ra, dec, pa,
        _sky_pixels(keywords), keywords.text("DATE"),
    )  # fmt: skip


def _main(file: FitsFile) -> HDU:
    """The HDU that holds the image or the events."""
    if "EVENTS" in file:
        return file["EVENTS"]
    return next((h for h in file if h.kind in ("image", "compressed_image") and h.shape), file[0])


def _identifier(path: str, keywords: Keywords) -> str:
    """Exposure identifier, such as S003."""
    text = keywords.text("EXPIDSTR")
    if text is not None and _EXPOSURE_ID.fullmatch(text):
        return text
    if match := _NAME.search(PurePath(path).name):
        return match[1].upper()
    raise keywords.error(
        f"keyword EXPIDSTR is {text!r}, expected an exposure identifier such as S003, and the "
        "name of the file has none either"
    )


def _sky_pixels(keywords: Keywords) -> SkyPixels:
    """Sky pixel system by REFX.. keywords, else by those of columns X and Y or of image axes."""
    if keywords.get("REFXCRVL") is not None:
        ra, x_ref, x_step = _reference(keywords, "REFX")
        dec, y_ref, y_step = _reference(keywords, "REFY")
    elif {"X", "Y"} <= set(keywords.columns):
        ra, x_ref, x_step = _reference(keywords, "T", keywords.columns.index("X") + 1)
        dec, y_ref, y_step = _reference(keywords, "T", keywords.columns.index("Y") + 1)
    else:
        ra, x_ref, x_step = _axis(keywords, 1)
        dec, y_ref, y_step = _axis(keywords, 2)
    if not (x_step < 0 < y_step):
        raise keywords.error(
            f"sky pixels have steps of {x_step} and {y_step} degrees, expected X to the west "
            "and Y to the north"
        )
    return SkyPixels(ra, dec, x_ref, y_ref, x_step, y_step)


def _reference(
    keywords: Keywords, prefix: str, column: int | str = ""
) -> tuple[float, float, float]:
    """Reference value, reference sky pixel and step by keywords such as REFXCRVL or TCRVL6."""
    value, pixel, step = (
        keywords.required(f"{prefix}{k}{column}", "sky pixel system")
        for k in ("CRVL", "CRPX", "CDLT")
    )
    return value, pixel, step


def _axis(keywords: Keywords, n: int) -> tuple[float, float, float]:
    """Reference value, reference sky pixel and step of one axis of an image."""
    kind = str(keywords.text(f"CTYPE{n}"))
    if not kind.endswith("-TAN"):
        raise keywords.error(
            f"there is no sky pixel system: REFXCRVL is missing, CTYPE{n} is {kind!r}"
        )
    value, pixel, step = (
        keywords.required(f"{k}{n}", "image axis") for k in ("CRVAL", "CRPIX", "CDELT")
    )
    physical = image_axis(keywords, n)
    if physical is None:
        raise keywords.error(
            f"there is no sky pixel system: neither REFXCRVL nor CRPIX{n}L, CRVAL{n}L and CDELT{n}L"
        )
    first, _, per = physical
    if per == 0:
        raise keywords.error(f"keyword CDELT{n}L is 0")
    return value, first + (pixel - 1) * per, step / per


def image_axis(keywords: Keywords, n: int) -> tuple[float, int, float] | None:
    """Sky pixel of the first image pixel, number of image pixels, and sky pixels per image pixel.

    None where the header does not give physical coordinates (CRPIX1L, CRVAL1L, CDELT1L).
    """
    pixel, value, step = (keywords.number(f"{k}{n}L") for k in ("CRPIX", "CRVAL", "CDELT"))
    if pixel is None or value is None or step is None:
        return None
    size = keywords.get(f"NAXIS{n}")
    return value + (1 - pixel) * step, int(size or 0), step


def records(file: InputFile, data: bytes) -> Records:
    """Row of `xmm.images` for one image; the reader of the role ``images``."""
    fits = FitsFile(str(file.path), data)
    hdu = _main(fits)
    keywords = Keywords(fits, hdu)
    exposure = exposure_of(fits, keywords)
    row: dict[str, Any] = {
        "obsid": exposure.obsid,
        "exposure": exposure.name,
        "instrument": exposure.camera.name,
        "exp_id": keywords.text("EXP_ID"),
        "object": keywords.text("OBJECT"),
        "revolution": _whole(keywords, "REVOLUT"),
        "date_obs": _time(keywords, "DATE-OBS"),
        "date_end": _time(keywords, "DATE-END"),
        "created": exposure.created,
        "filter": keywords.text("FILTER"),
        "submode": keywords.text("SUBMODE"),
        "ra_pnt": exposure.ra,
        "dec_pnt": exposure.dec,
        "pa_pnt": exposure.pa,
        "ra_ref": exposure.sky.ra,
        "dec_ref": exposure.sky.dec,
        "x_ref": exposure.sky.x_ref,
        "y_ref": exposure.sky.y_ref,
        "x_step": exposure.sky.x_step,
        "y_step": exposure.sky.y_step,
        "sas_compatible": is_yes(file, "sas_compatible"),
    }
    if len(hdu.image_shape) == 2:
        row |= _image(hdu, keywords)
    return {"xmm.images": [row]}


def _image(hdu: HDU, keywords: Keywords) -> dict[str, Any]:
    axes = image_axis(keywords, 1), image_axis(keywords, 2)
    height, width = hdu.image_shape
    pixels = hdu.image() if height * width <= _MOST_PIXELS else None
    out: dict[str, Any] = {"image_width": width, "image_height": height}
    for name, axis in zip("xy", axes, strict=True):
        if axis is not None:
            out |= {f"image_{name}": axis[0], f"image_{name}_step": axis[2]}
    if pixels is not None:
        content = (keywords.text("CONTENT") or "").upper()
        name = "exposure_map" if "EXPOSURE MAP" in content else "counts"
        out[name] = pixels.astype("f4").ravel()
    return out


def _whole(keywords: Keywords, name: str) -> int | None:
    value = keywords.number(name)
    return None if value is None else int(value)


def _time(keywords: Keywords, name: str) -> datetime | None:
    text = keywords.text(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise keywords.error(f"keyword {name} is {text!r}, expected an ISO 8601 time") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
