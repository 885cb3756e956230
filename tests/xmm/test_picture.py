from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lake
from lake import contracts, figures
from lake.errors import UsageError
from lake.inputs import InputFile
from lake.sample.xmm import write_sample
from lake.xmm import exposure, files, picture, tables

KEY = {"release": "R", "file_sha256": "f", "file_row": 1}
REGION = KEY | {
    "mask": "m", "label": 0, "instrument": "EPN", "role": "bkg", "frame": "sky", "number": 1,
    "include": False, "component": 1,
}  # fmt: skip


def rows(table: str, *given: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(given), contracts.table(table).schema())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A lake of the sample's images, calibrated, with two regions of each exposure and frame."""
    root = tmp_path_factory.mktemp("picture")
    inputs = sorted(write_sample(root / "sample", size=5000)["images"].iterdir())
    found = []
    for file in inputs:
        given = InputFile(Path(file), "xmm", "R", "images", {}, 0, 0, "")
        found += exposure.records(given, file.read_bytes())["xmm.images"]
    images = rows("xmm.images", *(KEY | row for row in found))
    control = contracts.table("xmm.control").schema().empty_table()
    observed = tables.observations(images.select(tables.IMAGE_COLUMNS), control)
    regions = [
        REGION
        | {k: row[k] for k in ("obsid", "exposure", "instrument")}
        | {"frame": frame, "number": number, "shape": shape, "x": x, "y": x, "r": r}
        for row in observed.to_pylist()
        for frame, x in (("sky", 25921.0), ("det", 0.0))
        for number, (shape, r) in enumerate((("ROTBOX", [600.0, 300.0]), ("CIRCLE", [500.0])), 1)
    ]
    home = lake.open(root / "home")
    parts = {
        "xmm.images": images,
        "xmm.observations": observed,
        "xmm.regions": rows("xmm.regions", *regions),
    }
    home.store.replace(
        "R", list(parts), parts.items(), fingerprint="f", code_version="1", message="test"
    )
    return home


def test_every_exposure_is_drawn_in_both_frames(home, tmp_path):
    obsid = home.sql("SELECT obsid FROM xmm.observations").fetchone()[0]
    figure = picture.plot(home, obsid)
    panels = np.reshape(figure.axes, (3, 2))
    assert [left.get_title().split()[1] for left, _ in panels] == ["mos1S001", "mos2S002", "pnS003"]
    assert {right.get_title() for _, right in panels} == {"detector frame by the header alone"}
    for left, right in panels:
        for axes in (left, right):
            regions = [len(c.get_paths()) for c in axes.collections]
            assert regions == [2, 0]
            assert len(axes.images) == 1
        # The field of view, 29 arcmin across, fills the panel: 35,000 units.
        assert np.ptp(left.get_xlim()) == pytest.approx(35_000, rel=0.05)
        assert left.get_xlim()[0] < 25_921 < left.get_xlim()[1]
    # The field of view lies around the middle of the detector.
    assert sum(panels[1, 1].get_xlim()) == pytest.approx(0, abs=5_000)
    assert figures.save(figure, tmp_path / "a.png").stat().st_size > 50_000


def test_the_image_is_where_its_detector_pixels_are(home):
    obsid = home.sql("SELECT obsid FROM xmm.observations").fetchone()[0]
    figure = picture.plot(home, obsid)
    row = home.store.arrow(
        "SELECT * FROM xmm.observations WHERE exposure = 'mos2S002'"
    ).to_pylist()[0]
    image = figure.axes[3].images[0]
    place = np.array([[20_000.0, 30_000.0], [28_000.0, 12_000.0]])
    shown = figure.axes[3].transData.inverted().transform(image.get_transform().transform(place))
    true = files.frame_of(row).of_sky_pixels(files.sky_of(row), *place.T)
    np.testing.assert_allclose(shown, np.stack(true, axis=1), atol=0.01)


def test_an_observation_that_is_not_there(home):
    with pytest.raises(UsageError, match="no obsid '0000000000'"):
        picture.plot(home, "0000000000")
    obsid = home.sql("SELECT obsid FROM xmm.observations").fetchone()[0]
    with pytest.raises(UsageError, match="of release S"):
        picture.plot(home, obsid, "S")


def test_outlines_of_all_shapes():
    given = [
        {"shape": "ROTBOX", "x": 10.0, "y": 20.0, "r": [4.0, 2.0], "rotang": 90.0},
        {"shape": "ELLIPSE", "x": 0.0, "y": 0.0, "r": [3.0, 1.0], "rotang": 30.0},
        {"shape": "ANNULUS", "x": 1.0, "y": 1.0, "r": [1.0, 2.0]},
        {"shape": "POLYGON", "vertices_x": [0.0, 1.0, 0.0], "vertices_y": [0.0, 0.0, 1.0]},
        {"shape": "POINT", "x": 1.0, "y": 1.0},
    ]
    plain = REGION | {"obsid": "1", "exposure": "pnS003"}
    box, ellipse, inner, outer, polygon = picture.outlines(
        rows("xmm.regions", *(plain | {"number": n} | row for n, row in enumerate(given, 1)))
    )
    np.testing.assert_allclose(box, [(11, 18), (11, 22), (9, 22), (9, 18)])
    far = np.hypot(*ellipse.T)
    assert far.max() == pytest.approx(3)
    assert far.min() == pytest.approx(1)
    x, y = ellipse[far.argmax()]
    assert np.degrees(np.arctan2(y, x)) % 180 == pytest.approx(30)
    np.testing.assert_allclose(np.hypot(*(inner - 1).T), 1)
    np.testing.assert_allclose(np.hypot(*(outer - 1).T), 2)
    assert polygon.tolist() == [[0, 0], [1, 0], [0, 1]]
