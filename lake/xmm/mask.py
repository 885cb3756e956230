"""Masks: what is to be cut out and what kept, as regions on the sky.

A mask is a FITS image of zeros and ones or of labels, a DS9 region file, a region table, or a
table of boxes and circles. Pixels are decomposed into boxes; what has a shape already keeps it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

import numpy as np

from lake.errors import InputError, UsageError
from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.source import Source, label, load
from lake.xmm.boxes import SECONDS, decompose
from lake.xmm.ds9 import read_ds9
from lake.xmm.esas import find_hdu, read_hdu
from lake.xmm.listed import is_list, read_list
from lake.xmm.plane import Plane
from lake.xmm.shapes import Regions, concatenate, of_sky_pixels

Frame = Literal["fk5", "sky", "det"]

#: Roles of regions, and the region tables that they go to.
ROLES = ("bkg", "mask", "box")


@dataclass(frozen=True)
class Part:
    """Regions of one label that go to one region table.

    Attributes
    ----------
    label : int
        0 where the mask has no labels.
    role : str
        ``bkg`` (cut out), ``mask`` (kept) or ``box`` (what encloses all).
    frame : str
        ``fk5`` (degrees, arcsec), ``sky`` (X, Y) or ``det`` (DETX, DETY).
    regions : Regions
    """

    label: int
    role: str
    frame: Frame
    regions: Regions


@dataclass(frozen=True)
class Mask:
    """A mask as regions.

    Attributes
    ----------
    name : str
        Name of its file without extensions.
    kind : str
        ``image``, ``labels``, ``ds9``, ``region_table`` or ``list``.
    parts : list of Part
    exclude : str or None
        Pixels that are cut out, of an image.
    shape : tuple of int or None
        Rows and columns of an image.
    pixel_scale : float or None
        Side of its pixels at the centre, arcsec.
    pixels : mapping of int to (int, int)
        By label, how many pixels are cut out and how many kept.
    algorithm : str or None
        How pixels became boxes.
    fewest : bool or None
        Whether it is proven that there is no smaller number of boxes.
    exposure : str or None
        Exposure that detector pixels are of.
    """

    name: str
    kind: str
    parts: list[Part]
    exclude: str | None = None
    shape: tuple[int, int] | None = None
    pixel_scale: float | None = None
    pixels: Mapping[int, tuple[int, int]] | None = None
    algorithm: str | None = None
    fewest: bool | None = None
    exposure: str | None = None


def read_mask(
    source: Source,
    *,
    exclude: str | None = None,
    labelled: bool = False,
    algorithm: str = "fewest",
    seconds: float = SECONDS,
    name: str | None = None,
) -> Mask:
    """Read a mask.

    Parameters
    ----------
    source : str, PathLike or bytes
        A FITS image with celestial coordinates; a DS9 file in coordinates of the sky, physical
        or detector; a region table; or a table in any format with columns ra, dec and radius, or
        width, height and angle (see `lake.xmm.listed.read_list`).
    exclude : {"zeros", "ones"}, optional
        What of an image is cut out; zeros by default. Of labels, ones: each label is cut out in
        a table of its own; zeros: each is what a table of its own keeps. What lies inside the
        regions of a DS9 file or a list are the ones, which are cut out by default; regions that
        are all excluded, as in a file of sources, are taken for what is drawn.
    labelled : bool
        Take the values of an image for labels; 0 is none.
    algorithm, seconds
        See `lake.xmm.boxes.decompose`.
    name : str, optional
        The name of the file by default.

    Returns
    -------
    Mask

    Raises
    ------
    InputError
        It is no mask, has other values than 0 and 1 and is not said to be labelled, has one
        value only, or no coordinates of the sky.
    """
    path = label(source)
    return mask_of(
        path, bytes(load(source)), exclude=exclude, labelled=labelled, algorithm=algorithm,
        seconds=seconds, name=name,
    )  # fmt: skip


def mask_of(
    path: str,
    data: bytes,
    *,
    exclude: str | None = None,
    labelled: bool = False,
    algorithm: str = "fewest",
    seconds: float = SECONDS,
    name: str | None = None,
) -> Mask:
    """Mask of the bytes of a file; see `read_mask`."""
    if exclude not in (None, "zeros", "ones"):
        raise UsageError(f"exclude is {exclude!r}, expected zeros or ones")
    name = name or PurePath(path).name.split(".")[0]
    if data[:9] == b"SIMPLE  =":
        file = FitsFile(path, data)
        hdu = next((h for h in file if _is_image(h)), None)
        if hdu is not None:
            return _image_mask(hdu, name, exclude or "zeros", labelled, algorithm, seconds)
        if not is_list(data):
            return _table_mask(path, name, file)
    parts: list[tuple[int, Regions]]
    frame: Frame
    if is_list(data):
        with named(path):
            parts, frame = read_list(data), "fk5"
        kind, exposure = "list", None
    else:
        with named(path):
            regions, system = read_ds9(data)
        if system == "image":
            raise InputError(
                path, "its regions are in pixels of an image that is not known: save them in fk5"
            )
        frame = "fk5" if system == "fk5" else "det" if system == "detector" else "sky"
        parts = [(0, regions)]
        kind, exposure = "ds9", _exposure(path)
    made = [p for k, r in parts for p in _of_shapes(k, frame, r, exclude or "ones")]
    return Mask(name, kind, made, exposure=exposure)


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let errors of what is done with the content of a file name the file."""
    try:
        yield
    except InputError as error:
        raise InputError(path, error.problem, error.where) from None


