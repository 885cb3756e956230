"""Rows of the lake from rows of the lake: what `lake.xmm` computes, table to table."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.xmm.calibration import calibrate
from lake.xmm.control import stored
from lake.xmm.exposure import Exposure
from lake.xmm.geometry import CAMERAS, DetectorFrame
from lake.xmm.sky import SkyPixels

#: Columns that `xmm.observations` has from `xmm.images` as they are.
_SAME = (
    "release", "obsid", "exposure", "instrument", "object", "date_obs", "date_end", "created",
    "ra_pnt", "dec_pnt", "pa_pnt", "ra_ref", "dec_ref", "x_ref", "y_ref", "x_step", "y_step",
    "file_sha256", "file_row",
)  # fmt: skip
#: Columns of `xmm.images` that `observations` reads.
IMAGE_COLUMNS = _SAME


def sky_of(row: Mapping[str, Any]) -> SkyPixels:
    """Sky pixels of a row of `xmm.images` or `xmm.observations`."""
    names = ("ra_ref", "dec_ref", "x_ref", "y_ref", "x_step", "y_step")
    return SkyPixels(*(row[name] for name in names))


def exposure_of(row: Mapping[str, Any]) -> Exposure:
    """Exposure of a row of `xmm.images` or `xmm.observations`."""
    return Exposure(
        row["obsid"], row["exposure"], CAMERAS[row["instrument"]], row["ra_pnt"], row["dec_pnt"],
        row["pa_pnt"], sky_of(row), row["created"],
    )  # fmt: skip


def frame_of(row: Mapping[str, Any]) -> DetectorFrame:
    """Detector frame of a row of `xmm.observations`."""
    return DetectorFrame(
        row["ra_pnt"], row["dec_pnt"], row["pa_pnt"], CAMERAS[row["instrument"]].nominal,
        row["roll"], row["det_x"], row["det_y"], row["scale"],
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
