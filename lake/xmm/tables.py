"""Rows of the lake from rows of the lake: what `lake.xmm` computes, table to table."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import contracts
from lake.xmm import esas
from lake.xmm.calibration import calibrate
from lake.xmm.control import stored
from lake.xmm.exposure import Exposure
from lake.xmm.files import encoded, expression, file_name, frame_of, path_below, sky_of
from lake.xmm.geometry import CAMERAS
from lake.xmm.region_rows import columns_of, groups, of_rows
from lake.xmm.shapes import Regions, concatenate, of_detector, to_detector, to_sky_pixels
from lake.xmm.sky import PIXEL_ARCSEC

#: Columns that `xmm.observations` has from `xmm.images` as they are.
_SAME = (
    "release", "obsid", "exposure", "instrument", "object", "date_obs", "date_end", "created",
    "ra_pnt", "dec_pnt", "pa_pnt", "ra_ref", "dec_ref", "x_ref", "y_ref", "x_step", "y_step",
    "file_sha256", "file_row",
)  # fmt: skip
#: Columns of `xmm.images` that `observations` reads.
IMAGE_COLUMNS = _SAME


def exposure_of(row: Mapping[str, Any]) -> Exposure:
    """Exposure of a row of `xmm.images` or `xmm.observations`."""
    return Exposure(
        row["obsid"], row["exposure"], CAMERAS[row["instrument"]], row["ra_pnt"], row["dec_pnt"],
        row["pa_pnt"], sky_of(row), row["created"],
    )  # fmt: skip


def observations(images: pa.Table, control: pa.Table) -> pa.Table:
    """Calibrate the detector frame of every exposure.

    Parameters
    ----------
    images : pyarrow.Table
        `IMAGE_COLUMNS` of `xmm.images`.
    control : pyarrow.Table
        Rows of `xmm.control`; those of other exposures are passed over.

    Returns
    -------
    pyarrow.Table
        Rows of `xmm.observations`.

    Raises
    ------
    InputError
        Control points are too few or do not fit their exposure; see `calibration.calibrate`.
    """
    given = control.to_pylist()
    points = stored(given)
    sha256 = {(c["obsid"], c["exposure"], c["source"]): c["file_sha256"] for c in given}
    rows = []
    for image in images.to_pylist():
        found = calibrate(exposure_of(image), points)
        key = (image["obsid"], image["exposure"], found.source)
        rows.append(
            {name: image[name] for name in _SAME}
            | {
                "det_x": found.frame.det_x,
                "det_y": found.frame.det_y,
                "roll": found.frame.roll,
                "scale": found.frame.scale,
                "calibration": found.kind,
                "calibration_source": found.source,
                "calibration_sha256": sha256.get(key),
                "calibration_points": found.points,
                "residual_median": found.median,
                "residual_p95": found.p95,
                "residual_max": found.largest,
            }
        )
    return pa.Table.from_pylist(rows, contracts.table("xmm.observations").schema())


Write = Callable[[str, bytes], None]
"""Takes a file: its path below the directory of products, and its bytes."""

_TABLE = ("mask", "label", "role")
#: Arcmin from the pointing within which a mask has to have a region to be of any use.
_REACH = 30


def regions(
    observations: pa.Table, masks: pa.Table, mask_regions: pa.Table, write: Write
) -> Iterator[tuple[str, pa.Table]]:
    """Bring the regions of every mask to every exposure that it is for, and make their tables.

    A mask that has no region within 30 arcmin of an exposure's pointing is passed over there.

    Parameters
    ----------
    observations : pyarrow.Table
        Rows of `xmm.observations`.
    masks : pyarrow.Table
        Rows of `xmm.masks`.
    mask_regions : pyarrow.Table
        Rows of `xmm.mask_regions`, in the order of mask, label, role and number.
    write : callable

    Yields
    ------
    table : str
        ``xmm.regions`` or ``xmm.region_tables``.
    rows : pyarrow.Table
        Of one exposure and frame.
    """
    is_for = {row["mask"]: row["obsid"] for row in masks.select(["mask", "obsid"]).to_pylist()}
    of_mask = mask_regions["mask"].to_pylist()
    for row in observations.to_pylist():
        mine = np.array([is_for[mask] in (None, row["obsid"]) for mask in of_mask], bool)
        given, sky = _near(mask_regions.filter(pa.array(mine)), row)
        if not given.num_rows:
            continue
        det = to_detector(sky, sky_of(row), frame_of(row))
        # What is kept is selected in sky pixels alone, as the ESAS does it.
        without_kept = pc.not_equal(given["role"], "mask").to_numpy()
        yield from _of_frame(row, "sky", given, sky, write)
        yield from _of_frame(
            row, "det", given.filter(pa.array(without_kept)), det.take(without_kept), write
        )


def _near(given: pa.Table, observation: Mapping[str, Any]) -> tuple[pa.Table, Regions]:
    """Rows of masks that come near an exposure, and their regions in its sky pixels."""
    found = _in_sky_pixels(given, observation)
    sky = sky_of(observation)
    off = np.hypot(*sky.offsets(found.x, found.y, observation["ra_pnt"], observation["dec_pnt"]))
    near = pc.unique(given.filter(pa.array(off < _REACH * 60 / PIXEL_ARCSEC))["mask"])
    used = pc.is_in(given["mask"], near).to_numpy()
    return given.filter(pa.array(used)), found.take(used)


def _in_sky_pixels(given: pa.Table, observation: Mapping[str, Any]) -> Regions:
    """Regions of masks in the sky pixels of an exposure, whatever frame they are given in."""
    sky = sky_of(observation)
    ways: Mapping[str, Callable[[Regions], Regions]] = {
        "fk5": lambda found: to_sky_pixels(found, sky),
        "sky": lambda found: found,
        "det": lambda found: of_detector(found, sky, frame_of(observation)),
    }
    all_of_them, frames = of_rows(given), given["frame"].to_numpy()
    places = [np.flatnonzero(frames == frame) for frame in ways]
    parts = [way(all_of_them.take(p)) for way, p in zip(ways.values(), places, strict=True)]
    return concatenate(parts).take(np.argsort(np.concatenate(places)))


def _of_frame(
    observation: Mapping[str, Any], frame: esas.Frame, given: pa.Table, found: Regions, write: Write
) -> Iterator[tuple[str, pa.Table]]:
    """Rows of `xmm.regions` and `xmm.region_tables` of one exposure and frame."""
    n = given.num_rows
    first, count = groups(given, _TABLE)
    exposure = {name: observation[name] for name in ("release", "obsid", "exposure", "instrument")}
    names = contracts.table("xmm.regions").schema().names
    columns = {name: pa.repeat(value, n) for name, value in exposure.items()}
    columns |= {name: given[name] for name in (*_TABLE, "file_sha256")} | columns_of(found)
    columns["frame"] = pa.repeat(frame, n)
    columns["number"] = pa.array(np.arange(1, n + 1) - np.repeat(first, count), pa.int32())
    yield "xmm.regions", pa.table({name: columns[name] for name in names})
    keys = given.select([*_TABLE, "file_sha256"]).take(pa.array(first)).to_pylist()
    files = []
    for key, start, rows in zip(keys, first.tolist(), count.tolist(), strict=True):
        name = file_name(observation["exposure"], key["role"], frame)
        part = found.take(np.arange(start, start + rows))
        content = encoded(observation, frame, part, name)
        path = path_below(observation, key, name)
        write(path, content)
        files.append(
            exposure
            | key
            | {
                "frame": frame, "name": name, "path": path, "size": len(content), "rows": rows,
                "sha256": hashlib.sha256(content).hexdigest(), "creator": esas.CREATOR,
                "expression": expression(name, frame),
            }
        )  # fmt: skip
    schema = contracts.table("xmm.region_tables").schema()
    yield "xmm.region_tables", pa.Table.from_pylist(files, schema)
