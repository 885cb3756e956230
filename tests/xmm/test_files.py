import pyarrow as pa
import pytest

from lake import contracts, models
from lake.errors import LacusError
from lake.xmm import files, tables

OBSERVATION = {
    "release": "R", "obsid": "0203930101", "exposure": "pnS003", "instrument": "EPN",
    "created": "2024-03-20T07:30:13.000", "ra_pnt": 266.9, "dec_pnt": -28.4, "pa_pnt": 269.9,
    "ra_ref": 266.9, "dec_ref": -28.4, "x_ref": 25921.0, "y_ref": 25921.0,
    "x_step": -1 / 72_000, "y_step": 1 / 72_000, "det_x": -1084.4, "det_y": 1478.3,
    "roll": 0.2159, "scale": 1.0, "calibration": "header", "calibration_points": 0,
    "file_sha256": "o",
}  # fmt: skip
MASK = {
    "release": "R", "label": 0, "kind": "image", "boxes_excluded": 1, "boxes_included": 0,
    "file_sha256": "m",
}  # fmt: skip
REGION = MASK | {
    "number": 1, "role": "bkg", "frame": "fk5", "include": False, "component": 1,
}  # fmt: skip


def rows(table, *given):
    return pa.Table.from_pylist(list(given), contracts.table(table).schema())


def region(mask, label, number, shape, east, r, **others):
    return REGION | {
        "mask": mask, "label": label, "number": number, "shape": shape, "x": 266.9 + east,
        "y": -28.4, "r": r, **others,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """Files, and the tables of a lake that say how they were made."""
    observed = rows("xmm.observations", OBSERVATION, OBSERVATION | {"exposure": "pnU002"})
    masks = rows("xmm.masks", *(MASK | {"mask": m, "label": k} for m, k in
                                (("a", 1), ("a", 2), ("b", 0))))  # fmt: skip
    triangle = {"vertices_x": [266.9, 266.91, 266.9], "vertices_y": [-28.4, -28.4, -28.39]}
    given = rows(
        "xmm.mask_regions",
        region("a", 1, 1, "ROTBOX", 0.01, [30.0, 60.1], rotang=[12.3]),
        region("a", 1, 2, "CIRCLE", 0.02, [30.0]),
        region("a", 2, 1, "ANNULUS", -0.02, [30.0, 60.0]),
        region("b", 0, 1, "POLYGON", 0.0, None, **triangle),
        region("b", 0, 2, "PIE", 0.0, [10.0, 20.0], rotang=[350.0, 40.0]),
    )
    found: dict[str, bytes] = {}
    parts = {"xmm.observations": [observed], "xmm.regions": [], "xmm.region_tables": []}
    for name, part in tables.regions(observed, masks, given, found.__setitem__, print):
        parts[name].append(part)
    return found, {name: pa.concat_tables(part) for name, part in parts.items()}


@pytest.fixture(scope="module")
def read(made):
    with models.in_memory() as connection:
        for name, part in made[1].items():
            # As a lake may have them: in any order.
            connection.register("part", part)
            connection.execute(f"INSERT INTO {name} BY NAME FROM part ORDER BY hash(part)")
        yield lambda query, params=(): connection.execute(query, params).to_arrow_table()


def test_all_tables_are_made_again(made, read, tmp_path):
    wanted = made[1]["xmm.region_tables"]
    assert wanted.num_rows == 12
    paths = files.export(read, wanted, tmp_path)
    assert len(paths) == 12
    for path, row in zip(paths, wanted.to_pylist(), strict=True):
        assert path == tmp_path / row["mask"] / "0203930101" / row["name"]
        assert path.read_bytes() == made[0][row["path"]]


def test_one_mask_needs_no_folders(made, read, tmp_path):
    wanted = made[1]["xmm.region_tables"].to_pylist()
    chosen = [row for row in wanted if row["mask"] == "b" and row["exposure"] == "pnU002"]
    paths = files.export(read, rows("xmm.region_tables", *chosen), tmp_path / "new")
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == {
        "new/pnU002-bkg_region-sky.fits", "new/pnU002-bkg_region-det.fits",
    }  # fmt: skip
    (one,) = files.export(read, rows("xmm.region_tables", chosen[0]), tmp_path)
    assert one == tmp_path / chosen[0]["name"]


def test_other_bytes_than_those_of_the_lake_are_not_written(made, read, tmp_path):
    changed = made[1]["xmm.region_tables"].to_pylist()[:2]
    changed[1]["sha256"] = "0" * 64
    with pytest.raises(LacusError, match="was written by another version"):
        files.export(read, rows("xmm.region_tables", *changed), tmp_path / "out")
    assert not (tmp_path / "out").exists()