def _is_image(hdu: HDU) -> bool:
    return len(hdu.image_shape) > 1


# --- images ------------------------------------------------------------------------------------


def _image_mask(
    hdu: HDU, name: str, exclude: str, labelled: bool, algorithm: str, seconds: float
) -> Mask:
    where = f"HDU {hdu.index}"
    shape = hdu.image_shape
    if set(shape[:-2]) - {1}:
        raise InputError(hdu.path, f"has {len(shape)} axes, expected an image of 2", where)
    pixels = hdu.image()
    assert pixels is not None
    pixels = pixels.reshape(shape[-2:])
    values = np.unique(pixels)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        bad = values[~(np.isfinite(values) & (values == np.round(values)))][0]
        raise InputError(hdu.path, f"has the value {bad}, expected whole numbers", where)
    if not labelled and not np.isin(values, (0, 1)).all():
        other = values[~np.isin(values, (0, 1))][0]
        raise InputError(
            hdu.path, f"has the value {other:g}, expected 0 and 1 (or labels, if it is said to "
            "be labelled)", where,
        )  # fmt: skip
    if len(values) < 2 and not (labelled and values.any()):
        raise InputError(hdu.path, f"is empty: all its pixels are {values[0]:g}", where)
    image = pixels.astype(np.int64)
    plane = Plane(hdu)
    fewest = True
    if labelled:
        made = decompose(image, algorithm, seconds)
        role = "bkg" if exclude == "ones" else "mask"
        # Boxes are in the order of their labels.
        keys, starts = np.unique(made.label, return_index=True)
        split = np.split(made.boxes, starts[1:])
        found = [(int(k), role, boxes) for k, boxes in zip(keys, split, strict=True)]
        total, fewest = image.size, made.fewest
        counts = np.unique_counts(image)
        inside = dict(zip(counts.values.tolist(), counts.counts.tolist(), strict=True))
        count = {
            k: (n, total - n) if exclude == "ones" else (total - n, n)
            for k, n in inside.items() if k
        }  # fmt: skip
    else:
        out = image == (0 if exclude == "zeros" else 1)
        count = {0: (int(out.sum()), int((~out).sum()))}
        found = []
        for role, mask in (("bkg", out), ("mask", ~out)):
            made = decompose(mask, algorithm, seconds)
            found.append((0, role, made.boxes))
            fewest &= made.fewest
        found.append((0, "box", np.array([[0, 0, image.shape[1], image.shape[0]]])))
    # All boxes go to the sky at once.
    everything = plane.regions(np.concatenate([b for _, _, b in found]))
    ends = np.cumsum([0, *(len(b) for _, _, b in found)])
    parts = [
        Part(k, role, "fk5", _by_role(role, everything.take(np.arange(first, last))))
        for (k, role, _), first, last in zip(found, ends[:-1], ends[1:], strict=True)
    ]
    return Mask(
        name, "labels" if labelled else "image", parts, exclude, image.shape[:2],
        plane.scale(image.shape), count, algorithm, fewest,
    )  # fmt: skip


def _by_role(role: str, regions: Regions) -> Regions:
    return regions.as_excluded() if role == "bkg" else regions.as_included()


# --- what has shapes already -------------------------------------------------------------------


def _of_shapes(k: int, frame: Frame, regions: Regions, exclude: str) -> list[Part]:
    """Parts of regions that are drawn: the included ones less the excluded ones.

    Where all are excluded, as in files of sources that are to be cut out, there is nothing that
    they could be holes of: they are what is drawn.
    """
    if not regions.include.any():
        regions = regions.as_included()
    drawn, holes = regions.take(regions.include), regions.take(~regions.include)
    if exclude == "ones":
        # Not in any that is drawn, or in a hole.
        out = [drawn.as_excluded()]
        if len(holes):
            kept = holes.as_included()
            out.append(replace(kept, component=kept.component + 1))
        return [Part(k, "bkg", frame, concatenate(out))]
    # In one that is drawn, and in no hole.
    cut = replace(holes.as_excluded(), component=np.zeros(len(holes), np.int64))
    return [Part(k, "mask", frame, _by_component(concatenate([drawn.as_included(), cut])))]


def _by_component(regions: Regions) -> Regions:
    """Regions of one component side by side, as CFITSIO needs them.

    It knows no `common` ones: they are cut out of each component.
    """
    common = regions.common
    if common.any():
        cut, others = regions.take(common), np.unique(regions.component[~common])
        each = [replace(cut, component=np.full(len(cut), c)) for c in others.tolist()]
        regions = concatenate([regions.take(~common), *each])
    return regions.take(np.argsort(regions.component, kind="stable"))


def _table_mask(path: str, name: str, file: FitsFile) -> Mask:
    """A region table, whose own inclusions, exclusions and components stand."""
    regions, frame, sky = read_hdu(file, find_hdu(file))
    if not len(regions):
        raise InputError(path, "its region table is empty")
    regions = _by_component(regions)
    role = "mask" if regions.include.all() else "bkg"
    said: Frame = "det" if frame == "det" else "sky"
    if sky is not None and said == "sky":
        said, regions = "fk5", of_sky_pixels(regions, sky)
    return Mask(name, "region_table", [Part(0, role, said, regions)], exposure=_exposure(path))


def _exposure(path: str) -> str | None:
    """Exposure that the name of a file says it is of, as in ``mos1S001-bkg_region-det.fits``."""
    found = re.search(r"(?:pn|mos1|mos2)[SU]\d{3}", PurePath(path).name)
    return found[0] if found else None
