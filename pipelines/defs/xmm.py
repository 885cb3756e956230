"""XMM-Newton EPIC: from masks and images to the region tables of the ESAS."""

import base64
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

import lake
from lake.whole import write_whole
from lake.xmm import geometry, tables
from pipelines import metadata
from pipelines.assets import Computed, derived, ingested, viewed
from pipelines.checks import Check

#: Observations that are drawn beside the view, and how wide (pixels).
_DRAWN, _WIDTH = 4, 480
_BARS = 12

RANGES = Check(
    "ranges",
    "xmm.images",
    "positions lie on the sphere, X runs to the west and Y to the north",
    "SELECT obsid, exposure, ra_pnt, dec_pnt, pa_pnt, x_step, y_step FROM xmm.images"
    " WHERE release = ? AND (ra_pnt NOT BETWEEN 0 AND 360 OR dec_pnt NOT BETWEEN -90 AND 90"
    " OR pa_pnt NOT BETWEEN -360 AND 360 OR ra_ref NOT BETWEEN 0 AND 360"
    " OR dec_ref NOT BETWEEN -90 AND 90 OR x_step >= 0 OR y_step <= 0)",
)
AREA = Check(
    "area",
    "xmm.mask_regions",
    "a mask has as many boxes as it says, and they have the area of its pixels, or more where"
    " they may overlap",
    "SELECT mask, label, role, algorithm, pixels, boxes, count(number) AS regions,"
    " coalesce(sum(r.r[1] * r.r[2] / pixel_scale ** 2), 0) AS area FROM ("
    "SELECT *, 'bkg' AS role, pixels_excluded AS pixels, boxes_excluded AS boxes FROM xmm.masks"
    " UNION ALL BY NAME"
    " SELECT *, 'mask' AS role, pixels_included AS pixels, boxes_included AS boxes FROM xmm.masks"
    ") AS k LEFT JOIN xmm.mask_regions AS r USING (release, mask, label, role)"
    " WHERE release = ? AND kind IN ('image', 'labels') AND boxes > 0 GROUP BY ALL"
    " HAVING regions <> boxes OR area < 0.999 * pixels"
    " OR (area > 1.001 * pixels AND algorithm NOT IN ('cover', 'fewest'))",
)
RESIDUALS = Check(
    "residuals",
    "xmm.observations",
    "control points fit to 0.05 arcsec (95 %), events to 1 arcsec (median)",
    "SELECT obsid, exposure, calibration, calibration_source, residual_median, residual_p95"
    " FROM xmm.observations WHERE release = ? AND ((calibration = 'points' AND residual_p95 > 0.05)"
    " OR (calibration = 'events' AND residual_median > 1))",
    warns=True,
)
_CONSTANTS = ", ".join(
    f"('{c.name}', {c.det_x}, {c.det_y}, {c.roll})" for c in geometry.CAMERAS.values()
)
BORESIGHT = Check(
    "boresight",
    "xmm.observations",
    "the boresight is within 5 arcsec of where the camera's constants have it, the roll within"
    " 0.05 degrees",
    "SELECT obsid, exposure, calibration, det_x, det_y, o.roll FROM xmm.observations AS o"
    f" JOIN (VALUES {_CONSTANTS}) AS c(instrument, x, y, roll) ON c.instrument = o.instrument"
    " WHERE release = ? AND (sqrt((det_x - x) ** 2 + (det_y - y) ** 2) * 0.05 > 5"
    " OR abs(o.roll - c.roll) > 0.05)",
    warns=True,
)
BOTH_FRAMES = Check(
    "both_frames",
    "xmm.regions",
    "what is cut out is the same regions in sky and detector pixels, with the same lengths",
    "SELECT * EXCLUDE (release) FROM (SELECT release, mask, label, obsid, exposure, role, number,"
    " count(*) AS frames, count(DISTINCT shape) AS shapes, count(DISTINCT include) AS kinds,"
    " max(r[1]) - min(r[1]) AS difference FROM xmm.regions WHERE release = ? AND role <> 'mask'"
    " GROUP BY ALL) WHERE frames <> 2 OR shapes <> 1 OR kinds <> 1 OR difference > 0.5",
)
COMPLETE = Check(
    "complete",
    "xmm.region_tables",
    "a table has as many rows as xmm.regions has regions for it",
    "SELECT t.mask, t.label, t.obsid, t.exposure, t.role, t.frame, t.rows,"
    " count(r.number) AS regions FROM xmm.region_tables AS t"
    " LEFT JOIN xmm.regions AS r ON r.release = t.release AND r.mask = t.mask"
    " AND r.label = t.label AND r.obsid = t.obsid AND r.exposure = t.exposure"
    " AND r.role = t.role AND r.frame = t.frame WHERE t.release = ? GROUP BY ALL"
    " HAVING t.rows <> count(r.number)",
)

