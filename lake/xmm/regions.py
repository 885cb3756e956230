"""From one mask and some images to all region tables, DS9 files and commands of their exposures."""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lake.errors import InputError, UsageError
from lake.formats.source import label
from lake.xmm import chain
from lake.xmm.boxes import SECONDS
from lake.xmm.calibration import Calibration, calibrate, check_used
from lake.xmm.control import read_control
from lake.xmm.ds9 import ds9_text
from lake.xmm.esas import Frame, table_bytes
from lake.xmm.exposure import Exposure, read_exposure
from lake.xmm.mask import Mask, Part, named, read_mask
from lake.xmm.shapes import (
    Regions,
    concatenate,
    of_detector,
    of_sky_pixels,
    to_detector,
    to_sky_pixels,
)

FRAMES: tuple[Frame, ...] = ("sky", "det")
#: Sky pixels run from 1 to this.
_LAST = 51840
_SYSTEMS = {"sky": "physical", "det": "detector"}


class Table(NamedTuple):
    """Regions of one region table.

    Attributes
    ----------
    label : int
    role : str
        ``bkg``, ``mask`` or ``box``.
    frame : {"sky", "det"}
    regions : Regions
    """

    label: int
    role: str
    frame: Frame
    regions: Regions

    def name(self, exposure: str) -> str:
        """Name of its file."""
        return chain.file_name(exposure, self.role, self.frame, self.label)


@dataclass(frozen=True)
class ExposureTables:
    """What was made for one exposure.

    Attributes
    ----------
    exposure : Exposure
    calibration : Calibration
    tables : tuple of Path
        The region tables.
    ds9 : tuple of Path
        The DS9 files.
    script : Path
        Shell file with the commands that take the tables.
    expressions : mapping of str to str
        By name of the table, the selection expression of evselect.
    """

    exposure: Exposure
    calibration: Calibration
    tables: tuple[Path, ...]
    ds9: tuple[Path, ...]
    script: Path
    expressions: Mapping[str, str]


@dataclass(frozen=True)
class RegionTables:
    """What was made of a mask.

    Attributes
    ----------
    mask : Mask
    exposures : tuple of ExposureTables
    """

    mask: Mask
    exposures: tuple[ExposureTables, ...]


def region_tables(
    mask: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] = ".",
    *,
    control: Sequence[str | os.PathLike[str]] = (),
    exclude: str | None = None,
    labelled: bool = False,
    algorithm: str = "fewest",
    seconds: float = SECONDS,
    sas_compatible: bool = False,
    force: bool = False,
) -> RegionTables:
    """Make the ESAS region tables of a mask for every exposure, without the SAS and any lake.

    Files appear all at once, each whole, after everything was computed; those of the same
    names are replaced. With images of several observations each gets a folder of its own.

    Parameters
    ----------
    mask : str or PathLike
        See `lake.xmm.mask.read_mask`, also for `exclude`, `labelled`, `algorithm` and `seconds`.
    images : sequence of str or PathLike
        One image, exposure map or event list for each exposure.
    output : str or PathLike
        A folder; made if absent.
    control : sequence of str or PathLike
        Event lists and control points that detector frames are calibrated on; see
        `lake.xmm.control.read_control`.
    sas_compatible : bool
        Round directions as the SAS does before it computes detector pixels.
    force : bool
        Take control points however large their residual is.

    Returns
    -------
    RegionTables

    Raises
    ------
    UsageError
        There is no image.
    InputError
        A file cannot be taken, or the mask does not lie on an image.
    """
    if not images:
        raise UsageError("no image: each exposure needs one")
    exposures = [(read_exposure(i), label(i)) for i in images]
    _one_each(exposures)
    known = [e for e, _ in exposures]
    points = [c for source in control for c in read_control(source)]
    check_used(known, points)
    read = read_mask(mask, exclude=exclude, labelled=labelled, algorithm=algorithm, seconds=seconds)
    calibrations = [calibrate(e, points, force=force) for e in known]
    several = len({e.obsid for e in known}) > 1
    made: list[ExposureTables] = []
    files: dict[Path, bytes] = {}
    for exposure, calibration in zip(known, calibrations, strict=True):
        others = {
            e.name: (e, c)
            for e, c in zip(known, calibrations, strict=True)
            if e.obsid == exposure.obsid
        }
        with named(label(mask)):
            tables = list(
                placed(read, exposure, calibration, others, sas_compatible=sas_compatible)
            )
        folder = Path(output) / exposure.obsid if several else Path(output)
        contents = _contents(exposure, tables)
        files |= {folder / name: content for name, content in contents.items()}
        names = [t.name(exposure.name) for t in tables]
        made.append(
            ExposureTables(
                exposure,
                calibration,
                tuple(folder / n for n in names),
                tuple(folder / n for n in contents if n.endswith(".reg")),
                folder / f"{exposure.name}-esas.sh",
                {n: chain.expression(n) for n in names},
            )
        )
    _write(files)
    return RegionTables(read, tuple(made))


