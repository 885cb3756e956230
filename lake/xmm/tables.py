"""Rows of the lake from rows of the lake: what `lake.xmm` computes, table to table."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lake import contracts
from lake.errors import InputError
from lake.xmm.calibration import Calibration, calibrate
from lake.xmm.chain import expression
from lake.xmm.control import stored
from lake.xmm.esas import CREATOR
from lake.xmm.exposure import Exposure
from lake.xmm.files import encoded, frame_of, path_below, sky_of
from lake.xmm.geometry import CAMERAS
from lake.xmm.mask import Mask, Part
from lake.xmm.region_rows import columns_of, groups, of_rows
from lake.xmm.regions import Table, placed
from lake.xmm.shapes import concatenate

#: Columns of `xmm.images` that `observations` reads; `xmm.observations` has them as they are.
IMAGE_COLUMNS = (
    "release", "obsid", "exposure", "instrument", "object", "date_obs", "date_end", "created",
    "ra_pnt", "dec_pnt", "pa_pnt", "ra_ref", "dec_ref", "x_ref", "y_ref", "x_step", "y_step",
    "sas_compatible", "file_sha256", "file_row",
)  # fmt: skip


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
            {name: image[name] for name in IMAGE_COLUMNS}
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
    return contracts.table("xmm.observations").arrow(rows)


Write = Callable[[str, bytes], None]
"""Takes a file: its path below the directory of products, and its bytes."""

_PART = ("mask", "label", "role", "frame")


def regions(
    observations: pa.Table,
    masks: pa.Table,
    mask_regions: pa.Table,
    write: Write,
    warn: Callable[[str], None],
) -> Iterator[tuple[str, pa.Table]]:
    """Bring the regions of every mask to every exposure that it is for, and make their tables.

    Parameters
    ----------
    observations : pyarrow.Table
        Rows of `xmm.observations`.
    masks : pyarrow.Table
        Rows of `xmm.masks`.
    mask_regions : pyarrow.Table
        Rows of `xmm.mask_regions`, in the order of mask, label, role and number.
    write : callable
    warn : callable
        Told why a mask does not come to an exposure: it lies elsewhere on the sky.

    Yields
    ------
    table : str
        ``xmm.regions`` or ``xmm.region_tables``.
    rows : pyarrow.Table
        Of one mask and exposure.
    """
    rows = observations.to_pylist()
    frames: dict[str, dict[str, tuple[Exposure, Calibration]]] = {}
    for row in rows:
        found = (exposure_of(row), Calibration(frame_of(row)))
        frames.setdefault(row["obsid"], {})[row["exposure"]] = found
    for name, obsid, sha256, parts in _masks(masks, mask_regions):
        for row in rows:
            if obsid not in (None, row["obsid"]):
                continue
            others = frames[row["obsid"]]
            # A mask in detector pixels says in its name whose they are.
            origin = next((exposure for exposure in others if exposure in name), None)
            mask = Mask(name, "", parts, exposure=origin)
            try:
                tables = list(
                    placed(
                        mask, *others[row["exposure"]], others,
                        sas_compatible=bool(row["sas_compatible"]),
                    )
                )  # fmt: skip
            except InputError as error:
                warn(str(error))
                continue
            yield from _of_exposure(row, {"mask": name, "file_sha256": sha256}, tables, write)


def _masks(
    masks: pa.Table, mask_regions: pa.Table
) -> Iterator[tuple[str, str | None, str, list[Part]]]:
    """Name, observation, file and regions of each mask."""
    first, count = groups(mask_regions, _PART)
    keys = mask_regions.select(_PART).take(pa.array(first)).to_pylist()
    parts: dict[str, list[Part]] = {}
    everything = of_rows(mask_regions)
    for key, start, number in zip(keys, first.tolist(), count.tolist(), strict=True):
        mine = everything.take(np.arange(start, start + number))
        parts.setdefault(key["mask"], []).append(
            Part(key["label"], key["role"], key["frame"], mine)
        )
    said = masks.select(["mask", "obsid", "file_sha256"]).to_pylist()
    for row in {row["mask"]: row for row in said}.values():
        yield row["mask"], row["obsid"], row["file_sha256"], parts.get(row["mask"], [])


def _of_exposure(
    observation: Mapping[str, Any], mask: Mapping[str, str], tables: Sequence[Table], write: Write
) -> Iterator[tuple[str, pa.Table]]:
    """Rows of `xmm.regions` and `xmm.region_tables` of one mask and exposure."""
    if not tables:
        return
    same = {name: observation[name] for name in ("release", "obsid", "exposure", "instrument")}
    same |= mask
    count = np.array([len(table.regions) for table in tables])
    total = int(count.sum())
    columns = {name: pa.repeat(value, total) for name, value in same.items()}
    for name in ("label", "role", "frame"):
        columns[name] = pa.array(np.repeat([getattr(table, name) for table in tables], count))
    ahead = np.repeat(np.cumsum(count) - count, count)
    columns["number"] = pa.array(np.arange(1, total + 1) - ahead, pa.int32())
    columns |= columns_of(concatenate([table.regions for table in tables]))
    names = contracts.table("xmm.regions").schema().names
    yield "xmm.regions", pa.table({name: columns[name] for name in names})
    files = []
    for table in tables:
        name = table.name(observation["exposure"])
        content = encoded(observation, table.frame, table.regions, name)
        path = path_below(observation, mask["mask"], name)
        write(path, content)
        files.append(
            same
            | {
                "label": table.label, "role": table.role, "frame": table.frame, "name": name,
                "path": path, "size": len(content), "rows": len(table.regions),
                "sha256": hashlib.sha256(content).hexdigest(), "creator": CREATOR,
                "expression": expression(name),
            }
        )  # fmt: skip
    yield "xmm.region_tables", contracts.table("xmm.region_tables").arrow(files)