ingest = ingested("xmm", checks=[RANGES, AREA])


@derived(
    tables=["xmm.observations"],
    reads=["xmm.images", "xmm.control"],
    version="2",
    checks=[RESIDUALS, BORESIGHT],
)
def calibration(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Find the detector frame of every exposure: on events, on control points, or by its header."""
    columns = ", ".join(tables.IMAGE_COLUMNS)
    images = home.store.arrow(
        f"SELECT {columns} FROM xmm.images WHERE release = ? ORDER BY obsid, exposure", [release]
    )
    control = home.store.arrow(
        "SELECT * FROM xmm.control WHERE release = ? ORDER BY obsid, exposure, source", [release]
    )
    made = tables.observations(images, control)
    header = ["obsid", "exposure", "calibration", "calibration_points", "residual_median",
              "residual_p95", "residual_max"]  # fmt: skip
    shown = metadata.table(header, [list(row.values()) for row in made.select(header).to_pylist()])
    return Computed(
        {"xmm.observations": made}, {"xmm.observations": {"calibration (arcsec)": shown}}
    )


@derived(
    tables=["xmm.regions", "xmm.region_tables"],
    reads=["xmm.observations", "xmm.masks", "xmm.mask_regions"],
    version="2",
    checks=[BOTH_FRAMES, COMPLETE],
)
def region_tables(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Bring every mask to every exposure, and write the region tables of the ESAS.

    They lie below products/xmm, by release, mask and observation.
    """
    observed, masks, given = (
        home.store.arrow(f"SELECT * FROM xmm.{name} WHERE release = ? ORDER BY {order}", [release])
        for name, order in (
            ("observations", "obsid, exposure"),
            ("masks", "mask, label"),
            ("mask_regions", "mask, label, role, number"),
        )
    )
    written: list[tuple[Path, str]] = []

    def write(path: str, content: bytes) -> None:
        write_whole(home.products / path, content)
        written.append((home.products / path, "region table"))

    made = tables.regions(observed, masks, given, write, context.log.warning)
    shown = {
        "xmm.regions": {
            "boxes that are cut out": metadata.bars(
                {row["mask"]: row["boxes_excluded"] for row in masks.slice(0, _BARS).to_pylist()}
            )
        }
    }
    return Computed(made, shown, written)


def pictures(home: lake.Home, release: str) -> Mapping[str, Any]:
    """Draw the first observations of a release, small enough for the UI."""
    from PIL import Image

    from lake import figures
    from lake.xmm import picture

    found = home.sql(
        "SELECT DISTINCT obsid FROM xmm.region_tables WHERE release = ? ORDER BY obsid LIMIT ?",
        [release, _DRAWN],
    ).fetchall()
    shown = {}
    for (obsid,) in found:
        with tempfile.TemporaryDirectory() as folder:
            path = figures.save(picture.draw(home, release, obsid), Path(folder) / "a.png")
            image = Image.open(path).convert("RGB")
            small = image.resize((_WIDTH, round(image.height * _WIDTH / image.width)))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=60)
        text = base64.b64encode(out.getvalue()).decode("ascii")
        shown[f"picture of {obsid}"] = dg.MarkdownMetadataValue(
            f"![{obsid}](<data:image/jpeg;base64,{text}>)"
        )
    return shown


views = viewed("xmm", show={"xmm.exposure_masks": pictures})
