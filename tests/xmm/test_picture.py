from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.path import Path as MplPath

import lake
from lake import contracts, figures
from lake.errors import UsageError
from lake.inputs import InputFile
from lake.sample.xmm import write_sample
from lake.xmm import exposure, files, picture, tables
from lake.xmm.contains import contains
from lake.xmm.shapes import make

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
            assert regions == [2]
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


def test_what_is_kept_is_drawn_where_nothing_is_cut_out(home):
    obsid = home.sql("SELECT obsid FROM xmm.observations").fetchone()[0]
    of_exposure = REGION | {"release": "K", "obsid": obsid, "exposure": "pnS003"}
    circle = {"shape": "CIRCLE", "x": 25921.0, "y": 25921.0, "r": [500.0]}
    given = [
        ("a", "bkg", False, 1), ("a", "mask", True, 1), ("a", "box", True, 1),
        # The same hole in two regions is drawn once.
        ("b", "mask", True, 1), ("b", "mask", False, 2), ("b", "mask", False, 3),
    ]  # fmt: skip
    regions = [
        of_exposure | circle | {"mask": m, "role": role, "include": include, "number": n}
        for m, role, include, n in given
    ]
    parts = {
        table: home.store.arrow(
            f"SELECT * REPLACE ('K' AS release) FROM {table} WHERE release = 'R'"
        )
        for table in ("xmm.images", "xmm.observations")
    }
    parts["xmm.regions"] = rows("xmm.regions", *regions)
    home.store.replace(
        "K", list(parts), parts.items(), fingerprint="k", code_version="1", message="test"
    )
    figure = picture.plot(home, obsid, "K")
    # What is drawn in any panel is said in the first.
    said = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert said == ["a: cut out", "b: cut out", "b: kept"]
    axes = figure.axes[4]
    drawn = [(c.get_label(), len(c.get_paths())) for c in axes.collections]
    assert [d for d in drawn if not d[0].startswith("_")] == [
        ("a: cut out", 1), ("b: cut out", 1), ("b: kept", 1),
    ]  # fmt: skip
    assert len(drawn) == 4


def outlines_of(*given):
    names = [g[0] for g in given]
    r = [[*g[1], *[np.nan] * (4 - len(g[1]))] for g in given]
    angles = [[*g[2], *[np.nan] * (2 - len(g[2]))] for g in given]
    vertices = {i: np.array(g[3], float) for i, g in enumerate(given) if len(g) > 3}
    n = len(given)
    return picture.outlines(make(names, [1.0] * n, [2.0] * n, r, angles, vertices=vertices))


def test_outlines_are_turned_and_stretched():
    ((box,),) = outlines_of(("ROTBOX", [4, 2], [90]))
    np.testing.assert_allclose(box - (1, 2), [(1, -2), (1, 2), (-1, 2), (-1, -2)], atol=1e-12)
    ((ellipse,),) = outlines_of(("ELLIPSE", [3, 1], [30]))
    far = np.hypot(*(ellipse - (1, 2)).T)
    assert (far.min(), far.max()) == pytest.approx((1, 3))
    x, y = ellipse[far.argmax()] - (1, 2)
    assert np.degrees(np.arctan2(y, x)) % 180 == pytest.approx(30)
    ((box,),) = outlines_of(("RECTANGLE", [], [], [(0, 0), (2, 4)]))
    np.testing.assert_allclose(box, [(0, 0), (2, 0), (2, 4), (0, 4)])


@pytest.mark.parametrize(
    "shape",
    [
        ("ANNULUS", [1, 2], []),
        ("ELLIPTANNULUS", [1, 2, 3, 4], [20, 70]),
        ("PIE", [1, 3], [300, 40]),
        ("POLYGON", [], [], [(0, 0), (3, 0), (0, 3)]),
    ],
    ids=lambda s: s[0],
)
def test_an_outline_holds_what_the_region_does(shape):
    (edges,) = outlines_of(shape)
    x, y = np.random.default_rng(0).uniform(-4, 7, (2, 4000))
    regions = make([shape[0]], [1.0], [2.0], [shape[1] or [np.nan]], [shape[2] or [np.nan]],
                   vertices={0: np.array(shape[3], float)} if len(shape) > 3 else {})  # fmt: skip
    # Curves are drawn with 48 corners.
    within = [MplPath(edge).contains_points(np.stack([x, y], axis=1)) for edge in edges]
    different = np.logical_xor.reduce(within) != contains(regions, x, y)
    assert different.mean() < 0.003


def test_points_have_no_outline():
    assert outlines_of(("POINT", [], []), ("SECTOR", [], [10, 20])) == []


def test_an_exposure_map_is_drawn_where_there_is_no_image(home, tmp_path):
    only = "WHERE release = 'R'"
    images = home.store.arrow(f"SELECT * FROM xmm.images {only}")
    observed = home.store.arrow(f"SELECT * FROM xmm.observations {only}")
    mapped = images.set_column(
        images.schema.get_field_index("exposure_map"), "exposure_map", images["counts"]
    )
    empty = pa.nulls(images.num_rows, images.schema.field("counts").type)
    mapped = mapped.set_column(images.schema.get_field_index("counts"), "counts", empty)
    other = lake.open(tmp_path / "home")
    parts = {"xmm.images": mapped, "xmm.observations": observed}
    other.store.replace(
        "R", list(parts), parts.items(), fingerprint="f", code_version="1", message="test"
    )
    figure = picture.plot(other, images["obsid"][0].as_py())
    assert [len(axes.images) for axes in figure.axes] == [1] * 6
