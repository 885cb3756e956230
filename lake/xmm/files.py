"""Region tables as files: what rows of the lake make them from, and how they are made again."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from lake.errors import LacusError
from lake.originals import Read
from lake.whole import write_whole
from lake.xmm import esas
from lake.xmm.geometry import CAMERAS, DetectorFrame
from lake.xmm.region_rows import groups, of_rows
from lake.xmm.shapes import Regions
from lake.xmm.sky import SkyPixels

#: What tells the tables of one mask and observation apart.
_WITHIN = ["label", "exposure", "role", "frame"]


def sky_of(row: Mapping[str, Any]) -> SkyPixels:
    """Sky pixels of a row of `xmm.images` or `xmm.observations`."""
    names = ("ra_ref", "dec_ref", "x_ref", "y_ref", "x_step", "y_step")
    return SkyPixels(*(row[name] for name in names))


def frame_of(row: Mapping[str, Any]) -> DetectorFrame:
    """Detector frame of a row of `xmm.observations`."""
    return DetectorFrame(
        row["ra_pnt"], row["dec_pnt"], row["pa_pnt"], CAMERAS[row["instrument"]].nominal,
        row["roll"], row["det_x"], row["det_y"], row["scale"],
    )  # fmt: skip


def encoded(observation: Mapping[str, Any], frame: esas.Frame, found: Regions, name: str) -> bytes:
    """Bytes of a region table of an exposure; the same for the same rows of the lake."""
    return esas.table_bytes(
        found, frame, name=name, sky=sky_of(observation), date=observation["created"]
    )


def path_below(observation: Mapping[str, Any], mask: str, name: str) -> str:
    """Path of a region table below the directory of products."""
    return PurePosixPath("xmm", observation["release"], mask, observation["obsid"], name).as_posix()


def export(read: Read, rows: pa.Table, directory: Path) -> list[Path]:
    """Make region tables again from the lake, byte for byte as they were made first.

    Parameters
    ----------
    read : callable
        A query on the lake, and its parameters, to rows.
    rows : pyarrow.Table
        Rows of `xmm.region_tables`, with all columns.
    directory : Path
        The folder; those of several masks, labels or observations go into folders below it.

    Returns
    -------
    list of Path
        In the order of the rows.

    Raises
    ------
    LacusError
        A file would not be the one that the row says.
    """
    wanted = rows.to_pylist()
    made: dict[str, bytes] = {}
    for release, obsid, mask in dict.fromkeys(
        (r["release"], r["obsid"], r["mask"]) for r in wanted
    ):
        observed = read(
            "SELECT * FROM xmm.observations WHERE release = ? AND obsid = ?", [release, obsid]
        )
        of_exposure = {row["exposure"]: row for row in observed.to_pylist()}
        found = read(
            "SELECT * FROM xmm.regions WHERE release = ? AND obsid = ? AND mask = ?"
            " ORDER BY label, exposure, role, frame, number",
            [release, obsid, mask],
        )
        first, count = groups(found, _WITHIN)
        places = {
            tuple(key.values()): place
            for key, *place in zip(
                found.select(_WITHIN).take(pa.array(first)).to_pylist(), first, count, strict=True
            )
        }
        for row in wanted:
            if (row["release"], row["obsid"], row["mask"]) == (release, obsid, mask):
                part = of_rows(found.slice(*places[tuple(row[name] for name in _WITHIN)]))
                observation = of_exposure[row["exposure"]]
                made[row["path"]] = encoded(observation, row["frame"], part, row["name"])
    for row in wanted:
        if hashlib.sha256(made[row["path"]]).hexdigest() != row["sha256"]:
            raise LacusError(
                f"{row['path']} was written by another version of this program, which made other"
                " bytes of its regions; `lacus run` writes it anew"
            )
    common = os.path.commonpath([os.path.dirname(path) for path in made])
    paths = []
    for path, content in made.items():
        paths.append(directory / os.path.relpath(path, common))
        write_whole(paths[-1], content)
    return paths
