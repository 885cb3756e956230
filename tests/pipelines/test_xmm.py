"""The XMM mission through the command line, and checks that fail when they should."""

import base64
import io

import pyarrow as pa
import pytest
from PIL import Image

import lake
from lake import contracts, inputs
from lake.sample.xmm import write_sample
from lake.store import Store
from lake.xmm import EXPORTS
from pipelines import checks
from pipelines.defs import xmm

RELEASE = "XMM-sample"


@pytest.fixture(scope="module")
def run(tmp_path_factory, lacus):
    """A home after the sample was added and run, which no test may change, and what was said."""
    root = tmp_path_factory.mktemp("xmm")
    for role, path in write_sample(root / "sample").items():
        added = lacus("add", "xmm", RELEASE, role, path, home=root / "home")
        assert added.exit_code == 0, added.output
    result = lacus("run", home=root / "home")
    assert result.exit_code == 0, result.output
    return lake.open(root / "home"), result


@pytest.fixture(scope="module")
def home(run):
    return run[0]


def test_every_table_is_made(run):
    home, result = run
    for name in contracts.tables():
        if name.startswith("xmm."):
            assert f"✓ {name} " in result.stderr
            count = home.sql(f"SELECT count(*) FROM {name}").fetchone()[0]
            assert count > 0, name
    assert "✗" not in result.stderr


def test_what_was_made_is_up_to_date(home, lacus):
    assert "up to date" in lacus("run", home=home.root).stderr


def test_files_are_where_the_lake_says(home):
    rows = home.store.arrow("SELECT * FROM xmm.region_tables").to_pylist()
    assert len(rows) == len({row["path"] for row in rows})
    products = dict(home.sql("SELECT path, sha256 FROM meta.products").fetchall())
    for row in rows:
        path = home.products / row["path"]
        assert path.name == row["name"]
        assert (
            inputs.sha256(path) == row["sha256"] == products[path.relative_to(home.root).as_posix()]
        )
        assert path.stat().st_size == row["size"]
    names = {row["name"] for row in rows}
    for exposure in ("pnS003", "mos1S001", "mos2S002"):
        assert {
            f"{exposure}-bkg_region-sky.fits", f"{exposure}-bkg_region-det.fits",
            f"{exposure}-mask_region-sky.fits",
        } <= names  # fmt: skip


def test_the_picture_is_beside_the_view_and_on_the_command_line(home, lacus, tmp_path):
    obsid = home.sql("SELECT DISTINCT obsid FROM xmm.observations").fetchone()[0]
    shown = xmm.pictures(home, RELEASE)
    assert list(shown) == [f"picture of {obsid}"]
    text = shown[f"picture of {obsid}"].value
    drawn = Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))
    assert drawn.width == 480
    assert drawn.height > 480
    assert len(text) < 150_000
    made = lacus("plot", "xmm", obsid, "-o", tmp_path / "a.png", home=home.root)
    assert made.exit_code == 0, made.output
    assert (tmp_path / "a.png").stat().st_size > 50_000


