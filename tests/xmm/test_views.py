"""The view of the mission: rows in, rows out."""

from typing import Any

from tests import views

EXPOSURE = {"release": "R", "obsid": "0203930101", "exposure": "pnS003", "instrument": "EPN"}
PLAIN: dict[str, dict[str, Any]] = {
    "xmm.observations": {
        **EXPOSURE, "calibration": "points", "calibration_points": 25, "residual_p95": 0.01,
        "object": "SGRB2", "roll": 0.2, "scale": 1.0,
        **dict.fromkeys(("ra_pnt", "dec_pnt", "pa_pnt", "ra_ref", "dec_ref", "det_x", "det_y",
                         "x_ref", "y_ref", "x_step", "y_step"), 1.0),
    },
    "xmm.masks": {
        "release": "R", "mask": "m", "label": 0, "kind": "image", "pixel_scale": 30.0,
        "pixels_excluded": 4, "pixels_included": 8, "boxes_excluded": 2, "boxes_included": 3,
    },
    "xmm.region_tables": {
        **EXPOSURE, "mask": "m", "label": 0, "role": "bkg", "frame": "sky", "rows": 2,
        "name": "n", "path": "p", "sha256": "s", "size": 8640, "expression": "e", "creator": "c",
    },
}  # fmt: skip


def insert(tables, name: str, *rows: dict[str, Any]) -> None:
    views.insert(tables, name, rows, {"file_sha256": "f"} | PLAIN[name])


def test_exposure_masks(tables):
    insert(tables, "xmm.observations", {}, {"release": "S"}, {"exposure": "pnS004"})
    cut_out = {"mask": "list", "pixels_excluded": None, "kind": "ds9", "boxes_excluded": 7}
    kept = {"mask": "only", "pixels_excluded": None, "kind": "ds9", "boxes_excluded": 0}
    insert(tables, "xmm.masks", {}, cut_out, kept)
    insert(
        tables,
        "xmm.region_tables",
        {"expression": "in sky"},
        {"expression": "in det", "frame": "det"},
        {"expression": "kept", "role": "mask", "rows": 3},
        {"mask": "list", "rows": 7},
        {"mask": "only", "role": "mask", "expression": "what is kept"},
    )
    found = tables.execute("FROM xmm.exposure_masks ORDER BY mask").to_arrow_table().to_pylist()
    assert found == [
        {
            "release": "R", "mask": mask, "label": 0, "obsid": "0203930101", "exposure": "pnS003",
            "instrument": "EPN", "object": "SGRB2", "regions_excluded": regions,
            "area_excluded": area, "area_included": 2.0, "calibration": "points",
            "residual_p95": 0.01, "expression_sky": sky, "expression_det": det,
        }
        for mask, regions, area, sky, det in (
            ("list", 7, None, "e", None), ("m", 2, 1.0, "in sky", "in det"),
            ("only", 0, None, "what is kept", None),
        )
    ]  # fmt: skip
