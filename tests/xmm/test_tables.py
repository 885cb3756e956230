from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.errors import InputError
from lake.inputs import InputFile
from lake.sample.xmm import write_sample
from lake.xmm import control, exposure, tables
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
        x, y = tables.frame_of(row).of_sky_pixels(
            tables.sky_of(row), made.sky.x_ref, made.sky.y_ref
        )
        assert (float(x), float(y)) == (row["det_x"], row["det_y"])


def test_points_that_do_not_fit_are_refused(images, points):
    rows = points.to_pylist()
    (pn,) = (row for row in rows if row["exposure"] == "pnS003")
    pn["detx"][3] += 400
    with pytest.raises(InputError, match=r"pnS003-control\.csv: does not fit .* pnS003"):
        tables.observations(images, pa.Table.from_pylist(rows, points.schema))