def test_region_tables_are_made_again(home, tmp_path):
    rows = home.store.arrow("SELECT * FROM xmm.region_tables WHERE exposure = 'pnS003'")
    paths = EXPORTS["xmm.region_tables"](home.store.arrow, rows, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == rows["name"].to_pylist()
    for path, row in zip(paths, rows.to_pylist(), strict=True):
        assert path.read_bytes() == (home.products / row["path"]).read_bytes()


def test_the_lake_and_the_command_make_the_same_files(home, lacus, tmp_path):
    sources = {source.role: source.paths[0] for source in home.sources()}
    images = [word for path in sorted(sources["images"].iterdir()) for word in ("--image", path)]
    control = [
        word for path in sorted(sources["control"].iterdir()) for word in ("--control", path)
    ]
    result = lacus("regions", sources["masks"], *images, *control, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    for (path,) in home.sql("SELECT path FROM xmm.region_tables").fetchall():
        made = home.products / path
        assert (tmp_path / made.name).read_bytes() == made.read_bytes()


# What each check must find. Tables are filled by `Store.replace`, which checks nothing of this.

KEY = {"release": "R", "obsid": "1", "exposure": "pnS003", "instrument": "EPN", "file_sha256": "f"}
PLAIN = {
    "xmm.images": KEY | {
        "ra_pnt": 10.0, "dec_pnt": -5.0, "pa_pnt": 70.0, "ra_ref": 10.0, "dec_ref": -5.0,
        "x_ref": 25921.0, "y_ref": 25921.0, "x_step": -1e-5, "y_step": 1e-5,
    },
    "xmm.masks": {
        "release": "R", "mask": "m", "label": 0, "kind": "image", "pixel_scale": 2.0,
        "pixels_excluded": 6, "pixels_included": 3, "boxes_excluded": 1, "boxes_included": 1,
        "algorithm": "rows", "file_sha256": "f",
    },
    "xmm.mask_regions": {
        "release": "R", "mask": "m", "label": 0, "number": 1, "role": "bkg", "frame": "fk5",
        "include": False, "shape": "ROTBOX", "r": [6.0, 4.0], "component": 1, "file_sha256": "f",
    },
    "xmm.regions": KEY | {
        "mask": "m", "label": 0, "role": "bkg", "frame": "sky", "number": 1, "include": False,
        "shape": "ROTBOX", "r": [600.0, 600.0], "component": 1,
    },
    "xmm.region_tables": KEY | {
        "mask": "m", "label": 0, "role": "bkg", "frame": "sky", "name": "n", "path": "p",
        "sha256": "s", "size": 1, "rows": 1, "expression": "e", "creator": "c",
    },
}  # fmt: skip
PLAIN["xmm.observations"] = PLAIN["xmm.images"] | {
    "det_x": -1084.38, "det_y": 1478.26, "roll": 0.2159, "scale": 1.0, "calibration": "points",
    "calibration_points": 25, "residual_median": 0.003, "residual_p95": 0.01,
}  # fmt: skip
DET, COVER, WIDE, NARROW = (
    {"frame": "det"}, {"algorithm": "cover"}, {"r": [6.0, 5.0]}, {"r": [6.0, 3.0]},
)  # fmt: skip
KEPT = {"role": "mask", "number": 2}
BOXES = [{}, KEPT | {"r": [6.0, 2.0]}]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return lake.open(tmp_path_factory.mktemp("checks")).store


def bad(store: Store, check: checks.Check, rows: dict[str, list[dict[str, object]]]) -> int:
    """Number of bad rows that a check finds where tables hold only these."""
    schemas = {name: contracts.table(name).schema() for name in PLAIN}
    given = {name: [PLAIN[name] | row for row in rows.get(name, [])] for name in PLAIN}
    parts = [(name, pa.Table.from_pylist(given[name], schemas[name])) for name in PLAIN]
    store.replace("R", list(PLAIN), parts, fingerprint="f", code_version="1", message="test")
    return check.run(store, "R").metadata["bad rows"].value


@pytest.mark.parametrize(
    ("check", "rows", "number"),
    [
        (xmm.RANGES, {"xmm.images": [{}]}, 0),
        (xmm.RANGES, {"xmm.images": [{"ra_pnt": 400.0}]}, 1),
        (xmm.RANGES, {"xmm.images": [{"x_step": 1e-5}]}, 1),
        (xmm.AREA, {"xmm.masks": [{}], "xmm.mask_regions": BOXES}, 0),
        (xmm.AREA, {"xmm.masks": [{}], "xmm.mask_regions": BOXES[:1]}, 1),
        (xmm.AREA, {"xmm.masks": [{}], "xmm.mask_regions": [BOXES[0], BOXES[0] | KEPT]}, 1),
        (xmm.AREA, {"xmm.masks": [{}], "xmm.mask_regions": [BOXES[0] | WIDE, BOXES[1]]}, 1),
        (xmm.AREA, {"xmm.masks": [COVER], "xmm.mask_regions": [BOXES[0] | WIDE, BOXES[1]]}, 0),
        (xmm.AREA, {"xmm.masks": [COVER], "xmm.mask_regions": [BOXES[0] | NARROW, BOXES[1]]}, 1),
        (xmm.RESIDUALS, {"xmm.observations": [{}]}, 0),
        (xmm.RESIDUALS, {"xmm.observations": [{"residual_p95": 0.1}]}, 1),
        (
            xmm.RESIDUALS,
            {"xmm.observations": [{"calibration": "events", "residual_p95": 0.5}]},
            0,
        ),
        (xmm.BORESIGHT, {"xmm.observations": [{"det_x": -1000.0}]}, 0),
        (xmm.BORESIGHT, {"xmm.observations": [{"det_x": -900.0}]}, 1),
        (xmm.BORESIGHT, {"xmm.observations": [{"roll": 0.3}]}, 1),
        (xmm.BOTH_FRAMES, {"xmm.regions": [{}, DET]}, 0),
        (xmm.BOTH_FRAMES, {"xmm.regions": [{}, DET, {"number": 2}]}, 1),
        (xmm.BOTH_FRAMES, {"xmm.regions": [{}, DET | {"r": [599.0, 600.0]}]}, 1),
        (xmm.COMPLETE, {"xmm.region_tables": [{}], "xmm.regions": [{}, DET]}, 0),
        (xmm.COMPLETE, {"xmm.region_tables": [{}, DET], "xmm.regions": [{}]}, 1),
    ],
)  # fmt: skip
def test_checks_find_what_they_look_for(check, rows, number, store):
    assert bad(store, check, rows) == number
