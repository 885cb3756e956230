import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.errors import InputError
from lake.inputs import InputFile
from lake.sample.xmm import write_sample
from lake.xmm import control, exposure, tables
from lake.xmm.esas import read_region_table
from lake.xmm.files import frame_of, sky_of
from lake.xmm.geometry import CAMERAS


def read(table, reader, folder):
    """Rows of a table from all files of a folder, as an ingest makes them."""
    found = []
    for path in sorted(Path(folder).iterdir()):
        file = InputFile(path, "xmm", "R", "role", {}, 0, 0, "")
        for number, row in enumerate(reader(file, path.read_bytes())[table], 1):
            found.append(
                row | {"release": "R", "file_sha256": f"sha of {path.name}", "file_row": number}
            )
    return pa.Table.from_pylist(found, contracts.table(table).schema())


@pytest.fixture(scope="module")
def images(sample):
    return read("xmm.images", exposure.records, sample["images"]).select(tables.IMAGE_COLUMNS)


@pytest.fixture(scope="module")
def points(sample):
    return read("xmm.control", control.records, sample["control"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


def test_every_exposure_is_calibrated_on_the_best_there_is(images, points):
    found = {row["exposure"]: row for row in tables.observations(images, points).to_pylist()}
    assert {name: row["calibration"] for name, row in found.items()} == {
        "mos1S001": "header", "mos2S002": "events", "pnS003": "points",
    }  # fmt: skip
    mos1, mos2, pn = (found[name] for name in ("mos1S001", "mos2S002", "pnS003"))
    assert (mos1["det_x"], mos1["det_y"]) == (CAMERAS["EMOS1"].det_x, CAMERAS["EMOS1"].det_y)
    assert mos1["calibration_points"] == 0
    assert mos1["residual_median"] is None
    assert mos1["calibration_sha256"] is None
    assert mos2["calibration_source"] == "mos2S002-allevc.fits"
    assert mos2["calibration_sha256"] == "sha of mos2S002-allevc.fits"
    assert 0.2 < mos2["residual_median"] < 0.5
    assert pn["calibration_sha256"] == "sha of pnS003-control.csv"
    assert pn["calibration_points"] == 25
    assert pn["residual_max"] < 0.01
    # One shift (p, q) of the boresight moves pn by (p, -q) and MOS2 by (-p, q).
    shift = {
        name: np.array([row["det_x"] - CAMERAS[camera].det_x, row["det_y"] - CAMERAS[camera].det_y])
        for name, row, camera in (("pn", pn, "EPN"), ("mos2", mos2, "EMOS2"))
    }
    np.testing.assert_allclose(shift["pn"], -shift["mos2"], atol=1)
    for row in found.values():
        assert row["file_sha256"] == f"sha of {row['exposure']}-obj-image-sky.fits"


def test_rows_become_exposures_and_frames_again(images, points):
    for row in tables.observations(images, points).to_pylist():
        made = tables.exposure_of(row)
        assert made.camera is CAMERAS[row["instrument"]]
        assert (made.ra, made.dec, made.pa) == (row["ra_pnt"], row["dec_pnt"], row["pa_pnt"])
        x, y = frame_of(row).of_sky_pixels(sky_of(row), made.sky.x_ref, made.sky.y_ref)
        assert (float(x), float(y)) == (row["det_x"], row["det_y"])


def test_points_that_do_not_fit_are_refused(images, points):
    rows = points.to_pylist()
    (pn,) = (row for row in rows if row["exposure"] == "pnS003")
    pn["detx"][3] += 400
    with pytest.raises(InputError, match=r"pnS003-control\.csv: does not fit .* pnS003"):
        tables.observations(images, pa.Table.from_pylist(rows, points.schema))
    pn["forced"] = True
    found = tables.observations(images, pa.Table.from_pylist(rows, points.schema)).to_pylist()
    assert max(row["residual_max"] or 0 for row in found) > 10


# A mask of two boxes that are cut out, one box that is kept, and what encloses all;
# a second mask of two labels; one that is far away.


@pytest.fixture(scope="module")
def observed(images, points):
    return tables.observations(images, points)


@pytest.fixture(scope="module")
def masks(observed):
    row = observed.to_pylist()[0]
    plain = {"release": "R", "kind": "image", "boxes_excluded": 1, "boxes_included": 1}
    found = [
        plain | {"mask": mask, "label": label, "obsid": obsid, "file_sha256": f"sha of {mask}"}
        for mask, label, obsid in (
            ("blobs", 1, None), ("blobs", 2, None), ("far", 0, None), ("other", 0, "0000000000"),
            ("steady", 0, row["obsid"]),
        )
    ]  # fmt: skip
    return pa.Table.from_pylist(found, contracts.table("xmm.masks").schema())


@pytest.fixture(scope="module")
def mask_regions(observed):
    row = observed.to_pylist()[0]
    ra, dec = row["ra_pnt"], row["dec_pnt"]
    schema = contracts.table("xmm.mask_regions").schema()

    def region(mask, label, number, role, shape, east, r, rotang=None, **others):
        return {
            "release": "R", "mask": mask, "label": label, "number": number, "role": role,
            "frame": "fk5", "include": role != "bkg", "shape": shape, "x": ra + east, "y": dec,
            "r": r, "rotang": rotang, "component": 1, "file_sha256": f"sha of {mask}",
        } | others  # fmt: skip

    return pa.Table.from_pylist(
        [
            region("blobs", 1, 1, "bkg", "CIRCLE", 0.01, [10.0]),
            region("blobs", 2, 1, "bkg", "ROTBOX", 0.02, [10.0, 20.0], [30.0]),
            region("far", 0, 1, "bkg", "CIRCLE", 2.0, [10.0]),
            region("other", 0, 1, "bkg", "CIRCLE", 0.0, [10.0]),
            region("steady", 0, 1, "bkg", "ROTBOX", 0.05, [30.0, 60.0], [10.0]),
            region("steady", 0, 2, "bkg", "ROTBOX", -0.05, [30.0, 60.0], [10.0]),
            region("steady", 0, 1, "box", "ROTBOX", 0.0, [600.0, 600.0], [10.0]),
            region("steady", 0, 1, "mask", "ROTBOX", 0.0, [60.0, 60.0], [10.0]),
        ],
        schema,
    )


@pytest.fixture(scope="module")
def made(observed, masks, mask_regions):
    """Rows by table, and the files."""
    files, said, parts = {}, [], {"xmm.regions": [], "xmm.region_tables": []}
    for name, rows in tables.regions(observed, masks, mask_regions, files.__setitem__, said.append):
        parts[name].append(rows)
    return {name: pa.concat_tables(rows) for name, rows in parts.items()}, files, said


def test_every_mask_comes_to_every_exposure_that_it_is_for(made, observed):
    rows = made[0]["xmm.regions"].to_pylist()
    schema = contracts.table("xmm.regions").schema()
    assert made[0]["xmm.regions"].schema.names == schema.names
    assert {row["mask"] for row in rows} == {"blobs", "steady"}
    pn = [r for r in rows if r["exposure"] == "pnS003"]
    assert len(rows) == 3 * len(pn)
    assert [(r["mask"], r["label"], r["role"], r["frame"], r["number"]) for r in pn] == [
        ("blobs", 1, "bkg", "sky", 1), ("blobs", 1, "bkg", "det", 1),
        ("blobs", 2, "bkg", "sky", 1), ("blobs", 2, "bkg", "det", 1),
        ("steady", 0, "bkg", "sky", 1), ("steady", 0, "bkg", "sky", 2),
        ("steady", 0, "bkg", "det", 1), ("steady", 0, "bkg", "det", 2),
        ("steady", 0, "box", "sky", 1), ("steady", 0, "box", "det", 1),
        ("steady", 0, "mask", "sky", 1), ("steady", 0, "mask", "det", 1),
    ]  # fmt: skip
    circle, box = pn[0], pn[2]
    assert circle["r"] == pytest.approx([200.0], rel=1e-4)
    assert circle["rotang"] is None
    assert box["r"] == pytest.approx([200.0, 400.0], rel=1e-4)
    assert box["file_sha256"] == "sha of blobs"
    (row,) = (r for r in observed.to_pylist() if r["exposure"] == "pnS003")
    sky = sky_of(row)
    x, y = sky.of_sky(row["ra_pnt"] + 0.02, row["dec_pnt"])
    assert (box["x"], box["y"]) == pytest.approx((float(x), float(y)))
    detx, dety = frame_of(row).of_sky_pixels(sky, x, y)
    there = pn[3]
    assert (there["x"], there["y"]) == pytest.approx((float(detx), float(dety)))
    turned = 180 + row["pa_pnt"] - 90 + row["roll"] - box["rotang"]
    assert there["rotang"] == pytest.approx(turned % 360)


def test_files_hold_the_regions_of_their_rows(made):
    rows, files = made[0]["xmm.region_tables"].to_pylist(), made[1]
    assert len(rows) == len(files) == 3 * (2 * 2 + 6)
    by_path = {row["path"]: row for row in rows}
    assert by_path.keys() == files.keys()
    for path, content in files.items():
        row = by_path[path]
        assert len(content) == row["size"]
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        found, frame, sky = read_region_table(content)
        assert frame == row["frame"]
        assert len(found) == row["rows"]
        assert (sky is not None) == (frame == "sky")
    assert "xmm/R/blobs/9990004008/pnS003-bkg_region-2-det.fits" in files
    assert "xmm/R/steady/9990004008/mos1S001-mask_region-sky.fits" in files
    row = by_path["xmm/R/steady/9990004008/pnS003-bkg_region-sky.fits"]
    assert row["name"] == "pnS003-bkg_region-sky.fits"
    assert row["expression"].startswith("region(pnS003-bkg_region-sky.fits")
    assert row["rows"] == 2


def test_the_same_rows_make_the_same_bytes(made, observed, masks, mask_regions):
    again = {}
    for _ in tables.regions(observed, masks, mask_regions, again.__setitem__, print):
        pass
    assert again == made[1]


def test_detector_pixels_are_rounded_where_that_is_wanted(made, observed, masks, mask_regions):
    at = observed.schema.get_field_index("sas_compatible")
    assert observed["sas_compatible"].to_pylist() == [False] * observed.num_rows
    wanted = observed.set_column(at, "sas_compatible", pa.repeat(True, observed.num_rows))
    rounded = pa.concat_tables(
        rows
        for name, rows in tables.regions(wanted, masks, mask_regions, lambda *_: None, print)
        if name == "xmm.regions"
    )
    exact = made[0]["xmm.regions"]
    moved = np.abs(np.subtract(rounded["x"].to_numpy(), exact["x"].to_numpy()))
    in_det = np.equal(exact["frame"].to_numpy(), "det")
    assert (moved[~in_det] == 0).all()
    assert (moved[in_det] > 0).all()
    assert moved.max() < 1.2


def test_a_mask_that_lies_elsewhere_is_said(made):
    assert len(made[2]) == 3
    assert all(text.startswith("far: does not lie on the image of ") for text in made[2])


def test_without_masks_there_are_no_tables(observed, masks, mask_regions):
    none = masks.slice(0, 0), mask_regions.slice(0, 0)
    assert list(tables.regions(observed, *none, print, print)) == []