def placed(
    mask: Mask,
    exposure: Exposure,
    calibration: Calibration,
    others: Mapping[str, tuple[Exposure, Calibration]] | None = None,
    *,
    sas_compatible: bool = False,
) -> Iterator[Table]:
    """Put the regions of a mask into both frames of an exposure.

    Parameters
    ----------
    mask : Mask
    exposure : Exposure
    calibration : Calibration
    others : mapping, optional
        Exposures by name, where the mask is in detector pixels of one of them.
    sas_compatible : bool
        See `region_tables`.

    Yields
    ------
    Table
        For each label and role, in sky pixels and in detector pixels. Regions on the other side
        of the sphere are left out; where no others are left, there is no table.

    Raises
    ------
    InputError
        No region of the mask lies within the sky pixels of the exposure, or the mask is in
        detector pixels of an exposure that is not known.
    """
    if not mask.parts:
        return
    # All parts go together: the projection has one cost for a thousand labels.
    frames = {p.frame for p in mask.parts}
    if len(frames) > 1:
        raise InputError(mask.name, "is in several frames")
    everything = concatenate([p.regions for p in mask.parts])
    in_sky = _in_sky(mask, mask.parts[0], everything, exposure, others)
    if not _near(in_sky).any():
        raise InputError(
            mask.name,
            f"does not lie on the image of {exposure.obsid} {exposure.name}: none of its regions "
            "comes within 22 arcmin of the pointing",
        )
    if mask.parts[0].frame == "det" and mask.exposure == exposure.name:
        in_det = everything
    else:
        in_det = to_detector(in_sky, exposure.sky, calibration.frame, sas_compatible=sas_compatible)
    ends = np.cumsum([0, *(len(p.regions) for p in mask.parts)])
    for part, first, last in zip(mask.parts, ends[:-1], ends[1:], strict=True):
        rows = np.arange(first, last)
        rows = rows[_on_this_side(in_sky.take(rows))]
        if not len(rows):
            continue
        for frame, regions in (("sky", in_sky), ("det", in_det)):
            yield Table(part.label, part.role, "sky" if frame == "sky" else "det",
                        regions.take(rows))  # fmt: skip


def _on_this_side(regions: Regions) -> npt.NDArray[np.bool_]:
    """Which regions of a table stay without those that are on the other side of the sphere."""
    there = np.isfinite(regions.x) & np.isfinite(regions.y)
    for row, corners in regions.vertices.items():
        there[row] &= np.isfinite(corners).all()
    # No place is in a component with an included region there.
    there &= ~np.isin(regions.component, regions.component[~there & regions.include])
    # Every place is in one that only cuts out regions there: nothing is left to be said.
    cut = np.setdiff1d(regions.component[~regions.include], regions.component[there])
    every = np.setdiff1d(cut, regions.component[regions.include])
    return there if not len(every) else np.zeros(len(there), bool)


def _near(regions: Regions) -> npt.NDArray[np.bool_]:
    """Which regions of sky pixels may reach the pixels that there are."""
    lengths = np.nan_to_num(regions.r)
    boxes = np.isin(regions.shape, ("BOX", "ROTBOX"))
    reach = np.where(boxes, np.hypot(lengths[:, 0], lengths[:, 1]) / 2, lengths.max(axis=1))
    reach[regions.shape == "SECTOR"] = np.inf
    for row, corners in regions.vertices.items():
        reach[row] = np.hypot(*np.ptp(corners, axis=0))
    middle = _LAST / 2
    away = np.maximum(np.abs(regions.x - middle), np.abs(regions.y - middle))
    return away < middle + reach


def _in_sky(
    mask: Mask,
    part: Part,
    regions: Regions,
    exposure: Exposure,
    others: Mapping[str, tuple[Exposure, Calibration]] | None,
) -> Regions:
    if part.frame == "fk5":
        return to_sky_pixels(regions, exposure.sky)
    if part.frame == "sky":
        return regions
    origin = (others or {}).get(mask.exposure or "")
    if origin is None:
        raise InputError(
            mask.name,
            f"is in detector pixels of {mask.exposure or 'an exposure that its name does not say'}"
            f", and there is no image of it",
        )
    of, calibration = origin
    there = of_detector(regions, of.sky, calibration.frame)
    if of.sky == exposure.sky:
        return there
    return to_sky_pixels(of_sky_pixels(there, of.sky), exposure.sky)


def _contents(exposure: Exposure, tables: Sequence[Table]) -> dict[str, bytes]:
    """Files of one exposure by name."""
    out: dict[str, bytes] = {}
    for table in tables:
        name = table.name(exposure.name)
        out[name] = table_bytes(
            table.regions, table.frame, name=name, sky=exposure.sky, date=exposure.created
        )
    # DS9 shows the labels together.
    for role, title in chain.TABLES.items():
        for frame in FRAMES:
            chosen = [t.regions for t in tables if t.role == role and t.frame == frame]
            if not chosen:
                continue
            together = concatenate(chosen)
            stem = f"{exposure.name}-{title}"
            out[f"{stem}-{frame}.reg"] = ds9_text(together, _SYSTEMS[frame]).encode("ascii")
            if frame == "sky":
                on_sky = of_sky_pixels(together, exposure.sky)
                out[f"{stem}-fk5.reg"] = ds9_text(on_sky, "fk5").encode("ascii")
    made = [chain.Made(t.role, t.frame, t.name(exposure.name), t.label) for t in tables]
    out |= {n: t.encode("ascii") for n, t in chain.selections(exposure.name, made).items()}
    out[f"{exposure.name}-esas.sh"] = chain.script(exposure.name, made).encode("ascii")
    return out


def _write(files: Mapping[Path, bytes]) -> None:
    """Write files beside their places, then put all of them there."""
    ending = f".{secrets.token_hex(4)}.partial"
    drafts: dict[Path, Path] = {}
    try:
        for folder in {path.parent for path in files}:
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            drafts[path] = path.with_name(path.name + ending)
            drafts[path].write_bytes(content)
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise InputError(str(error.filename), f"cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _one_each(exposures: Sequence[tuple[Exposure, str]]) -> None:
    """Raise InputError if two files are of one exposure."""
    first: dict[tuple[str, str], str] = {}
    for exposure, path in exposures:
        key = exposure.obsid, exposure.name
        if key in first:
            raise InputError(path, f"is of {exposure.obsid} {exposure.name}, as is {first[key]}")
        first[key] = path
